"""How fast one model may be asked: calls at once, requests per minute, tokens per minute.

A token bucket per quantity, filled by elapsed time of the clock that is passed in, so a test moves time instead of
waiting. Whoever comes first is served first: the one in front holds the door until the buckets have enough for
it, for otherwise a large request would starve behind small ones. What a call really used is settled afterwards and
may leave a bucket below zero; then the next one waits for it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from callboard.ports import Clock


class Limit(NamedTuple):
    """Of one model; 0 means no limit. `requests` and `tokens` are per minute."""

    concurrency: int = 0
    requests: int = 0
    tokens: int = 0


class Bucket:
    """Holds up to `capacity`, filled with as much per minute; starts full."""

    __slots__ = ("_at", "_capacity", "_level")

    def __init__(self, capacity: int, now: float) -> None:
        self._capacity, self._level, self._at = capacity, float(capacity), now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; more than the bucket can ever hold counts as all it holds."""
        self._fill(now)
        return max(0.0, (min(amount, self._capacity) - self._level) * 60 / self._capacity)

    def take(self, amount: float, now: float) -> None:
        """Take out `amount`, also a negative one, and below zero if need be."""
        self._fill(now)
        self._level = min(self._level - amount, float(self._capacity))

    def _fill(self, now: float) -> None:
        gained = max(0.0, now - self._at) * self._capacity / 60
        self._level, self._at = min(float(self._capacity), self._level + gained), max(now, self._at)


class Pass:
    """A call that has been let in. Say with `used` how many tokens it really took."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def used(self, tokens: int) -> None:
        self.tokens = tokens


class Limiter:
    """The door of one model."""

    def __init__(self, limit: Limit, clock: Clock) -> None:
        now = clock.now().elapsed
        self._clock = clock
        self._places = asyncio.Semaphore(limit.concurrency) if limit.concurrency else None
        self._requests = Bucket(limit.requests, now) if limit.requests else None
        self._tokens = Bucket(limit.tokens, now) if limit.tokens else None
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def enter(self, tokens: int) -> AsyncIterator[Pass]:
        """Wait until a call of about `tokens` tokens may be made, and hold a place while it is."""
        if self._places is not None:
            await self._places.acquire()
        try:
            await self._pay(tokens)
            held = Pass(tokens)
            try:
                yield held
            finally:
                if self._tokens is not None and held.tokens != tokens:
                    self._tokens.take(held.tokens - tokens, self._clock.now().elapsed)
        finally:
            if self._places is not None:
                self._places.release()

    async def _pay(self, tokens: int) -> None:
        wanted = [(bucket, n) for bucket, n in ((self._requests, 1), (self._tokens, tokens)) if bucket is not None]
        if not wanted:
            return
        async with self._door:
            while True:
                now = self._clock.now().elapsed
                longest = max(bucket.wait(n, now) for bucket, n in wanted)
                if longest <= 1e-6:
                    break
                await self._clock.sleep_until(now + longest)
            for bucket, n in wanted:
                bucket.take(n, now)
