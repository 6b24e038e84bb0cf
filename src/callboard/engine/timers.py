"""All instants an engine waits for: one heap, one sleeper on the clock port.

A timer is never taken out: what it would bring is old by then, and old facts change nothing. Deadlines are
judged when they are set, by the elapsed clock of this boot; the wall may jump as it likes meanwhile. What is called
and fails is told, and the others are called all the same: a sleeper that ended with it would silence every limit,
retry and lease of an engine that seems to live.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

from callboard.core.deadline import left

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.deadline import Deadline
    from callboard.engine.telling import Telling
    from callboard.ports import Clock


class Timers:
    """Calls back on the loop when an instant has come, in order of the instants."""

    def __init__(self, clock: Clock, tell: Telling) -> None:
        self._clock, self._tell = clock, tell
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._sleeper: asyncio.Task[None] | None = None
        self._closed = False

    def at(self, elapsed: float, call: Callable[[], None]) -> None:
        """Call once `now().elapsed >= elapsed`; soon, when that is past already."""
        self._count += 1
        heapq.heappush(self._heap, (elapsed, self._count, call))
        if self._heap[0][1] == self._count:
            self._arm()

    def due(self, deadline: Deadline, call: Callable[[], None]) -> None:
        """Call when `deadline` is due, whatever boot it was set in."""
        now = self._clock.now()
        self.at(now.elapsed + left(deadline, now), call)

    def elapsed(self) -> float:
        return self._clock.now().elapsed

    def close(self) -> None:
        """Forget every instant and wake no more."""
        self._closed = True
        self._heap.clear()
        self._disarm()

    def _disarm(self) -> None:
        if self._sleeper is not None:
            self._sleeper.cancel()
            self._sleeper = None

    def _arm(self) -> None:
        self._disarm()
        if self._heap and not self._closed:
            self._sleeper = asyncio.get_running_loop().create_task(self._sleep(self._heap[0][0]))

    async def _sleep(self, elapsed: float) -> None:
        await self._clock.sleep_until(elapsed)
        self._sleeper = None
        now = self._clock.now().elapsed
        while self._heap and self._heap[0][0] <= now:
            self._call(heapq.heappop(self._heap)[2])
        if self._sleeper is None:
            self._arm()

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._tell.fault("a timer failed", error)
