"""When the database is copied: on demand, and once a day, where the copy takes no room that work needs (`backups.py`
says how)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw

from callboard.store.sql import backups
from callboard.store.sql.database import Database, shut
from callboard.store.sql.telling import translated

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes that have to stay free beside a daily copy.
_ROOM = 64 << 20


class Copies(Database):
    """The part of the port `Store` that keeps copies."""

    def backup(self, to: Path) -> Path:
        """Copy the database to `to`, whole or not at all, while others go on reading and writing."""
        self._here()
        try:
            source = self._reader()
            try:
                backups.copy(source, to, self._vfs)
            finally:
                shut(source)
        except (apsw.Error, OSError) as error:
            raise translated(error, to) from error
        return to

    def backup_if_due(self, wall: float) -> Path | None:
        """The daily copy into `backups/`, when the newest is older than a day; the oldest of too many are removed."""
        folder = self.path.parent / "backups"
        with backups.alone(self.path.parent / "run" / f"{self.path.name}.backup") as alone:
            if not alone or not backups.is_due(folder, self.path, wall) or not self._has_plenty():
                return None
            backups.clear(folder, f"{self.path.stem}-2")
            made = self.backup(backups.place(folder, self.path, wall))
            backups.thin(folder, self.path, wall)
            return made

    def _has_plenty(self) -> bool:
        """A copy must not take the room that work needs."""
        there = os.statvfs(self.path.parent)
        return there.f_bavail * there.f_frsize > 2 * self.path.stat().st_size + _ROOM
