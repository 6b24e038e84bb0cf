"""Plans of Python functions: `task(...)` for each, `plan(...)` around them.

A function is called with keyword arguments: the outcomes of its needs under their names, `item` when it maps,
and its own `args`. The plan holds only names; the functions themselves travel beside it, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from callboard.core.graph import Graph
from callboard.core.plan import Map, Plan, Retry, Rule, Task
from callboard.errors import InvalidPlan, UsageError
from callboard.executors.registry import home_file, name_of
from callboard.text.duration import seconds

Call = Callable[..., Any]


class FunctionTask(NamedTuple):
    """A task and the function it calls."""

    task: Task
    call: Call


class FunctionPlan(NamedTuple):
    """A plan and the functions its tasks call."""

    plan: Plan
    calls: tuple[Call, ...]


def task(
    name: str | Call,
    call: Call | None = None,
    *,
    needs: Sequence[str] = (),
    optional: Sequence[str] = (),
    args: Mapping[str, Any] | None = None,
    each: Iterable[Any] | None = None,
    over: str = "",
    retry: int | Retry = 1,
    timeout: str | float = 3600.0,
    priority: int = 2,
    limits: Sequence[str] = (),
    critical: bool = True,
    effect: str = "keyed",
    cache: bool = False,
) -> FunctionTask:
    """One task that calls a function, sync or async.

    `needs` and `optional` name other tasks, whose outcomes come in under those names; `args` are further keyword
    arguments (JSON); `each` maps the function over a list (its argument is `item`), `over` over the items of another
    mapped task; `retry` is the number of tries for errors that are `Transient`; `timeout` seconds or a text such as
    "5m". Raises UsageError.
    """
    if callable(name):
        return task(getattr(name, "__name__", "task"), name, needs=needs, optional=optional, args=args, each=each)
    if call is None or not callable(call):
        raise UsageError(f"task {name!r} needs a function to call")
    inputs: dict[str, Any] = {"function": name_of(call), "file": home_file(call)}
    if args:
        inputs["args"] = dict(args)
    if each is not None:
        inputs["each"] = {"list": list(each)}
    return FunctionTask(
        Task(
            name,
            "function",
            inputs,
            tuple(needs),
            tuple(optional),
            retry=retry if isinstance(retry, Retry) else Retry(retry, 1.0, 2.0, 60.0, 0.2),
            timeout=seconds(timeout),
            priority=priority,
            limits=tuple(limits),
            critical=critical,
            effect=effect,
            map=Map(over) if each is not None or over else None,
        )._replace(inputs=inputs | {"cache": cache}),
        call,
    )


def plan(
    *tasks: FunctionTask | Call,
    name: str = "functions",
    limits: Mapping[str, int] | None = None,
    on_failure: str = "continue",
    rules: Sequence[Rule] = (),
) -> FunctionPlan:
    """Tasks to be run together. Raises InvalidPlan for unknown needs, names twice and circles."""
    made = [one if isinstance(one, FunctionTask) else task(one) for one in tasks]
    if on_failure not in ("continue", "stop"):
        raise InvalidPlan(f"on_failure is continue or stop, not {on_failure!r}")
    found = Plan(tuple(one.task for one in made), tuple(rules), dict(limits or {}), on_failure, name)
    Graph(found)
    return FunctionPlan(found, tuple(one.call for one in made))
