"""Time as a value: `now` comes in from outside, deadlines carry all that is needed to judge them.

A wall clock may jump and a monotonic clock starts anew with each boot, so a deadline stores both and the
boot it was set in. In the same boot elapsed time decides; after a reboot the wall does, clamped so that a
clock set back never makes anyone wait longer than the original length.

A lease is a deadline that is looked at again and again, by others than who set it: there the clamp would hold for
ever, so one of another boot that is further away than it was long is over.
"""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """One reading of the clocks: seconds since the epoch, an id of the boot, seconds since that boot."""

    wall: float
    boot: str
    elapsed: float


class Deadline(NamedTuple):
    """An instant in the future: what both clocks read then, and how long the wait was when it was set (s)."""

    wall: float
    boot: str
    elapsed: float
    length: float


def after(now: Now, seconds: float) -> Deadline:
    """The deadline `seconds` from `now`."""
    return Deadline(now.wall + seconds, now.boot, now.elapsed + seconds, seconds)


def holds(lease: Deadline, now: Now) -> bool:
    """Whether a lease is not over."""
    if lease.boot == now.boot:
        return now.elapsed < lease.elapsed
    return 0.0 < lease.wall - now.wall <= lease.length


def left(deadline: Deadline, now: Now) -> float:
    """Seconds until `deadline`, 0 when it is due."""
    if deadline.boot == now.boot:
        return max(0.0, deadline.elapsed - now.elapsed)
    return max(0.0, min(deadline.wall - now.wall, deadline.length))
