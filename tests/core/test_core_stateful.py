"""The machine under chance: random plans, an outside that answers late or twice, people who meddle.

Every step is held against the invariants; a run loaded from its rows and one replayed from its journal must
equal the one in memory. Hypothesis makes a broken world small; for millions of worlds see `random_world.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import random_world
from random_world import Seeded, World, live

from callboard.core import mapped
from callboard.core.admission import Admission
from callboard.core.deadline import Now
from callboard.core.facts import Begun, Paused, Resumed, Succeeded
from callboard.core.invariants import check
from callboard.core.machine import step
from callboard.core.orders import Start
from callboard.core.plan import Plan, Task
from callboard.core.run import Run
from callboard.core.status import ENDED

modest = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])


class Drawn:
    """Chance as Hypothesis gives it."""

    def __init__(self, data: st.DataObject) -> None:
        self.below = lambda n: data.draw(st.integers(0, n - 1))


@modest
@given(st.data())
def test_whatever_happens_the_run_stays_true_and_a_cancel_ends_it(data: st.DataObject) -> None:
    live(Drawn(data), steps=12)


def test_many_plain_worlds_stay_true() -> None:
    for seed in range(150):
        live(Seeded(seed))


@pytest.mark.parametrize("full", [2, 3])
def test_worlds_in_which_pages_are_asked_for_ahead_stay_true(monkeypatch: pytest.MonkeyPatch, full: int) -> None:
    asked: list[bool] = []
    ask = mapped.ask

    def see(step: Any, row: Any) -> None:
        asked.append(not row.mapped.due and row.wants_page)
        ask(step, row)

    monkeypatch.setattr("callboard.core.run.FULL_PAGE", full)
    monkeypatch.setattr(mapped, "ask", see)
    for seed in range(60):
        live(Seeded(seed))
    assert any(asked)


@modest
@given(st.integers(0, 1 << 32))
def test_if_all_that_is_outside_answers_the_run_ends_or_rests(seed: int) -> None:
    world = World(Seeded(seed))
    world.begin()
    world.settle()


@modest
@given(st.integers(0, 1 << 32), st.integers(0, 25))
def test_a_cancel_always_ends_it(seed: int, steps: int) -> None:
    world = World(Seeded(seed))
    world.begin()
    for _ in range(steps):
        world.happen()
    world.cancel()
    assert world.run.status in ENDED


@modest
@given(st.data())
def test_runs_that_share_limits_never_take_more_than_there_is(data: st.DataObject) -> None:
    draw: Any = data.draw
    admission = Admission({"x": draw(st.integers(1, 3)), "y": draw(st.integers(1, 2))})
    limits = st.sampled_from([(), ("x",), ("y",), ("x", "y")])
    runs = []
    for number in range(1, 4):
        tasks = [Task(f"t{n}", limits=draw(limits), priority=draw(st.integers(0, 3))) for n in range(4)]
        runs.append(Run(number, f"r{number}", Plan(tuple(tasks))))
    outside: list[tuple[Run, Start]] = []

    def take(run: Run, facts: list[Any]) -> None:
        outside.extend((run, o) for o in step(run, facts, Now(0, "b", 0), True, admission).orders if type(o) is Start)
        check(run, admission)
        for name in admission.used:
            held = sum(name in one.nodes[o.node].limits for one, o in outside)
            held += sum(name in one.nodes[node].limits for one in runs for node in admission.kept(one.number))
            assert held == admission.used[name] <= admission.capacity[name]
        for number in admission.called():
            take(runs[number - 1], [])

    for run in runs:
        take(run, [Begun()])
    while outside:
        run, order = outside.pop(draw(st.integers(0, len(outside) - 1)))
        meddled = [Paused()] if draw(st.integers(0, 9)) == 9 and run.status not in ENDED else []
        take(run, [*meddled, Succeeded(order.node, order.number, order.attempt)])
        if not outside:
            for run in runs:
                take(run, [Resumed()] if run.holds else [])
    assert all(run.status in ENDED for run in runs)


def test_worlds_can_be_run_by_hand(capsys: Any) -> None:
    assert random_world.main(2, 0) == 0
    assert capsys.readouterr().out.startswith("2 worlds")


def test_a_broken_world_is_told_with_its_seed(capsys: Any, monkeypatch: Any) -> None:
    def broken(chance: Any) -> None:
        raise AssertionError("the rule")

    monkeypatch.setattr(random_world, "live", broken)
    assert random_world.main(2, 7) == 1
    assert "seed 7: AssertionError: the rule" in capsys.readouterr().out
