"""A run that begins in place of another: what is known from there is taken over, and the other one is over.

The successor has a plan of its own, so nothing of the machine's way changes: what is known begins as if it were carried
out, when what it needs has ended, and ends in the same breath, without an order and without a unit of any limit. What
is not in its place (its needs are not met, it is no task of this plan) is not forced there: it is carried out like
anything else. Items whose list is still to be made are laid by under their keys, outside of every list, and count when
the list brings them with the value they were made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core import documents, mapped
from callboard.core.answers import await_review, begun
from callboard.core.ending import finish, stop_all
from callboard.core.executions import end, pack
from callboard.core.facts import Begun
from callboard.core.holds import add_hold, lift
from callboard.core.run import Draft
from callboard.core.status import ENDED, INIT, QUEUED, STOPPED, SUCCESS, Status
from callboard.core.step import No
from callboard.core.waves import drain

if TYPE_CHECKING:
    from callboard.core import facts as f
    from callboard.core.run import Node
    from callboard.core.step import Step

HOLD, LISTED, REVIEW = "adopting", "LISTED", "review"
#: The place of an item that was laid by: of the list of no number.
_NO_LIST = 0xFFFFF << 20


def adopted(work: Step, fact: f.Adopted) -> bool:
    run = work.run
    if run.status is INIT:
        begun(work, Begun())
    elif HOLD not in run.holds:
        return False
    lists = {known.task: known for known in fact.lists}
    for known in fact.known:
        if known.value:
            _lay_by(work, known, fact.of)
        else:
            _take_over(work, known, lists.get(known.task), fact.of)
            drain(work)
    work.queued = [row for row in work.queued if row.status is QUEUED or row.wants_page]
    if fact.more:
        return add_hold(work, HOLD)
    if HOLD in run.holds:
        lift(work, HOLD)
        work.queued = list(dict.fromkeys(work.queued))
    return True


def _take_over(work: Step, known: f.Known, pages: f.KnownList | None, of: str) -> None:
    node = work.run.find(known.task if known.item is None else f"{known.task}/{known.item}")
    row = work.run.nodes[node] if node is not None else None
    if row is None or row.status is not QUEUED or row.number != 1 or row.attempt:
        return
    if row.mapped is not None:
        if known.status == LISTED:
            mapped.relist(work, row, pages)
    elif known.status == REVIEW and row.task.review is not None:
        _hold(work, row, known)
    elif known.status == SUCCESS.name:
        work.take_in(row)
        documents.bring(work, row, known)
        end(work, row, SUCCESS, f"adopted {of}", known.outcome)
    elif known.status in ("SKIPPED", "FAILED"):
        end(work, row, Status[known.status], known.why)
    if known.reads and row.status is not QUEUED:
        documents.made_from(work, row, known)


def _hold(work: Step, row: Node, known: f.Known) -> None:
    """A draft that waits goes on waiting, and its time begins anew."""
    work.take_in(row)
    row.derived = False
    row.rounds = known.rounds
    row.draft = Draft(known.hash, known.outcome, known.first, known.documents, known.pending)
    row.hold = row.reason = REVIEW
    await_review(work, row)


def _lay_by(work: Step, known: f.Known, of: str) -> None:
    run, parent = work.run, work.run.graph.names.get(known.task)
    owner = run.nodes[parent] if parent is not None else None
    if parent is None or owner is None or owner.mapped is None or known.item is None:
        return
    if owner.mapped.page or owner.mapped.items or known.item in owner.mapped.index:
        return
    item = run.add_item(parent, known.item)
    item.number, item.status, item.at, item.kept = 1, Status[known.status], work.now.wall, known.value
    item.reason = f"adopted {of}" if item.status is SUCCESS else known.why
    work.begin_number(item, None, met=False, early=False)
    work.moved[item.id] = item
    work.decision.items.append((item.id, parent, _NO_LIST | len(owner.mapped.index), known.item, "null"))
    if item.status is SUCCESS:
        work.decision.outcomes.append((pack(run.number, item.id, 1), 0, known.outcome))
        documents.bring(work, item, known)
    if known.reads:
        documents.made_from(work, item, known)


def replaced(work: Step, fact: f.Replaced) -> bool:
    run = work.run
    if run.replaced:
        raise No(f"the run goes on as {run.replaced}")
    if run.at_work or run.pending or any(mapped.list_of(run.nodes[node]).asked for node in run.graph.mapped):
        raise No("something of the run is at work")
    run.replaced = fact.by
    work.state_moved = True
    if run.status is INIT:
        finish(work, STOPPED)
        for row in run.nodes:
            work.count(row)
    elif run.status not in ENDED and not run.cancelling:
        run.cancelling = True
        stop_all(work)
    return True
