"""The writers' lock: two files that every writing process takes before it takes the database's own lock.

With the database's busy timeout alone a small write waited up to 830 ms beside a chain of commits, because its
handler sleeps ever longer while the chain hardly pauses; one lock file with short pauses still took 40 ms. So
whoever wants the lock first takes the *turn*, and gives it back when it has the lock: the chain has to queue for
the turn like everyone else, and each waits for one commit at most. Waiting inside `flock` itself was as quick,
but it can't be given up: a process that was stopped (SIGSTOP) with the lock would freeze all others without a word.

A commit asks for four of these calls, and none of them waits, so they are made with the interpreter's lock held
(`PyDLL`). `fcntl.flock` gives it up each time, and one time in twenty a busy thread of the user's takes it and keeps
it for 5 ms: that was one such pause in five commits.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import Busy

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0  # seconds until a lock that is still held becomes an error
_PAUSE, _LONG_PAUSE = 0.00005, 0.001  # seconds between looks: in the first ten milliseconds, and then
_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB
_flock = ctypes.PyDLL(None, use_errno=True).flock


class WriteLock:
    """One writer at a time, among the threads of this process and among processes. Not re-entrant."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        point("lock.open")
        self._turn = os.open(path.with_suffix(".turn"), flags, 0o600)
        self._lock = os.open(path, flags, 0o600)
        self._thread = threading.Lock()

    def __enter__(self) -> None:
        if not self._thread.acquire(timeout=PATIENCE):
            raise Busy("another thread of this process has been writing to the store for a minute")
        try:
            self._wait_for(self._turn)
            try:
                self._wait_for(self._lock)
            finally:
                _give_back(self._turn)
        except BaseException:
            self._thread.release()
            raise

    def __exit__(self, *error: object) -> None:
        _give_back(self._lock)
        self._thread.release()

    def try_enter(self) -> bool:
        """Take the lock if nobody holds it or waits for it now; give it back by `__exit__`."""
        if not self._thread.acquire(blocking=False):
            return False
        taken = False
        if _take(self._turn):
            taken = _take(self._lock)
            _give_back(self._turn)
        if not taken:
            self._thread.release()
        return taken

    def close(self) -> None:
        os.close(self._turn)
        os.close(self._lock)

    def _wait_for(self, file: int) -> None:
        if _take(file):
            return
        began = time.monotonic()
        while not _take(file):
            waited = time.monotonic() - began
            if waited > PATIENCE:
                raise Busy(f"another process has held {self.path} for a minute; is it stopped?", retry_after=10.0)
            time.sleep(_PAUSE if waited < 0.01 else _LONG_PAUSE)


def _take(file: int) -> bool:
    """Whether nobody else has it. Raises OSError."""
    if not _flock(file, _NOW):
        return True
    error = ctypes.get_errno()
    if error == errno.EWOULDBLOCK:
        return False
    raise OSError(error, os.strerror(error))


def _give_back(file: int) -> None:
    _flock(file, fcntl.LOCK_UN)
