"""`callboard.run` in a plain script: functions in, values out, everything recorded."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

import callboard
from callboard.core import plan as plans
from callboard.core.deadline import Now, after
from callboard.engine.owner import new_owner, started
from callboard.errors import Conflict, InvalidPlan, NotFound, NotJson, Permanent, Transient, UsageError
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = Now(2.0, "boot", 2.0)


def one() -> int:
    return 1


async def two(one: int) -> int:
    return one + 1


# ── what goes in ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_function_is_a_flow(here: Path) -> None:
    result = callboard.run(one)
    assert (result.value, result.status, result.because, result["one"]) == (1, "success", "", 1)
    assert (here / ".callboard/callboard.db").exists()


def test_what_a_task_returned_comes_in_under_its_name() -> None:
    plan = callboard.plan(one, callboard.task("two", two, needs=["one"]), name="numbers")
    result = callboard.run(plan)
    assert result.value == 2 and result.tasks() == {"one": "success", "two": "success"}
    assert result.id.startswith("numbers-") and repr(result) == f"<Result of {result.id}: success>"


def test_names_with_hyphens_and_arguments_of_ones_own_come_in_too() -> None:
    def both(first_page: int, more: int) -> list[int]:
        return [first_page, more]

    plan = callboard.plan(
        callboard.task("first-page", one), callboard.task("both", both, needs=["first-page"], args={"more": 2})
    )
    assert callboard.run(plan).value == [1, 2]


def test_a_task_maps_over_a_list_and_another_over_its_items() -> None:
    def collect(twice: list[Any]) -> int:
        return sum(one["value"][1] for one in twice)

    plan = callboard.plan(
        callboard.task("plus", lambda item: item + 1, each=[10, 20, 30]),
        callboard.task("twice", lambda item, plus: [item, plus * 2], over="plus"),
        callboard.task("sum", collect, needs=["twice"]),
    )
    result = callboard.run(plan)
    assert result.value == 126
    assert [item["value"] for item in result["plus"]] == [11, 21, 31]
    key = result["twice"][1]["key"]
    assert result[f"twice/{key}"] == [20, 42]


def test_an_optional_need_that_failed_is_none() -> None:
    def fails() -> None:
        raise ValueError("no")

    plan = callboard.plan(
        callboard.task("a", fails, critical=False),
        callboard.task("b", lambda a: ["a was", a], optional=["a"]),
    )
    result = callboard.run(plan)
    assert result.value == ["a was", None] and result.partly and result["a"] is None


def test_a_task_keeps_all_that_was_said_of_it_without_a_name() -> None:
    made = callboard.task(one, needs=["zero"], retry=4, timeout="5m", critical=False, limits=["gpu"]).task
    assert (made.name, made.needs, made.retry.tries, made.timeout) == ("one", ("zero",), 4, 300.0)
    assert not made.critical and made.limits == ("gpu",)


def test_functions_that_look_alike_are_not_mixed_up() -> None:
    def adds(n: int) -> Callable[[], int]:
        def add() -> int:
            return 100 + n

        return add

    plan = callboard.plan(*(callboard.task(f"t{n}", adds(n)) for n in range(20)))
    result = callboard.run(plan)
    assert result.value == {f"t{n}": 100 + n for n in range(20)}
    a, b = callboard.task("a", lambda: "first"), callboard.task("b", lambda: "second")
    assert callboard.run(callboard.plan(a, b)).value == {"a": "first", "b": "second"}


def test_whatever_can_be_called_is_a_function() -> None:
    class Adder:
        def __call__(self, one: int) -> int:
            return one + 5

        async def later(self, one: int) -> int:
            return one + 6

    async def fetch(n: int) -> int:
        return n

    plan = callboard.plan(
        one,
        callboard.task("object", Adder(), needs=["one"]),
        callboard.task("method", Adder().later, needs=["one"]),
        callboard.task("partial", functools.partial(fetch, 7)),
        callboard.task("lambda", lambda: fetch(8)),
    )
    result = callboard.run(plan)
    assert {name: result[name] for name in ("object", "method", "partial", "lambda")} == {
        "object": 6,
        "method": 7,
        "partial": 7,
        "lambda": 8,
    }


def test_a_pipeline_file_is_a_flow_and_calls_functions_of_this_process(here: Path) -> None:
    @callboard.register("shout_in_the_facade")
    def shout(pipe_data: Any, params: Any) -> str:
        return str(pipe_data["pipein_text"]).upper() + params["mark"]

    (here / "show.ai").write_text(
        "name: Show\npipe:\n"
        "  - {type: function, function: shout_in_the_facade, params: {mark: '!'}}\n"
        "  - {type: function, function: whisper}\n"
    )
    (here / "function").mkdir()
    (here / "function/whispers.py").write_text(
        "from callboard.executors.registry import register\n\n\n@register\ndef whisper(pipe_data, params):\n"
        "    return pipe_data['pipein_text'].lower() + '…'\n"
    )
    assert callboard.run("show.ai", "Hello").value == "hello!…"


# ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_is_read_when_it_is_asked_for() -> None:
    result = callboard.run(one)
    with pytest.raises(KeyError):
        result["two"]
    assert result.cost in (None, 0.0)


def test_a_failure_names_the_task_and_the_error_and_has_it_as_its_cause() -> None:
    def divides() -> float:
        return 1 / 0

    with pytest.raises(callboard.RunFailed, match=r"failed: divides: ZeroDivisionError: division by zero") as failed:
        callboard.run(divides)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert failed.value.run.startswith("functions-")


def test_the_item_that_failed_is_named() -> None:
    def picky(item: str) -> str:
        if item == "b":
            raise Permanent("not this one")
        return item

    plan = callboard.plan(callboard.task("picky", picky, each=["a", "b"]))
    with pytest.raises(callboard.RunFailed, match=r"picky/\w+: not this one"):
        callboard.run(plan)


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), {1: "one"}, "\ud800", object()])
def test_a_value_that_is_not_json_fails_the_task_by_name(value: object) -> None:
    with pytest.raises(callboard.RunFailed, match="failed: makes: its value is not JSON"):
        callboard.run(callboard.task("makes", lambda: value))


@pytest.mark.parametrize("more", [{"args": {"x": object()}}, {"each": [{1, 2}]}])
def test_arguments_that_are_not_json_are_refused_before_anything_runs(more: dict[str, Any], here: Path) -> None:
    with pytest.raises(NotJson, match="'makes'"):
        callboard.run(callboard.task("makes", lambda x=None, item=None: 1, **more))
    with pytest.raises(NotJson):
        callboard.run(one, params={"x": object()})
    store = SQLiteStore(here / ".callboard/callboard.db")
    assert store.runs() == []
    store.close()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"effect": "onec"}, "effect of task 'one' is none, keyed or once, not 'onec'; did you mean 'once'?"),
        ({"retry": "3"}, "retry of task 'one' is how many tries"),
        ({"retry": 0}, "at least 1, or a Retry, not 0"),
        ({"retry": True}, "not True"),
        ({"priority": 9}, "priority of task 'one' is 0 (urgent), 1, 2 or 3 (low), not 9"),
        ({"needs": "two"}, "needs of task 'one' is a list of names, not 'two': write ['two']"),
        ({"optional": "two"}, "optional of task 'one' is a list of names"),
        ({"limits": "disk"}, "limits of task 'one' is a list of names, not 'disk': write ['disk']"),
        ({"needs": 3}, "needs of task 'one' is a list of names, not 3"),
        ({"needs": [one]}, "needs of task 'one' is a list of names"),
        ({"each": "abc"}, "each of task 'one' is a list, not 'abc': write ['abc']"),
        ({"each": {"a": 1}}, "each of task 'one' is a list, not {'a': 1}"),
        ({"each": 7}, "each of task 'one' is a list, not 7"),
        ({"over": one}, "over of task 'one' is the name of another task"),
        ({"each": [1], "over": "two"}, "task 'one' has both each and over"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
    ],
)
def test_a_task_that_is_told_nonsense_says_so(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        callboard.task("one", one, **more)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\nb"])
def test_a_task_has_a_name_that_a_person_can_say(name: str) -> None:
    with pytest.raises(UsageError):
        callboard.task(name, one)


def test_a_plan_has_a_task_and_numbers_for_its_limits() -> None:
    with pytest.raises(InvalidPlan, match="a plan needs a task"):
        callboard.plan()
    disk = callboard.task("one", one, limits=["disc"])
    with pytest.raises(InvalidPlan, match=r"limits of task 'one' names 'disc', which has no number: write plan"):
        callboard.plan(disk)
    with pytest.raises(InvalidPlan, match=r"has no number; did you mean 'disk'\?"):
        callboard.plan(disk, limits={"disk": 1})
    with pytest.raises(InvalidPlan, match="the limit 'disc' is a number, at least 1, not 0"):
        callboard.plan(disk, limits={"disc": 0})


def test_mistakes_of_the_caller_are_told_to_the_caller() -> None:
    with pytest.raises(InvalidPlan, match="circle"):
        callboard.plan(callboard.task("a", one, needs=["b"]), callboard.task("b", one, needs=["a"]))
    with pytest.raises(InvalidPlan, match="two tasks"):
        callboard.plan(one, one)
    with pytest.raises(UsageError, match="not int"):
        callboard.run(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="memory"):
        callboard.run(one, store="disk")
    with pytest.raises(UsageError, match="needs a function"):
        callboard.task("nothing")
    with pytest.raises(NotFound, match=r"nowhere\.ai"):
        callboard.run("nowhere.ai")
    with pytest.raises(callboard.RunFailed, match="failed: lacks: <lambda> asks for x, but there is nothing"):
        callboard.run(callboard.task("lacks", lambda x: x))


# ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_may_go_away_by_itself_is_tried_again() -> None:
    tries: list[int] = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise Transient("busy", retry_after=0.01)
        return len(tries)

    assert callboard.run(callboard.task("flaky", flaky, retry=3)).value == 3
    tries.clear()
    with pytest.raises(callboard.RunFailed, match="busy"):
        callboard.run(callboard.task("flaky", flaky))
    assert len(tries) == 1, "unless it is said, once"


def test_a_sync_function_that_takes_too_long_is_disowned() -> None:
    release = threading.Event()
    try:
        with pytest.raises(callboard.RunFailed, match="slow: timed out"):
            callboard.run(callboard.task("slow", lambda: release.wait(60), timeout=0.05))
    finally:
        release.set()


def test_a_function_sees_which_attempt_it_is() -> None:
    def asks(ctx: Any) -> list[Any]:
        return [ctx.attempt.task, ctx.attempt.number, ctx.attempt.attempt]

    assert callboard.run(asks).value == ["asks", 1, 1]


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(), GeneratorExit(), RecursionError()])
def test_a_function_may_raise_anything(error: BaseException) -> None:
    def raises() -> None:
        raise error

    with pytest.raises(callboard.RunFailed, match="raises:"):
        callboard.run(raises)
    assert callboard.run(one).value == 1, "the engine lives on"


def test_a_coroutine_function_that_exits_is_a_failure_and_its_loop_lives_on() -> None:
    async def exits() -> None:
        raise SystemExit(3)

    async def two() -> int:
        return 2

    with pytest.raises(callboard.RunFailed, match="exits:"):
        callboard.run(exits)
    assert callboard.run(two).value == 2


# ── again ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_id_that_is_known_is_the_same_run() -> None:
    calls: list[int] = []

    def once() -> int:
        calls.append(1)
        return len(calls)

    first, again = callboard.run(once, id="once"), callboard.run(once, id="once")
    assert (first.number, len(calls), again.value) == (again.number, 1, 1)
    with pytest.raises(Conflict, match="another plan or other functions"):
        callboard.run(one, id="once")


def test_a_run_that_failed_under_an_id_goes_on_failing() -> None:
    def fails() -> None:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(callboard.RunFailed, match="ValueError: no"):
            callboard.run(fails, id="bad")


def test_memory_leaves_nothing_on_the_disk(here: Path) -> None:
    assert callboard.run(one, store="memory", id="m").value == 1
    assert callboard.run(one, store="memory", id="m").number == 1, "one store for the process"
    assert list(here.iterdir()) == []


def test_a_project_is_found_upwards_and_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callboard.run(one)
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert callboard.run(one).number == 2
    assert callboard.run(one, project="elsewhere").number == 1
    assert (here / "below/elsewhere/.callboard").is_dir() and not (here / "below/.callboard").exists()


def test_a_run_that_waits_for_a_person_is_let_go(here: Path) -> None:
    (here / "show.ai").write_text("name: Show\npipe:\n  - {type: human, name: look, question: 'Is this good?'}\n")
    result = callboard.run("show.ai", "text", id="show")
    assert result.status == "running" and "look" in result.because
    store = SQLiteStore(here / ".callboard/callboard.db")
    assert store.find_run("show").owner is None
    store.close()


def test_a_run_that_another_process_carries_out_is_refused_by_its_number(here: Path) -> None:
    callboard.run(one)
    store = SQLiteStore(here / ".callboard/callboard.db")
    parent = os.getppid()
    owner = new_owner()._replace(pid=parent, started=started(parent) or 0.0)
    plan = plans.dump(callboard.plan(one).plan)
    row = store.create_run(id="theirs", name="theirs", plan=plan, params="{}", face="functions", at=0.0)
    store.claim(row.number, owner, after(NOW, 1e12), NOW, alive=lambda owner: True)
    store.close()
    with pytest.raises(Conflict, match=f"carried out by process {parent}"):
        callboard.run(one, id="theirs")


def test_a_production_may_call_functions_of_this_process(here: Path) -> None:
    @callboard.register("shout_in_a_production")
    def shout(pipe_data: Any, params: Any) -> Any:
        pipe_data["pipeout_text"] = pipe_data["pipein_text"].upper()
        return pipe_data

    (here / "show.ai").write_text("name: Show\npipe:\n  - {type: function, function: shout_in_a_production}\n")
    production = {"name": "letters", "steps": ["draft", "sent"]}
    assert callboard.run_in_production("show.ai", production, "hello", "text", "sent") == ("HELLO", "00001")
