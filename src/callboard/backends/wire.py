"""How an engine and a child speak: one strict JSON array per line, an operation first.

To the child: `work` id attempt key inputs secrets limits · `cancel` id · `answer` ask ok value.
From it: `importing` file · `hello` names ready · `done` id value · `failed` id error · `exhausted` id error ·
`stopped` id · `log` id text level · `publish` id key value · `save` id write params · `progress` id done of note ·
`ask` id ask what arguments.

The child carries user code, so its side of the wire is not believed: a line that is too long, no JSON or nonsense
makes the child *lost*, and so does more of anything than our own side in the child would ever send. Errors travel as
the name of their class, and only classes of ours are made of names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard import errors
from callboard.errors import CallboardError, NotJson, Permanent, StepError
from callboard.text import strict

if TYPE_CHECKING:
    from callboard.ports import Json

LONGEST = 8 << 20  # bytes of a line from a child
_MOST_MESSAGE, _MOST_EVIDENCE = 8_000, 64_000  # characters of an error and of its evidence

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_CARRIED: dict[str, type[CallboardError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type)
    and (issubclass(kind, StepError) or name in ("NotFound", "InvalidName", "NotJson", "Conflict"))
}


class Lines:
    """Cuts a stream of bytes into lines. Raises ValueError for a line longer than `longest`."""

    __slots__ = ("_kept", "_longest", "_size")

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest, self._size = longest, 0
        self._kept: list[bytes] = []

    def cut(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._kept:
            lines[0] = b"".join((*self._kept, lines[0]))
        if lines:
            self._kept, self._size = [], 0
        if rest:
            self._kept.append(rest)
            self._size += len(rest)
        if self._size > self._longest or any(len(line) > self._longest for line in lines):
            raise ValueError(f"a line of more than {self._longest >> 20} MiB")
        return lines


def pack(*parts: Json) -> bytes:
    """One line."""
    return (encode(parts) + "\n").encode()


def unpack(line: bytes) -> list[Any]:
    """The parts of a line. Raises ValueError for what is no strict JSON array that begins with a text."""
    try:
        parts = strict.decode(line)
    except NotJson as error:
        raise ValueError(f"a line that is no message: {error}") from None
    if type(parts) is not list or not parts or type(parts[0]) is not str:
        raise ValueError("a line that is no message")
    return parts


def error_out(error: CallboardError) -> dict[str, Json]:
    """An error as JSON; evidence that is none is left out, and of what is too long the middle."""
    told: dict[str, Json] = {"class": type(error).__name__, "message": _cut(strict.plain(str(error)), _MOST_MESSAGE)}
    for name in ("evidence", "retry_after"):
        value = getattr(error, name, None)
        if value is not None and _is_json(value):
            text = encode(value)
            told[name] = value if len(text) <= _MOST_EVIDENCE else _cut(text, _MOST_EVIDENCE)
    return told


def error_in(told: Json) -> CallboardError:
    """The error behind `error_out`; Permanent for a class that is not ours to make. Raises ValueError."""
    if type(told) is not dict or type(told.get("message")) is not str:
        raise ValueError("an error without a message")
    kind = _CARRIED.get(str(told.get("class")), Permanent)
    message, evidence, after = told["message"], told.get("evidence"), told.get("retry_after")
    if not issubclass(kind, StepError):
        return kind(message)
    if issubclass(kind, errors.Transient):
        return kind(message, evidence=evidence, retry_after=after if isinstance(after, int | float) else None)
    return kind(message, evidence=evidence)


def _is_json(value: Json) -> bool:
    try:
        strict.check(value)
    except NotJson:
        return False
    return True


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}\n…\n{text[-most // 2 :]}"
