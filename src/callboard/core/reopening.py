"""Reopened: the one way back from an ending, and only a person's. Recorded outcomes stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core import facts as f
from callboard.core import mapped, rules
from callboard.core.documents import stale
from callboard.core.events import start_ticks
from callboard.core.executions import begin
from callboard.core.status import ENDED, FAILED, INIT, RUNNING, STOPPED
from callboard.core.step import No
from callboard.core.waves import actions_of, drain, perform

if TYPE_CHECKING:
    from callboard.core.run import Node, Run
    from callboard.core.step import Step


def reopened(work: Step, fact: f.Reopened) -> bool:
    run = work.run
    if run.replaced:
        raise No(f"the run goes on as {run.replaced}")
    if run.status not in ENDED:
        raise No("only an ended run can be reopened")
    tasks = run.nodes[: len(run.plan.tasks)]
    if fact.what == "restart":
        chosen = [work.named(fact.node)]
        if chosen[0].parent >= 0 and chosen[0].id not in mapped.list_of(run.nodes[chosen[0].parent]).items:
            raise No(f"{run.name_of(chosen[0].parent)} has no item {chosen[0].key} in its present list")
    elif fact.what == "retry":
        never = [run.nodes[node] for node in run.graph.roots if not run.nodes[node].number]
        chosen = _first([row for row in tasks if row.status in (FAILED, STOPPED)], run) + never
    elif fact.what == "stale":
        chosen = _first([row for row in tasks if stale(run, row) or _items_again(run, row, "stale")], run)
    else:
        raise No(f"{fact.what!r} is no way to reopen a run: retry, restart or stale")
    if not chosen:
        raise No(f"there is nothing to {'redo' if fact.what == 'stale' else fact.what}")
    run.status, run.begun = RUNNING, run.begun or fact.what == "retry"
    work.decision.status = int(RUNNING)
    work.state_moved = run.changed = True
    start_ticks(work)
    for row in tasks:
        work.count(row)
    _begin_again(work, chosen, fact.what)
    _judge_unfired(work)
    return True


def _first(rows: list[Node], run: Run) -> list[Node]:
    """Those that stand below no other of them: the rest waits for its combination."""
    among = {row.id for row in rows}
    below: set[int] = set()
    todo = list(among)
    while todo:
        for child, _ in run.graph.children[todo.pop()]:
            if child not in below:
                below.add(child)
                todo.append(child)
    return [row for row in rows if row.id not in below]


def _begin_again(work: Step, chosen: list[Node], what: str) -> None:
    """The next number of each; of a mapped task that failed by its items only those."""
    for row in sorted(chosen, key=lambda row: row.id):
        for one in (_items_again(work.run, row, what) if what != "restart" else []) or [row]:
            begin(work, one, None, cause="reopened")


def _items_again(run: Run, row: Node, what: str) -> list[Node]:
    """The items that are to run again; none when the whole list is."""
    if row.mapped is None or row.mapped.lost:
        return []
    items = [run.nodes[item] for item in row.mapped.items]
    if what == "stale":
        return [] if stale(run, row) else [item for item in items if stale(run, item)]
    return [item for item in items if item.status in (FAILED, STOPPED)]


def _judge_unfired(work: Step) -> None:
    """Combinations that stood unfired when the run ended are judged once."""
    run = work.run
    drain(work)
    ready = [row.id for row in run.nodes[: len(run.plan.tasks)] if not row.waiting and run.graph.parents[row.id]]
    actions = {action.node: action for action in actions_of(work, None, INIT, ready)}
    for branch in run.graph.branches:
        if branch.tasks and rules.holds(run, branch):
            action = rules.fire(work, branch)
            actions.setdefault(action.node, action)
    perform(work, list(actions.values()))
