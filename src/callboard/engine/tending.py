"""What an engine does beside its runs, in threads of its own while everything goes on.

A bell that is silent tells of an engine that has died: what it has left behind is ended when the next one starts, and
looked for every minute. (Of an engine whose run is taken up it is ended before that.) And there is a daily copy of the
store. Whether it is due is looked at every minute, and once when an engine leaves in good order, because most of them
live for seconds. A copy that cannot be made today is made when it can be: it stops nobody, and `callboard doctor` tells
how old the newest one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.engine.doorbell import silent, take_down
from callboard.errors import CallboardError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from callboard.engine.recovery import Clear
    from callboard.engine.threads import Threads
    from callboard.ports import Clock, Store

#: Seconds between two looks.
EVERY = 60.0


class Tending:
    """One engine's. `clear` ends what dead engines have left, those whose bells hang in `folder` and others; `fault`
    hears of errors of our own."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        threads: Threads,
        fault: Callable[[str, Exception], None],
        folder: Path | str | None,
        clear: Clear | None,
    ) -> None:
        self._store, self._clock, self._threads, self._fault = store, clock, threads, fault
        self._folder, self._clear = folder, clear
        self._clearing: Executor | None = None

    def start(self) -> None:
        if self._clear is not None and self._folder is not None and silent(self._folder):
            self._clearing = self._threads.worker("callboard-clearing")
            self._clearing.submit(self.look_around)
        self._end = self._threads.beat(EVERY, self.look, "callboard-tending")

    def stop(self, *, once_more: bool) -> None:
        """Blocks."""
        self._end()
        if self._clearing is not None:
            self._clearing.shutdown()
        if once_more:
            self.copy()

    def look(self) -> None:
        self.look_around()
        self.copy()

    def look_around(self) -> None:
        """End what engines have left whose bells are silent; only then these come down."""
        if self._clear is None or self._folder is None:
            return
        try:
            bells = silent(self._folder)
            if bells:
                self._clear(None)
            for bell in bells:
                take_down(bell)
        except CallboardError:  # the next look, then
            pass
        except Exception as error:
            self._fault("what a dead engine has left cannot be ended", error)

    def copy(self) -> None:
        try:
            self._store.backup_if_due(self._clock.now().wall)
        except (CallboardError, OSError):
            pass
        except Exception as error:  # not even that ends the looking
            self._fault("no copy of the store can be made", error)
