"""The lock of an index: one writer at a time, among threads and among processes.

It is `flock` on a file that stays where it is: the kernel gives the lock back when its holder dies, however it dies.
The file is opened below the directory's descriptor and through no link, like everything of a production. A library did
this at first; its later releases try a file system out with files of their own, which a kill leaves in a user's folder.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard import walk
from callboard.crash import point
from callboard.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAUSE = 0.005  # seconds between looks: waiting inside `flock` could not be given up


@contextmanager
def held(directory: int, name: str, patience: float) -> Iterator[None]:
    """Hold the lock `name` in an open directory. Raises Busy after `patience` seconds, InvalidName for what is no
    regular file."""
    point("index.lock")
    lock = walk.open_file(directory, name, os.O_RDWR | os.O_CREAT)
    try:
        _wait_for(lock, name, patience)
        yield
    finally:
        os.close(lock)


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
