"""How a run ends: judged only when it is quiet; or everything is stopped, by a person or by a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.executions import stop
from callboard.core.status import FAILED, RUNNING, STOPPED, SUCCESS, Status

if TYPE_CHECKING:
    from callboard.core.run import Run
    from callboard.core.step import Step


def is_quiet(run: Run) -> bool:
    return run.status is RUNNING and not (run.open or run.probing or run.events or run.pending)


def judge_end(work: Step) -> None:
    run = work.run
    if run.cancelling:
        return finish(work, STOPPED)
    if run.failing >= 0:
        return finish(work, FAILED)
    if run.hopeful > 0 or any(run.nodes[node].will_tick for node in run.graph.ruled):
        return None
    return finish(work, FAILED if run.failures else STOPPED if run.stops else SUCCESS)


def finish(work: Step, status: Status) -> None:
    run = work.run
    run.holds.clear()
    run.cancelling, run.failing = False, -1
    run.events.clear()
    run.probing = None
    for node in run.graph.ruled:
        row = run.nodes[node]
        if row.tick is not None:
            row.tick = None
            work.moved[node] = row
    work.finish(status)
    if work.admission is not None:
        work.admission.forget(run.number)


def stop_all(work: Step) -> None:
    """As by a cancel: all `next` emptied, what waits STOPPED, what is at work STOPPING, nothing acts any more."""
    run = work.run
    run.holds.clear()
    run.events.clear()
    run.probing = None
    work.state_moved = True
    for row in run.nodes[: len(run.plan.tasks)]:
        if row.tick is not None:
            row.tick = None
            row.missed = False
            work.moved[row.id] = row
            work.count(row)
        if row.is_open or row.next is not None:
            stop(work, row)
