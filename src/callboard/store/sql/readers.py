"""The connections that only read: each lent to one thread at a time, and another one opened when none is idle.

Where none can be opened, as no descriptors are left, one of those that others read with will do: soon they are done,
and no step should fail because it was the second to read.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds in which whoever reads is done with it.
_OVER = 5.0


class Readers:
    """`opened` makes one more."""

    def __init__(self, opened: Callable[[], apsw.Connection]) -> None:
        self._opened = opened
        self.idle: list[apsw.Connection] = []
        self._lent = set[apsw.Connection]()

    def lend(self) -> apsw.Connection:
        """An idle one, else a new one, else the next that is given back. Raises apsw.Error."""
        try:
            connection = self.idle.pop()
        except IndexError:
            connection = self._another()
        self._lent.add(connection)
        return connection

    def give_back(self, connection: apsw.Connection) -> None:
        self.idle.append(connection)
        self._lent.discard(connection)

    def _another(self) -> apsw.Connection:
        until = time.monotonic() + _OVER
        while True:
            try:
                return self._opened()
            except apsw.CantOpenError:
                if not (self.idle or self._lent) or time.monotonic() > until:
                    raise
            time.sleep(0.005)
            with suppress(IndexError):
                return self.idle.pop()
