"""Mapped tasks: pages of a list, items with stable keys, twins over one list, and the judgement at the end.

RUNNING from the first List to the last item. Rules see the task, never its items; an item that ends is seen
only here, and by the items of tasks that go over the same list.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from callboard.core.documents import made_from
from callboard.core.encoding import encode
from callboard.core.executions import act, begin, end, start
from callboard.core.graph import MOST_NODES
from callboard.core.status import FAILED, INIT, RUNNING, SKIPPED, STOPPED, STOPPING, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.facts import KnownList, Listed
    from callboard.core.run import Mapped, Node
    from callboard.core.step import Step


def list_of(row: Node) -> Mapped:
    assert row.mapped is not None
    return row.mapped


def ask(step: Step, row: Node) -> None:
    """Admission picked it: ask for the next page, if it still is wanted.

    That a page is *due* stands in the row, and follows from the items alone; that one is asked for before it is due is
    nothing but a pick. So a journal of which nobody has asked ahead is replayed as it was.
    """
    if row.wants_page and row.status is RUNNING:
        step.order_list(row)
        step.moved[row.id] = row


def listed(step: Step, row: Node, fact: Listed) -> None:
    """A page has come: known keys are dropped, a page without a new key ends the list.

    One that was asked for ahead (`more` is still true then) may have none because what is left to do is at work: it is
    asked for again when that has ended.
    """
    mapped = list_of(row)
    step.list_answered(row)
    mapped.asked = False
    step.moved[row.id] = row
    if fact.reads:
        made_from(step, row, fact)
    if row.status is STOPPING:
        return judge(step, row)
    new = {key: value for key, value in fact.items if mapped.index.get(key) not in mapped.items}
    if len(step.run.nodes) + len(new) > MOST_NODES:
        mapped.lost = True
        return judge(step, row)
    mapped.more = bool(fact.more and (new or mapped.more))
    _begin_items(step, row, new)
    return judge(step, row)


def _begin_items(step: Step, row: Node, items: Mapping[str, Any]) -> None:
    for key, value in items.items():
        text = encode(value)
        item = _add(step, row, key, text)
        if row.number == 1 and item.kept and item.kept == digest(text):
            _keep(step, row, item)
        else:
            begin(step, item, None, cause="item")


def digest(value: str) -> str:
    """Tells by what value an adopted item was made; of an item of a list that goes over another's, "null"."""
    return sha256(value.encode()).hexdigest()


def relist(step: Step, row: Node, known: KnownList | None) -> None:
    """A mapped task goes on with the list that is known of it, or over a list that is."""
    start(step, row)
    if known is None or row.id in step.run.graph.overs:
        return
    mapped = list_of(row)
    mapped.due, mapped.page, mapped.more = False, known.page, known.more
    _begin_items(step, row, dict(known.items))
    judge(step, row)


def _keep(step: Step, row: Node, item: Node) -> None:
    """An item that was laid by comes in the list as it was: it has ended already, and counts."""
    step.moved[row.id] = row
    step.count(row)
    for twin in step.run.graph.twins.get(row.id, ()):
        _begin_twin(step, step.run.nodes[twin], row, item)


def _add(step: Step, row: Node, key: str, value: str) -> Node:
    """The item of this key, now in the present list. What it did under an older number is not counted here."""
    run, mapped = step.run, list_of(row)
    known = mapped.index.get(key)
    item = run.nodes[known] if known is not None else run.add_item(row.id, key)
    if item.id not in mapped.items:
        if item.status is SUCCESS or item.status is SKIPPED:
            mapped.good += 1  # taken back when it begins
        place = (row.number - 1) << 20 | len(mapped.items)  # tells of which number's list it is
        step.decision.items.append((item.id, row.id, place, key, value))
        mapped.items[item.id] = len(mapped.items)
    return item


def item_ended(step: Step, item: Node) -> None:
    """The wave of an item: its task counts it, its twins may begin."""
    run = step.run
    parent = run.nodes[item.parent]
    mapped = list_of(parent)
    mapped.open -= 1
    if item.status is SUCCESS or item.status is SKIPPED:
        mapped.good += 1
        step.count(parent)
        for twin in run.graph.twins.get(parent.id, ()):
            _begin_twin(step, run.nodes[twin], parent, item)
    elif item.status is FAILED:
        mapped.failed.add(item.id)
    if item.next is None:
        judge(step, parent)
    if mapped.may_ask_ahead:
        step.queued.append(parent)


def _begin_twin(step: Step, row: Node, over: Node, item: Node) -> None:
    """The same element in a task that goes over this list, if that one is on the same number of the list."""
    run, mapped = step.run, list_of(row)
    if not run.acting or mapped.giving_up or mapped.source != over.number:
        return
    if row.status is RUNNING or row.has_ended:
        assert item.key is not None
        twin = _add(step, row, item.key, "null")
        combination = ((item.id, item.number, item.revision),)
        if row.number == 1 and twin.kept and item.kept:
            return _keep(step, row, twin)
        if twin.status is INIT or twin.has_ended:
            begin(step, twin, combination, cause="item")
        else:
            act(step, twin, "START", "need", combination)


def go_over(step: Step, row: Node) -> None:
    """A task that goes over another's list has started: what has succeeded there begins here."""
    run, mapped = step.run, list_of(row)
    over = run.nodes[run.graph.overs[row.id]]
    mapped.source = over.number
    for item in list_of(over).items:
        if run.nodes[item].status in (SUCCESS, SKIPPED):
            _begin_twin(step, row, over, run.nodes[item])


def judge(step: Step, row: Node) -> None:
    """When nothing of a mapped task is open or outside any more: what has become of it."""
    run, mapped = step.run, list_of(row)
    if row.status not in (RUNNING, STOPPING) or mapped.asked or mapped.open:
        return
    if row.status is RUNNING and not mapped.giving_up:
        if mapped.due or (row.id not in run.graph.overs and not mapped.page):
            return
        if mapped.more and not mapped.lost:
            mapped.more = False
            return step.page_due(row)
        over = run.graph.overs.get(row.id)
        if over is not None and run.nodes[over].is_open:
            return
    _end_mapped(step, row)


def _end_mapped(step: Step, row: Node) -> None:
    run, mapped = step.run, list_of(row)
    assert row.task.map is not None
    over = run.graph.overs.get(row.id)
    failed = [item for item in in_order(step, row) if run.nodes[item].status is FAILED]
    stopped = [item for item in mapped.items if run.nodes[item].status is STOPPED]
    if mapped.giving_up:
        end(step, row, STOPPED, "stopped")
    elif row.status is STOPPING:
        if mapped.page and mapped.good == len(mapped.items) and not (mapped.lost or mapped.more):
            end(step, row, SUCCESS, outcome=_outcome(step, row, failed))
        else:
            end(step, row, STOPPED, "stopped")
    elif mapped.lost:
        end(step, row, FAILED, "list failed")
    elif len(failed) > row.task.map.allow_failures:
        end(step, row, FAILED, "items " + ",".join(run.nodes[item].key or "" for item in failed))
    elif over is not None and run.nodes[over].status not in (SUCCESS, SKIPPED):
        end(step, row, STOPPED, f"blocked {run.name_of(over)}")
    elif stopped:
        end(step, row, STOPPED, "stopped")
    else:
        end(step, row, SUCCESS, outcome=_outcome(step, row, failed))


def in_order(step: Step, row: Node) -> list[int]:
    """The items of the present number in list order: that of the list they go over, where they do."""
    run, mapped = step.run, list_of(row)
    over = run.graph.overs.get(row.id)
    if over is None:
        return list(mapped.items)
    place = {run.nodes[item].key: at for at, item in enumerate(in_order(step, run.nodes[over]))}
    return sorted(mapped.items, key=lambda item: place.get(run.nodes[item].key, len(place)))


def _outcome(step: Step, row: Node, failed: list[int]) -> str:
    """What a join reads: the items with their numbers, in list order, and the keys of those that failed."""
    nodes = step.run.nodes
    items = [[nodes[i].key, i, nodes[i].number] for i in in_order(step, row) if nodes[i].status in (SUCCESS, SKIPPED)]
    return encode({"value": None, "items": items, "failed": [nodes[i].key for i in failed]})
