"""Why something waits, ran or ended, in the words of the glossary: stored where decided, else derived here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.documents import stale
from callboard.core.graph import OPTIONAL, Branch, Named
from callboard.core.plan import Count, EventIs, Probe
from callboard.core.rules import counts, is_possible, possible
from callboard.core.status import INIT, QUEUED, SKIPPED, SUCCESS
from callboard.core.step import MEETS

if TYPE_CHECKING:
    from callboard.core.admission import Admission
    from callboard.core.run import Node, Run

_HOLDS = ("paused", "budget", "interrupted", "adopting")


def why(run: Run, node: int, admission: Admission | None = None) -> str:
    """The reason of a task or item: what it waits for, what blocks it, or why it ended as it did."""
    row = run.nodes[node]
    if row.status is QUEUED:
        return _why_queued(run, row, admission)
    if row.status is INIT:
        return _why_not_yet(run, row) if row.parent < 0 else ""
    edited = older(run, row)
    return f"stale {edited}" if edited else row.reason


def older(run: Run, row: Node) -> str:
    """The document of which this was made from an older version; of a mapped task also what one of its items was."""
    if not run.edits or row.status not in (SUCCESS, SKIPPED):
        return ""
    items = [run.nodes[item] for item in row.mapped.items] if row.mapped is not None else []
    return next((path for path in (stale(run, one) for one in (row, *items)) if path), "")


def _why_queued(run: Run, row: Node, admission: Admission | None) -> str:
    for hold in _HOLDS:
        if hold in run.holds:
            return hold
    if admission is None:
        return "no engine"
    if admission.shut:
        return "no room"
    limit = admission.blocking(run, row.limits)
    return f"limit {limit}" if limit else "next step"


def _why_not_yet(run: Run, row: Node) -> str:
    if row.may and run.status < 5:
        first = _first_unmet(run, row)
        return f"waits {first}" if first else ""
    first = _first_hopeless(run, row)
    return f"blocked {first}" if first else ""


def _first_unmet(run: Run, row: Node) -> str:
    for parent, kind in run.graph.parents[row.id]:
        if not run.nodes[parent].meets & MEETS[kind]:
            return run.name_of(parent)
    for branch in _starting(run, row):
        for place, condition in enumerate(branch.conditions):
            if isinstance(condition, Named):
                if run.nodes[condition.node].status not in condition.statuses:
                    return run.name_of(condition.node)
            elif place not in run.branches[branch.number].heard:
                return _key(condition)
    return ""


def _first_hopeless(run: Run, row: Node) -> str:
    for parent, kind in run.graph.parents[row.id]:
        above = run.nodes[parent]
        if kind != OPTIONAL and not above.meets & MEETS[kind] and not above.may:
            return run.name_of(parent)
    found = possible(run) if run.status < 5 else set()
    for branch in _starting(run, row):
        for condition in branch.conditions:
            if type(condition) is Named and not counts(run, condition, found):
                return run.name_of(condition.node)
    return _first_unmet(run, row)


def _starting(run: Run, row: Node) -> list[Branch]:
    return [run.graph.branches[n] for n in run.graph.of_node.get(row.id, ()) if run.graph.branches[n].starts]


def _key(condition: EventIs | Count | Probe) -> str:
    return condition.keys[0] if isinstance(condition, Probe) else condition.key


def because(run: Run) -> str:
    """Why a run that lives is not simply at work; empty when it is, or when it has ended."""
    if run.status is INIT or run.status >= 5:
        return ""
    for hold in _HOLDS:
        if hold in run.holds:
            return hold
    if run.cancelling:
        return "cancelling"
    if run.failing >= 0:
        return f"failed {run.name_of(run.failing)}"
    busy = any(row.is_open and not row.hold and row.mapped is None for row in run.nodes)
    if busy:
        return ""
    for node in sorted(run.held):
        return f"{run.nodes[node].hold} {run.name_of(node)}"
    ticks = [run.nodes[node].tick for node in run.graph.ruled if run.nodes[node].will_tick]
    keys = listening(run)
    if keys:
        return f"listening {','.join(keys)}"
    walls = [tick.wall for tick in ticks if tick is not None]
    return f"tick at {min(walls):.16g}" if walls else ""


def listening(run: Run) -> list[str]:
    """The keys of events that may yet bring a task that never ran to its start."""
    found = possible(run)
    keys: set[str] = set()
    todo = [row.id for row in run.nodes[: len(run.plan.tasks)] if not row.number and row.id in found]
    seen = set(todo)
    while todo:
        node = todo.pop()
        row = run.nodes[node]
        above = [parent for parent, _ in run.graph.parents[node]]
        for branch in _starting(run, row):
            if is_possible(run, branch, found):
                keys.update(branch.keys)
                above.extend(branch.tasks)
        fresh = [one for one in above if one in found and one not in seen]
        seen.update(fresh)
        todo.extend(fresh)
    return sorted(keys)
