"""How fast something may come: as much as one likes at first, then so much a second. Whoever reads it waits."""

from __future__ import annotations


class Pace:
    """`burst` comes at once; what is beyond it at `rate` a second."""

    __slots__ = ("_burst", "_left", "_rate", "_then")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._left, self._then = rate, burst, burst, 0.0

    def wait(self, size: float, now: float) -> float:
        """Seconds to wait before more is read, now that `size` has come."""
        self._left = min(self._burst, self._left + (now - self._then) * self._rate) - size
        self._then = now
        return max(0.0, -self._left / self._rate)
