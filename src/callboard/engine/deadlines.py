"""Time limits of attempts: one first-in-first-out queue for each distinct timeout.

Attempts with the same limit fall due in the order they began, so a queue needs no sorting, and only its head
needs a timer. `asyncio.timeout` costs 8 µs an attempt and `call_later` 4; this costs a fraction of one. What has
ended is dropped when it reaches the head, and the queue is swept when most of it has ended.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.engine.timers import Timers


class Timed(Protocol):
    """What has a time limit. `due` is elapsed seconds; `over` is set when it has ended."""

    due: float
    over: bool


class _Queue:
    __slots__ = ("entries", "room", "timed")

    def __init__(self) -> None:
        self.entries: deque[Any] = deque()
        self.timed = False  # a timer stands for the head
        self.room = 256  # length at which it is swept


class Deadlines:
    """Calls `expire(one)` on the loop for each that is not over when its time is."""

    def __init__(self, timers: Timers, expire: Callable[[Any], None]) -> None:
        self._timers, self._expire = timers, expire
        self._queues: dict[float, _Queue] = {}

    def add(self, one: Timed, timeout: float, elapsed: float) -> None:
        """`one` begins at `elapsed` and may take `timeout` seconds."""
        one.due = elapsed + timeout
        queue = self._queues.get(timeout)
        if queue is None:
            queue = self._queues[timeout] = _Queue()
        entries = queue.entries
        while entries and entries[0].over:
            entries.popleft()
        entries.append(one)
        if not queue.timed:
            self._set(queue)
        elif len(entries) > queue.room:
            queue.entries = deque(entry for entry in entries if not entry.over)
            queue.room = 256 + 2 * len(queue.entries)

    def _set(self, queue: _Queue) -> None:
        queue.timed = True
        self._timers.at(queue.entries[0].due, lambda: self._fall_due(queue))

    def _fall_due(self, queue: _Queue) -> None:
        queue.timed = False
        now, entries = self._timers.elapsed(), queue.entries
        try:
            while entries and (entries[0].over or entries[0].due <= now):
                one = entries.popleft()
                if not one.over:
                    self._expire(one)
        finally:
            if entries:
                self._set(queue)  # whatever has become of the head, the others have their limits
