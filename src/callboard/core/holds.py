"""Holds: a person's pause, an empty purse, an interruption. What is at work goes on; what would start waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.events import tick
from callboard.core.status import RUNNING
from callboard.core.step import No

if TYPE_CHECKING:
    from callboard.core import facts as f
    from callboard.core.step import Step


def paused(work: Step, fact: f.Paused) -> bool:
    run = work.run
    if run.status is not RUNNING or not run.acting:
        raise No(f"the run goes on as {run.replaced}" if run.replaced else "only a running run can be paused")
    return add_hold(work, "paused")


def interrupted(work: Step, fact: f.Interrupted) -> bool:
    return work.run.acting and add_hold(work, "interrupted")


def add_hold(work: Step, hold: str) -> bool:
    work.run.holds.add(hold)
    work.state_moved = True
    hold_admission(work)
    return True


def hold_admission(work: Step) -> None:
    if work.admission is not None:
        work.admission.forget(work.run.number)


def resumed(work: Step, fact: f.Resumed) -> bool:
    if not work.living().holds & {"paused", "budget"}:
        raise No("the run is not paused")
    return lift(work, "paused", "budget")


def raised(work: Step, fact: f.Raised) -> bool:
    work.living()
    return lift(work, "budget")


def continued(work: Step, fact: f.Continued) -> bool:
    if "interrupted" not in work.living().holds:
        raise No("the run is not interrupted")
    return lift(work, "interrupted")


def lift(work: Step, *holds: str) -> bool:
    """Lift holds; with the last one, what waits is offered again and missed ticks follow their policy."""
    run = work.run
    had = bool(run.holds)
    run.holds.difference_update(holds)
    work.state_moved = True
    if not had or run.holds:
        return True
    for node in sorted(run.graph.ruled):
        row = run.nodes[node]
        if row.missed:
            row.missed = False
            work.moved[node] = row
            assert row.task.every is not None
            if row.task.every.misfire == "last":
                tick(work, row)
    work.queued.extend(run.ready())
    return True
