"""The database's own file and the way to it: there for good before anything is recorded, or not at all.

A name is durable when its directory was synced, and a commit is worth nothing in a file whose name a power cut
takes away. Whoever made a file may have been killed before he synced its name, so a project in which nothing is
recorded yet has its names synced once more; and what could not be synced is removed, to be made anew.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.store import whole
from callboard.store.content import make_folder, sync

if TYPE_CHECKING:
    from pathlib import Path


def create(path: Path) -> bool:
    """An empty file that only its owner can read; SQLite gives its log and index the same mode. Whether it is new."""
    if whole.doubtful(path.parent) and path.exists() and not path.stat().st_size:
        path.unlink()
    point("file.create")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    point("file.created")
    try:
        sync(path.parent)
    except OSError:
        with suppress(OSError):  # so that it is made anew, and not found and trusted
            path.unlink()
        raise
    return True


def make_way(folder: Path, mode: int = 0o777) -> bool:
    """Make a directory and those above it that are missing, and their names durable; whether it was missing."""
    if folder.is_dir() and not whole.doubtful(folder.parent):
        return False
    if not folder.parent.is_dir():
        make_way(folder.parent)
    return make_folder(folder, mode)


def sync_way(path: Path) -> None:
    """Make durable that a file is there: whoever made it, or its directory, may have died before he could."""
    sync(path.parent)
    with suppress(PermissionError):  # a directory that we may pass but not read
        sync(path.parent.parent)


def clear(path: Path) -> None:
    """Remove what SQLite keeps beside a file, and may fail to remove."""
    for left in ("-journal", "-wal", "-shm"):
        point("file.clear")
        path.with_name(path.name + left).unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    point("file.sync")
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
