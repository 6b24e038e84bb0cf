"""An invariant that cannot fail proves nothing: each is shown a run that breaks it, and must name rule and task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from callboard.core import facts as f
from callboard.core import orders as o
from callboard.core.admission import Admission
from callboard.core.deadline import Now, after
from callboard.core.invariants import Recorder, check
from callboard.core.machine import step
from callboard.core.plan import Every, Map, Plan, Task
from callboard.core.run import Draft, Run
from callboard.core.status import FAILED, QUEUED, RETRYING, STOPPED, SUCCESS
from callboard.core.step import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = Now(1000.0, "boot", 10.0)
PLAN = Plan(
    (
        Task("a"),
        Task("b", needs=("a",)),
        Task("m", map=Map()),
        Task("g", limits=("x",)),
        Task("h", limits=("x",)),
        Task("p", every=Every(60.0)),
    ),
    limits={"x": 1},
)
A, B, M, G, H, P = range(6)


def under_way() -> tuple[Run, Admission]:
    """A run in the middle of its life: a, g, p and an item of m at work, h waits for a unit."""
    run, admission = Run(1, "run", PLAN), Admission({"db": 1})
    step(run, [f.Begun(), f.Listed(M, 1, 1, (("x", 1),))], NOW, True, admission)
    return run, admission


def ended() -> Run:
    run = Run(1, "run", Plan((Task("a"), Task("m", map=Map()))))
    step(run, [f.Begun()], NOW, True, Admission())
    step(run, [f.Succeeded(0, 1, 1), f.Listed(1, 1, 1, ())], NOW, True, Admission())
    assert run.status is SUCCESS
    return run


def test_a_run_that_is_as_it_should_be_passes() -> None:
    check(*under_way())
    check(ended())
    check(Run(1, "new", PLAN))


def node(which: int, /, **values: Any) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for name, value in values.items():
            setattr(run.nodes[which], name, value)

    return change


def listed(**values: Any) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for name, value in values.items():
            setattr(run.nodes[M].mapped, name, value)

    return change


def whole(**values: Any) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for name, value in values.items():
            setattr(run, name, value)

    return change


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (node(A, number=0), "a RUNNING 0.1: whatever is not INIT has a number"),
        (node(A, began=99), "nothing began later"),
        (node(B, next=()), "b INIT 0.0: `next` only on open"),
        (node(B, hold="review"), "only RUNNING is held"),
        (node(A, hold="review"), "has a draft"),
        (node(A, status=RETRYING), "RETRYING has a timer"),
        (node(A, wake=after(NOW, 5)), "a timer only for a retry"),
        (node(A, attempt=0, status=RETRYING, wake=after(NOW, 5), wake_what="retry"), "it was started"),
        (node(A, tick=after(NOW, 5)), "only what is periodic ticks"),
        (node(A, status=FAILED), "FAILED has a reason"),
        (node(B, waiting=0), "b INIT 0.0: `waiting` is counted as 0, a scan finds 1"),
        (node(B, movers=7), "`movers`"),
        (node(B, up_began=7), "`up_began`"),
        (node(A, may=False), "`may` is False"),
        (node(A, meets=1), "follows from its status"),
        (node(A, fresh=False), "what is current is fresh"),
        (listed(open=2), "2 items counted open, a scan finds 1"),
        (listed(failed={A}), "counted failed"),
        (listed(asked=True, due=True), "a page is due or outside"),
        (whole(open=1), "the run: `open` is counted as 1"),
        (whole(at_work=1), "`at_work`"),
        (whole(hopeful=9), "`hopeful`"),
        (whole(used={"x": 2}), "`used`"),
        (whole(queued={A, H}), "`queued`"),
        (whole(failures={A}), "`failures`"),
        (whole(events=["k"]), "events wait only for a probe"),
        (whole(cancelling=True), "what is being ended has nothing else open"),
    ],
)
def test_what_is_broken_is_told(break_it: Callable[[Run], None], told: str) -> None:
    run, admission = under_way()
    break_it(run)
    with pytest.raises(AssertionError) as error:
        check(run, admission)
    assert told in str(error.value)


def test_good_items_are_counted() -> None:
    run, _ = under_way()
    mapped = run.nodes[M].mapped
    assert mapped is not None
    mapped.good, run.nodes[M].meets = 1, 4
    with pytest.raises(AssertionError, match="1 items counted good, a scan finds 0"):
        check(run)


def test_an_item_outside_the_present_list_is_not_open() -> None:
    run, _ = under_way()
    mapped = run.nodes[M].mapped
    assert mapped is not None
    mapped.items, mapped.open = {}, 0
    with pytest.raises(AssertionError, match="only items of the present list"):
        check(run)


def test_items_have_their_places_in_order() -> None:
    run, _ = under_way()
    mapped = run.nodes[M].mapped
    assert mapped is not None
    mapped.items = {item: 5 for item in mapped.items}
    with pytest.raises(AssertionError, match="places in order"):
        check(run)


def test_an_ended_mapped_task_asks_for_nothing() -> None:
    run = ended()
    mapped = run.nodes[1].mapped
    assert mapped is not None
    mapped.due = True
    with pytest.raises(AssertionError, match="ends with its list"):
        check(run)


def test_a_mapped_task_is_open_for_something() -> None:
    run = Run(1, "run", PLAN)
    step(run, [f.Begun()], NOW, True, Admission())
    mapped = run.nodes[M].mapped
    assert mapped is not None
    mapped.asked = False
    with pytest.raises(AssertionError, match="open for something"):
        check(run)


def test_what_is_current_ran_on_the_latest() -> None:
    run = Run(1, "run", Plan((Task("a"), Task("b", needs=("a",)), Task("z"))))
    for facts in ([f.Begun()], [f.Succeeded(0, 1, 1)], [f.Succeeded(1, 1, 1)]):
        step(run, facts, NOW, True, Admission())
    run.nodes[1].combination = ((0, 7, 0),)
    with pytest.raises(AssertionError, match="ran on the latest a"):
        check(run)


def test_limits_are_never_exceeded() -> None:
    run, admission = under_way()
    run.plan.limits["x"] = 0  # type: ignore[index]
    try:
        with pytest.raises(AssertionError, match="1 units of x are used"):
            check(run, admission)
    finally:
        run.plan.limits["x"] = 1  # type: ignore[index]
    admission.used["db"] = 2
    with pytest.raises(AssertionError, match="2 of the engine's db"):
        check(run, admission)


def test_units_of_a_pick_that_a_run_has_not_been_told_of_are_used() -> None:
    admission = Admission({"db": 1})
    runs = [Run(number, "r", Plan((Task("t", limits=("db", "own")),), limits={"own": 1})) for number in (1, 2)]
    for run in runs:
        step(run, [f.Begun()], NOW, True, admission)
    step(runs[0], [f.Succeeded(0, 1, 1)], NOW, True, admission)
    assert admission.called() in ([], [2])
    for run in runs:
        check(run, admission)


def test_what_is_queued_without_a_hold_stands_in_a_queue() -> None:
    run, _ = under_way()
    assert run.nodes[H].status is QUEUED
    with pytest.raises(AssertionError, match="stands in the ready queue"):
        check(run, Admission())


def test_a_run_with_nothing_open_says_what_it_waits_for() -> None:
    run = Run(1, "run", Plan((Task("a"),)))
    step(run, [f.Begun()], NOW, True, Admission())
    step(run, [f.Succeeded(0, 1, 1)], NOW, False, Admission())
    check(run, drained=False)
    with pytest.raises(AssertionError, match="listens, waits for a tick, or ends"):
        check(run)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (whole(pending={"p"}), "nothing is open"),
        (whole(holds={"paused"}), "nothing holds"),
        (node(0, wake=after(NOW, 5)), "a timer only for a retry"),
        (whole(failing=0), "nothing holds"),
    ],
)
def test_after_the_end_nothing_is_left(break_it: Callable[[Run], None], told: str) -> None:
    run = ended()
    break_it(run)
    with pytest.raises(AssertionError) as error:
        check(run)
    assert told in str(error.value)


def test_after_the_end_nothing_ticks() -> None:
    run = Run(1, "run", Plan((Task("p", every=Every(60.0)),)))
    step(run, [f.Begun(), f.Cancelled()], NOW, True, None)
    run.nodes[0].tick = after(NOW, 5)
    with pytest.raises(AssertionError, match="nothing is timed"):
        check(run)


# ── how moments follow each other ───────────────────────────────────────────────────────────────────────


def decided(*orders: o.Order, **values: Any) -> Decision:
    decision = Decision()
    decision.orders = list(orders)
    for name, value in values.items():
        setattr(decision, name, value)
    return decision


def recorded() -> tuple[Run, Recorder]:
    run = Run(1, "run", PLAN)
    recorder = Recorder(run)
    recorder.see([f.Begun()], step(run, [f.Begun()], NOW, True, Admission()))
    return run, recorder


def test_a_life_as_it_should_be_is_recorded() -> None:
    run, recorder = recorded()
    for fact in (f.Listed(M, 1, 1, (), True), f.Succeeded(A, 1, 1), f.Cancelled(), f.Stopped(B, 1, 1)):
        recorder.see([fact], step(run, [fact], NOW, True, Admission()))
    assert (B, 1, 1) in recorder.started
    assert (B, 1, 1) not in recorder.outside


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (decided(o.Start(A, 1, 1)), "no attempt starts twice"),
        (decided(o.List(M, 1, 1)), "one page at a time"),
        (decided(o.Stop(A, 1, 2)), "only to what is at work"),
        (decided(o.StopList(A, 1)), "while it is asked"),
        (decided(o.Start(A, 1, 2)), "what is outside is what is at work"),
        (decided(o.Stop(A, 1, 1)), "what was asked to stop is STOPPING"),
        (decided(outcomes=[(1 << 40 | A << 20 | 1, 0, "{}")] * 2), "one outcome for each number"),
        (
            decided(outcomes=[(1 << 40 | 1, 0, "{}")], executions=[(1 << 40 | 1, int(STOPPED), 1, 1, 0.0, None, None)]),
            "only SUCCESS has an outcome",
        ),
    ],
)
def test_a_step_that_does_not_follow_is_told(decision: Decision, told: str) -> None:
    _, recorder = recorded()
    with pytest.raises(AssertionError) as error:
        recorder.see([], decision)
    assert told in str(error.value)


def test_numbers_never_fall() -> None:
    run, recorder = recorded()
    run.nodes[A].number = 0
    with pytest.raises(AssertionError, match="numbers never fall"):
        recorder.see([], decided())


def test_nothing_starts_while_the_run_has_a_hold() -> None:
    run, recorder = recorded()
    run.holds.add("paused")
    with pytest.raises(AssertionError, match="has a hold"):
        recorder.see([], decided(o.Start(B, 1, 1)))


def test_a_page_that_is_outside_is_one_that_is_asked_for() -> None:
    run, recorder = recorded()
    mapped = run.nodes[M].mapped
    assert mapped is not None
    mapped.asked = False
    with pytest.raises(AssertionError, match="what page is outside"):
        recorder.see([], decided())


def test_what_waits_asks_for_nothing() -> None:
    run, recorder = recorded()
    run.nodes[M].status = QUEUED
    with pytest.raises(AssertionError, match="QUEUED asks for nothing"):
        recorder.see([], decided())


def test_an_ended_run_changes_only_by_reopened() -> None:
    run = ended()
    recorder = Recorder(run)
    with pytest.raises(AssertionError, match="changes only by Reopened"):
        recorder.see([f.Heard("k", 1)], decided(journal=["[]"]))


def test_a_cancelled_run_ends_stopped() -> None:
    run, recorder = recorded()
    recorder.cancelled = True
    run.status = SUCCESS
    with pytest.raises(AssertionError, match="a cancelled run ends STOPPED"):
        recorder.see([], decided(status=int(SUCCESS)))


def test_no_start_reads_mixed_numbers() -> None:
    plan = Plan((Task("a"), Task("b", needs=("a",)), Task("c", needs=("a", "b"))))
    run = Run(1, "run", plan)
    recorder = Recorder(run)
    for facts in ([f.Begun()], [f.Succeeded(0, 1, 1)]):
        recorder.see(facts, step(run, facts, NOW, True, Admission()))
    recorder.inputs[1, 1, 0] = ((0, 7, 0),)
    run.nodes[1].number = 1
    with pytest.raises(AssertionError, match="no start on mixed numbers of a"):
        recorder._see_mixture(run.nodes[2])


def test_a_draft_keeps_what_was_first_produced() -> None:
    assert Draft("h", "{}").first is None
