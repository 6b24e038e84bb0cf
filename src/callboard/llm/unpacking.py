"""The bytes of an answer, counted as they come: too many are refused before they fill the memory.

We ask for answers that are not compressed. Some relays compress all the same, and ten kilobytes of gzip can hold
ten gigabytes, so unpacking is done here in bounded bites and not by the HTTP library, which unpacks whatever one
read has brought in one go.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from callboard.errors import InvalidOutput, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 10_000_000  # bytes of an answer, packed or not
_BITE = 65_536

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 47}


class Unpacking:
    """Give it what arrives, take what it holds. Raises InvalidOutput beyond `most` bytes, Transient for damage."""

    __slots__ = ("_inflater", "_left", "_most", "_who")

    def __init__(self, encoding: str, who: str, most: int = MOST) -> None:
        self._who, self._most, self._left = who, most, most
        name = encoding.strip().lower()
        if name not in ("", "identity", *_WINDOWS):
            raise Transient(f"{who} packed its answer as {name[:40]!r}, which we did not ask for")
        self._inflater = zlib.decompressobj(_WINDOWS[name]) if name in _WINDOWS else None

    def take(self, chunk: bytes) -> Iterator[bytes]:
        for part in self._inflated(chunk) if self._inflater else (chunk,):
            self._left -= len(part)
            if self._left < 0:
                raise InvalidOutput(
                    f"the answer of {self._who} is larger than {self._most:,} bytes", evidence={"provider": self._who}
                )
            yield part

    def check_end(self) -> None:
        """Raises Transient when a packed answer has no end."""
        if self._inflater is not None and not self._inflater.eof:
            raise Transient(f"the packed answer of {self._who} stops before its end")

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        inflater = self._inflater
        assert inflater is not None
        try:
            while chunk and not inflater.eof:
                yield inflater.decompress(chunk, _BITE)
                chunk = inflater.unconsumed_tail
        except zlib.error as error:
            raise Transient(f"the packed answer of {self._who} is damaged: {error}") from None
