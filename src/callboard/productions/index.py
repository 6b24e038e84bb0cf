"""`production_db.csv` on the disk: one writer at a time, readers never wait.

A change is made under a lock file: read, change, write a new file, put it in place of the old one. A reader needs
no lock, because the file is replaced whole. What was parsed is kept and used again only while the file's bytes are
the same: comparing 1 MB takes a tenth of a millisecond, and a comparison of times and sizes was not taken, because
two writes may share a tick of the clock, the size and even the inode.

Beside it stands `last_id`: the largest id ever given. It is what keeps the id of a deleted instance from coming
again, and it is synced when something is deleted; when an instance is made, the directory itself is the proof.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import InvalidName, NotFound
from callboard.productions import folder, lock, sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from callboard.productions.sheet import Sheet

FILE = "production_db.csv"
LOCK = "production_db.csv.lock"
LAST = "last_id"
PATIENCE = 30.0  # seconds to wait for the lock


class Index:
    """The index of one production: `root` is its directory, `settings` the name of the one inside it."""

    def __init__(self, root: Path, settings: str, identify: Callable[[str, str], str]) -> None:
        self._root, self._settings, self._identify = root, settings, identify
        self.file = root / settings / FILE
        self._known: tuple[bytes, Sheet] | None = None

    def read(self) -> Sheet | None:
        """The rows, not to be changed; None when there is no file. Raises InvalidFile when it is damaged."""
        raw = self._raw()
        if raw is None:
            return None
        known = self._known
        if known is None or known[0] != raw:
            known = self._known = (raw, sheet.parse(raw, self._identify, file=str(self.file)))
        return known[1]

    def _raw(self) -> bytes | None:
        try:
            with folder.opened(self._root, self._settings) as settings:
                return folder.read(settings, FILE)
        except NotFound:
            return None

    def write(self, rows: Sheet) -> bool:
        """Put the rows in place of what is there; False when that is the same already. Under the lock only."""
        raw = rows.encode()
        if self._known is not None and self._known[0] == raw == self._raw():
            return False
        point("index.write")
        with folder.opened(self._root, self._settings) as settings:
            folder.write(settings, FILE, raw)
        point("index.written")
        self._known = (raw, rows)
        return True

    def set_aside(self, stamp: str) -> tuple[Path, Sheet]:
        """Keep a damaged file under another name; that name, and what can still be read of it. Under the lock only."""
        raw = self._raw() or b""
        name = f"{FILE}.damaged-{stamp}"
        with folder.opened(self._root, self._settings) as settings:
            taken = {entry.name for entry in folder.entries(settings)}
            name = next(one for one in (name, *(f"{name}-{n}" for n in range(2, 10_000))) if one not in taken)
            point("index.aside")
            folder.write(settings, name, raw, replace=False)
        return self.file.with_name(name), sheet.salvage(raw, self._identify)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only writer, across threads and processes. Raises Busy after half a minute of waiting."""
        with folder.opened(self._root, self._settings) as settings:
            entries = folder.entries(settings)
            with lock.held(settings, LOCK, PATIENCE):
                self._clear([entry.name for entry in entries if entry.is_file and folder.is_leftover(entry.name)])
                yield

    def _clear(self, leftovers: list[str]) -> None:
        """Whoever wrote these before we had the lock is done with them, or dead."""
        if leftovers:
            with folder.opened(self._root, self._settings) as settings:
                for name in leftovers:
                    folder.remove(settings, name)

    def last(self) -> int:
        """The largest id ever given, as far as it was noted; 0 when nothing was."""
        try:
            with folder.opened(self._root, self._settings) as settings:
                text = folder.read(settings, LAST).strip()
        except (NotFound, InvalidName):
            return 0
        return int(text) if text.isdigit() and len(text) < 19 else 0

    def note(self, number: int, *, durable: bool) -> None:
        """Note that `number` was given. Under the lock only."""
        point("index.note")
        with folder.opened(self._root, self._settings) as settings:
            folder.write(settings, LAST, b"%d\n" % number, durable=durable)
