"""`function`: every form of `register`, both ways of calling, and names that another process can find."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from callboard.backends.threads import Threads
from callboard.errors import Permanent, UsageError
from callboard.executors.chain import perform
from callboard.executors.function import Functions, PipeData
from callboard.executors.registry import Registry, imported, is_local, name_of

if TYPE_CHECKING:
    from pathlib import Path

    from executors_desk import Desk


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def functions(registry: Registry) -> Functions:
    return Functions(registry, off_loop=Threads())


def test_every_form_of_register_works(registry: Registry) -> None:
    def plain(pipe_data: Any, params: Any) -> Any: ...

    assert registry.register("named", plain) is plain
    assert registry.register(plain) is plain

    @registry.register
    def bare(pipe_data: Any, params: Any) -> Any: ...

    @registry.register("other-name")
    def called(pipe_data: Any, params: Any) -> Any: ...

    assert registry.names() == ["bare", "named", "other-name", "plain"]
    assert registry.find("other-name").call is called  # type: ignore[union-attr]


def test_a_name_is_found_with_hyphens_or_underscores(registry: Registry) -> None:
    registry.register("my_step", lambda data: data)
    assert registry.find("my-step") is not None


def test_two_functions_of_one_name_are_an_error_but_the_same_again_is_not(registry: Registry) -> None:
    registry.register("a", PipeData)
    registry.register("a", PipeData)
    with pytest.raises(UsageError, match="two functions are called 'a'"):
        registry.register("a", Registry)


def test_what_is_no_function_cannot_be_registered(registry: Registry) -> None:
    with pytest.raises(UsageError, match="takes a function"):
        registry.register("a", 3)  # type: ignore[type-var]


def test_pipe_data_takes_hyphens_and_underscores_alike() -> None:
    data = PipeData({"pipein-text": "in"})
    assert data["pipein_text"] == data["pipein-text"] == data.get("pipein-text") == "in"
    data["pipeout-text"] = "out"
    data.update({"a-b": 1}, c=2)
    assert dict(data) == {"pipein_text": "in", "pipeout_text": "out", "a_b": 1, "c": 2}
    assert "pipeout-text" in data and data.setdefault("a-b", 5) == 1 and data.pop("a-b") == 1
    del data["c"]
    assert "c" not in data and data.pop("c", None) is None


def writes(pipe_data: Any, params: Any) -> Any:
    pipe_data["pipeout-text"] = pipe_data["pipein-text"].upper() + params["suffix"]
    return pipe_data


def only_mutates(pipe_data: Any, params: Any) -> None:
    pipe_data["pipeout_text"] = "written"


async def waits(pipe_data: Any, params: Any) -> str:
    await asyncio.sleep(0)
    return "waited"


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (writes, "HELLO!"),
        (only_mutates, "written"),
        (waits, "waited"),
        (lambda data: data, "hello"),
        (lambda data, params: "plain text", "plain text"),
        (lambda data, params: {"a": 1}, {"a": 1}),
        (lambda data, params: [1, None], [1, None]),
        (lambda data, *params: dict(data, **{"pipeout-text": "copy"}), "copy"),
        (lambda data: {"pipein_text": "changed"}, "changed"),
    ],
)
async def test_a_registered_function_writes_the_pipe(
    desk: Desk, registry: Registry, functions: Functions, function: Any, value: Any
) -> None:
    registry.register("f", function)
    inputs = desk.inputs(function="f", pipe="hello", params={"suffix": "!"})
    assert await functions.carry_out(desk.context(), inputs) == value


def summary(draft: str, item: Any, language: str, tone: str = "dry") -> list[Any]:
    return [draft, item, language, tone]


async def test_a_plain_function_gets_what_its_parameters_name(
    desk: Desk, registry: Registry, functions: Functions
) -> None:
    name = registry.add(summary)
    inputs = desk.inputs(function=name, upstream={"draft": "text", "unused": 1}, item={"a": 1}, args={"language": "en"})
    assert await functions.carry_out(desk.context(), inputs) == ["text", {"a": 1}, "en", "dry"]


async def test_upstream_values_can_be_bound_to_other_names_and_the_context_asked_for(
    desk: Desk, registry: Registry, functions: Functions
) -> None:
    async def asks(text: str, ctx: Any, key: Any) -> str:
        ctx.log(f"for {key}")
        return text + ctx.attempt.run

    inputs = desk.inputs(function=registry.add(asks), upstream={"first task": "t"}, bind={"text": "first task"})
    assert await functions.carry_out(desk.context("k1"), inputs) == "tr1"
    assert desk.lines == [("info", "for k1")]


async def test_every_name_is_given_to_a_function_that_takes_any(
    desk: Desk, registry: Registry, functions: Functions
) -> None:
    def takes(**named: Any) -> list[str]:
        return sorted(named)

    inputs = desk.inputs(function=registry.add(takes), upstream={"a-b": 1}, args={"c": 2})
    assert await functions.carry_out(desk.context(), inputs) == ["a_b", "c"]


async def test_a_missing_argument_is_named_with_what_there_is(
    desk: Desk, registry: Registry, functions: Functions
) -> None:
    inputs = desk.inputs(function=registry.add(summary), upstream={"draft": "x"})
    with pytest.raises(Permanent, match=r"asks for item, language, but there is draft"):
        await functions.carry_out(desk.context(), inputs)


async def test_an_unknown_function_is_named_with_the_closest(
    desk: Desk, registry: Registry, functions: Functions
) -> None:
    registry.register("summarise", summary)
    with pytest.raises(Permanent, match="did you mean 'summarise'"):
        await functions.carry_out(desk.context(), desk.inputs(function="sumarise"))
    reason = functions.can({"function": "gone", "file": "app.py"})
    assert reason == "its functions live in app.py; run it again"
    assert functions.can({"function": "summarise"}) is None


async def test_a_result_that_is_not_json_names_the_task_and_the_type(
    desk: Desk, registry: Registry, functions: Functions
) -> None:
    registry.register("f", lambda data, params: {1, 2})
    handler = perform({"function": functions})
    with pytest.raises(Permanent, match=r"task.*set"):
        await handler(desk.work("function", inputs={"function": "f"}), desk.context())


async def test_a_function_may_raise_anything(desk: Desk, registry: Registry, functions: Functions) -> None:
    def stops(data: Any) -> None:
        raise SystemExit(7)

    registry.register("f", stops)
    with pytest.raises(Permanent, match="SystemExit: 7") as caught:
        await perform({"function": functions})(desk.work("function", inputs={"function": "f"}), desk.context())
    assert "raise SystemExit(7)" in caught.value.evidence["traceback"]  # type: ignore[index]


def test_a_function_of_a_module_has_a_name_others_can_find(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "my_house.py").write_text("class Inner:\n    @staticmethod\n    def f():\n        return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("my_house")
    try:
        name = name_of(module.Inner.f)
        assert name.startswith("my_house:Inner.f@")
        found = imported(name, str(tmp_path))
        assert found is not None and found.call is module.Inner.f
        assert imported(name, str(tmp_path / "elsewhere")) is None
        with pytest.raises(UsageError, match="has changed"):
            imported("my_house:Inner.f@000000000000", str(tmp_path))
        assert imported("my_house:Inner.gone@0", str(tmp_path)) is None
    finally:
        del sys.modules["my_house"]


@pytest.mark.parametrize("name", ["os:system@abc", "subprocess:run@abc", "os:system", "x", "local:f@abc", ":@"])
def test_no_name_leads_to_an_installed_module(name: str, tmp_path: Path) -> None:
    assert imported(name, str(tmp_path)) is None


def test_a_lambda_or_an_inner_function_is_local() -> None:
    assert is_local(lambda: None)
    assert name_of(lambda: None).startswith("local:")
    assert not is_local(summary)
    assert not is_local(pytest.raises)


def test_local_functions_that_look_the_same_are_kept_apart(registry: Registry) -> None:
    def make(n: int) -> Any:
        return lambda: n

    one, two = make(1), make(2)
    names = [registry.add(one), registry.add(two), registry.add(one)]
    assert names == [names[0], f"{names[0]}#2", names[0]]
    assert [registry.find(name).call() for name in names] == [1, 2, 1]  # type: ignore[union-attr]


def test_functions_without_source_have_names_too() -> None:
    assert name_of(len).startswith("builtins:len@")
    assert name_of(PipeData({}).get)
