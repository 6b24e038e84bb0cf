"""The three standard streams, as a long run needs them: none may end it, and none may be somebody else's file.

What is printed on standard error is for people. A log on a full disk, a closed terminal, a reader that has left are no
reason to stop work that is under way, so what cannot be written there is dropped. Standard output carries results:
there a failure is told, because a script would take half an answer for the whole one.

A program may be started with a stream closed (cron and daemons do). The number of a closed stream is free, the next
file that is opened gets it, and a message printed to "standard error" would then be written into the database. So the
three numbers are taken before anything is opened.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from callboard.errors import OutputLost

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_STREAMS = ("stdin", "stdout", "stderr")


def take_numbers() -> None:
    """Give each stream that was closed when we were started the empty device."""
    for number, name in enumerate(_STREAMS):
        if getattr(sys, name) is not None:
            continue
        handle = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if handle != number and not _is_open(number):
            os.dup2(handle, number)
        # closefd: the number stays taken until the process ends, whatever becomes of this object
        setattr(sys, name, open(handle, "w" if number else "r", encoding="utf-8", closefd=False))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Streams:
    """A context in which `sys.stdout` and `sys.stderr` fail as said above."""

    def __enter__(self) -> None:
        self._before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Stream(sys.stdout, _lost), _Stream(sys.stderr, lambda error: None)

    def __exit__(self, *error: object) -> None:
        sys.stdout, sys.stderr = self._before


def leave() -> None:
    """Before the process ends: the interpreter would complain, with an exit code of its own, of what is still unwritten
    on a stream that cannot be written to. Whoever had to know has been told."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Stream:
    """As the stream it stands for, but that `failed` hears when writing fails."""

    def __init__(self, stream: TextIO, failed: Callable[[OSError], None]) -> None:
        self._stream, self._failed = stream, failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)


def _lost(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise error  # the reader has what it wanted
    raise OutputLost(
        f"standard output cannot be written to: {error.strerror or error}; nothing recorded is lost"
    ) from None
