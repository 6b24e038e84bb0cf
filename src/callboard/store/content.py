"""Bytes by their content: written once, named by their SHA-256, verified whenever they are read.

A file appears whole (see `whole`) and is durable before its hash is given to anyone, so a hash that stands in the
database always has its bytes. What an engine is to `keep` may wait in memory while a disk is full, but no hash is
recorded before its bytes are durable. What is damaged on disk is written anew by the next `put` of the same bytes
and is never handed out.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import InvalidName, NotFound, StoreDamaged, StoreError
from callboard.store import whole
from callboard.store.room import no_room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEX = frozenset("0123456789abcdef")


def digest(data: bytes) -> str:
    """SHA-256, hex."""
    return sha256(data).hexdigest()


class Content:
    """A directory of files by content, sharded by the first two digits: `ab/cdef…`, mode 0600 in 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._waiting: dict[str, bytes] = {}  # bytes that found no room
        self._durable: set[Path] = set()  # directories whose names were synced: who made one may have died before

    def put(self, data: bytes) -> str:
        """Keep `data`, synced; its hash. Raises StoreError when the disk is full or broken."""
        hash = digest(data)
        try:
            self._put(self.path(hash), data)
        except OSError as error:
            what = f"content could not be written to {self.root}: {error.strerror or error}"
            raise no_room(error, self.root) or StoreError(what) from error
        return hash

    def keep(self, data: bytes) -> str:
        """As `put`; what finds no room waits for `settle`."""
        try:
            return self.put(data)
        except StoreError:
            hash = digest(data)
            self._waiting[hash] = bytes(data)
            return hash

    def settle(self) -> None:
        """Put what waits, before a hash of it may be recorded. Raises StoreError."""
        for hash, data in list(self._waiting.items()) if self._waiting else ():
            self.put(data)
            self._waiting.pop(hash, None)

    def get(self, hash: str) -> bytes:
        """Raises NotFound, StoreDamaged when the bytes do not fit the hash."""
        waiting = self._waiting.get(hash)
        if waiting is not None:
            return waiting
        try:
            data = self.path(hash).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"no content {hash}") from error
        except OSError as error:
            raise StoreError(f"content {hash} could not be read: {error.strerror or error}") from error
        if digest(data) != hash:
            raise StoreDamaged(f"content {hash} is damaged; its file is kept: {self.path(hash)}")
        return data

    def has(self, hash: str) -> bool:
        """Whether there is a file for this hash, whatever is in it."""
        return self.path(hash).is_file()

    def files(self) -> Iterator[Path]:
        """Every file that is named by a hash."""
        for shard in sorted(self.root.glob("??")):
            for path in sorted(shard.iterdir()):
                if _is_hash(shard.name + path.name) and path.is_file():
                    yield path

    def path(self, hash: str) -> Path:
        """Where content lies. Raises InvalidName for what is no hash."""
        return self.root / checked(hash)[:2] / hash[2:]

    def _put(self, path: Path, data: bytes) -> None:
        point("content.put")
        directory = path.parent
        if directory not in self._durable or not directory.is_dir():
            self._make(directory)
        trusted = not whole.doubtful(directory)
        if not trusted or not (_holds(path, data) or whole.create(directory, path.name, data) or _holds(path, data)):
            whole.replace(directory, path.name, data)
        sync(directory)
        point("content.kept")

    def _make(self, shard: Path) -> None:
        for folder in (self.root, shard):
            make_folder(folder, settled=folder in self._durable)
            self._durable.add(folder)


class MemoryContent:
    """The same, in a dict: nothing on disk."""

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        hash = digest(data)
        self._bytes[hash] = bytes(data)
        return hash

    def get(self, hash: str) -> bytes:
        try:
            return self._bytes[checked(hash)]
        except KeyError as error:
            raise NotFound(f"no content {hash}") from error


def checked(hash: str) -> str:
    """Raises InvalidName unless `hash` is a SHA-256 in hex."""
    if not _is_hash(hash):
        raise InvalidName(f"not a SHA-256 in hex: {hash!r}")
    return hash


def _is_hash(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def sync(directory: Path) -> None:
    """Make names in a directory durable."""
    with _opened(directory) as descriptor:
        whole.sync(descriptor)


def make_folder(folder: Path, mode: int = 0o700, *, settled: bool = False) -> bool:
    """A directory, if it is not there, and its name durable (that of a `settled` one is); whether it was made."""
    with _opened(folder.parent) as parent:
        made = whole.make_folder(parent, folder.name, mode)
        if not made and not settled:
            whole.sync(parent)
        return made


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _holds(path: Path, data: bytes) -> bool:
    """The file is there with these bytes, and synced: whoever wrote it may have died before it could."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != len(data) or stream.read() != data:
                return False
            os.fsync(stream.fileno())
            return True
    except FileNotFoundError:
        return False
