"""Time as a value: `now` comes in from outside, deadlines carry all that is needed to judge them.

A wall clock may jump and a monotonic clock starts anew with each boot, so a deadline stores both and the
boot it was set in. In the same boot elapsed time decides; after a reboot the wall does, clamped so that a
clock set back never makes anyone wait longer than the original length.
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


def left(deadline: Deadline, now: Now) -> float:
    """Seconds until `deadline`, 0 when it is due."""
    if deadline.boot == now.boot:
        return max(0.0, deadline.elapsed - now.elapsed)
    return max(0.0, min(deadline.wall - now.wall, deadline.length))
