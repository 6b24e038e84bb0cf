"""Rules at work: which branches a wave fires, what they remember, and what can no longer come true.

A branch fires once for each combination. Events are remembered until it fires; statuses are not: the whole
condition must hold on the latest executions at once. That a rule is hopeless is found only when the run is
quiet, by a least fixpoint over what may still bring a new combination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.core.graph import OPTIONAL, Branch, Named
from callboard.core.plan import Count, EventIs, Probe
from callboard.core.status import FAILED, INIT, SKIPPED, Status

if TYPE_CHECKING:
    from callboard.core.deadline import Now
    from callboard.core.facts import Heard
    from callboard.core.run import BranchState, Combination, Node, Run
    from callboard.core.step import Step


class Action(NamedTuple):
    """What one wave does to one task."""

    node: int
    do: str
    cause: str
    combination: Combination | None


def hear(step: Step, event: Heard, answers: dict[int, bool | None]) -> list[Branch]:
    """Let the branches that wait for this key remember it; those that fire now, in plan order."""
    fired = []
    for number in step.run.graph.by_key.get(event.key, ()):
        branch, state = step.run.graph.branches[number], step.run.branches[number]
        if _remember(branch, state, event, answers.get(branch.rule), step.now):
            step.fired_branches.add(number)
            if holds(step.run, branch):
                fired.append(branch)
    return fired


def _remember(branch: Branch, state: BranchState, event: Heard, met: bool | None, now: Now) -> bool:
    heard = False
    for place, condition in enumerate(branch.conditions):
        match condition:
            case EventIs(key, value, valued):
                hit = key == event.key and (not valued or value == event.value)
            case Count(key, n, within):
                hit = key == event.key and _counted(state, place, n, within, now)
            case Probe(_, keys):
                hit = event.key in keys and bool(met)
            case _:
                continue
        if hit:
            state.heard[place] = event.offset
        heard = heard or hit or isinstance(condition, Count)
    return heard


def _counted(state: BranchState, place: int, n: int, within: float, now: Now) -> bool:
    times = [time for time in state.times.get(place, ()) if _age(time, now) <= within]
    times.append((now.wall, now.boot, now.elapsed))
    state.times[place] = times
    return len(times) >= n


def _age(time: tuple[float, str, float], now: Now) -> float:
    """Seconds since an event: elapsed time in the same boot, else the wall."""
    return now.elapsed - time[2] if time[1] == now.boot else max(0.0, now.wall - time[0])


def holds(run: Run, branch: Branch) -> bool:
    """Whether a branch fires now: every condition holds and the combination is new."""
    state, nodes = run.branches[branch.number], run.nodes
    if state.off:
        return False
    for place, condition in enumerate(branch.conditions):
        if type(condition) is Named:
            if nodes[condition.node].status not in condition.statuses:
                return False
        elif place not in state.heard:
            return False
    return bool(state.heard) or any(nodes[task].began > state.fired for task in branch.tasks)


def fire(step: Step, branch: Branch) -> Action:
    """Spend the combination. A START or RESTART that names a failure takes it up."""
    run = step.run
    combination = tuple((task, run.nodes[task].number, run.nodes[task].revision) for task in branch.tasks)
    spend(step, branch)
    if branch.starts:
        for condition in branch.conditions:
            if type(condition) is Named and FAILED in condition.statuses:
                _take_up(step, run.nodes[condition.node])
    return Action(branch.node, branch.do, "rule" if branch.tasks else "event", combination)


def spend(step: Step, branch: Branch) -> None:
    """This combination fires no more."""
    state = step.run.branches[branch.number]
    state.fired = step.run.counter
    state.heard.clear()
    state.times.clear()
    step.fired_branches.add(branch.number)


def _take_up(step: Step, row: Node) -> None:
    if row.status is FAILED and not row.handled:
        row.handled = True
        step.run.failures.discard(row.id)
        step.moved[row.id] = row


def of_status(run: Run, node: int) -> list[Branch]:
    """The branches that a change of this task's status fires, in plan order."""
    branches = run.graph.branches
    return [branches[n] for n in run.graph.by_task.get(node, ()) if holds(run, branches[n])]


# ── hopeless ────────────────────────────────────────────────────────────────────────────────────────────


def possible(run: Run) -> set[int]:
    """The tasks that may run (again) in a quiet run: the least fixpoint over rules, needs and ticks.

    An optional need is in nobody's way: who it waits for will run, or is found to be hopeless here.
    """
    found = {row.id for row in run.nodes[: len(run.plan.tasks)] if row.is_open or row.next is not None}
    todo = list(range(len(run.plan.tasks)))
    while todo:
        again: list[int] = []
        for node in todo:
            if node not in found and (_by_rules(run, node, found) or _by_needs(run, node, found)):
                found.add(node)
                again.append(node)
        todo = sorted({below for node in again for below in _below(run, node)} - found)
    return found


def _below(run: Run, node: int) -> list[int]:
    graph = run.graph
    return [child for child, _ in graph.children[node]] + [
        graph.branches[number].node for number in graph.by_task.get(node, ())
    ]


def _by_rules(run: Run, node: int, found: set[int]) -> bool:
    branches = run.graph.branches
    return any(branches[n].starts and is_possible(run, branches[n], found) for n in run.graph.of_node.get(node, ()))


def is_possible(run: Run, branch: Branch, found: set[int]) -> bool:
    """All conditions count, and at least one may bring a new combination."""
    state = run.branches[branch.number]
    if state.off:
        return False
    new = False
    for condition in branch.conditions:
        if type(condition) is not Named:
            new = True
        elif not counts(run, condition, found):
            return False
        else:
            row = run.nodes[condition.node]
            new = new or row.id in found or row.began > state.fired
    return new


def counts(run: Run, condition: Named, found: set[int]) -> bool:
    """It holds, or the task may come to it."""
    row = run.nodes[condition.node]
    return row.status in condition.statuses or (row.id in found and any(reaches(row, s) for s in condition.statuses))


def reaches(row: Node, status: Status) -> bool:
    """Whether the moves of a task that begins again come to a status."""
    if status is SKIPPED:
        return row.task.skip or row.task.may_skip
    return status is not INIT


def _by_needs(run: Run, node: int, found: set[int]) -> bool:
    """Its needs can be met, and a new combination or an instant may be to come."""
    row = run.nodes[node]
    parents = run.graph.parents[node]
    new = row.tick is not None or (bool(parents) and not row.waiting and row.fired < row.up_began)
    for parent, kind in parents:
        above = run.nodes[parent]
        if parent in found:
            new = True
        elif kind != OPTIONAL and not above.meets & (1 if kind == 0 else 4):
            return False
    return new


def judge(step: Step) -> bool:
    """Find, in a quiet run, what rules can no longer start; whether anything followed from it.

    What was judged before has no say in it: judged again without a cause, a run stays as it is.
    """
    run = step.run
    if not run.changed or not run.graph.ruled or not run.acting:
        return False
    run.changed = False
    rows = [run.nodes[node] for node in sorted(run.graph.ruled)]
    before = [row for row in rows if row.judged]
    _judge_to_be(step, before, False)
    found = possible(run)
    after = [row for row in rows if row.id not in found]
    _judge_to_be(step, after, True)
    judged = {row.id for row in before} ^ {row.id for row in after}
    step.moved.update((row.id, row) for row in rows if row.id in judged)
    return bool(step.candidates)


def _judge_to_be(step: Step, rows: list[Node], hopeless: bool) -> None:
    for row in rows:
        row.judged = hopeless
    for row in rows:
        step.count(row)
