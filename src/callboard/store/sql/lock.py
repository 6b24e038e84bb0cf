"""The writers' lock: a file that every writing process takes before it takes the database's own lock.

With the database's busy timeout alone a small write waited up to 830 ms beside a chain of commits, because its
handler sleeps ever longer while the chain never pauses. Whoever waits here looks again every fraction of a
millisecond. Waiting inside `flock` itself was as quick, but it cannot be given up: a process that was stopped
(SIGSTOP) while it held the lock would have frozen all others without a word.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

from callboard.errors import Busy

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0  # seconds until a lock that is still held becomes an error
_PAUSES = (0.00005, 0.0001, 0.0002, 0.0003)


class WriteLock:
    """One writer at a time, among the threads of this process and among processes. Not re-entrant."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._thread = threading.Lock()

    def __enter__(self) -> None:
        if not self._thread.acquire(timeout=PATIENCE):
            raise Busy("another thread of this process has been writing to the store for a minute")
        try:
            if not self._try():
                self._wait()
        except BaseException:
            self._thread.release()
            raise

    def __exit__(self, *error: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def try_enter(self) -> bool:
        """Take the lock if nobody holds it now; give it back by `__exit__`."""
        if not self._thread.acquire(blocking=False):
            return False
        if self._try():
            return True
        self._thread.release()
        return False

    def close(self) -> None:
        os.close(self._file)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self) -> None:
        until, turn = time.monotonic() + PATIENCE, 0
        while not self._try():
            if time.monotonic() > until:
                raise Busy(f"another process has held {self.path} for a minute; is it stopped?", retry_after=10.0)
            time.sleep(_PAUSES[min(turn, len(_PAUSES) - 1)])
            turn += 1
