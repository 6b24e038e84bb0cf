"""Answers kept by what was asked: files by the hash of their key. Losing one costs a call, never a result.

So nothing here is synced, and after a power cut a file may be there without its bytes: its first line is the hash of
the rest, and one that does not fit is a miss.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.store import whole

if TYPE_CHECKING:
    from pathlib import Path


class FileCache:
    """Implements `ports.Cache` in a directory shared by all processes of a project. Keys are hex digests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, key: str) -> str | None:
        try:
            hash, _, data = self._path(key).read_bytes().partition(b"\n")
        except OSError:
            return None
        return data.decode("utf-8") if hash == _hash(data) else None

    def put(self, key: str, value: str) -> None:
        path, data = self._path(key), value.encode("utf-8")
        point("cache.put")
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept = b"\n".join((_hash(data), data))
            if not whole.create(path.parent, path.name, kept, synced=False) and self.get(key) is None:
                whole.replace(path.parent, path.name, kept, synced=False)
        point("cache.kept")

    def _path(self, key: str) -> Path:
        return self._directory / key[:2] / key[2:]


def _hash(data: bytes) -> bytes:
    return sha256(data).hexdigest().encode("ascii")


class MemoryCache:
    """The same in memory."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self._values.get(key)

    def put(self, key: str, value: str) -> None:
        self._values[key] = value
