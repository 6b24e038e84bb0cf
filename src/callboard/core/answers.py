"""Answers: what the outside says of executions and lists. One that is late is dropped in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core import documents, mapped
from callboard.core import facts as f
from callboard.core.deadline import after
from callboard.core.events import hear, start_ticks
from callboard.core.executions import begin, delay, end, retry
from callboard.core.holds import hold_admission
from callboard.core.orders import Wake
from callboard.core.run import Draft
from callboard.core.status import FAILED, INIT, QUEUED, RUNNING, SKIPPED, STOPPED, STOPPING, SUCCESS
from callboard.core.waves import drain

if TYPE_CHECKING:
    from callboard.core.run import Node
    from callboard.core.step import Step

#: Workers lost in a row that make an execution poison.
MOST_LOSSES = 3


def alive(work: Step, fact: Any) -> Node | None:
    """The execution an answer is for, if it is still the one outside."""
    row: Node = work.run.nodes[fact.node]
    if row.number == fact.number and row.attempt == fact.attempt and row.at_work:
        return row
    return None


def begun(work: Step, fact: f.Begun) -> bool:
    run = work.run
    if run.status is not INIT:
        return False
    run.status, run.begun = RUNNING, True
    work.decision.status = int(RUNNING)
    work.state_moved = True
    start_ticks(work)
    for node in run.graph.roots:
        begin(work, run.nodes[node], None, cause="begin")
    return True


def noted(work: Step, fact: f.Admitted | f.Undrained | f.Drained) -> bool:
    """Only the machine says this, and what it said before is taken by a replay: from outside it means nothing."""
    return False


def succeeded(work: Step, fact: f.Succeeded) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    if row.task.review is not None and row.status is RUNNING:
        published = (fact.published, fact.documents, fact.pending)
        return produced(work, f.Produced(*fact[:3], "", fact.outcome, *published, fact.reads))
    if fact.published:
        announce(work, fact)
    if fact.documents or fact.pending:
        documents.bring(work, row, fact)
    if fact.reads:
        documents.made_from(work, row, fact)
    work.answered(row)
    end(work, row, SUCCESS, outcome=fact.outcome)
    return True


def announce(work: Step, fact: f.Succeeded | f.Produced) -> None:
    """Events of an attempt are judged before its outcome."""
    for notice in fact.published:
        hear(work, f.Heard(notice.key, notice.offset, notice.value))
        drain(work)


def produced(work: Step, fact: f.Produced) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    announce(work, fact)
    work.answered(row)
    row.draft = Draft(fact.hash, fact.outcome, None, fact.documents, fact.pending)
    if fact.reads:
        documents.made_from(work, row, fact)
    if row.status is STOPPING:
        end(work, row, STOPPED, "stopped unreviewed")
        return True
    work.hold(row, "review")
    await_review(work, row)
    return True


def await_review(work: Step, row: Node) -> None:
    """How long a draft waits, where that has an end."""
    review = row.task.review
    if review is not None and review.expires is not None:
        row.wake, row.wake_what = after(work.now, review.expires), "review"
        work.orders.append(Wake(row.id, row.number, row.attempt, "review", row.wake))


def failed(work: Step, fact: f.Failed) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    work.answered(row)
    row.losses = 0
    if row.status is STOPPING:
        end(work, row, STOPPED, fact.why)
    elif fact.kind == "unknown" and row.task.effect == "once":
        work.hold(row, "decision")
    else:
        row.tries += 1
        _again_or_fail(work, row, fact.kind != "permanent", fact.why, fact.retry_after)
    return True


def _again_or_fail(work: Step, row: Node, retriable: bool, why: str, asked: float | None = None) -> None:
    if retriable and row.tries < row.task.retry.tries:
        retry(work, row, why, delay(work, row, asked))
    else:
        end(work, row, FAILED, why)


def timed_out(work: Step, fact: f.TimedOut) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    work.answered(row)
    row.losses = 0
    if row.status is STOPPING:
        end(work, row, STOPPED, "timed out")
    elif row.task.effect == "once":
        work.hold(row, "decision")
    else:
        row.tries += 1
        _again_or_fail(work, row, True, "timed out")
    return True


def skipped(work: Step, fact: f.Skipped) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    work.answered(row)
    if fact.reads:
        documents.made_from(work, row, fact)
    end(work, row, STOPPED if row.status is STOPPING else SKIPPED, fact.why)
    return True


def stopped(work: Step, fact: f.Stopped) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    work.answered(row)
    end(work, row, STOPPED, "stopped")
    return True


def list_stopped(work: Step, fact: f.ListStopped) -> bool:
    row = work.run.nodes[fact.node]
    if row.mapped is None or row.number != fact.number or not row.mapped.asked:
        return False
    work.list_answered(row)
    row.mapped.asked = False
    row.mapped.page -= 1  # it was not read
    work.moved[row.id] = row
    if row.status is RUNNING:
        work.page_due(row)
    mapped.judge(work, row)
    return True


def lease_lost(work: Step, fact: f.LeaseLost) -> bool:
    row = alive(work, fact)
    if row is None:
        return False
    work.answered(row)
    if fact.by != "engine":
        row.losses += 1
    if row.status is STOPPING:
        end(work, row, STOPPED, "lost")
    elif row.task.effect == "once":
        work.hold(row, "decision")
    elif row.losses >= MOST_LOSSES:
        end(
            work,
            row,
            FAILED,
            f"poison: {MOST_LOSSES} attempts in a row were lost, the last: {fact.why}" if fact.why else "poison",
        )
    else:
        work.move(row, QUEUED)
    return True


def halted(work: Step, fact: f.Halted) -> bool:
    return _back_to_queue(work, fact, "interrupted")


def refused(work: Step, fact: f.Refused) -> bool:
    row = alive(work, fact)
    if row is not None and row.status is RUNNING:
        work.run.holds.add("budget")
        work.state_moved = True
        hold_admission(work)
    return _back_to_queue(work, fact, "budget")


def _back_to_queue(work: Step, fact: f.Halted | f.Refused, why: str) -> bool:
    """Nothing was used up: QUEUED again, or STOPPED when that was asked for."""
    row = alive(work, fact)
    if row is None:
        return False
    work.answered(row)
    if row.status is STOPPING:
        end(work, row, STOPPED, why)
    else:
        work.move(row, QUEUED)
    return True


def listed(work: Step, fact: f.Listed) -> bool:
    row = _asked_list(work, fact.node, fact.number)
    if row is None or row.mapped is None or row.mapped.page != fact.page:
        return False
    mapped.listed(work, row, fact)
    return True


def list_failed(work: Step, fact: f.ListFailed) -> bool:
    row = _asked_list(work, fact.node, fact.number)
    if row is None or row.mapped is None:
        return False
    work.list_answered(row)
    row.mapped.asked, row.mapped.lost = False, True
    work.moved[row.id] = row
    mapped.judge(work, row)
    return True


def _asked_list(work: Step, node: int, number: int) -> Node | None:
    row = work.run.nodes[node]
    return row if row.mapped is not None and row.mapped.asked and row.number == number else None


def woke(work: Step, fact: f.Woke) -> bool:
    row = work.run.nodes[fact.node]
    if (row.number, row.attempt, row.wake_what) != (fact.number, fact.attempt, fact.what) or row.wake is None:
        return False
    if fact.what == "retry":
        work.move(row, QUEUED)
    else:
        end(work, row, FAILED, "review expired")
    return True
