"""Server-sent events, byte by byte: an incremental reader that knows nothing of networks or models.

Bytes arrive cut anywhere, also inside a character, so lines are found in bytes and decoded whole. A stream that
ends inside an event has lost its end; whatever was not closed by an empty line is no event and is never shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    data: str
    id: str = ""  # as this event itself names it
    kind: str = "message"


class Events:
    """Feed it bytes, take events. Raises ValueError for bytes that are no UTF-8."""

    __slots__ = ("_data", "_fields", "_first", "_rest")

    def __init__(self) -> None:
        self._rest, self._data, self._fields, self._first = b"", list[str](), dict[str, str](), True

    @property
    def is_inside(self) -> bool:
        """Whether an event has begun that has not ended."""
        return bool(self._rest.strip() or self._data)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        *lines, self._rest = self._lines(chunk)
        for line in lines:
            if self._first:
                line, self._first = line.removeprefix(_BOM), False
            event = self._line(line.decode("utf-8"))
            if event is not None:
                yield event

    def _lines(self, chunk: bytes) -> list[bytes]:
        if not (b"\n" in chunk or b"\r" in chunk or self._rest.endswith(b"\r")):
            return [self._rest + chunk]
        whole = self._rest + chunk
        if whole.endswith(b"\r"):  # may be the first half of \r\n: wait for the other
            *lines, last = _LINE.split(whole[:-1])
            return [*lines, last + b"\r"]
        return _LINE.split(whole)

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name in ("id", "event"):
            self._fields[name] = value
        return None

    def _end(self) -> Event | None:
        data, fields = self._data, self._fields
        self._data, self._fields = [], {}
        return Event("\n".join(data), fields.get("id", ""), fields.get("event", "message")) if data else None
