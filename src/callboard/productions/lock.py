"""The lock of an index: one writer at a time, among threads and among processes.

It is `flock` on a file that stays where it is: the kernel gives the lock back when its holder dies, however it dies.
The file is opened below the directory's descriptor and through no link, like everything of a production. A library did
this at first; its later releases try a file system out with files of their own, which a kill leaves in a user's folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import Busy, InvalidName

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PAUSE = 0.005  # seconds between looks: waiting inside `flock` could not be given up


@contextmanager
def held(directory: int, name: str, patience: float) -> Iterator[None]:
    """Hold the lock `name` in an open directory. Raises Busy after `patience` seconds, InvalidName for what is no
    regular file."""
    lock = _opened(directory, name)
    try:
        _wait_for(lock, name, patience)
        yield
    finally:
        os.close(lock)


def _opened(directory: int, name: str) -> int:
    point("index.lock")
    try:
        lock = os.open(name, _FLAGS, 0o666, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise InvalidName(f"{name!r} is no regular file; links are not followed") from error
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise InvalidName(f"{name!r} is no regular file")
    return lock


def _wait_for(lock: int, name: str, patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise Busy(
                    f"another process has held {name} for {patience:.0f} s; try again", retry_after=5.0
                ) from None
        time.sleep(_PAUSE)
