"""Waves: each change of a status is judged on the state as it is, answered, and followed to its end.

First in, first out. A task takes one action a wave, that of its first firing rule; STOPs come before RESTARTs
before STARTs; `next` is taken up last. When the waves have run dry admission starts what may start, which
brings waves of its own; only then do others see what is QUEUED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core import mapped, rules
from callboard.core.admission import MOST_STARTS
from callboard.core.ending import is_quiet, judge_end, stop_all
from callboard.core.executions import act, begin, end, start
from callboard.core.facts import Admitted, encode
from callboard.core.status import ENDED, FAILED, INIT, OPEN, QUEUED, RUNNING, SUCCESS, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.rules import Action
    from callboard.core.run import Node
    from callboard.core.step import Step

#: Waves of one task from one fact; one more is a rule loop.
MOST_WAVES = 1000


def settle(work: Step, last: bool) -> None:
    """Take what a fact brought to its end: waves, then admission, then the question whether the run is over."""
    while True:
        drain(work)
        if _admit(work):
            continue
        if not (_show_queued(work) or (last and is_quiet(work.run) and rules.judge(work))):
            break
        if _may_start(work):
            work.decision.journal.append(encode(Admitted(())))  # so that a replay picks nothing at this point
    if last and is_quiet(work.run):
        judge_end(work)


def drain(work: Step) -> None:
    while work.triggers or work.candidates:
        if work.triggers:
            _wave(work, *work.triggers.popleft())
        else:
            found, work.candidates = work.candidates, None
            _wave(work, -1, INIT, found)


def _wave(work: Step, node: int, status: Status, candidates: list[int] | None) -> None:
    """One change of a status: judge all conditions on the state as it is, then act, then take up `next`."""
    run = work.run
    row = run.nodes[node] if node >= 0 else None
    if row is not None:
        if candidates and status is SUCCESS and row.next is None and work.graph.is_plain:
            return _begin_below(work, candidates)
        if row.parent >= 0:
            mapped.item_ended(work, row)
            _merge(work)
            return _take_up_next(work, row)
        if _is_loop(work, row):
            return None
        _see_list(work, row)
    actions = actions_of(work, row, status, candidates)
    if row is not None and _stops_the_run(work, row):
        run.failing = row.id
        return stop_all(work)
    perform(work, actions)
    if row is not None and status in ENDED:
        _take_up_next(work, row)
    return None


def _begin_below(work: Step, candidates: list[int]) -> None:
    """The wave of a success where there are only needs: nothing else can be asked, lose or come round again."""
    run = work.run
    if not run.acting:
        return
    judged = run.counter
    for node in sorted(candidates) if len(candidates) > 1 else candidates:
        below = run.nodes[node]
        if not below.waiting and below.fired < below.up_began:
            below.fired = judged
            act(work, below, "START", "need")


def _merge(work: Step) -> None:
    """What an item's end made ready belongs to this wave."""
    found, work.candidates = work.candidates, None
    if found:
        perform(work, actions_of(work, None, INIT, found))


def _see_list(work: Step, row: Node) -> None:
    if row.mapped is not None and row.status in OPEN:
        if row.status is RUNNING and row.id in work.run.graph.overs and not row.mapped.source:
            mapped.go_over(work, row)
        mapped.judge(work, row)
    if row.status in ENDED:
        for goer in work.run.graph.goers.get(row.id, ()):
            mapped.judge(work, work.run.nodes[goer])


def _is_loop(work: Step, row: Node) -> bool:
    """More than 1,000 waves of one task from one fact: one further number, FAILED."""
    if row.id in work.looped:
        return False
    count = work.waves[row.id] = work.waves.get(row.id, 0) + 1
    if count <= MOST_WAVES:
        return False
    work.looped.add(row.id)
    if row.status in ENDED:
        row.next = None
        begin(work, row, None, cause="loop")
    work.withdraw(row)
    if row.mapped is not None:
        row.mapped.asked = row.mapped.due = False
    row.next = None
    end(work, row, FAILED, "rule loop")
    return True


def actions_of(work: Step, row: Node | None, status: Status, candidates: list[int] | None) -> list[Action]:
    """One action for each task: that of its first firing rule. Rules that lose are spent too."""
    run = work.run
    if not run.acting:
        return []
    found: dict[int, Action] = {}
    for node in sorted(candidates) if candidates else ():
        below = run.nodes[node]
        if not below.waiting and below.fired < below.up_began:
            found[node] = rules.Action(node, "START", "need", None)
    if row is not None and row.id in run.graph.watched:
        for branch in rules.of_status(run, row.id):
            if branch.node in work.looped:
                rules.spend(work, branch)  # it does nothing, so it takes nothing up
                continue
            action = rules.fire(work, branch)
            found.setdefault(action.node, action)
    return list(found.values())


_ORDER = {"STOP": 0, "RESTART": 1, "START": 2}


def _as_judged(work: Step, actions: list[Action]) -> list[Action]:
    """What needs start reads what they were judged on, although a rule may begin its upstream anew in this wave."""
    if all(action.cause == "need" for action in actions):
        return actions
    run = work.run
    return [
        action._replace(combination=run.inputs_of(run.nodes[action.node], None)) if action.cause == "need" else action
        for action in actions
    ]


def perform(work: Step, actions: list[Action]) -> None:
    judged = work.run.counter
    if len(actions) > 1:
        actions = _as_judged(work, actions)
        actions.sort(key=lambda action: _ORDER[action.do])
    for action in actions:
        row = work.run.nodes[action.node]
        if action.node in work.looped:
            continue
        if action.cause == "need":
            row.fired = judged
        act(work, row, action.do, action.cause, action.combination)


def _take_up_next(work: Step, row: Node) -> None:
    if row.next is None or row.status not in ENDED:
        return
    combination, row.next = row.next, None
    begin(work, row, combination, cause="next")


def _stops_the_run(work: Step, row: Node) -> bool:
    """`on_failure: stop`, and this is a critical failure that no rule took up."""
    run = work.run
    return run.plan.on_failure == "stop" and run.acting and row.status is FAILED and row.id in run.failures


def _may_start(work: Step) -> bool:
    run = work.run
    return work.admission is not None and run.acting and not run.holds


def _admit(work: Step) -> bool:
    """Start what may start; whether anything did."""
    run, admission = work.run, work.admission
    if admission is None or not run.acting or run.holds:
        return False
    if len(work.queued) == 1 and not work.offered and not work.begun and admission.is_free(run, work.queued[0]):
        return _start_at_once(work, work.queued[0])
    if work.offered < len(work.queued):
        for row in work.queued[work.offered :]:
            if row.status is QUEUED or row.wants_page:
                admission.offer(run, row)
        work.offered = len(work.queued)
    if work.begun >= MOST_STARTS:
        return False
    picked = admission.pick(run, work.now, MOST_STARTS - work.begun)
    if not picked:
        return False
    work.decision.journal.append(encode(Admitted(tuple(picked))))
    start_all(work, picked)
    return True


def _start_at_once(work: Step, row: Node) -> bool:
    """The only one that is ready, and it needs no unit: what admission would pick, without a queue."""
    work.offered = 1
    work.decision.journal.append(f'["Admitted",[{row.id}]]')
    start(work, row)
    return True


def start_all(work: Step, picked: Sequence[int]) -> None:
    for node in picked:
        row = work.run.nodes[node]
        if row.status is QUEUED:
            start(work, row)
        else:
            mapped.ask(work, row)


def _show_queued(work: Step) -> bool:
    """QUEUED is seen by others only when the task had to wait."""
    if not work.queued:
        return False
    queued, work.queued, work.offered = work.queued, [], 0
    for row in queued:
        if row.status is QUEUED and row.id in work.run.graph.watched:
            work.triggers.append((row.id, QUEUED, None))
    return bool(work.triggers)
