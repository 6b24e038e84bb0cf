"""Copies of the database: whole or not at all, made by SQLite's own backup while others go on reading and writing.

One a day is kept, seven deep, and one from before each migration. A copy that cannot be finished (a full disk) leaves
nothing behind, so it never takes the room that work needs.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import apsw

from callboard.crash import point
from callboard.store.content import sync
from callboard.store.sql import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERY = 86_400.0  # seconds between two copies
KEPT = 7
_PAGES = 1000  # pages per step


def copy(source: apsw.Connection, to: Path, vfs: str | None = None) -> None:
    """Copy what `source` sees now to `to`, synced. Raises apsw.Error, OSError; then nothing of it is there."""
    files.make_way(to.parent, 0o700)
    temporary = to.with_name(f".{to.name}.tmp")
    _remove(temporary)  # what one that failed has left would be taken for ours
    files.create(temporary)
    point("backup.begin")
    try:
        _fill(source, temporary, vfs)
        point("backup.copied")
        files.clear(temporary)
        files.sync_file(temporary)
        point("backup.rename")
        os.replace(temporary, to)
    except BaseException:
        with suppress(OSError):
            _remove(temporary)
        raise
    point("backup.renamed")
    sync(to.parent)


def _fill(source: apsw.Connection, temporary: Path, vfs: str | None) -> None:
    copy = apsw.Connection(str(temporary), vfs=vfs)
    try:
        backup = copy.backup("main", source, "main")
        while not backup.done:
            backup.step(_PAGES)
            point("backup.copy")
        backup.finish()
        copy.execute("PRAGMA journal_mode = DELETE")
    except BaseException:
        with suppress(apsw.Error):
            copy.close()
        raise
    copy.close()


def clear(folder: Path, beginning: str) -> None:
    """Remove what copies that were never finished have left, whoever began them."""
    for left in folder.glob(f".{beginning}*.db.tmp*"):
        point("file.clear")
        left.unlink(missing_ok=True)


def _remove(temporary: Path) -> None:
    point("file.clear")
    temporary.unlink(missing_ok=True)
    files.clear(temporary)


# ── one a day ───────────────────────────────────────────────────────────────────────────────────────────


def stamp(wall: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall))


def place(folder: Path, database: Path, wall: float) -> Path:
    return folder / f"{database.stem}-{stamp(wall)}.db"


def found(folder: Path, database: Path) -> list[Path]:
    """The copies of a database, the newest first; those from before migrations too."""
    name = re.compile(re.escape(database.stem) + r"-(?:schema\d+-)?(\d{8}T\d{6}Z)\.db")
    dated = [(match[1], path) for path in _listed(folder) if (match := name.fullmatch(path.name))]
    return [path for _, path in sorted(dated, reverse=True)]


def is_due(folder: Path, database: Path, wall: float) -> bool:
    """Whether no copy is of this day: of the last one, or, by a clock that was set back since, of the next."""
    first, last = (place(folder, database, wall + seconds).name for seconds in (-EVERY, EVERY))
    return not any(first < path.name < last for path in _daily(folder, database))


def thin(folder: Path, database: Path, wall: float) -> None:
    """Remove all daily copies but the newest. Those of a time that is yet to come are the first to go: nobody knows
    when they were made, and they would stay for ever."""
    now = place(folder, database, wall).name
    for path in sorted(_daily(folder, database), key=lambda path: path.name > now)[KEPT:]:
        point("file.clear")
        path.unlink(missing_ok=True)


def _daily(folder: Path, database: Path) -> list[Path]:
    return [path for path in found(folder, database) if "-schema" not in path.name[len(database.stem) :]]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


@contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Whether no other process is making a copy just now, nor will while this lasts."""
    point("lock.open")
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(file)
