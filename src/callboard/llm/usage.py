"""How many tokens a call used: as the provider says, or a guess that is marked as one.

Not every provider counts, and some count nonsense. What is no sensible number is replaced by an estimate, because
an unknown charge must count as spent, and a budget that skips what it does not know can be walked around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.ports import Usage

if TYPE_CHECKING:
    from callboard.ports import Json, Request

MOST = 100_000_000  # tokens; beyond it a count is a fault, not a count
_BYTES = 4  # of UTF-8 in a token, roughly, over languages


def estimate(text: str) -> int:
    """About how many tokens `text` has."""
    return (len(text.encode("utf-8", "replace")) + _BYTES - 1) // _BYTES


def estimate_request(request: Request) -> int:
    """About how many tokens a request sends. Attachments count by their size, pictures as the usual thousand."""
    texts = sum(estimate(message.text) + 4 for message in request.messages)
    files = sum(
        1_000 if one.media_type.startswith("image/") else len(one.data) // _BYTES for one in request.attachments
    )
    return texts + files


def counted(raw: Json, request: Request, text: str) -> Usage:
    """The usage a provider reported (`prompt_tokens`, `completion_tokens`), or an estimate where it did not."""
    reported = raw if isinstance(raw, dict) else {}
    given, made = _count(reported.get("prompt_tokens")), _count(reported.get("completion_tokens"))
    return Usage(
        estimate_request(request) if given is None else given,
        estimate(text) if made is None else made,
        estimated=given is None or made is None,
    )


def _count(value: Json) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
