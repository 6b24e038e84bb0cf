"""Whether the write-ahead log on the disk is the one that can be read.

After a sync that failed the kernel calls the pages clean that it could not write: they can be read, and never
reach the disk. SQLite forgets a commit that failed so, but its frames stand in the log, and whoever recovers the
log believes them; what is then recorded behind them is lost with the next power cut, however well it was synced.
So a log is *in doubt* from an I/O error on until the connection that knows how much of it is true has emptied it.
If that cannot be done any more, the next to open it writes the log anew, byte by byte, before he recovers it. To
close and open the file was tried first: that is the recovery.

The doubt is about what the kernel remembers, so the mark of it need not outlive the machine: it is not synced.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from callboard.store.sql.files import sync_file

_PART = 1 << 20
logs_here: set[Path] = set()  # logs that this process doubts: a disk that fails may not take the mark


class Doubt:
    """About the log of a database. True while it is in doubt for this process."""

    def __init__(self, database: Path) -> None:
        self._log = Path(f"{database}-wal")
        self._mark = database.parent / "run" / f"{database.name}.doubtful"

    def __bool__(self) -> bool:
        return bool(logs_here) and self._log in logs_here

    def begin(self) -> None:
        logs_here.add(self._log)
        with suppress(OSError):
            self._mark.touch(mode=0o600)

    def end(self) -> None:
        logs_here.discard(self._log)
        with suppress(OSError):
            self._mark.unlink(missing_ok=True)

    @property
    def is_marked(self) -> bool:
        """Whether this process or one before it has left the log in doubt."""
        return bool(self) or self._mark.exists()

    def settle(self) -> None:
        """Before the log is recovered, under the writers' lock: make durable what can be read. Raises OSError."""
        if self.is_marked:
            self._write_anew()
            self.end()
        else:
            self.sync()

    def sync(self) -> None:
        """What is to be recovered may be the last words of a process that was killed before they were durable."""
        try:
            sync_file(self._log)
        except FileNotFoundError:
            return
        except OSError:
            self.begin()
            raise

    def _write_anew(self) -> None:
        with suppress(FileNotFoundError):
            log = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
            try:
                offset = 0
                while part := os.pread(log, _PART, offset):
                    offset += os.pwrite(log, part, offset)
                os.fsync(log)
            finally:
                os.close(log)
