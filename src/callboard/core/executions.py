"""Executions of tasks and items: how they begin, start, end, and what an action does to each status.

The table actions × status of the design is `act`, one branch for each row. A mapped task is an execution too:
its List is its Start, and stopping it stops its items.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from callboard.core.deadline import after
from callboard.core.encoding import encode
from callboard.core.graph import MOST_NODES
from callboard.core.orders import Wake
from callboard.core.status import (
    ENDED,
    FAILED,
    INIT,
    QUEUED,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPED,
    STOPPING,
    SUCCESS,
    Status,
)
from callboard.core.step import MEETS

if TYPE_CHECKING:
    from callboard.core.run import Combination, Node, Run
    from callboard.core.step import Step

#: Seconds that a provider may ask us to wait, at most.
LONGEST_ASKED = 86400.0
#: Causes of an action that count as a new combination: kept in `next` where others are ignored.
COMBINATIONS = ("need", "rule")
_LOW = MOST_NODES - 1


def pack(run: int, node: int, number: int) -> int:
    """The integer key of an execution."""
    return run << 40 | node << 20 | number


def unpack(id: int) -> tuple[int, int, int]:
    """(run, node, number) of an execution's key."""
    return id >> 40, id >> 20 & _LOW, id & _LOW


def begin(step: Step, row: Node, combination: Combination | None, *, cause: str) -> None:
    """The next number of a task or item: QUEUED, or SKIPPED at once when its `when` is known to be false."""
    run = step.run
    if row.number and row.id in step.moved:
        write(step, row)  # what became of the number before
    if row.parent >= 0:
        _join_list(step, row)
    elif not row.number and row.may:
        run.hopeful -= 1
    latest = not combination or _is_latest(step, row, combination)
    if row.number:
        _clear(row, cause)
    row.number += 1
    derivable = combination is None and not row.waiting and cause in ("need", "begin", "item")
    row.derived = row.number == 1 and derivable and row.id not in run.graph.watched and row.task.every is None
    _combine(step, row, combination, cause, latest=latest)
    if row.mapped is not None:
        _fresh_list(step, row)
    step.move(row, QUEUED)
    if row.task.skip and cause != "loop":
        end(step, row, SKIPPED, "skipped")


def _clear(row: Node, cause: str) -> None:
    """What was of the number before; a rejection hands its note and its rounds on."""
    row.attempt = row.tries = row.losses = row.revision = 0
    row.next, row.kept, row.read, row.draft = None, "", None, None
    if cause != "rejection":
        row.rounds, row.note = 0, ""


def _is_latest(step: Step, row: Node, combination: Combination) -> bool:
    """Whether a combination is that of the latest numbers of its needs."""
    nodes = step.run.nodes
    named = {one[0]: one for one in combination}
    return all(
        parent not in named or named[parent] == (parent, nodes[parent].number, nodes[parent].revision)
        for parent, _ in (step.run.graph.parents[row.id] if named and row.parent < 0 else ())
    )


def _fresh_list(step: Step, row: Node) -> None:
    """A mapped task lists anew; those that go over its list give up the old one."""
    mapped = row.mapped
    assert mapped is not None
    mapped.items, mapped.page, mapped.asked, mapped.due, mapped.more = {}, 0, False, False, False
    mapped.lost = mapped.giving_up = False
    mapped.source = 0
    mapped.open = mapped.good = 0
    mapped.failed = set()
    for twin_id in step.run.graph.twins.get(row.id, ()):
        twin = step.run.nodes[twin_id]
        if twin.status is RUNNING and twin.mapped is not None:
            twin.mapped.giving_up = True
            step.moved[twin_id] = twin
            for item_id in twin.mapped.items:
                item = step.run.nodes[item_id]
                if item.is_open and not item.at_work:
                    stop(step, item)
            step.triggers.append((twin_id, RUNNING, None))


def _join_list(step: Step, item: Node) -> None:
    """An item begins: its task goes back to RUNNING if it had ended, under a new revision of the same number."""
    run = step.run
    parent = run.nodes[item.parent]
    mapped = parent.mapped
    assert mapped is not None
    if (item.status is SUCCESS or item.status is SKIPPED) and item.id in mapped.items:
        mapped.good -= 1
        step.count(parent)
    mapped.failed.discard(item.id)
    mapped.open += 1
    if parent.has_ended:
        current = parent.current if parent.id not in run.graph.overs else _is_current_again(run, parent)
        parent.revision += 1
        step.begin_number(parent, parent.combination, met=current, early=parent.early)
        step.move(parent, RUNNING)


def _is_current_again(run: Run, row: Node) -> bool:
    """Whether a task that goes over a list, of which an item ran again, stands on the latest of all its needs."""
    over = run.nodes[run.graph.overs[row.id]]
    read = {parent: (number, revision) for parent, number, revision in run.inputs(row.id)}
    others = [(run.nodes[parent], kind) for parent, kind in run.graph.parents[row.id] if parent != over.id]
    return over.current and all(
        above.meets & MEETS[kind] and read.get(above.id) == (above.number, above.revision) for above, kind in others
    )


def _combine(step: Step, row: Node, combination: Combination | None, cause: str, *, latest: bool) -> None:
    """What the number reads, and where the marks of currency stand after it."""
    if row.parent < 0:
        combination = step.run.latest(row.id) if combination is None else step.run.inputs_of(row, combination)
    if cause == "need" and row.fired == step.run.counter:
        row.fired += 1  # nothing has begun since it was judged: as a row that is loaded has it
    met = not row.waiting
    step.begin_number(row, combination, met=latest and met, early=latest and not met)


def start(step: Step, row: Node) -> None:
    """Admission picked it: RUNNING, and the order goes out with the record."""
    task = row.task
    row.derived = False
    if row.mapped is not None:
        step.move(row, RUNNING)
        if row.id not in step.run.graph.overs:
            step.page_due(row)
        return
    row.attempt += 1
    if task.reads:  # each attempt reads anew
        row.read = {path: step.run.documents[path] for path in task.reads if path in step.run.documents}
    step.move(row, RUNNING)
    if task.executor == "group":
        end(step, row, SUCCESS, outcome='{"value":null}')
    else:
        step.order_start(row)


def end(step: Step, row: Node, status: Status, reason: str = "", outcome: str | None = None) -> None:
    """An execution is over. Its `next`, if it has one, is taken up in the wave of this very change."""
    run = step.run
    row.derived = False
    step.move(row, status, reason)
    if outcome is not None:
        step.decision.outcomes.append((pack(run.number, row.id, row.number), row.revision, outcome))
    if row.parent < 0:
        if status is STOPPED:
            run.stops.add(row.id)
        elif status is FAILED and row.task.critical:
            run.failures.add(row.id)


def retry(step: Step, row: Node, reason: str, wait: float) -> None:
    """Between two attempts of one number."""
    step.move(row, RETRYING, reason)
    row.wake, row.wake_what = after(step.now, wait), "retry"
    row.reason = f"retry at {row.wake.wall:.16g}"
    step.orders.append(Wake(row.id, row.number, row.attempt, "retry", row.wake))


def delay(step: Step, row: Node, asked: float | None) -> float:
    """Seconds before the next attempt: exponential, with a jitter that is a hash, so that a replay agrees."""
    policy = row.task.retry
    wait = min(policy.delay * policy.factor ** min(row.tries - 1, 32), policy.longest)
    if policy.jitter:
        name = f"{step.run.id}\0{step.run.name_of(row.id)}\0{row.number}\0{row.attempt}".encode()
        share = int.from_bytes(hashlib.sha256(name).digest()[:4], "big") / 0xFFFFFFFF
        wait *= 1 + policy.jitter * (2 * share - 1)
    return max(wait, min(asked or 0.0, LONGEST_ASKED))


def act(step: Step, row: Node, do: str, cause: str, combination: Combination | None = None) -> None:
    """What START, RESTART or STOP does to the latest execution of a task or item (the table of the design)."""
    status = row.status
    if do == "STOP":
        return stop(step, row)
    if status is INIT or status in ENDED:
        return begin(step, row, combination, cause=cause)
    if status is STOPPING:
        return keep(step, row, combination)
    if status is QUEUED and not row.attempt:
        if do == "RESTART" or cause in COMBINATIONS:
            _renew(step, row, combination, cause)
        return None
    if do == "START":
        if cause in COMBINATIONS or cause == "queue":
            keep(step, row, combination)
        elif not row.hold and status is RUNNING:
            row.reason = "ignored START"
            step.moved[row.id] = row
        return None
    stop(step, row)
    return keep(step, row, combination)


def keep(step: Step, row: Node, combination: Combination | None) -> None:
    """Fill the slot `next` with the newest combination. What was stopped at once takes it up in a wave."""
    row.next = step.run.inputs_of(row, combination)
    step.moved[row.id] = row
    if row.parent < 0:
        step.count(row)
        if row.status is STOPPED and row.mapped is None and row.id not in step.graph.watched:
            step.triggers.append((row.id, STOPPED, None))


def _renew(step: Step, row: Node, combination: Combination | None, cause: str) -> None:
    """QUEUED and never begun: it takes the newest combination under the same number."""
    row.derived = False
    _combine(step, row, combination, cause, latest=not combination or _is_latest(step, row, combination))
    step.moved[row.id] = row
    if row.parent < 0:
        step.count(row)


def stop(step: Step, row: Node) -> None:
    """STOP: at once where nothing is outside, else STOPPING. The slot `next` is emptied."""
    if row.next is not None:
        row.next = None
        step.moved[row.id] = row
        if row.parent < 0:
            step.count(row)
    status = row.status
    if status is QUEUED or status is RETRYING or row.hold:
        return end(step, row, STOPPED, "stopped")
    if status is not RUNNING:
        return None
    if row.mapped is not None:
        return _stop_mapped(step, row)
    if step.withdraw(row):
        return end(step, row, STOPPED, "stopped")
    step.move(row, STOPPING)
    return step.order_stop(row)


def _stop_mapped(step: Step, row: Node) -> None:
    mapped = row.mapped
    assert mapped is not None
    step.move(row, STOPPING)
    for item in mapped.items:
        stop(step, step.run.nodes[item])
    if mapped.due or mapped.asked:
        mapped.due, mapped.more = False, True  # the list was not read to its end
    if mapped.asked:
        if step.withdraw(row):
            mapped.asked = False
            mapped.page -= 1
        else:
            step.order_stop(row)
    if not mapped.asked and not mapped.open:
        end(step, row, STOPPED, "stopped")


def write(step: Step, row: Node) -> None:
    """The row of the latest number; nothing for what can be derived."""
    if not (row.derived and row.status is QUEUED):
        step.decision.executions.append(row_of(step.run, row))


def row_of(run: Run, row: Node) -> tuple[Any, ...]:
    """The latest number, as `ports.Write` has it."""
    return (
        run.number << 40 | row.id << 20 | row.number,
        int(row.status),
        row.attempt,
        row.began,
        row.at,
        row.reason or None,
        None if _is_usual(row) else extra(row),
    )


def _is_usual(row: Node) -> bool:
    """Nearly every row is: nothing of it but its columns differs from what a row begins with."""
    if row.tries or row.losses or row.revision or row.rounds or row.note or row.hold or row.kept:
        return False
    if row.early or row.handled or row.missed or row.judged or row.mapped:
        return False
    if row.combination is not None or row.next is not None or row.wake is not None or row.tick is not None:
        return False
    if row.draft is not None or row.read is not None:
        return False
    if row.parent >= 0:
        return True
    return bool(row.current and row.fresh and (row.fired == row.began or not (row.task.needs or row.task.optional)))


def extra(row: Node) -> str | None:
    """What of a row is not a column, as JSON text; None when that is nothing."""
    data: dict[str, object] = {}
    for name in ("tries", "losses", "revision", "rounds"):
        if value := getattr(row, name):
            data[name] = value
    for name in ("early", "handled", "missed", "judged"):
        if getattr(row, name):
            data[name] = 1
    for name in ("note", "hold", "kept"):
        if value := getattr(row, name):
            data[name] = value
    if row.parent < 0:
        if row.current != bool(row.number):
            data["current"] = int(row.current)
        if row.fresh != bool(row.number):
            data["fresh"] = int(row.fresh)
        if row.fired != row.began and (row.task.needs or row.task.optional or row.task.map) and row.number:
            data["fired"] = row.fired
    for name in ("combination", "next", "draft", "wake", "tick", "read"):
        value = getattr(row, name)
        if value is not None:
            data[name] = value
    if row.wake is not None:
        data["wake_what"] = row.wake_what
    if row.mapped is not None and row.number:
        data["mapped"] = _extra_mapped(row)
    return encode(data) if data else None


def _extra_mapped(row: Node) -> dict[str, object]:
    mapped = row.mapped
    assert mapped is not None
    data: dict[str, object] = {"page": mapped.page}
    for name in ("asked", "due", "more", "lost", "giving_up"):
        if getattr(mapped, name):
            data[name] = 1
    if mapped.source:
        data["source"] = mapped.source
    return data
