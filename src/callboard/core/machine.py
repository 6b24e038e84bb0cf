"""The machine: facts in, changes and orders out.

`step` takes each fact to its end before the next: the fact is checked, then applied; every change of a status
is a wave that rules and needs may answer; then admission starts what may start, which brings waves of its
own. A step costs what moved, not what exists. What a person asks and cannot have is refused before anything
is changed; an answer that comes too late is dropped in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core import adopting, answers, documents, events, holds, links, people, reopening
from callboard.core import facts as f
from callboard.core.ending import is_quiet
from callboard.core.executions import write
from callboard.core.orders import Refuse
from callboard.core.rows import dump_branch, dump_run
from callboard.core.step import Decision, No, Step
from callboard.core.waves import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.admission import Admission
    from callboard.core.deadline import Now
    from callboard.core.run import Run


def step(
    run: Run, facts: Sequence[f.Fact], now: Now, drained: bool = True, admission: Admission | None = None
) -> Decision:
    """Apply `facts` to `run` and return only what moved.

    `drained` says that the run's inbox is read to its last fact: only then may it be judged what rules can still
    start, and that the run has ended.
    Without `admission` nothing starts: what would is QUEUED.
    """
    if len(facts) == 1 and type(facts[0]) is f.Succeeded and admission is not None:
        decision = links.pass_on(run, facts[0], now, admission)
        if decision is not None:
            return decision
    work = Step(run, now, admission)
    last = len(facts) - 1
    for number, fact in enumerate(facts):
        take(work, fact, drained and number == last)
    if not facts:
        take(work, None, drained)
    if not drained:
        withhold(work)
    return decide(work)


def take(work: Step, fact: f.Fact | None, last: bool) -> None:
    """Take one fact to its end, or see what has become ready without one."""
    if fact is not None:
        try:
            taken = HANDLERS[type(fact)](work, fact)
        except No as refusal:
            work.orders.append(Refuse(fact, str(refusal)))
            taken = False
        if taken:
            work.decision.journal.append(f.encode(fact))
            if work.waves:
                work.waves.clear()
                work.looped.clear()
    settle(work, last)


def withhold(work: Step) -> None:
    """Note what was not judged, where it would have been: later starts may depend on it."""
    if is_quiet(work.run):
        work.decision.journal.append(UNDRAINED)


def decide(work: Step) -> Decision:
    """All that a step has moved, as rows and orders."""
    decision, run = work.decision, work.run
    for row in work.moved.values():
        write(work, row)
    for number in sorted(work.fired_branches) if work.fired_branches else ():
        decision.branches.append((number, dump_branch(run.branches[number])))
    if work.state_moved or decision.status is not None:
        decision.state = dump_run(run)
    if not decision.journal and (decision.executions or decision.branches or decision.state is not None):
        decision.journal.append(DRAINED)
    orders = work.orders
    decision.orders = [order for order in orders if order is not None] if None in orders else orders  # type: ignore[assignment]
    decision.starts = work.begun
    return decision


UNDRAINED, DRAINED = f.encode(f.Undrained()), f.encode(f.Drained())

HANDLERS: dict[type[Any], Callable[[Step, Any], bool]] = {
    f.Begun: answers.begun,
    f.Admitted: answers.noted,
    f.Undrained: answers.noted,
    f.Drained: answers.noted,
    f.Succeeded: answers.succeeded,
    f.Failed: answers.failed,
    f.TimedOut: answers.timed_out,
    f.Skipped: answers.skipped,
    f.Stopped: answers.stopped,
    f.ListStopped: answers.list_stopped,
    f.LeaseLost: answers.lease_lost,
    f.Halted: answers.halted,
    f.Refused: answers.refused,
    f.Raised: holds.raised,
    f.Produced: answers.produced,
    f.Edited: people.edited,
    f.Approved: people.approved,
    f.Rejected: people.rejected,
    f.Decided: people.decided,
    f.Heard: events.heard,
    f.Judged: events.judged,
    f.Woke: answers.woke,
    f.Ticked: events.ticked,
    f.Listed: answers.listed,
    f.ListFailed: answers.list_failed,
    f.Asked: people.asked,
    f.Paused: holds.paused,
    f.Resumed: holds.resumed,
    f.Cancelled: people.cancelled,
    f.Interrupted: holds.interrupted,
    f.Continued: holds.continued,
    f.Reopened: reopening.reopened,
    f.Adopted: adopting.adopted,
    f.Replaced: adopting.replaced,
    f.DocumentEdited: documents.document_edited,
    f.Published: documents.published,
}
