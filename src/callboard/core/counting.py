"""What is counted and never stored, found by looking at everything.

The machine keeps these counters true as things move; `rows.load` fills them from here when a run comes into
memory, and the invariants hold the two against each other. Nothing here changes a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.core.graph import OPTIONAL
from callboard.core.status import FAILED, QUEUED, SKIPPED, STOPPED, SUCCESS
from callboard.core.step import MEETS

if TYPE_CHECKING:
    from callboard.core.run import Node, Run


class Needs(NamedTuple):
    """What a task waits for, from the counters of its needs."""

    waiting: int
    movers: int
    broken: int
    up_began: int


def needs(run: Run, row: Node) -> Needs:
    waiting = movers = broken = up_began = 0
    for parent, kind in run.graph.parents[row.id]:
        above = run.nodes[parent]
        met = above.meets & MEETS[kind]
        waiting += not met
        movers += above.may
        broken += kind != OPTIONAL and not met and not above.may
        up_began = max(up_began, above.began)
    return Needs(waiting, movers, broken, up_began)


class Listing(NamedTuple):
    """The items of a mapped task's present list."""

    open: int
    good: int
    failed: set[int]


def listing(run: Run, items: dict[int, int]) -> Listing:
    rows = [run.nodes[item] for item in items]
    return Listing(
        sum(row.is_open for row in rows),
        sum(row.status is SUCCESS or row.status is SKIPPED for row in rows),
        {row.id for row in rows if row.status is FAILED},
    )


class Totals(NamedTuple):
    """The counters of a run, as `Run` names them."""

    open: int
    at_work: int
    held: set[int]
    queued: set[int]
    failures: set[int]
    stops: set[int]
    hopeful: int
    used: dict[str, int]


def totals(run: Run) -> Totals:
    open = at_work = hopeful = 0
    held: set[int] = set()
    queued: set[int] = set()
    failures: set[int] = set()
    stops: set[int] = set()
    used: dict[str, int] = {}
    for row in run.nodes:
        status = row.status
        if 1 <= status <= 4:
            open += 1
            if status is QUEUED:
                queued.add(row.id)
            elif row.hold:
                held.add(row.id)
            elif row.at_work:
                at_work += 1
                for name in row.limits:
                    if name in run.plan.limits:
                        used[name] = used.get(name, 0) + 1
        elif row.parent < 0:
            if status is STOPPED:
                stops.add(row.id)
            elif status is FAILED and row.task.critical and not row.handled:
                failures.add(row.id)
            hopeful += not row.number and row.may
    return Totals(open, at_work, held, queued, failures, stops, hopeful, used)
