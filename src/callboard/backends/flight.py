"""One call in flight in a child: whose it is, how it ended, and how much it may say meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard.ports import Context, Json

_MOST_LOSSY, _LOSSY_RATE = 1_000, 100  # log lines and signs of progress of a call: at first, and then a second


class Flight:
    """One call in flight. `ended` is set to its value, its StepError or WorkerLost; to None when it was stopped."""

    __slots__ = ("_how", "_lossy", "asks", "began", "ctx", "ended", "id", "is_stopping")

    def __init__(self, id: int, ctx: Context) -> None:
        self.id, self.ctx, self.is_stopping, self.began = id, ctx, False, _boottime()
        self._lossy = 0
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asks: set[asyncio.Task[None]] = set()
        self._how: tuple[Json, Exception | None] | None = None

    def outlive(self) -> None:
        """The cancellation of who awaited it has taken `ended` along: have a new one. (A shield costs every call.)"""
        if self.ended.cancelled():
            self.ended = asyncio.get_running_loop().create_future()
            if self._how is not None:  # it ended just between the cancellation and now
                self.end(*self._how)

    def tells(self) -> None:
        """Something that may be lost. Raises ValueError for more than its own side ever sends."""
        self._lossy += 1
        if self._lossy > _MOST_LOSSY and self._lossy > _MOST_LOSSY + _LOSSY_RATE * (_boottime() - self.began):
            raise ValueError("more log lines than a call can have")

    def end(self, value: Json = None, error: Exception | None = None) -> None:
        self._how = value, error
        for ask in self.asks:
            ask.cancel()
        if self.ended.done():
            return
        if error is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(value)


STOPPED = object()  # the value of a flight that was asked to stop and did


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
