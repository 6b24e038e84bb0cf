"""A plan: tasks, their needs and their rules, frozen and named by its content.

A run pins one plan by its hash. Everything the machine needs to know of a task stands in `Task`; what its
executor needs stands in `Task.inputs`, which the machine never reads. Conditions are a closed algebra of
values, so that anyone can be told why something has not happened yet.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from callboard.errors import InvalidPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class EventIs(NamedTuple):
    """An event of this key; with a value, only that value (`ANY` when none is named)."""

    key: str
    value: Any = None
    valued: bool = False


class TaskIs(NamedTuple):
    """The latest execution of a task has one of these statuses (names of `Status`)."""

    task: str
    statuses: tuple[str, ...]


class Count(NamedTuple):
    """The n-th event of this key inside `within` seconds."""

    key: str
    n: int
    within: float


class Probe(NamedTuple):
    """A condition in a user's code, asked for events of these keys. The machine orders it, never runs it."""

    name: str
    keys: tuple[str, ...]


class AllOf(NamedTuple):
    conditions: tuple[Condition, ...]


class AnyOf(NamedTuple):
    conditions: tuple[Condition, ...]


Condition: TypeAlias = "EventIs | TaskIs | Count | Probe | AllOf | AnyOf"


class Rule(NamedTuple):
    """When `when` comes true: START, RESTART or STOP the task."""

    task: str
    do: str
    when: Condition


class Retry(NamedTuple):
    """`tries` in all; waits `delay · factor^(n-1)` s between them, at most `longest`, ± `jitter` as a fraction."""

    tries: int = 1
    delay: float = 0.0
    factor: float = 1.0
    longest: float = 300.0
    jitter: float = 0.0


class Review(NamedTuple):
    """A person looks at the draft first: `again` rounds of rejection, `expires` seconds (None: never)."""

    again: int = 0
    expires: float | None = None


class Every(NamedTuple):
    """Periodic: an instant each `seconds`, none after `until` (seconds since the epoch, None: no end)."""

    seconds: float
    until: float | None = None
    overlap: str = "restart"  # restart | skip | queue
    misfire: str = "last"  # last | skip


class Map(NamedTuple):
    """Maps over a list of its own (`over` empty) or item by item over another mapped task's list."""

    over: str = ""
    barrier: bool = False
    allow_failures: int = 0


#: What doing a task twice comes to: nothing, nothing when its key is honoured, or something that nobody wants twice.
EFFECTS = ("none", "keyed", "once")


class Task(NamedTuple):
    """One node of a plan. `executor` "group" has no executor: it succeeds when its needs are met."""

    name: str
    executor: str = "function"
    inputs: Mapping[str, Any] = {}
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    retry: Retry = Retry()
    timeout: float = 3600.0  # seconds for one attempt
    priority: int = 2  # 0 urgent … 3 low
    limits: tuple[str, ...] = ()
    critical: bool = True
    effect: str = "keyed"  # one of EFFECTS
    review: Review | None = None
    skip: bool = False  # its `when` is false already at the start
    may_skip: bool = False  # it may find its `when` false when it begins
    reads: tuple[str, ...] = ()  # documents it reads, by path
    every: Every | None = None
    map: Map | None = None
    child: bool = False  # runs a child run; holds no limit


class Plan(NamedTuple):
    """Tasks and rules in order; `limits` counts named resources of each run ("run" counts every execution)."""

    tasks: tuple[Task, ...]
    rules: tuple[Rule, ...] = ()
    limits: Mapping[str, int] = {}
    on_failure: str = "continue"  # continue | stop
    name: str = ""
    settings: Mapping[str, Any] = {}


DEFAULTS = Task("")._asdict()
_USUAL = Task("")[1:]
_PLACES = {field: place for place, field in enumerate(Task._fields)}
_new_task: Callable[[type[Task], Iterable[Any]], Task] = tuple.__new__
_PARTS: dict[str, type[Any]] = {"retry": Retry, "review": Review, "every": Every, "map": Map}
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def dump(plan: Plan) -> str:
    """The canonical JSON text of a plan: keys sorted, defaults left out. The inverse of `load`."""
    return _encode(
        {
            "tasks": [_dump_task(task) for task in plan.tasks],
            "rules": [{"task": r.task, "do": r.do, "when": dump_condition(r.when)} for r in plan.rules],
            "limits": dict(plan.limits),
            "on_failure": plan.on_failure,
            "name": plan.name,
            "settings": plan.settings,
        }
    )


def load(text: str) -> Plan:
    """The plan behind a text that `dump` made. A stored plan was checked when it was made, so this does not check."""
    data = json.loads(text)
    return Plan(
        tasks=tuple(_load_task(task) for task in data["tasks"]),
        rules=tuple(Rule(r["task"], r["do"], load_condition(r["when"])) for r in data["rules"]),
        limits=data["limits"],
        on_failure=data["on_failure"],
        name=data["name"],
        settings=data["settings"],
    )


def digest(text: str) -> str:
    """The name of a plan: SHA-256 of its canonical text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def dump_condition(condition: Condition) -> dict[str, Any]:
    match condition:
        case EventIs(key, value, valued):
            return {"event": key, "value": value} if valued else {"event": key}
        case TaskIs(task, statuses):
            return {"task": task, "is": "|".join(statuses)}
        case Count(key, n, within):
            return {"count": key, "n": n, "within": within}
        case Probe(name, keys):
            return {"probe": name, "keys": list(keys)}
        case AllOf(conditions):
            return {"all": [dump_condition(one) for one in conditions]}
        case _:
            return {"any": [dump_condition(one) for one in condition.conditions]}


def load_condition(data: Mapping[str, Any]) -> Condition:
    """Raises InvalidPlan for a condition that is none."""
    if "event" in data:
        return EventIs(data["event"], data.get("value"), "value" in data)
    if "task" in data:
        return TaskIs(data["task"], tuple(data["is"].split("|")))
    if "count" in data:
        return Count(data["count"], int(data["n"]), float(data["within"]))
    if "probe" in data:
        return Probe(data["probe"], tuple(data["keys"]))
    if "all" in data:
        return AllOf(tuple(load_condition(one) for one in data["all"]))
    if "any" in data:
        return AnyOf(tuple(load_condition(one) for one in data["any"]))
    raise InvalidPlan(f"not a condition: {dict(data)!r}")


def _dump_task(task: Task) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for field, value in zip(Task._fields, task, strict=True):
        if field == "name" or value != DEFAULTS[field]:
            data[field] = value._asdict() if isinstance(value, Retry | Review | Every | Map) else value
    return data


def _load_task(data: dict[str, Any]) -> Task:
    """A task from its fields. (`Task(**data)` looks up each default by its name: a third of loading a large plan.)"""
    name = data.pop("name")
    if not data:
        return _new_task(Task, (name,) + _USUAL)  # noqa: RUF005  half of what unpacking takes
    values = [name, *_USUAL]
    for field, value in data.items():
        if type(value) is list:
            value = tuple(value)
        elif field in _PARTS:
            value = _PARTS[field](**value)
        values[_PLACES[field]] = value
    return _new_task(Task, values)
