"""Answers kept by what was asked: files by the hash of their key. Losing one costs a call, never a result.

So nothing here is synced: a file is written beside its place and renamed, and one that cannot be read is a miss.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from pathlib import Path


class FileCache:
    """Implements `ports.Cache` in a directory shared by all processes of a project. Keys are hex digests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, key: str) -> str | None:
        try:
            return self._path(key).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def put(self, key: str, value: str) -> None:
        path = self._path(key)
        fresh = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with os.fdopen(
                    os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
                ) as file:
                    file.write(value)
                os.replace(fresh, path)
            except OSError:
                fresh.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / key[:2] / key[2:]


class MemoryCache:
    """The same in memory."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self._values.get(key)

    def put(self, key: str, value: str) -> None:
        self._values[key] = value
