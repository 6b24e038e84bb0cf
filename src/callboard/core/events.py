"""Events, the probes that are asked about them, and the ticks of periodic tasks.

One event at a time: while a probe is open, later events of the run wait in order. Outcomes never do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from callboard.core import rules
from callboard.core.deadline import Deadline
from callboard.core.executions import act
from callboard.core.orders import Evaluate, Tick
from callboard.core.plan import Probe
from callboard.core.status import OPEN
from callboard.core.waves import drain, perform

if TYPE_CHECKING:
    from callboard.core.facts import Heard, Judged, Ticked
    from callboard.core.rules import Action
    from callboard.core.run import Node, Run
    from callboard.core.step import Step

#: Failing answers in a row that turn a probe's rule off.
MOST_ERRORS = 3


def heard(work: Step, fact: Heard) -> bool:
    return hear(work, fact)


def hear(work: Step, event: Heard) -> bool:
    """An event, each offset once; behind an open probe it waits its turn."""
    run = work.run
    if event.offset <= run.heard or not run.acting:
        return False
    run.heard = event.offset
    work.state_moved = True
    if run.probing is not None:
        run.events.append(event)
    else:
        _open_event(work, event)
    return True


def _asked(run: Run, key: str) -> set[int]:
    """The rules whose probes are asked about events of this key."""
    branches = (run.graph.branches[n] for n in run.graph.by_key.get(key, ()))
    return {
        branch.rule
        for branch in branches
        if not run.branches[branch.number].off
        and any(type(condition) is Probe and key in condition.keys for condition in branch.conditions)
    }


def _open_event(work: Step, event: Heard) -> None:
    asked = _asked(work.run, event.key)
    if asked:
        work.run.probing = (event, {})
        work.orders.extend(Evaluate(rule, event.offset) for rule in sorted(asked))
    else:
        _answer_event(work, event, {})


def _answer_event(work: Step, event: Heard, answers: dict[int, bool | None]) -> None:
    """The wave of an event."""
    fired = rules.hear(work, event, answers)
    found: dict[int, Action] = {}
    for branch in fired:
        action = rules.fire(work, branch)
        found.setdefault(action.node, action)
    perform(work, list(found.values()))


def judged(work: Step, fact: Judged) -> bool:
    run = work.run
    if run.probing is None or run.probing[0].offset != fact.offset or fact.rule in run.probing[1]:
        return False
    event, answers = run.probing
    asked = _asked(run, event.key) - answers.keys()
    if fact.rule not in asked:
        return False
    answers[fact.rule] = fact.met
    work.state_moved = run.changed = True
    for number in run.graph.by_rule[fact.rule]:
        state = run.branches[number]
        state.errors = state.errors + 1 if fact.met is None else 0
        state.off = state.errors >= MOST_ERRORS
        state.state = state.state if fact.state is None else fact.state
        work.fired_branches.add(number)
    if asked == {fact.rule}:
        run.probing = None
        _answer_event(work, event, answers)
        drain(work)
        while run.events and run.probing is None:
            _open_event(work, run.events.popleft())
            drain(work)
    return True


def start_ticks(work: Step) -> None:
    """Ticks count from now on, for every periodic task."""
    for node, every in work.run.graph.periodic.items():
        set_tick(work, work.run.nodes[node], work.now.wall + every.seconds)


def set_tick(work: Step, row: Node, at: float) -> None:
    """Order the next instant, if there is one."""
    every = row.task.every
    assert every is not None
    work.moved[row.id] = row
    if every.until is not None and at > every.until:
        row.tick = None
    else:
        ahead = at - work.now.wall
        row.tick = Deadline(at, work.now.boot, work.now.elapsed + ahead, ahead)
        work.orders.append(Tick(row.id, row.tick))
    work.run.changed = True


def ticked(work: Step, fact: Ticked) -> bool:
    run = work.run
    row = run.nodes[fact.node]
    every = row.task.every
    if every is None or row.tick is None or row.tick.wall != fact.at or not run.acting:
        return False
    missed = max(0, math.floor((work.now.wall - fact.at) / every.seconds))
    following = fact.at + (missed + 1) * every.seconds
    set_tick(work, row, min(following, work.now.wall + every.seconds))  # a wall set back makes nobody wait for longer
    if run.holds:
        row.missed = True
    elif not missed or every.misfire == "last":
        tick(work, row)
    return True


def tick(work: Step, row: Node) -> None:
    """What an instant does. A task with needs waits for them as any other does: the instant passes."""
    every = row.task.every
    assert every is not None
    if row.waiting:
        return
    if every.overlap == "restart":
        act(work, row, "RESTART", "tick")
    elif row.status not in OPEN:
        act(work, row, "START", "tick")
    elif every.overlap == "queue":
        act(work, row, "START", "queue")
