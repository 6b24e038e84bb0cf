"""What an executor raises, turned into what a backend may raise: a `StepError`, so that it can be recorded.

A user's function may raise anything, even SystemExit or its own cancellation; none of it may reach the loop as
such. Of an executor of ours only what plainly is a broken connection, or a machine that has nothing left to do it
with, counts as transient, since repeating a wrong call costs and helps nobody. Of a user's function everything does:
it is tried again only if its task says so, and then the user has asked for it; a function that knows better raises
`Permanent` itself.
"""

from __future__ import annotations

import errno
import socket
import traceback

from callboard.errors import CallboardError, Permanent, StepError, Transient
from callboard.text import strict

_PASSING = (ConnectionError, TimeoutError, socket.gaierror, MemoryError)
#: What the machine has too little of for now: not the step's fault, and of no use to set it down to it.
SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN))
_MOST_TRACE = 8_000  # characters of a traceback that are kept as evidence


def step_error(error: BaseException, *, of_user: bool = False) -> StepError:
    """The StepError for anything raised by an executor (`of_user`: by a user's function); itself when it is one."""
    if isinstance(error, StepError):
        return error
    if isinstance(error, CallboardError):
        return Permanent(str(error), evidence={"type": type(error).__name__})
    passing = isinstance(error, _PASSING) or (of_user and isinstance(error, Exception))
    passing = passing or (isinstance(error, OSError) and error.errno in SCARCE)
    kind = Transient if passing else Permanent
    return kind(_sentence(error), evidence={"type": type(error).__name__, "traceback": trace(error)})


def trace(error: BaseException) -> str:
    """The traceback as text, its middle left out when it is long."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # a __str__ or __repr__ of the user's that raises
        text = f"{type(error).__name__} (its text cannot be shown)"
    text = strict.plain(text)
    half = _MOST_TRACE // 2
    return text if len(text) <= _MOST_TRACE else f"{text[:half]}\n…\n{text[-half:]}"


def _sentence(error: BaseException) -> str:
    try:
        what = str(error)
    except BaseException:
        what = ""
    what = what[:2_000].encode(errors="replace").decode()
    return f"{type(error).__name__}: {what}" if what else type(error).__name__
