"""The short way of a link comes to what the long way comes to, which a replay takes; and it is taken only by a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from callboard.core import facts as f
from callboard.core import links, machine, replay
from callboard.core.admission import MOST_STARTS, Admission
from callboard.core.deadline import Now
from callboard.core.invariants import check
from callboard.core.orders import Refuse
from callboard.core.plan import Every, Plan, Review, Task
from callboard.core.run import Run

if TYPE_CHECKING:
    from callboard.core.step import Decision

A, B, C = Task("a"), Task("b", needs=("a",)), Task("c", needs=("b",))
MANY = [Task(f"r{n}") for n in range(MOST_STARTS + 1)]


def done(node: int, number: int = 1, attempt: int = 1, **more: Any) -> f.Succeeded:
    return f.Succeeded(node, number, attempt, f'{{"value":{node}}}', **more)


class Case(NamedTuple):
    tasks: tuple[Task, ...]
    facts: tuple[f.Fact, ...]  # after Begun
    short: int = 0  # how many of them take the short way
    limits: tuple[str, ...] = ()  # of which the plan has one each


CASES = {
    "a chain": Case((A, B, C), (done(0), done(1), done(2)), 2),
    "an optional need": Case((A, Task("b", optional=("a",))), (done(0),), 1),
    "a second attempt": Case((A, B), (f.Halted(0, 1, 1), done(0, attempt=2)), 1),
    "an answer too late": Case((A, B), (f.Halted(0, 1, 1), done(0), done(0, attempt=2), done(0, attempt=2)), 1),
    "a second number": Case((A, B), (done(0), f.Asked("a", "RESTART"), done(0, 2), done(1)), 1),
    "a second number while nothing else began": Case(
        (A, B, C), (f.Asked("a", "RESTART"), f.Stopped(0, 1, 1), done(0, 2), done(1)), 1
    ),
    "a stop": Case((A, B), (f.Asked("a", "STOP"), done(0))),
    "a start that was ignored": Case((A, B), (f.Asked("a", "START"), done(0)), 1),
    "an answer after its time": Case((Task("a", effect="once"), B), (f.TimedOut(0, 1, 1), done(0))),
    "what it brings": Case((A, B, C), (done(0, documents=(f.Written("x", "hash"),), pending=("x",)), done(1)), 1),
    "an event with it": Case((A, B), (done(0, published=(f.Notice("k", 1, None),)),)),
    "two below": Case((A, B, Task("c", needs=("a",))), (done(0), done(1))),
    "two above": Case((A, Task("b"), Task("c", needs=("a", "b"))), (done(0), done(1))),
    "nothing below": Case((A,), (done(0),)),
    "a periodic task beside it": Case((A, B, Task("p", every=Every(5.0))), (done(0),)),
    "a pause": Case((A, B), (f.Paused(), done(0), f.Resumed())),
    "a cancel": Case((A, B), (f.Cancelled(), done(0))),
    "a review": Case((Task("a", review=Review()), B), (done(0), f.Approved("a", 1, ""))),
    "a limit above": Case((Task("a", limits=("x",)), B), (done(0),), limits=("x",)),
    "a limit below": Case((A, Task("b", needs=("a",), limits=("x",))), (done(0),), limits=("x",)),
    "a skip below": Case((A, Task("b", needs=("a",), skip=True), C), (done(0),)),
    "a group below": Case((A, Task("b", "group", needs=("a",)), C), (done(0),)),
    "a reader below": Case((A, Task("b", needs=("a",), reads=("x",))), (done(0),)),
    "one started by hand": Case((A, B), (f.Asked("b", "START"), done(0), done(1))),
    "one below it started by hand": Case((A, B, C), (f.Asked("c", "START"), done(0), done(1))),
    "more that is ready": Case((*MANY, Task("z", needs=("r0",))), (done(0),)),
}  # fmt: skip


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    """The decisions that were made the short way."""
    found: list[Decision] = []
    way = links.pass_on

    def pass_on(*arguments: Any) -> Decision | None:
        decision = way(*arguments)
        found.extend([decision] if decision is not None else ())
        return decision

    monkeypatch.setattr(links, "pass_on", pass_on)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_short_way_comes_to_what_the_long_way_comes_to(name: str, short: list[Decision]) -> None:
    case = CASES[name]
    plan = Plan(case.tasks, limits=dict.fromkeys(case.limits, 1))
    run, mirror, admission = Run(1, "run", plan), Run(1, "run", plan), Admission()
    for moment, fact in enumerate((f.Begun(), *case.facts)):
        now = Now(1000.0 + moment, "boot", float(moment))
        decision = machine.step(run, [fact], now, True, admission)
        check(run, admission)
        same = replay.step(mirror, decision.journal, now, True)
        assert replay.picture(run) == replay.picture(mirror)
        told = [order for order in decision.orders if type(order) is not Refuse]
        assert same.orders == told
        for field in ("executions", "outcomes", "starts", "status", "state", "journal"):
            assert getattr(decision, field) == getattr(same, field), field
    assert len(short) == case.short


def test_a_run_that_waits_for_the_engines_limits_is_not_passed_over() -> None:
    admission = Admission({"shared": 1})
    plan, now = Plan((A, B)), Now(1000.0, "boot", 0.0)
    limited = Plan((Task("a", limits=("shared",)),))
    chain, first, second = Run(1, "run1", plan), Run(2, "run2", limited), Run(3, "run3", limited)
    for run in (chain, first, second):
        machine.step(run, [f.Begun()], now, True, admission)
    assert not admission.is_idle(chain)
    assert links.pass_on(chain, done(0), now, admission) is None
