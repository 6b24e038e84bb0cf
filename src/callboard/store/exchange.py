"""Two files of a directory change their names at once: the one way to replace a file and lose nothing.

`rename` destroys whatever stands under the new name at that instant, also what a person has saved since we looked.
Linux can exchange two names instead (`renameat2`, on nearly all its file systems), so that what was there can be
looked at afterwards and put back. Python does not offer the call, so the C library is asked; whoever records what is
done to a disk (`testing/disk`) hears of it by two audit events, and may raise what a disk would at the first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_EXCHANGE = 2  # RENAME_EXCHANGE
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP)


def exchange(parent: int, one: str, other: str) -> bool:
    """Exchange two names in the directory behind `parent`; False where that cannot be done, or one is not there."""
    call = _call()
    if call is None:
        return False
    sys.audit("callboard.exchange", parent, one, other)
    if call(parent, os.fsencode(one), parent, os.fsencode(other), _EXCHANGE) == 0:
        sys.audit("callboard.exchanged", parent, one, other)
        return True
    number = ctypes.get_errno()
    if number in _NOT_HERE or number == errno.ENOENT:
        return False
    raise OSError(number, os.strerror(number), other)


@cache
def _call() -> Any:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return call
