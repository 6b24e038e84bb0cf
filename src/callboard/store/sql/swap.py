"""The damaged database makes way for the mended one, whole or not at all, and is kept.

The damaged files get a second name among the evidence, so nothing of them is copied and nothing is lost when their
first name goes. Their log has to go before the new database gets the name, since SQLite would read it into whatever
lies there; in that moment there is neither the one nor the other. So a note is made first, and as long as it lies
there nobody opens the project, and repairing it again goes on where it was left.

Nobody else has the database open meanwhile: every connection holds a lock on the log's index as long as it lives, and
so do we, on the same byte.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import Busy, StoreDamaged
from callboard.store import whole
from callboard.store.content import sync
from callboard.store.sql import files
from callboard.store.sql.lock import WriteLock
from callboard.store.sql.witness import Witness, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MENDED, FOUND, REPORT = "mended.db", "found.db", "report.json"
_DEAD_MAN = 128  # the byte of the index that every connection of SQLite holds a lock on
_ENDS = ("", "-wal", "-shm")
ASIDE = ("-wal", "-shm", "-journal")
_COPY = (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK)


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Nobody else has the database open, nor opens it. Raises Busy."""
    home = database.parent
    files.make_way(home / "run", 0o700)
    lock = WriteLock(home / "run" / f"{database.name}.lock")
    try:
        if not lock.try_enter():
            raise _busy(database)
        try:
            with _index_held(database):
                yield
        finally:
            lock.__exit__()
    finally:
        lock.close()


@contextmanager
def _index_held(database: Path) -> Iterator[None]:
    """The index is left as it is: it may be evidence, and a witness of how far the log went."""
    try:
        index = os.open(f"{database}-shm", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _DEAD_MAN)
        except OSError as error:
            raise _busy(database) from error
        yield
    finally:
        os.close(index)


def _busy(database: Path) -> Busy:
    return Busy(
        f"another process has {database} open. Let it end (`callboard ls` says who carries out runs), then repair"
    )


def kept(above: Path, name: str) -> Path:
    """A new folder for what is kept as evidence. What repairs have left that came to nothing is taken away."""
    files.make_way(above, 0o700)
    for left in above.iterdir():
        for half_made in (left / MENDED, left / FOUND, *left.glob(".*")):
            point("repair.clear")
            half_made.unlink(missing_ok=True)
            files.clear(half_made)
        with suppress(OSError):  # there is evidence in it
            left.rmdir()
    names = (name, *(f"{name}-{n}" for n in range(2, 1000)))
    folder = above / next(one for one in names if not (above / one).exists())
    files.make_way(folder, 0o700)
    return folder


def keep(folder: Path, *paths: Path) -> None:
    """Give files a second name in a folder of evidence, durable."""
    for path in paths:
        point("repair.keep")
        if not path.exists():
            continue
        try:
            os.link(path, folder / path.name)
        except OSError as error:
            if error.errno not in _COPY:
                raise
            shutil.copy2(path, folder / path.name)
            files.sync_file(folder / path.name)
    sync(folder)


def put_aside(folder: Path, paths: Sequence[Path]) -> None:
    """Damaged contents and copies get their place among the evidence instead of the one they had."""
    for path in paths:
        keep(folder, path)
        point("repair.aside")
        path.unlink()


def drop(folder: Path) -> None:
    """The database is sound, and stays."""
    point("repair.clear")
    (folder / MENDED).unlink()


def is_unfinished(database: Path) -> bool:
    return unfinished(database).exists()


def report(folder: Path, told: dict[str, object]) -> None:
    """What was found and done, beside the evidence. From now on the folder stays."""
    point("repair.report")
    whole.replace(folder, REPORT, json.dumps(told, ensure_ascii=False, indent=1).encode())
    sync(folder)
    sync(folder.parent)


def swap(database: Path, folder: Path) -> None:
    """Put the mended database of `folder` in the place of the damaged one, which is among the evidence there."""
    keep(folder, *(Path(f"{database}{end}") for end in _ENDS))
    note = unfinished(database)
    point("repair.begin")
    whole.replace(note.parent, note.name, folder.name.encode())
    sync(note.parent)
    finish(database)


def finish(database: Path) -> Path | None:
    """Go on with a swap that was begun; the folder of its evidence, None when none was."""
    note = unfinished(database)
    try:
        folder = database.parent / "damaged" / note.read_text("utf-8")
    except FileNotFoundError:
        return None
    mended = folder / MENDED
    if mended.exists():
        for end in ASIDE:
            point("repair.aside")
            Path(f"{database}{end}").unlink(missing_ok=True)
        sync(database.parent)
        point("repair.swap")
        os.replace(mended, database)
        point("repair.swapped")
        sync(database.parent)
        sync(folder)
    elif not database.exists():
        raise StoreDamaged(f"{mended} is gone, and {database} too: put back what lies in {folder}")
    _forget(database)
    return folder


def _forget(database: Path) -> None:
    """The marks of the damaged file, and at last the note."""
    witness = Witness(database)
    try:
        witness.forget()
    finally:
        witness.close()
    with suppress(FileNotFoundError):
        point("repair.clear")
        (database.parent / "run" / f"{database.name}.doubtful").unlink()
    note = unfinished(database)
    point("repair.end")
    note.unlink()
    sync(note.parent)
