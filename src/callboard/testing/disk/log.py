"""What happened to a directory and all below it, in order: the log that images are rebuilt from.

A file is told from all others by its device and inode, as the kernel does it, so descriptors, links and renames
need no paths to be followed. (Following paths and descriptors by hand was tried first: a descriptor that is closed
out of sight gives its number to another file.) What lies there when the log begins counts as synced.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from callboard.testing.disk.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

ROOT = 0  # the file id of the watched directory


class Wrote(NamedTuple):
    file: int
    offset: int
    data: bytes


class Resized(NamedTuple):
    file: int
    size: int


class Named(NamedTuple):
    """A file got a name: it is new, or it was linked."""

    place: int
    name: str
    file: int


class Unnamed(NamedTuple):
    """A name was taken away."""

    place: int
    name: str


class Renamed(NamedTuple):
    """A file changed its name, at once and as a whole; what had the new one lost it."""

    place: int
    name: str
    to_place: int
    to_name: str
    file: int


class Exchanged(NamedTuple):
    """Two names of a directory changed their files, at once: `file` has `name` now, and `to_file` `to_name`."""

    place: int
    name: str
    file: int
    to_name: str
    to_file: int


class Synced(NamedTuple):
    """A file, or the names in a directory."""

    file: int


class NotSynced(NamedTuple):
    """The sync of a file, or of the names in a directory, has failed."""

    file: int


Naming: TypeAlias = Named | Unnamed | Renamed | Exchanged
Op: TypeAlias = Wrote | Resized | Naming | Synced | NotSynced


class Log:
    """The operations on `root` and all below it, so far. `begun` of them tell what lay there at first.

    `folders` are the ids of those files that are directories. Safe for threads: whoever carries out an operation
    holds `lock` until it is noted.
    """

    def __init__(self, root: Path, faults: Faults | None = None) -> None:
        self.root = root
        self.faults = faults or Faults()
        self.ops: list[Op] = []
        self.folders: set[int] = {ROOT}
        self.lock = threading.RLock()
        self._ids: dict[tuple[int, int], int] = {}
        self._count = 0
        status = os.stat(root)
        self._ids[status.st_dev, status.st_ino] = ROOT
        self._take_in(root, ROOT)
        self.begun = len(self.ops)

    def id_of(self, status: os.stat_result) -> int | None:
        """The file behind a status, None when it is none of ours."""
        return self._ids.get((status.st_dev, status.st_ino))

    def new(self, status: os.stat_result) -> int:
        """A file that was not there before; an inode may have been another's."""
        self._count += 1
        self._ids[status.st_dev, status.st_ino] = self._count
        return self._count

    def note(self, op: Op) -> None:
        self.ops.append(op)

    def go_on_from(self, other: Log, cut: int, files: dict[str, int]) -> None:
        """What lies here is what the first `cut` operations of `other` have left, and no more durable than there.

        `files` are the other's files by path.
        """
        self.ops, self.folders, self._count = other.ops[:cut], set(other.folders), other._count
        self.begun = cut
        for path, file in files.items():
            status = os.stat(self.root / path)
            self._ids[status.st_dev, status.st_ino] = file

    def where(self, path: str | bytes | os.PathLike[str], folder: int | None = None) -> tuple[int | None, str]:
        """(directory, name) of a path, relative to the descriptor `folder`; None when it is not below the root."""
        head, name = os.path.split(os.fsdecode(path))
        try:
            if head:
                status = os.stat(head, dir_fd=None if os.path.isabs(head) else folder)
            else:
                status = os.stat(".") if folder is None else os.fstat(folder)
        except OSError:
            return None, name
        return self.id_of(status), name

    def _take_in(self, folder: Path, place: int) -> None:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            file = self.new(entry.stat(follow_symlinks=False))
            self.note(Named(place, entry.name, file))
            if entry.is_dir(follow_symlinks=False):
                self.folders.add(file)
                self._take_in(folder / entry.name, file)
            elif entry.is_file(follow_symlinks=False):
                self.note(Wrote(file, 0, (folder / entry.name).read_bytes()))
                self.note(Synced(file))
        self.note(Synced(place))
