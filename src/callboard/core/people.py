"""What people ask for. A fact that cannot be taken is refused aloud, before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core import documents
from callboard.core.ending import finish, stop_all
from callboard.core.executions import act, begin, end, pack
from callboard.core.status import ENDED, FAILED, INIT, QUEUED, RUNNING, STOPPED, SUCCESS
from callboard.core.step import No

if TYPE_CHECKING:
    from callboard.core import facts as f
    from callboard.core.run import Node
    from callboard.core.step import Step

ACTIONS = ("START", "RESTART", "STOP")


def asked(work: Step, fact: f.Asked) -> bool:
    run = work.living()
    if not run.acting:
        raise No("the run is being ended")
    row = work.named(fact.node)
    if fact.action not in ACTIONS:
        raise No(f"{fact.action!r} is no action")
    if row.parent >= 0:
        parent = run.nodes[row.parent]
        assert parent.mapped is not None
        if parent.status not in (RUNNING, *ENDED) or row.id not in parent.mapped.items or parent.mapped.giving_up:
            raise No(f"{run.name_of(parent.id)} has not listed {row.key} yet")
    act(work, row, fact.action, "person")
    return True


def cancelled(work: Step, fact: f.Cancelled) -> bool:
    run = work.run
    if run.replaced:
        raise No(f"the run goes on as {run.replaced}")
    if run.status in ENDED:
        raise No("the run has ended")
    if run.status is INIT:
        finish(work, STOPPED)
        for row in run.nodes:
            work.count(row)
        return True
    if run.cancelling:
        return False
    run.cancelling = True
    stop_all(work)
    return True


def _held(work: Step, fact: Any, hold: str) -> Node:
    run = work.living()
    row = work.named(fact.node)
    if row.hold != hold or row.number != fact.number:
        raise No(f"{run.name_of(row.id)} {fact.number} does not wait for this")
    return row


def edited(work: Step, fact: f.Edited) -> bool:
    row = _held(work, fact, "review")
    assert row.draft is not None
    row.draft = documents.revised(work, row.draft, fact)
    work.moved[row.id] = row
    return True


def approved(work: Step, fact: f.Approved) -> bool:
    row = _held(work, fact, "review")
    draft = row.draft
    if draft is None or draft.hash != fact.hash:
        raise No("the draft has changed since it was looked at")
    if draft.first is not None:
        work.decision.outcomes.append((pack(work.run.number, row.id, row.number), 0, draft.first))
        row.revision = 1
    documents.bring(work, row, draft)
    row.draft = None
    end(work, row, SUCCESS, "approved", draft.outcome)
    return True


def rejected(work: Step, fact: f.Rejected) -> bool:
    row = _held(work, fact, "review")
    review = row.task.review
    if review is None or row.rounds >= review.again:
        end(work, row, FAILED, "rejected")
        return True
    combination = row.next if row.next is not None else work.run.inputs_of(row, row.combination)
    row.next = None
    end(work, row, STOPPED, "rejected")
    row.rounds += 1
    row.note = fact.note
    begin(work, row, combination, cause="rejection")
    return True


def decided(work: Step, fact: f.Decided) -> bool:
    row = _held(work, fact, "decision")
    if fact.verdict == "done":
        end(work, row, SUCCESS, outcome=fact.outcome)
    elif fact.verdict == "failed":
        end(work, row, FAILED, "failed")
    elif fact.verdict == "redo":
        work.move(row, QUEUED)
    else:
        raise No(f"{fact.verdict!r} is no decision: done, redo or failed")
    return True
