"""The real clock: wall time, the boot, and seconds since that boot, suspended or not.

Elapsed time is CLOCK_BOOTTIME where there is one: a laptop that slept for a night has let a lease run out.
asyncio's own clock stands still meanwhile, so a long sleep is taken in pieces and judged anew after each.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from callboard.core.deadline import Now

_PIECE = 30.0  # seconds of asyncio's clock, the longest an instant that passed in suspension is noticed late
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What tells this boot of the machine from every other; made from the time of the boot where there is none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return f"boot-{round(time.time() - time.monotonic(), -1):.0f}"


class SystemClock:
    """`ports.Clock` of this machine."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Now:
        return Now(time.time(), self._boot, time.clock_gettime(self._clock))

    async def sleep_until(self, elapsed: float) -> None:
        while (left := elapsed - self.now().elapsed) > 0:  # noqa: ASYNC110  time is what is awaited
            await asyncio.sleep(min(left, _PIECE))
