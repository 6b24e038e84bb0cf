"""Plans of Python functions: `task(...)` for each, `plan(...)` around them.

A function is called with keyword arguments: the outcomes of its needs under their names, `item` when it maps,
and its own `args`. The plan holds only names; the functions themselves travel beside it, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from callboard.core.graph import Graph
from callboard.core.plan import EFFECTS, Map, Plan, Retry, Rule, Task
from callboard.errors import InvalidPlan, NotJson, UsageError
from callboard.executors.registry import home_file, name_of
from callboard.text.duration import seconds
from callboard.text.names import close, title
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
    _check_name(name)
    for what, names in (("needs", needs), ("optional", optional), ("limits", limits)):
        _check_names(name, what, names)
    _check_policies(name, retry, priority, effect)
    _check_items(name, each, over)
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
    if not made:
        raise InvalidPlan("a plan needs a task: plan(function, …)")
    _check_limits([one.task for one in made], limits or {})
    if on_failure not in ("continue", "stop"):
        raise InvalidPlan(f"on_failure is continue or stop, not {on_failure!r}")
    found = Plan(tuple(one.task for one in made), tuple(rules), dict(limits or {}), on_failure, name)
    Graph(found)
    return FunctionPlan(found, tuple(one.call for one in made))


# ── what a task may not be told ─────────────────────────────────────────────────────────────────────────


def _check_name(name: str) -> None:
    title(name, "task's name")
    if "/" in name:
        raise UsageError(f"the task's name {name!r} holds a slash; an item is called task/key")


def _check_names(name: str, what: str, names: object) -> None:
    """A text is a sequence of its letters, which nobody means."""
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(one, str) for one in names):
        raise UsageError(f"{what} of task {name!r} is a list of names, not {names!r}{_as_list(names)}")


def _as_list(value: object) -> str:
    return f": write [{value!r}]" if isinstance(value, str) else ""


def _check_policies(name: str, retry: object, priority: object, effect: object) -> None:
    if not (isinstance(retry, Retry) or _is_number(retry, 1)):
        raise UsageError(
            f"retry of task {name!r} is how many tries there are in all, at least 1, or a Retry, not {retry!r}"
        )
    if not _is_number(priority, 0, 3):
        raise UsageError(f"priority of task {name!r} is 0 (urgent), 1, 2 or 3 (low), not {priority!r}")
    if effect not in EFFECTS:
        near = close(str(effect), EFFECTS) or ""
        raise UsageError(f"effect of task {name!r} is {', '.join(EFFECTS[:-1])} or {EFFECTS[-1]}, not {effect!r}{near}")


def _check_items(name: str, each: object, over: object) -> None:
    if not isinstance(over, str):
        raise UsageError(f"over of task {name!r} is the name of another task, not {over!r}")
    if each is not None and over:
        raise UsageError(f"task {name!r} has both each and over; it goes over one list")
    if isinstance(each, str | bytes | Mapping) or not (each is None or isinstance(each, Iterable)):
        raise UsageError(f"each of task {name!r} is a list, not {each!r}{_as_list(each)}")


def _check_limits(tasks: Sequence[Task], limits: Mapping[str, int]) -> None:
    for limit, number in limits.items():
        if not _is_number(number, 1):
            raise InvalidPlan(f"the limit {limit!r} is a number, at least 1, not {number!r}")
    for task in tasks:
        for limit in task.limits:
            if limit not in limits:
                near = close(limit, limits) or f": write plan(…, limits={{{limit!r}: 1}})"
                raise InvalidPlan(f"limits of task {task.name!r} names {limit!r}, which has no number{near}")


def _is_number(value: object, least: int, most: int | None = None) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return least <= value and (most is None or value <= most)
