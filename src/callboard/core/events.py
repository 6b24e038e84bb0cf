"""Events, the probes that are asked about them, and the ticks of periodic tasks.

One event at a time: while a probe is open, later events of the run wait in order. Outcomes never do.
"""

from __future__ import annotations

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
    from callboard.core.run import Node
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


def _open_event(work: Step, event: Heard) -> None:
    run = work.run
    asked = sorted(
        {
            branch.rule
            for branch in (run.graph.branches[n] for n in run.graph.by_key.get(event.key, ()))
            if not run.branches[branch.number].off
            and any(type(c) is Probe and event.key in c.keys for c in branch.conditions)
        }
    )
    if asked:
        run.probing = (event, {})
        work.orders.extend(Evaluate(rule, event.offset) for rule in asked)
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
    answers[fact.rule] = fact.met
    work.state_moved = True
    for number in run.graph.by_rule[fact.rule]:
        state = run.branches[number]
        state.errors = state.errors + 1 if fact.met is None else 0
        state.off = state.off or state.errors >= MOST_ERRORS
        state.state = state.state if fact.state is None else fact.state
        work.fired_branches.add(number)
        run.changed = True
    asked = {
        branch.rule
        for branch in (run.graph.branches[n] for n in run.graph.by_key.get(event.key, ()))
        if any(type(c) is Probe and event.key in c.keys for c in branch.conditions)
        and (branch.rule in answers or not run.branches[branch.number].off)
    }
    if asked <= set(answers):
        run.probing = None
        _answer_event(work, event, answers)
        while run.events and run.probing is None:
            drain(work)
            _open_event(work, run.events.popleft())
    return True


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
    following = fact.at + every.seconds
    late = following <= work.now.wall
    while following <= work.now.wall:
        following += every.seconds
    set_tick(work, row, following)
    if run.holds:
        row.missed = True
    elif not late or every.misfire == "last":
        tick(work, row)
    return True


def tick(work: Step, row: Node) -> None:
    every = row.task.every
    assert every is not None
    if every.overlap == "restart":
        act(work, row, "RESTART", "tick")
    elif row.status not in OPEN:
        act(work, row, "START", "tick")
    elif every.overlap == "queue":
        act(work, row, "START", "queue")
