"""A link of a chain, by the short way: a task succeeds, and the one task that it frees starts.

Most runs are chains for most of their life, and of what we do between two syncs the machine was a quarter: waves, two
queues, two admissions, to find each time that nobody else is asked. Where that is certain (there are only needs, each
of the two tasks has the other alone, nothing is held, limited, reviewed or ready beside them) this is what the
long way comes to, written out. Whatever is out of the ordinary takes the long way. So does every replay, and each
look at a run's journal holds the two against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.executions import pack, row_of
from callboard.core.facts import encode
from callboard.core.orders import Start
from callboard.core.status import INIT, RUNNING, SUCCESS
from callboard.core.step import ALL_NEEDS, Decision, Step

if TYPE_CHECKING:
    from callboard.core.admission import Admission
    from callboard.core.deadline import Now
    from callboard.core.facts import Succeeded
    from callboard.core.run import Node, Run


def pass_on(run: Run, fact: Succeeded, now: Now, admission: Admission) -> Decision | None:
    """The decision about a success that passes on to one task below; None for the long way, and nothing was changed."""
    if not run.graph.is_plain or not run.acting or run.holds:
        return None
    row, children = run.nodes[fact.node], run.graph.children[fact.node]
    if len(children) != 1:
        return None
    below = run.nodes[children[0][0]]
    if not (_ends(run, row, fact) and _begins(run, below) and admission.is_idle(run)):
        return None
    _end(row, now)
    _begin(run, below, now)
    decision = Decision()
    decision.journal = [encode(fact), f'["Admitted",[{below.id}]]']
    decision.outcomes = [(pack(run.number, row.id, 1), 0, fact.outcome)]
    decision.executions = [row_of(run, row), row_of(run, below)]
    decision.orders, decision.starts = [Start(below.id, 1, 1)], 1
    return decision


def _ends(run: Run, row: Node, fact: Succeeded) -> bool:
    """It is the answer of a first execution that brings nothing else, and the task will not run again."""
    if row.number != 1 or fact.number != 1 or row.attempt != fact.attempt or row.status is not RUNNING:
        return False
    if fact.published or fact.documents or fact.pending or fact.reads or row.read is not None:
        return False
    if row.limits or row.next is not None or row.hold or row.task.review is not None:
        return False
    return row.current and not Step.possible(run, row)


def _begins(run: Run, below: Node) -> bool:
    """It waits for this alone, it can start at once, and nothing below it has been started by hand."""
    task, nodes, graph = below.task, run.nodes, run.graph
    if below.status is not INIT or len(graph.parents[below.id]) != 1 or below.limits:
        return False
    if task.skip or task.reads or task.executor == "group":
        return False
    return not any([nodes[child].fresh for child, _ in graph.children[below.id]])


def _end(row: Node, now: Now) -> None:
    row.status, row.at, row.reason = SUCCESS, now.wall, ""
    row.may, row.meets = False, ALL_NEEDS


def _begin(run: Run, below: Node, now: Now) -> None:
    """Its need is met: QUEUED and RUNNING in one. What is open and at work are as many as before."""
    run.counter += 1
    run.hopeful -= 1
    below.waiting = below.movers = 0
    below.number = below.attempt = 1
    below.began = below.fired = run.counter
    below.current = below.fresh = True
    below.status, below.at = RUNNING, now.wall
    for child, _ in run.graph.children[below.id]:
        run.nodes[child].up_began = run.counter
