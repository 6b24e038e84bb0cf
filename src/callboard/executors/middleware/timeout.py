"""The time limit of an attempt, for who runs handlers without an engine above (the engine keeps limits itself).

One queue per distinct limit and one timer per queue: limits of equal length end in the order they began, so
nothing has to be sorted, and an attempt costs one entry in a mapping. `asyncio.timeout` costs 8 µs an attempt.
The first entry of a queue is only looked up when its timer is due, since finding the first of a mapping that
loses its first all the time is slow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.ports import Context, Done, Handler, Work


class TimeLimits:
    """The middleware. `time` and `call_at` are those of the running loop unless given (tests have their own)."""

    def __init__(
        self,
        *,
        time: Callable[[], float] | None = None,
        call_at: Callable[[float, Callable[[], None]], Any] | None = None,
    ) -> None:
        self._time, self._call_at = time, call_at
        self._queues: dict[float, dict[int, _Entry]] = {}
        self._armed: set[float] = set()

    async def __call__(self, work: Work, ctx: Context, handler: Handler) -> Done:
        """Raises TimeoutError once the attempt has really stopped."""
        seconds, entry = work.timeout, _Entry(self._now() + work.timeout)
        self._queues.setdefault(seconds, {})[id(entry)] = entry
        self._arm(seconds, entry.until)
        try:
            return await handler(work, ctx)
        except asyncio.CancelledError:
            if entry.is_due and entry.task.uncancel() <= entry.cancelling:
                raise TimeoutError(f"it took longer than its limit of {seconds:g} s") from None
            raise
        finally:
            self._queues[seconds].pop(id(entry), None)

    def _now(self) -> float:
        return self._time() if self._time is not None else asyncio.get_running_loop().time()

    def _arm(self, seconds: float, until: float) -> None:
        if seconds in self._armed:
            return
        self._armed.add(seconds)
        call_at = self._call_at or asyncio.get_running_loop().call_at
        call_at(until, lambda: self._due(seconds))

    def _due(self, seconds: float) -> None:
        self._armed.discard(seconds)
        now = self._now()
        for entry in list(self._queues[seconds].values()):
            if entry.until > now:
                self._arm(seconds, entry.until)
                return
            entry.end()
            del self._queues[seconds][id(entry)]


class _Entry:
    """One attempt that has a limit."""

    __slots__ = ("cancelling", "is_due", "task", "until")

    def __init__(self, until: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task, self.until, self.is_due, self.cancelling = task, until, False, task.cancelling()

    def end(self) -> None:
        self.is_due = True
        self.task.cancel()
