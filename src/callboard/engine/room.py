"""Room to write: what an engine does when its disk has none.

A write that finds no room gives the reserve up, and what was at work is recorded in the room it leaves; nothing starts
until the reserve stands again. Whether it can is tried at first every second, and less often when that was too soon.
It says so once when it begins and once when it is over, however many writes fail in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.errors import NoRoom

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.admission import Admission
    from callboard.engine.timers import Timers
    from callboard.errors import CallboardError
    from callboard.ports import Reserve

#: Seconds between two looks for room; the later ones when writes went on failing although there seemed to be some.
LOOKS = (1.0, 1.0, 2.0, 5.0)
#: Bytes that a document in place may need, and more of them are not kept for it.
PLENTY = 4 << 20
_CALM = 3
OVER = "there is room again: going on"


class Room:
    """Shuts an engine's admission while there is no room. `tell` hears of it, `wake` when it is over.

    Without a reserve (a store in memory) there is always room.
    """

    def __init__(
        self,
        reserve: Reserve | None,
        admission: Admission,
        timers: Timers,
        tell: Callable[[str, str], None],
        wake: Callable[[], None],
    ) -> None:
        self._reserve, self._admission, self._timers, self._tell, self._wake = reserve, admission, timers, tell, wake
        self._times = 0  # that it was short without a write that succeeded in between
        self._calm = _CALM  # looks that found room since a write failed
        self.short = ""  # what is missing, in words

    def begin(self) -> None:
        """A project without its reserve has no room before it is made."""
        if self._reserve is not None and (lacks := self._reserve.make()):
            self._run_short(lacks)

    def failed(self, error: CallboardError) -> bool:
        """A write has failed. Whether it is worth trying again at once, because there is some room now."""
        if self._reserve is None:
            return False
        lacks = error.lacks if isinstance(error, NoRoom) else self.lacking()
        if not lacks:
            return False
        self._calm = 0
        self._run_short(lacks)
        return self._reserve.give_up()

    def misplaced(self) -> None:
        """A document could not be put in place: if that is our own disk, it may have the reserve."""
        if self._reserve is not None and not self.short and (lacks := self._reserve.lacking(PLENTY)):
            self._run_short(lacks)
            self._reserve.give_up()

    def lacking(self) -> str:
        """What is missing to write anything at all."""
        return "" if self._reserve is None else self._reserve.lacking()

    def written(self) -> None:
        """A write has succeeded."""
        self._calm = _CALM
        if not self.short:
            self._times = 0

    def _run_short(self, lacks: str) -> None:
        if self.short:
            return
        self.short = lacks
        self._admission.shut = True
        self._tell("paused", f"paused: {lacks}; what is recorded is safe, and it goes on when that is mended")
        self._look_later()
        self._times += 1

    def _look_later(self) -> None:
        self._timers.at(self._timers.elapsed() + LOOKS[min(self._times, len(LOOKS) - 1)], self._look)

    def _look(self) -> None:
        assert self._reserve is not None
        try:
            lacks = self._reserve.make()
        except Exception:
            self._look_later()  # or nothing would ever start again
            raise
        if lacks:
            return self._look_later()
        self._calm += 1
        if self._calm <= _CALM:  # there seems to be room, and yet the last write has failed
            return self._look_later()
        self.short = ""
        self._admission.shut = False
        self._tell("running", OVER)
        return self._wake()
