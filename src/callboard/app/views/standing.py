"""Why does a run not move? What holds it, whom it waits for, or that nobody carries it out. And what of an ended one
is older than what a person has made since?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.reasons import because, older
from callboard.core.status import ENDED

if TYPE_CHECKING:
    from callboard.core.run import Run

NO_ENGINE = "no engine"


def reason(run: Run, *, owned: bool, room: str = "") -> str:
    """The machine's word for it; *no engine* where only somebody to carry it out is missing. After the end
    *adopted RUN* where that run goes on in its place, or *stale PATH*.

    `room` is what the project lacks to write, in words, so that whoever carries the run out has paused.
    """
    if run.replaced:
        return f"adopted {run.replaced}"
    if run.status in ENDED:
        return next((f"stale {path}" for path in stale(run).values()), "")
    if room and owned:
        return f"paused: {room}"
    return because(run) or ("" if owned else NO_ENGINE)


def stale(run: Run) -> dict[str, str]:
    """Tasks that are made from an older version of a document, by name, with the document's path."""
    found = {row.task.name: older(run, row) for row in run.nodes[: len(run.plan.tasks)]} if run.edits else {}
    return {name: path for name, path in found.items() if path}
