"""The machine: facts in, changes and orders out.

`step` takes each fact to its end before the next: the fact is checked, then applied; every change of a status
is a wave that rules and needs may answer; then admission starts what may start, which brings waves of its
own. A step costs what moved, not what exists. What a person asks and cannot have is refused before anything
is changed; an answer that comes too late is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from callboard.core import facts as f
from callboard.core import mapped, rules
from callboard.core.deadline import Deadline, Now, after
from callboard.core.executions import act, begin, delay, end, retry, start, stop, write
from callboard.core.orders import Evaluate, Refuse, Tick, Wake
from callboard.core.plan import Probe
from callboard.core.rows import dump_branch, dump_run
from callboard.core.status import (
    ENDED,
    FAILED,
    INIT,
    OPEN,
    QUEUED,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPED,
    STOPPING,
    SUCCESS,
    Status,
)
from callboard.core.step import Decision, Step

if TYPE_CHECKING:
    from callboard.core.admission import Admission
    from callboard.core.rules import Action
    from callboard.core.run import Node, Run

#: Waves of one task from one fact; one more is a rule loop.
MOST_WAVES = 1000
#: Workers lost in a row that make an execution poison, and failing answers that turn a probe's rule off.
MOST_LOSSES = 3


class No(Exception):
    """A person's fact cannot be taken; nothing was changed."""


def step(
    run: Run, facts: Sequence[f.Fact], now: Now, drained: bool = True, admission: Admission | None = None
) -> Decision:
    """Apply `facts` to `run` and return only what moved.

    `drained` says that the run's inbox is read to its last fact: only then may the run be judged to have ended.
    Without `admission` nothing starts: what would is QUEUED.
    """
    work = Step(run, now, admission)
    last = len(facts) - 1
    for number, fact in enumerate(facts):
        try:
            taken = HANDLERS[type(fact)](work, fact)
        except No as refusal:
            work.orders.append(Refuse(fact, str(refusal)))
            taken = False
        if taken:
            work.decision.journal.append(f.encode(fact))
            work.waves.clear()
            work.looped.clear()
        _settle(work, drained and number == last)
    if not facts:
        _settle(work, drained)
    return _decide(work)


def _decide(work: Step) -> Decision:
    decision, run = work.decision, work.run
    for row in work.moved.values():
        write(work, row)
    for number in sorted(work.fired_branches):
        decision.branches.append((number, dump_branch(run.branches[number])))
    if work.state_moved or decision.status is not None:
        decision.state = dump_run(run)
    decision.orders = [order for order in work.orders if order is not None]
    return decision


# ── waves ───────────────────────────────────────────────────────────────────────────────────────────────


def _settle(work: Step, last: bool) -> None:
    """Take what a fact brought to its end: waves, then admission, then the question whether the run is over."""
    while True:
        _drain(work)
        if _admit(work):
            continue
        if _show_queued(work):
            continue
        if last and _is_quiet(work.run) and rules.judge(work):
            continue
        break
    if last and _is_quiet(work.run):
        _judge_end(work)


def _drain(work: Step) -> None:
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
        if row.parent >= 0:
            if status in ENDED:
                mapped.item_ended(work, row)
                _merge(work)
            return _take_up_next(work, row)
        if _is_loop(work, row):
            return None
        _see_list(work, row)
    actions = _actions(work, row, status, candidates)
    if row is not None and _stops_the_run(work, row):
        run.failing = row.id
        return _stop_all(work)
    _perform(work, actions)
    if row is not None:
        _take_up_next(work, row)
    return None


def _merge(work: Step) -> None:
    """What an item's end made ready belongs to this wave."""
    found, work.candidates = work.candidates, None
    if found:
        _perform(work, _actions(work, None, INIT, found))


def _see_list(work: Step, row: Node) -> None:
    if row.mapped is not None and row.status in OPEN:
        if row.status is RUNNING and row.id in work.run.graph.overs and not row.mapped.source:
            mapped.go_over(work, row)
        mapped.judge(work, row)
    for twin in work.run.graph.twins.get(row.id, ()):
        if row.status in ENDED:
            mapped.judge(work, work.run.nodes[twin])


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
        if row.status in ENDED:
            return True
    work.withdraw(row)
    row.next = None
    end(work, row, FAILED, "rule loop")
    return True


def _actions(work: Step, row: Node | None, status: Status, candidates: list[int] | None) -> list[Action]:
    """One action for each task: that of its first firing rule. Rules that lose are spent too."""
    run = work.run
    if not run.acting:
        return []
    found: dict[int, Action] = {}
    for node in sorted(candidates or ()):
        below = run.nodes[node]
        if not below.waiting and below.fired < below.up_began:
            found[node] = rules.Action(node, "START", "need", None)
    if row is not None and row.id in run.graph.watched:
        for branch in rules.of_status(run, row.id):
            action = rules.fire(work, branch)
            found.setdefault(action.node, action)
    return list(found.values())


_ORDER = {"STOP": 0, "RESTART": 1, "START": 2}


def _perform(work: Step, actions: list[Action]) -> None:
    if len(actions) > 1:
        actions.sort(key=lambda action: _ORDER[action.do])
    for action in actions:
        row = work.run.nodes[action.node]
        if action.node in work.looped:
            continue
        if action.cause == "need":
            row.fired = work.run.counter
        act(work, row, action.do, action.cause, action.combination)


def _take_up_next(work: Step, row: Node) -> None:
    if row.next is None or row.status not in ENDED:
        return
    combination, row.next = row.next, None
    if work.run.acting and row.id not in work.looped:
        begin(work, row, combination, cause="next")
    elif row.parent < 0:
        work.count(row)


def _stops_the_run(work: Step, row: Node) -> bool:
    """`on_failure: stop`, and this is a critical failure that no rule took up."""
    run = work.run
    return run.plan.on_failure == "stop" and run.acting and row.status is FAILED and row.id in run.failures


def _admit(work: Step) -> bool:
    """Start what may start; whether anything did."""
    run, admission = work.run, work.admission
    if admission is None or not run.acting or run.holds:
        return False
    for row in work.queued:
        if row.status is QUEUED:
            admission.offer(run, row)
    for row in [row for row in work.moved.values() if row.mapped is not None and row.mapped.due]:
        mapped.ask(work, row)
    picked = admission.pick(run, work.now, work_left(work))
    if not picked:
        return False
    work.decision.journal.append(f.encode(f.Admitted(tuple(picked))))
    _start(work, picked)
    return True


def work_left(work: Step) -> int:
    """Starts that this step has left."""
    return max(0, 250 - work.begun)


def _start(work: Step, picked: Sequence[int]) -> None:
    for node in picked:
        row = work.run.nodes[node]
        if row.status is QUEUED:
            start(work, row)


def _show_queued(work: Step) -> bool:
    """QUEUED is seen by others only when the task had to wait."""
    queued, work.queued = work.queued, []
    for row in queued:
        if row.status is QUEUED and row.id in work.run.graph.watched:
            work.triggers.append((row.id, QUEUED, None))
    return bool(work.triggers)


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────


def _is_quiet(run: Run) -> bool:
    return run.status is RUNNING and not (run.open or run.probing or run.events or run.pending)


def _judge_end(work: Step) -> None:
    run = work.run
    if run.cancelling:
        return _finish(work, STOPPED)
    if run.failing >= 0:
        return _finish(work, FAILED)
    if run.hopeful > 0 or any(run.nodes[node].tick for node in run.graph.ruled):
        return None
    return _finish(work, FAILED if run.failures else STOPPED if run.stops else SUCCESS)


def _finish(work: Step, status: Status) -> None:
    run = work.run
    run.holds.clear()
    run.cancelling, run.failing = False, -1
    run.events.clear()
    run.probing = None
    for node in run.graph.ruled:
        row = run.nodes[node]
        if row.tick is not None:
            row.tick = None
            work.moved[node] = row
    work.finish(status)
    if work.admission is not None:
        work.admission.forget(run.number)


def _stop_all(work: Step) -> None:
    """As by a cancel: all `next` emptied, what waits STOPPED, what is at work STOPPING, nothing acts any more."""
    run = work.run
    run.holds.clear()
    run.events.clear()
    run.probing = None
    work.state_moved = True
    for row in run.nodes[: len(run.plan.tasks)]:
        if row.tick is not None:
            row.tick = None
            row.missed = False
            work.moved[row.id] = row
            work.count(row)
        if row.is_open or row.next is not None:
            stop(work, row)


# ── facts of executions ─────────────────────────────────────────────────────────────────────────────────


def _at_work(work: Step, fact: Any) -> Node | None:
    """The execution an answer is for, if it is still the one outside."""
    row = work.run.nodes[fact.node]
    alive = row.at_work and row.number == fact.number and row.attempt == fact.attempt
    return row if alive else None


def _begun(work: Step, fact: f.Begun) -> bool:
    run = work.run
    if run.status is not INIT:
        return False
    run.status = RUNNING
    work.decision.status = int(RUNNING)
    work.state_moved = True
    for node in run.graph.roots:
        row = run.nodes[node]
        if row.task.every is not None:
            _set_tick(work, row, work.now.wall + row.task.every.seconds)
        begin(work, row, None, cause="begin")
    return True


def _admitted(work: Step, fact: f.Admitted) -> bool:
    _start(work, fact.nodes)
    return False


def _succeeded(work: Step, fact: f.Succeeded) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    if row.task.review is not None and row.status is RUNNING:
        return _produced(work, f.Produced(*fact[:3], "", *fact[3:]))
    _publish(work, fact)
    work.answered(row)
    end(work, row, SUCCESS, outcome=fact.outcome)
    return True


def _publish(work: Step, fact: f.Succeeded | f.Produced) -> None:
    """Events of an attempt are judged before its outcome; its documents are those of the run from now on."""
    run = work.run
    for notice in fact.published:
        _hear(work, f.Heard(notice.key, notice.offset, notice.value))
        _drain(work)
    if fact.documents:
        run.documents.update(fact.documents)
        run.pending.update(fact.pending)


def _produced(work: Step, fact: f.Produced) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    _publish(work, fact)
    work.answered(row)
    if row.status is STOPPING:
        row.draft = (fact.hash, fact.outcome)
        end(work, row, STOPPED, "stopped unreviewed")
        return True
    row.draft = (fact.hash, fact.outcome)
    work.hold(row, "review")
    review = row.task.review
    if review is not None and review.expires is not None:
        row.wake, row.wake_what = after(work.now, review.expires), "review"
        work.orders.append(Wake(row.id, row.number, row.attempt, "review", row.wake))
    return True


def _failed(work: Step, fact: f.Failed) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    work.answered(row)
    row.losses = 0
    if row.status is STOPPING:
        end(work, row, STOPPED, fact.why)
    elif fact.kind == "unknown" and row.task.effect == "once":
        work.hold(row, "decision")
    else:
        row.tries += 1
        _again_or_fail(work, row, fact.kind != "permanent", fact.why, fact.retry_after)
    return True


def _again_or_fail(work: Step, row: Node, retriable: bool, why: str, asked: float | None = None) -> None:
    if retriable and row.tries < row.task.retry.tries:
        retry(work, row, why, delay(work, row, asked))
    else:
        end(work, row, FAILED, why)


def _timed_out(work: Step, fact: f.TimedOut) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    work.answered(row)
    row.losses = 0
    if row.status is STOPPING:
        end(work, row, STOPPED, "timed out")
    elif row.task.effect == "once":
        work.hold(row, "decision")
    else:
        row.tries += 1
        _again_or_fail(work, row, True, "timed out")
    return True


def _skipped(work: Step, fact: f.Skipped) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    work.answered(row)
    end(work, row, STOPPED if row.status is STOPPING else SKIPPED, fact.why)
    return True


def _stopped(work: Step, fact: f.Stopped) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    work.answered(row)
    end(work, row, STOPPED, "stopped")
    return True


def _list_stopped(work: Step, fact: f.ListStopped) -> bool:
    row = work.run.nodes[fact.node]
    if row.mapped is None or row.number != fact.number or not row.mapped.asked:
        return False
    work.answered(row)
    row.mapped.asked = False
    work.moved[row.id] = row
    if row.status is RUNNING:
        row.mapped.due = True
        row.mapped.page -= 1
    mapped.judge(work, row)
    return True


def _lease_lost(work: Step, fact: f.LeaseLost) -> bool:
    row = _at_work(work, fact)
    if row is None:
        return False
    work.answered(row)
    if fact.by != "engine":
        row.losses += 1
    if row.status is STOPPING:
        end(work, row, STOPPED, "lost")
    elif row.task.effect == "once":
        work.hold(row, "decision")
    elif row.losses >= MOST_LOSSES:
        end(work, row, FAILED, "poison")
    else:
        work.move(row, QUEUED)
    return True


def _halted(work: Step, fact: f.Halted) -> bool:
    return _back_to_queue(work, fact, "interrupted")


def _refused(work: Step, fact: f.Refused) -> bool:
    row = _at_work(work, fact)
    if row is not None and row.status is RUNNING:
        work.run.holds.add("budget")
        work.state_moved = True
        _hold_admission(work)
    return _back_to_queue(work, fact, "budget")


def _back_to_queue(work: Step, fact: f.Halted | f.Refused, why: str) -> bool:
    """Nothing was used up: QUEUED again, or STOPPED when that was asked for."""
    row = _at_work(work, fact)
    if row is None:
        return False
    work.answered(row)
    if row.status is STOPPING:
        end(work, row, STOPPED, why)
    else:
        work.move(row, QUEUED)
    return True


def _listed(work: Step, fact: f.Listed) -> bool:
    row = _asked_list(work, fact.node, fact.number)
    if row is None or row.mapped is None or row.mapped.page != fact.page:
        return False
    mapped.listed(work, row, fact)
    return True


def _list_failed(work: Step, fact: f.ListFailed) -> bool:
    row = _asked_list(work, fact.node, fact.number)
    if row is None or row.mapped is None:
        return False
    work.answered(row)
    row.mapped.asked, row.mapped.lost = False, True
    work.moved[row.id] = row
    mapped.judge(work, row)
    return True


def _asked_list(work: Step, node: int, number: int) -> Node | None:
    row = work.run.nodes[node]
    return row if row.mapped is not None and row.mapped.asked and row.number == number else None


def _woke(work: Step, fact: f.Woke) -> bool:
    row = work.run.nodes[fact.node]
    if (row.number, row.attempt, row.wake_what) != (fact.number, fact.attempt, fact.what) or row.wake is None:
        return False
    if fact.what == "retry" and row.status is RETRYING:
        work.move(row, QUEUED)
        return True
    if fact.what == "review" and row.hold == "review":
        end(work, row, FAILED, "review expired")
        return True
    return False


# ── events, probes, ticks ───────────────────────────────────────────────────────────────────────────────


def _heard(work: Step, fact: f.Heard) -> bool:
    return _hear(work, fact)


def _hear(work: Step, event: f.Heard) -> bool:
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


def _open_event(work: Step, event: f.Heard) -> None:
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


def _answer_event(work: Step, event: f.Heard, answers: dict[int, bool | None]) -> None:
    """The wave of an event."""
    fired = rules.hear(work, event, answers)
    found: dict[int, Action] = {}
    for branch in fired:
        action = rules.fire(work, branch)
        found.setdefault(action.node, action)
    _perform(work, list(found.values()))


def _judged(work: Step, fact: f.Judged) -> bool:
    run = work.run
    if run.probing is None or run.probing[0].offset != fact.offset or fact.rule in run.probing[1]:
        return False
    event, answers = run.probing
    answers[fact.rule] = fact.met
    work.state_moved = True
    for number in run.graph.by_rule[fact.rule]:
        state = run.branches[number]
        state.errors = state.errors + 1 if fact.met is None else 0
        state.off = state.off or state.errors >= MOST_LOSSES
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
            _drain(work)
            _open_event(work, run.events.popleft())
    return True


def _set_tick(work: Step, row: Node, at: float) -> None:
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


def _ticked(work: Step, fact: f.Ticked) -> bool:
    run = work.run
    row = run.nodes[fact.node]
    every = row.task.every
    if every is None or row.tick is None or row.tick.wall != fact.at or not run.acting:
        return False
    following = fact.at + every.seconds
    late = following <= work.now.wall
    while following <= work.now.wall:
        following += every.seconds
    _set_tick(work, row, following)
    if run.holds:
        row.missed = True
    elif not late or every.misfire == "last":
        _tick(work, row)
    return True


def _tick(work: Step, row: Node) -> None:
    every = row.task.every
    assert every is not None
    if every.overlap == "restart":
        act(work, row, "RESTART", "tick")
    elif row.status not in OPEN:
        act(work, row, "START", "tick")
    elif every.overlap == "queue":
        act(work, row, "START", "queue")


# ── facts of people ─────────────────────────────────────────────────────────────────────────────────────


def _living(work: Step) -> Run:
    run = work.run
    if run.status is not RUNNING:
        raise No("the run has not begun" if run.status is INIT else "the run has ended")
    return run


def _node(work: Step, name: int | str | None) -> Node:
    node = work.run.find(name) if name is not None else None
    if node is None:
        raise No(f"the run has no task {name!r}")
    return work.run.nodes[node]


def _asked(work: Step, fact: f.Asked) -> bool:
    run = _living(work)
    if not run.acting:
        raise No("the run is being ended")
    row = _node(work, fact.node)
    if fact.action not in _ORDER:
        raise No(f"{fact.action!r} is no action")
    if row.parent >= 0:
        parent = run.nodes[row.parent]
        assert parent.mapped is not None
        if parent.status not in (RUNNING, *ENDED) or row.id not in parent.mapped.items or parent.mapped.giving_up:
            raise No(f"{run.name_of(parent.id)} has not listed {row.key} yet")
    act(work, row, fact.action, "person")
    return True


def _paused(work: Step, fact: f.Paused) -> bool:
    run = work.run
    if run.status is not RUNNING or not run.acting:
        raise No("only a running run can be paused")
    return _add_hold(work, "paused")


def _interrupted(work: Step, fact: f.Interrupted) -> bool:
    return work.run.acting and _add_hold(work, "interrupted")


def _add_hold(work: Step, hold: str) -> bool:
    work.run.holds.add(hold)
    work.state_moved = True
    _hold_admission(work)
    return True


def _hold_admission(work: Step) -> None:
    if work.admission is not None:
        work.admission.forget(work.run.number)


def _resumed(work: Step, fact: f.Resumed) -> bool:
    if not _living(work).holds & {"paused", "budget"}:
        raise No("the run is not paused")
    return _lift(work, "paused", "budget")


def _raised(work: Step, fact: f.Raised) -> bool:
    _living(work)
    return _lift(work, "budget")


def _continued(work: Step, fact: f.Continued) -> bool:
    if "interrupted" not in _living(work).holds:
        raise No("the run is not interrupted")
    return _lift(work, "interrupted")


def _lift(work: Step, *holds: str) -> bool:
    """Lift holds; with the last one, what waits is offered again and missed ticks follow their policy."""
    run = work.run
    had = bool(run.holds)
    run.holds.difference_update(holds)
    work.state_moved = True
    if not had or run.holds:
        return True
    for node in sorted(run.graph.ruled):
        row = run.nodes[node]
        if row.missed:
            row.missed = False
            work.moved[node] = row
            assert row.task.every is not None
            if row.task.every.misfire == "last":
                _tick(work, row)
    work.queued.extend(sorted((run.nodes[n] for n in run.queued), key=lambda row: row.began))
    for row in run.nodes[: len(run.plan.tasks)]:
        if row.mapped is not None and row.mapped.due:
            work.moved[row.id] = row
    return True


def _cancelled(work: Step, fact: f.Cancelled) -> bool:
    run = work.run
    if run.status in ENDED:
        raise No("the run has ended")
    if run.status is INIT:
        _finish(work, STOPPED)
        return True
    if run.cancelling:
        return False
    run.cancelling = True
    _stop_all(work)
    return True


def _held(work: Step, fact: Any, hold: str) -> Node:
    run = _living(work)
    row = _node(work, fact.node)
    if row.hold != hold or row.number != fact.number:
        raise No(f"{run.name_of(row.id)} {fact.number} does not wait for this")
    return row


def _edited(work: Step, fact: f.Edited) -> bool:
    row = _held(work, fact, "review")
    if row.draft is not None and row.revision == 0:
        work.decision.outcomes.append(((work.run.number << 40) | (row.id << 20) | row.number, 0, row.draft[1]))
        row.revision = 1
    row.draft = (fact.hash, fact.outcome)
    work.moved[row.id] = row
    return True


def _approved(work: Step, fact: f.Approved) -> bool:
    row = _held(work, fact, "review")
    if row.draft is None or row.draft[0] != fact.hash:
        raise No("the draft has changed since it was looked at")
    outcome, row.draft = row.draft[1], None
    end(work, row, SUCCESS, "approved", outcome)
    return True


def _rejected(work: Step, fact: f.Rejected) -> bool:
    row = _held(work, fact, "review")
    review = row.task.review
    if review is None or row.rounds >= review.again:
        end(work, row, FAILED, "rejected")
        return True
    combination = row.next if row.next is not None else work.run.inputs_of(row, row.combination)
    row.next = None
    end(work, row, STOPPED, "rejected")
    row.rounds += 1
    row.note = fact.note
    begin(work, row, combination, cause="rejection")
    return True


def _decided(work: Step, fact: f.Decided) -> bool:
    row = _held(work, fact, "decision")
    if fact.verdict == "done":
        end(work, row, SUCCESS, outcome=fact.outcome)
    elif fact.verdict == "failed":
        end(work, row, FAILED, "failed")
    elif fact.verdict == "redo":
        work.move(row, QUEUED)
    else:
        raise No(f"{fact.verdict!r} is no decision: done, redo or failed")
    return True


def _document_edited(work: Step, fact: f.DocumentEdited) -> bool:
    """A person's version is recorded; what read the old one is stale."""
    run = work.run
    run.documents[fact.path] = fact.new
    for row in run.nodes:
        if row.read is not None and row.read.get(fact.path, fact.new) != fact.new:
            row.stale = fact.path
            work.moved[row.id] = row
    return True


def _published(work: Step, fact: f.Published) -> bool:
    if fact.path not in work.run.pending:
        return False
    work.run.pending.discard(fact.path)
    return True


# ── reopening ───────────────────────────────────────────────────────────────────────────────────────────


def _reopened(work: Step, fact: f.Reopened) -> bool:
    run = work.run
    if run.status not in ENDED:
        raise No("only an ended run can be reopened")
    tasks = run.nodes[: len(run.plan.tasks)]
    if fact.what == "restart":
        chosen = [_node(work, fact.node)]
        if chosen[0].parent >= 0 and chosen[0].id not in mapped.list_of(run.nodes[chosen[0].parent]).items:
            raise No(f"{run.name_of(chosen[0].parent)} has no item {chosen[0].key} in its present list")
    elif fact.what == "retry":
        never = [run.nodes[node] for node in run.graph.roots if not run.nodes[node].number]
        chosen = _first([row for row in tasks if row.status in (FAILED, STOPPED)], run) + never
    elif fact.what == "stale":
        chosen = _first([row for row in tasks if row.stale], run)
    else:
        raise No(f"{fact.what!r} is no way to reopen a run: retry, restart or stale")
    if not chosen:
        raise No(f"there is nothing to {'redo' if fact.what == 'stale' else fact.what}")
    run.status = RUNNING
    work.decision.status = int(RUNNING)
    work.state_moved = run.changed = True
    for row in tasks:
        if row.task.every is not None and row.tick is None:
            _set_tick(work, row, work.now.wall + row.task.every.seconds)
        work.count(row)
    _begin_again(work, chosen, items=fact.what == "retry")
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


def _begin_again(work: Step, chosen: list[Node], *, items: bool) -> None:
    """The next number of each; of a mapped task that failed by its items only those."""
    nodes = work.run.nodes
    for row in sorted(chosen, key=lambda row: row.id):
        again = [nodes[i] for i in row.mapped.items if nodes[i].status in (FAILED, STOPPED)] if row.mapped else []
        for one in again if items and again else [row]:
            if one.status not in OPEN:
                begin(work, one, None, cause="reopened")


def _judge_unfired(work: Step) -> None:
    """Combinations that stood unfired when the run ended are judged once."""
    run = work.run
    _drain(work)
    ready = [row.id for row in run.nodes[: len(run.plan.tasks)] if not row.waiting and run.graph.parents[row.id]]
    actions = {action.node: action for action in _actions(work, None, INIT, ready)}
    for branch in run.graph.branches:
        if branch.tasks and rules.holds(run, branch):
            action = rules.fire(work, branch)
            actions.setdefault(action.node, action)
    _perform(work, list(actions.values()))


HANDLERS: dict[type[Any], Callable[[Step, Any], bool]] = {
    f.Begun: _begun, f.Admitted: _admitted, f.Succeeded: _succeeded, f.Failed: _failed, f.TimedOut: _timed_out,
    f.Skipped: _skipped, f.Stopped: _stopped, f.ListStopped: _list_stopped, f.LeaseLost: _lease_lost,
    f.Halted: _halted, f.Refused: _refused, f.Raised: _raised, f.Produced: _produced, f.Edited: _edited,
    f.Approved: _approved, f.Rejected: _rejected, f.Decided: _decided, f.Heard: _heard, f.Judged: _judged,
    f.Woke: _woke, f.Ticked: _ticked, f.Listed: _listed, f.ListFailed: _list_failed, f.Asked: _asked,
    f.Paused: _paused, f.Resumed: _resumed, f.Cancelled: _cancelled, f.Interrupted: _interrupted,
    f.Continued: _continued, f.Reopened: _reopened, f.DocumentEdited: _document_edited, f.Published: _published,
}  # fmt: skip
