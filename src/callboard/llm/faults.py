"""What went wrong with a call, in our own errors: the one place that judges statuses, headers and error objects.

The class decides what happens next (whether the engine asks again, and when), so it follows the cause and not the
mood of a provider: what a later moment can heal is transient, what only a person can heal is permanent. Evidence is
kept with the error, cut short, without secrets, because «the provider answered nonsense» helps nobody who cannot
see the nonsense.
"""

from __future__ import annotations

import json
import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from callboard.errors import Permanent, RateLimited, StepError, Transient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.llm.secret import Redaction
    from callboard.ports import Json

SHOWN = 2_000  # characters of an answer that are kept as evidence
LONGEST_WAIT = 3_600.0  # seconds; a provider that asks for more is believed up to here

_HEALS = frozenset({408, 409, 423, 425})  # of the 4xx those that go away by themselves
_EMPTY_PURSE = re.compile(r"insufficient_quota|billing|credit.?balance|payment", re.IGNORECASE)
_LIMITED = re.compile(r"rate.?limit|too.?many.?requests|resource.?exhausted", re.IGNORECASE)
_OVERLOADED = re.compile(r"overload|unavailable|timeout|timed out|server.?error|internal|capacity", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(text: str, redaction: Redaction) -> str:
    """`text` as evidence: without secrets and control characters, cut to `SHOWN` characters."""
    # Redacted before it is cut: a secret that lies across the cut would otherwise leave its first half.
    clean = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", redaction.clean(text[: 4 * SHOWN]))
    return clean if len(clean) <= SHOWN else f"{clean[:SHOWN]}… ({len(text)} characters)"


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds to wait as `Retry-After` says (seconds or a date); None when it says nothing sensible.

    Dates count from the server's own clock when it sends one. The past is 0, more than an hour is an hour.
    """
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return _bounded(exact / 1000)
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None:
        then, here = _date(text), _date(headers.get("date", ""))
        seconds = None if then is None else then - (wall if here is None else here)
    return None if seconds is None else _bounded(seconds)


def of_status(
    status: int, headers: Mapping[str, str], body: str, *, provider: str, wall: float, redaction: Redaction
) -> StepError:
    """The error for an answer whose status is not 200."""
    evidence = {"provider": provider, "status": status, "body": shown(body, redaction)}
    later = retry_after(headers, wall)
    if later is not None:
        evidence["retry_after"] = later
    said = f"{provider} answered {status}{_said(body, redaction)}"
    if status == 402 or (status == 429 and _EMPTY_PURSE.search(body)):
        return Permanent(f"{said}. The account has no credit left", evidence=evidence)
    if status == 429:
        return RateLimited(said, evidence=evidence, retry_after=later)
    if status >= 500 or status in _HEALS or 200 <= status < 300:
        return Transient(said, evidence=evidence, retry_after=later)
    if status in (401, 403):
        return Permanent(f"{said}. The key is refused or may not use this model", evidence=evidence)
    if 300 <= status < 400:
        return Permanent(f"{said}. Redirects are not followed; correct the base URL", evidence=evidence)
    return Permanent(said, evidence=evidence)


def of_error_object(error: Json, *, provider: str, wall: float, redaction: Redaction) -> StepError:
    """The error for an answer with status 200 whose body (or stream) holds an `error`, as some relays send it."""
    fields: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
    text = " ".join(str(fields.get(name, "")) for name in ("code", "type", "status", "message"))
    code = fields.get("code")
    if type(code) is not int and isinstance(code, str) and re.fullmatch(r"[1-5]\d\d", code):
        code = int(code)
    if type(code) is int and 400 <= code < 600:
        return of_status(code, {}, json.dumps(fields), provider=provider, wall=wall, redaction=redaction)
    evidence = {"provider": provider, "status": 200, "body": shown(text, redaction)}
    said = f"{provider} answered with an error: {shown(text, redaction)[:300].strip()}"
    if _EMPTY_PURSE.search(text):
        return Permanent(said, evidence=evidence)
    if _LIMITED.search(text):
        return RateLimited(said, evidence=evidence)
    if "invalid" in text.lower() and not _OVERLOADED.search(text):
        return Permanent(said, evidence=evidence)
    return Transient(said, evidence=evidence)


def _said(body: str, redaction: Redaction) -> str:
    """The provider's own words for its error, if its body has a `message`; short, one line."""
    found = re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.){1,400})', body[:SHOWN])
    if not found:
        return ""
    words = re.sub(r"\\[nrt]", " ", found[1]).replace('\\"', '"')
    return f": {shown(words, redaction)[:300].strip()}"


def _seconds(text: str) -> float | None:
    try:
        value = float(text) if len(text) <= 30 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if 0 < len(text) <= 60 else None
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_WAIT)
