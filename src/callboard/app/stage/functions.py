"""Plans of Python functions: `task(...)` for each, `plan(...)` around them.

A function is called with keyword arguments: the outcomes of its needs under their names, `item` when it maps,
and its own `args`. The plan holds only names; the functions themselves travel beside it, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from callboard.core.graph import Graph
from callboard.core.plan import Map, Plan, Retry, Rule, Task
from callboard.errors import InvalidPlan, NotJson, UsageError
from callboard.executors.registry import home_file, name_of
from callboard.text.duration import seconds
from callboard.text.strict import encode

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
    """One task that calls a function, sync or async: `task("name", function)`, or `task(function)` by its own name.

    needs     other tasks; what they returned comes in as keyword arguments of their names (`-` as `_`)
    optional  the same, None when they failed
    args      further keyword arguments; JSON
    each      a list: the function is called for each of it, as `item`; what comes of it is a list of {"key", "value"}
    over      another task that maps: the function is called for each of its items, and what came of the item there
              comes in under that task's name
    retry     tries, or a `Retry`; every error is worth another one but `Permanent`
    timeout   seconds of one try, or a text such as "5m". A sync function cannot be ended, only disowned
    critical  whether the run fails with it
    effect    "keyed" (it may be called again with the same key), "none", or "once": never called twice

    A function that takes `ctx` gets the context of its attempt. Raises UsageError.
    """
    if callable(name):
        call, name = name, str(getattr(name, "__name__", type(name).__name__))
    if call is None or not callable(call):
        raise UsageError(f"task {name!r} needs a function to call")
    try:
        encode([dict(args or {}), each := None if each is None else list(each)])
    except NotJson as error:
        raise NotJson(f"task {name!r}: an argument is not JSON: {error}") from None
    inputs: dict[str, Any] = {"function": name_of(call), "file": home_file(call)}
    if args:
        inputs["args"] = dict(args)
    if each is not None:
        inputs["each"] = {"list": each}
    if not cache:
        inputs["cache"] = False
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
        ),
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
