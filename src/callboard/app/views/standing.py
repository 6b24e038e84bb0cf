"""Why does a run not move? What holds it, whom it waits for, or that nobody carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.reasons import because
from callboard.core.status import ENDED

if TYPE_CHECKING:
    from callboard.core.run import Run

NO_ENGINE = "no engine"


def reason(run: Run, *, owned: bool, room: str = "") -> str:
    """The machine's word for it; *no engine* where only somebody to carry it out is missing, *adopted RUN* where that
    run goes on in its place. `room` is what the project lacks to write, in words, so that whoever carries the run out
    has paused."""
    if run.replaced:
        return f"adopted {run.replaced}"
    if room and owned and run.status not in ENDED:
        return f"paused: {room}"
    said = because(run)
    return said or ("" if owned or run.status in ENDED else NO_ENGINE)
