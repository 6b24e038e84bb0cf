"""What a plan means, worked out once: numbers for names, edges both ways, rules by what may trigger them.

A need is an edge; a rule is one `Branch` for each way it can come true (`AnyOf` is split, `AllOf` is a list of
conditions). Nothing here changes while a run lives, so all runs of a plan share one `Graph`.
"""

from __future__ import annotations

from itertools import chain, product
from math import inf, prod
from typing import NamedTuple, TypeAlias

from callboard.core.plan import AllOf, AnyOf, Condition, Count, EventIs, Every, Plan, Probe, Task, TaskIs
from callboard.core.status import Status
from callboard.errors import InvalidPlan

#: Tasks and items of a run: the key of an execution packs run, node and number.
MOST_NODES = 1 << 20
#: Ways in which one rule may come true.
MOST_WAYS = 1000
#: What kind of need an edge is.
REQUIRED, OPTIONAL, OVER = 0, 1, 2


#: One way in which a condition can come true: plain conditions that all hold.
Way: TypeAlias = tuple[EventIs | TaskIs | Count | Probe, ...]


class Named(NamedTuple):
    """`TaskIs` with its names resolved."""

    node: int
    statuses: frozenset[Status]


class Branch(NamedTuple):
    """One way a rule can come true: all conditions hold. `tasks` and `keys` are what may trigger it."""

    number: int
    rule: int
    node: int
    do: str
    conditions: tuple[EventIs | Named | Count | Probe, ...]
    tasks: tuple[int, ...]
    keys: tuple[str, ...]

    @property
    def starts(self) -> bool:
        return self.do != "STOP"


class Graph:
    """`parents[n]` and `children[n]` are (node, kind of need) pairs; the rest is indexed by node, key or rule."""

    __slots__ = (
        "branches", "by_key", "by_rule", "by_task", "children", "goers", "is_plain", "limits", "mapped", "names",
        "of_node", "order", "overs", "parents", "periodic", "plan", "roots", "ruled", "twins", "watched",
    )  # fmt: skip

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        if len(plan.tasks) > MOST_NODES:
            raise InvalidPlan(f"a plan has at most {MOST_NODES:,} tasks, not {len(plan.tasks):,}")
        self.names = {task.name: node for node, task in enumerate(plan.tasks)}
        if len(self.names) != len(plan.tasks):
            twice = [task.name for node, task in enumerate(plan.tasks) if self.names[task.name] != node]
            raise InvalidPlan(f"two tasks are called {', '.join(dict.fromkeys(twice[:10]))}")
        self.parents: list[tuple[tuple[int, int], ...]] = []
        self.children: list[tuple[tuple[int, int], ...] | list[tuple[int, int]]] = [()] * len(plan.tasks)
        self.overs: dict[int, int] = {}  # node → the mapped task whose list it goes over
        self.twins: dict[int, list[int]] = {}  # mapped task → those that go over it item by item
        self.goers: dict[int, list[int]] = {}  # mapped task → all that go over it
        if plan.on_failure not in ("continue", "stop"):
            raise InvalidPlan(f"on_failure is continue or stop, not {plan.on_failure!r}")
        self.periodic = {node: task.every for node, task in enumerate(plan.tasks) if task.every is not None}
        for node, every in self.periodic.items():
            _check_every(plan.tasks[node].name, every)
        self.mapped = [node for node, task in enumerate(plan.tasks) if task.map]
        limited = "run" in plan.limits
        self.limits = [_limits(plan, task) if limited or task.limits else () for task in plan.tasks]
        self._edges()
        self.order = _in_order(self)  # every task after its needs
        self.branches: list[Branch] = []
        self.by_key: dict[str, list[int]] = {}
        self.by_task: dict[int, list[int]] = {}
        self.by_rule: list[list[int]] = []
        self.of_node: dict[int, list[int]] = {}
        for number, rule in enumerate(plan.rules):
            if _count_ways(rule.when, rule.task) > MOST_WAYS:
                raise InvalidPlan(f"a rule of {rule.task} can come true in more than {MOST_WAYS:,} ways: split it")
            self.by_rule.append([self._branch(number, rule.task, rule.do, way) for way in _ways(rule.when)])
        self.watched = frozenset(self.by_task)
        #: There are only needs: no rules, lists, instants
        self.is_plain = not (self.branches or self.mapped or self.periodic)
        #: may be started by a rule or a tick: whether they still can is judged only when the run is quiet
        self.ruled = frozenset({b.node for b in self.branches if b.starts}.union(self.periodic))
        started = {b.node for b in self.branches if b.do == "START"}
        self.roots = [n for n, above in enumerate(self.parents) if not above]
        if started:
            self.roots = [n for n in self.roots if n not in started or plan.tasks[n].every is not None]

    def _node(self, name: str, who: str) -> int:
        try:
            return self.names[name]
        except KeyError:
            raise InvalidPlan(f"{who} names the task {name!r}, which the plan does not have") from None

    def _edges(self) -> None:
        for node, task in enumerate(self.plan.tasks):
            if not (task.needs or task.optional or task.map):
                self.parents.append(())
                continue
            kinds: dict[int, int] = {}
            for name in task.needs:
                kinds[self._node(name, f"a need of {task.name}")] = REQUIRED
            for name in task.optional:
                kinds.setdefault(self._node(name, f"an optional need of {task.name}"), OPTIONAL)
            if task.map and task.map.over:
                over = self._node(task.map.over, f"`over` of {task.name}")
                if self.plan.tasks[over].map is None:
                    raise InvalidPlan(f"{task.name} goes over {task.map.over}, which maps over nothing")
                self.overs[node] = over
                self.goers.setdefault(over, []).append(node)
                kinds[over] = REQUIRED if task.map.barrier else OVER
                if not task.map.barrier:
                    self.twins.setdefault(over, []).append(node)
            self.parents.append(tuple(kinds.items()))
            for parent, kind in kinds.items():
                edges = self.children[parent]
                if type(edges) is tuple:
                    edges = self.children[parent] = []
                edges.append((node, kind))  # type: ignore[union-attr]

    def _branch(self, rule: int, task: str, do: str, way: Way) -> int:
        if do not in ("START", "RESTART", "STOP"):
            raise InvalidPlan(f"a rule may START, RESTART or STOP a task, not {do!r}")
        number = len(self.branches)
        node = self._node(task, "a rule")
        conditions: list[EventIs | Named | Count | Probe] = []
        tasks: list[int] = []
        keys: list[str] = []
        for condition in way:
            if isinstance(condition, TaskIs):
                named = self._node(condition.task, f"a rule of {task}")
                conditions.append(Named(named, frozenset(_status(status) for status in condition.statuses)))
                tasks.append(named)
            else:
                conditions.append(condition)
                keys.extend(condition.keys if isinstance(condition, Probe) else (condition.key,))
        branch = Branch(
            number, rule, node, do, tuple(conditions), tuple(dict.fromkeys(tasks)), tuple(dict.fromkeys(keys))
        )
        self.branches.append(branch)
        self.of_node.setdefault(node, []).append(number)
        for named in branch.tasks:
            self.by_task.setdefault(named, []).append(number)
        for key in branch.keys:
            self.by_key.setdefault(key, []).append(number)
        return number


def _limits(plan: Plan, task: Task) -> tuple[str, ...]:
    """The limits an attempt of a task (or of its items) takes: none for groups and child runs."""
    if task.child or task.executor == "group":
        return ()
    if "run" in plan.limits and "run" not in task.limits:
        return (*task.limits, "run")
    return task.limits


def _status(name: str) -> Status:
    try:
        return Status[name.upper()]
    except KeyError:
        raise InvalidPlan(f"{name!r} is no status") from None


def _ways(condition: Condition) -> list[Way]:
    """The ways a condition can come true, each a conjunction of plain conditions, in the order written."""
    match condition:
        case AllOf(conditions):
            return [tuple(chain.from_iterable(parts)) for parts in product(*map(_ways, conditions))]
        case AnyOf(conditions):
            return [way for one in conditions for way in _ways(one)]
        case _:
            return [(condition,)]


def _count_ways(condition: Condition, task: str) -> int:
    """How many ways there are, without writing them down. Raises InvalidPlan for what could never come true."""
    match condition:
        case AllOf(conditions) | AnyOf(conditions):
            if not conditions:
                raise InvalidPlan(f"a rule of {task} has an empty list of conditions")
            counts = [_count_ways(one, task) for one in conditions]
            return prod(counts) if isinstance(condition, AllOf) else sum(counts)
        case Count(key, n, within) if n < 1 or not within > 0:
            raise InvalidPlan(f"a rule of {task} counts {n} events {key!r} within {within:g} s")
        case _:
            return 1


def _check_every(name: str, every: Every) -> None:
    if not 0 < every.seconds < inf:
        raise InvalidPlan(f"{name} is to run every {every.seconds:g} seconds")
    if every.overlap not in ("restart", "skip", "queue"):
        raise InvalidPlan(f"`overlap` of {name} is restart, skip or queue, not {every.overlap!r}")
    if every.misfire not in ("last", "skip"):
        raise InvalidPlan(f"`misfire` of {name} is last or skip, not {every.misfire!r}")


def _in_order(graph: Graph) -> list[int]:
    if not any(graph.parents):
        return list(range(len(graph.parents)))
    waiting = [len(parents) for parents in graph.parents]
    order = [node for node, count in enumerate(waiting) if not count]
    for node in order:
        for child, _ in graph.children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    if len(order) < len(waiting):
        names = [graph.plan.tasks[node].name for node, count in enumerate(waiting) if count]
        raise InvalidPlan(f"these tasks need each other in a circle: {', '.join(names[:10])}")
    return order
