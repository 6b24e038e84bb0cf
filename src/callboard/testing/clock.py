"""A clock that moves only when a test says so.

Sleepers are woken in the order of their instants, those of one instant in the order they came, so a test that
moves time sees the same thing every time. No test sleeps.
"""

from __future__ import annotations

import asyncio
import heapq

from callboard.core.deadline import Now


class FakeClock:
    """`ports.Clock` for tests: `advance` lets time pass, `jump` sets the wall, `reboot` starts elapsed time anew."""

    def __init__(self, wall: float = 1_000_000.0, boot: str = "boot-1", elapsed: float = 1_000.0) -> None:
        self._now = Now(wall, boot, elapsed)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> Now:
        return self._now

    async def sleep_until(self, elapsed: float) -> None:
        if elapsed <= self._now.elapsed:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (elapsed, self._count, waiting))
        await waiting

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks and wake whoever is due. They run when the caller next awaits."""
        now = self._now
        self._now = Now(now.wall + seconds, now.boot, now.elapsed + seconds)
        self._wake()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; elapsed time, and so every sleeper, is untouched."""
        self._now = self._now._replace(wall=self._now.wall + seconds)

    def reboot(self, boot: str, *, down: float = 60.0) -> None:
        """The machine was off for `down` seconds: another boot id, elapsed time from 0. Sleepers are gone."""
        self._now = Now(self._now.wall + down, boot, 0.0)
        self._sleepers.clear()

    @property
    def sleeping(self) -> tuple[float, ...]:
        """The elapsed times that someone sleeps until, soonest first."""
        return tuple(sorted(at for at, _, waiting in self._sleepers if not waiting.done()))

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now.elapsed:
            waiting = heapq.heappop(self._sleepers)[2]
            if not waiting.done():
                waiting.set_result(None)
