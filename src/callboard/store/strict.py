"""What the stores refuse to record, said in words that name it.

Strictness itself is `callboard.text.strict`; here stands what is particular to recorded texts: an outcome is an
object, a reason is never worth a failed commit, and the error says whose text it was.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from callboard.errors import NotJson
from callboard.store.packing import unpack
from callboard.text import strict
from callboard.text.strict import plain as plain


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_decode = json.JSONDecoder(
    parse_constant=_no_constant
).decode  # prebuilt: `json.loads` with a hook builds one each time


def encode(value: Any, what: str) -> str:
    """Compact JSON text of `value`. Raises NotJson, naming `what` and the place in it."""
    try:
        return strict.encode(value)
    except NotJson as error:
        raise NotJson(f"{what}: {error}") from error


def check(text: str, what: str) -> Any:
    """Parse a JSON text. Raises NotJson for what only a lenient parser would take."""
    try:
        return strict.decode(text)
    except NotJson as error:
        raise NotJson(f"{what}: {error}") from error


def check_outcome(text: str, what: str) -> None:
    """Raises NotJson unless `text` is one JSON object."""
    if text.isascii() and "\\" not in text and text[:1] == "{":
        try:
            _decode(text)
            return
        except (ValueError, RecursionError):
            pass  # told below, in words
    if type(check(text, what)) is not dict:
        raise NotJson(f"{what} is not a JSON object")


def outcome_of(id: int) -> str:
    """How an outcome is called in an error."""
    run, node, number = unpack(id)
    return f"the outcome of run {run}, node {node}, number {number}"
