"""Strict JSON: what both stores accept, and how they say no.

Python's own encoder writes NaN, keeps lone surrogates and silently turns the key 1 into "1"; SQLite's parser
reads a dialect with comments and NaN. All of that would come back as something else, so it is refused here.
There is no fallback serialiser.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from callboard.errors import NotJson
from callboard.store.packing import unpack

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(value: Any, what: str = "a value") -> str:
    """Compact JSON text of `value`. Raises NotJson, naming `what` and the type that is no JSON."""
    _check(value, what)
    try:
        text = _encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"{what} is not strict JSON: {error}") from error
    return text


def check(text: str, what: str) -> Any:
    """Parse a JSON text. Raises NotJson for what only a lenient parser would take."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if "\\u" in text:
            _no_surrogate(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"{what} is not strict JSON: {error}") from error
    return value


def check_outcome(text: str, what: str) -> None:
    """Raises NotJson unless `text` is one JSON object."""
    if type(check(text, what)) is not dict:
        raise NotJson(f"{what} is not a JSON object")


def _check(value: Any, what: str) -> None:
    """Walk the containers only: the encoder itself finds every other fault."""
    open_ = [value]
    while open_:
        one = open_.pop()
        if isinstance(one, dict):
            for key in one:
                if not isinstance(key, str):
                    raise NotJson(f"{what} has the key {key!r} of type {type(key).__name__}; JSON keys are text")
            open_.extend(one.values())
        elif isinstance(one, list | tuple):
            open_.extend(one)


def _no_surrogate(value: Any) -> None:
    if _SURROGATE.search(_encode(value)):
        raise ValueError("a lone surrogate")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def plain(text: str) -> str:
    """Text for people (a reason, a log line) with lone surrogates replaced: it is never worth a failed commit."""
    return text.encode(errors="replace").decode()


def outcome_of(id: int) -> str:
    """How an outcome is called in an error."""
    run, node, number = unpack(id)
    return f"the outcome of run {run}, node {node}, number {number}"
