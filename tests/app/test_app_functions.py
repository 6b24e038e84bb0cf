"""`task` and `plan`: functions as tasks, and what is refused before anything runs."""

from __future__ import annotations

import pytest

from callboard.app.stage.functions import plan, task
from callboard.core.plan import Map, Retry
from callboard.errors import InvalidPlan, UsageError


def one() -> int:
    return 1


def two(one: int) -> int:
    return one + 1


def test_a_function_alone_is_a_task_of_its_name() -> None:
    made = task(one)
    assert (made.task.name, made.task.executor, made.call) == ("one", "function", one)
    assert [found.name for found in plan(one, task("two", two, needs=["one"])).plan.tasks] == ["one", "two"]


def test_policies_are_kept_as_the_plan_wants_them() -> None:
    made = task("two", two, needs=["one"], retry=3, timeout="5m", args={"x": 1}, critical=False).task
    assert made.retry.tries == 3 and made.timeout == 300.0 and not made.critical
    assert made.inputs["args"] == {"x": 1} and made.needs == ("one",)
    assert task("two", two, retry=Retry(5)).task.retry.tries == 5


def test_a_list_makes_a_mapped_task() -> None:
    assert task("two", two, each=[1, 2]).task.map == Map("")
    assert task("two", two, each=[1, 2]).task.inputs["each"] == {"list": [1, 2]}
    assert task("three", two, over="two").task.map == Map("two")


def test_what_cannot_run_is_refused_when_it_is_written() -> None:
    with pytest.raises(UsageError, match="needs a function"):
        task("nothing")
    with pytest.raises(InvalidPlan, match="continue or stop"):
        plan(one, on_failure="shrug")
    for tasks in ([task("two", two, needs=["nobody"])], [task("a", one), task("a", two)]):
        with pytest.raises(InvalidPlan):
            plan(*tasks)
    with pytest.raises(InvalidPlan):
        plan(task("a", one, needs=["b"]), task("b", one, needs=["a"]))
