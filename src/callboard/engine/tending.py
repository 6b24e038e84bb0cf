"""The daily copy of the store, made in a thread of its own while everything goes on.

Whether it is due is looked at every minute, and once when an engine leaves in good order, because most of them live for
seconds. A copy that cannot be made today is made when it can be: it stops nobody, and `callboard doctor` tells how old
the newest one is.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from callboard.errors import CallboardError

if TYPE_CHECKING:
    from callboard.engine.threads import Threads
    from callboard.ports import Clock, Store

#: Seconds between two looks.
EVERY = 60.0


class Tending:
    """One engine's."""

    def __init__(self, store: Store, clock: Clock, threads: Threads) -> None:
        self._store, self._clock, self._threads = store, clock, threads

    def start(self) -> None:
        self._end = self._threads.beat(EVERY, self.look, "callboard-tending")

    def stop(self, *, once_more: bool) -> None:
        """Blocks."""
        self._end()
        if once_more:
            self.look()

    def look(self) -> None:
        with contextlib.suppress(CallboardError, OSError):
            self._store.backup_if_due(self._clock.now().wall)
