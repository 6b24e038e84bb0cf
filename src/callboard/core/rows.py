"""A run and its rows: what is stored is what cannot be derived, and `load` derives the rest.

Waiting counts, what may still move and a first QUEUED follow from the plan and the statuses; storing them
would cost a write for each, for nothing. `load` of what was committed equals the run that stayed in memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from callboard.core.counting import listing, needs, totals
from callboard.core.deadline import Deadline
from callboard.core.encoding import encode
from callboard.core.facts import Heard, Written
from callboard.core.plan import load as load_plan
from callboard.core.run import BranchState, Draft, Node, Run
from callboard.core.status import INIT, QUEUED, Status
from callboard.core.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from callboard.core.graph import Graph
    from callboard.core.plan import Plan


_STATUSES = tuple(Status)


class FoundRun(Protocol):
    """A run's own row, as far as it decides how the run stands."""

    @property
    def number(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def state(self) -> str: ...


class Found(Protocol):
    """All rows of a run, as a store finds them (`ports.RunRows`): of each node only the latest number."""

    @property
    def run(self) -> FoundRun: ...
    @property
    def plan(self) -> str: ...
    @property
    def executions(self) -> Iterable[Sequence[Any]]: ...
    @property
    def items(self) -> Iterable[Sequence[Any]]: ...
    @property
    def branches(self) -> Iterable[Sequence[Any]]: ...
    @property
    def documents(self) -> Iterable[Sequence[Any]]: ...


def dump_run(run: Run) -> str:
    """What of a run is neither a column nor a row of its own, as JSON text."""
    data: dict[str, Any] = {}
    if not run.begun:
        data["unbegun"] = 1  # cancelled before it began
    if run.replaced:
        data["replaced"] = run.replaced
    if run.holds:
        data["holds"] = sorted(run.holds)
    if run.cancelling:
        data["cancelling"] = 1
    if run.failing >= 0:
        data["failing"] = run.failing
    if run.heard:
        data["heard"] = run.heard
    if run.edits:
        data["edits"] = run.edits
    if run.events:
        data["events"] = [list(event) for event in run.events]
    if run.probing is not None:
        event, answers = run.probing
        data["probing"] = [list(event), [[rule, met] for rule, met in answers.items()]]
    return encode(data)


def dump_branch(state: BranchState) -> str:
    data: dict[str, Any] = {"fired": state.fired}
    if state.heard:
        data["heard"] = list(state.heard.items())
    if state.times:
        data["times"] = [[place, times] for place, times in state.times.items()]
    if state.errors:
        data["errors"] = state.errors
    if state.off:
        data["off"] = 1
    if state.state is not None:
        data["state"] = state.state
    return encode(data)


def load(
    number: int,
    id: str,
    plan: Plan,
    *,
    status: int,
    state: str,
    executions: Iterable[Sequence[Any]],
    items: Iterable[Sequence[Any]] = (),
    branches: Iterable[Sequence[Any]] = (),
    documents: Iterable[Sequence[Any]] = (),
    graph: Graph | None = None,
) -> Run:
    """The run behind its rows."""
    run = Run(number, id, plan, graph)
    run.status = Status(status)
    _load_state(run, json.loads(state or "{}"))
    for node, parent, _, key, _ in sorted(items, key=lambda row: row[0]):
        item = run.add_item(parent, key)
        assert item.id == node, (item.id, node)
    _load_executions(run, executions)
    _place_items(run, items)
    for branch, text in branches:
        _load_branch(run.branches[branch], json.loads(text))
    for path, hash, stage in documents:
        run.documents[path] = hash
        if stage == "pending":
            run.pending.add(path)
    if run.status is not INIT:  # before it began a run is as it was made
        _derive(run)
    return run


def loaded(found: Found, graph: Graph | None = None) -> Run:
    """The run behind what a store has found. Raises what `plan.load` and `Graph` raise for a text that is no plan."""
    row = found.run
    return load(
        row.number,
        row.id,
        load_plan(found.plan) if graph is None else graph.plan,
        status=row.status,
        state=row.state,
        executions=found.executions,
        items=found.items,
        branches=found.branches,
        documents=found.documents,
        graph=graph,
    )


def _load_state(run: Run, data: dict[str, Any]) -> None:
    run.begun = run.status is not INIT and "unbegun" not in data
    run.replaced = data.get("replaced", "")
    run.holds = set(data.get("holds", ()))
    run.cancelling = bool(data.get("cancelling"))
    run.failing = data.get("failing", -1)
    run.heard = data.get("heard", 0)
    run.edits = {path: tuple(older) for path, older in data.get("edits", {}).items()}
    run.events.extend(Heard(*event) for event in data.get("events", ()))
    if "probing" in data:
        event, answers = data["probing"]
        run.probing = (Heard(*event), {rule: met for rule, met in answers})


def _place_items(run: Run, items: Iterable[Sequence[Any]]) -> None:
    """The items of the present numbers, in list order; those of older lists are only known."""
    for node, parent, place, _, _ in sorted(items, key=lambda row: row[2]):
        row = run.nodes[parent]
        if row.mapped is not None and place >> 20 == row.number - 1:
            row.mapped.items[node] = place & 0xFFFFF


def _load_executions(run: Run, executions: Iterable[Sequence[Any]]) -> None:
    nodes, counter = run.nodes, 0
    for id, status, attempt, began, at, reason, text in executions:
        node = nodes[(id >> 20) & 0xFFFFF]
        node.number, node.status, node.attempt, node.began, node.at = (
            id & 0xFFFFF,
            _STATUSES[status],
            attempt,
            began,
            at,
        )
        if reason:
            node.reason = reason
        if node.number and node.parent < 0:
            node.current = node.fresh = True
            node.fired = began
        if text:
            _load_extra(node, json.loads(text))
        if began > counter:
            counter = began
    run.counter = counter


_PLAIN = ("tries", "losses", "revision", "rounds", "note", "hold", "kept", "fired", "wake_what", "read")


def _load_extra(node: Node, data: dict[str, Any]) -> None:
    for name in _PLAIN:
        if name in data:
            setattr(node, name, data[name])
    for name in ("early", "handled", "missed", "judged", "current", "fresh"):
        if name in data:
            setattr(node, name, bool(data[name]))
    for name in ("combination", "next"):
        if name in data:
            setattr(node, name, tuple(tuple(one) for one in data[name]))
    for name in ("wake", "tick"):
        if name in data:
            setattr(node, name, Deadline(*data[name]))
    if "draft" in data:
        hash, outcome, first, documents, pending = data["draft"]
        node.draft = Draft(hash, outcome, first, tuple(Written(*one) for one in documents), tuple(pending))
    if node.mapped is not None and "mapped" in data:
        kept = data["mapped"]
        node.mapped.page, node.mapped.source = kept["page"], kept.get("source", 0)
        for name in ("asked", "due", "more", "lost", "giving_up"):
            setattr(node.mapped, name, bool(kept.get(name)))


def _load_branch(state: BranchState, data: dict[str, Any]) -> None:
    state.fired = data["fired"]
    state.heard = {place: offset for place, offset in data.get("heard", ())}
    state.times = {place: [tuple(time) for time in times] for place, times in data.get("times", ())}
    state.errors, state.off, state.state = data.get("errors", 0), bool(data.get("off")), data.get("state")


# ── what follows ────────────────────────────────────────────────────────────────────────────────────────


def _derive(run: Run) -> None:
    tasks = len(run.plan.tasks)
    for state in run.branches:
        run.counter = max(run.counter, state.fired)
    for row in run.nodes[:tasks]:
        if row.fired > run.counter:
            run.counter = row.fired
        if row.mapped is not None:
            row.mapped.open, row.mapped.good, row.mapped.failed = listing(run, row.mapped.items)
    if run.acting:
        _queue_items(run)
    nodes, parents, acting, roots = run.nodes, run.graph.parents, run.acting, set(run.graph.roots)
    for node in run.graph.order:
        row = nodes[node]
        if parents[node]:
            row.waiting, row.movers, row.broken, row.up_began = needs(run, row)
        if acting and row.status is INIT and _is_due(run, row, roots):
            _queue(run, row)
        if 1 <= row.status <= 4 and row.mapped is None:
            row.may, row.meets = True, 0
        else:
            row.may = row.is_open or row.next is not None or Step.possible(run, row)
            row.meets = Step.meets(row, row.may)
    _total(run)


def _is_due(run: Run, row: Node, roots: set[int]) -> bool:
    """A first QUEUED is not stored: its needs are met and it never began."""
    if not run.graph.parents[row.id]:
        return run.begun and row.id in roots
    return not row.waiting and row.fired < row.up_began


def _queue_items(run: Run) -> None:
    """Nor that of an item: it is listed and never began."""
    for item in run.nodes[len(run.plan.tasks) :]:
        mapped = run.nodes[item.parent].mapped
        assert mapped is not None
        if not item.number:
            _queue(run, item)
            mapped.open += 1


def _queue(run: Run, row: Node) -> None:
    run.counter += 1
    row.number, row.status, row.derived, row.began = 1, QUEUED, True, run.counter
    if row.parent < 0:
        row.current = row.fresh = True
        if run.graph.parents[row.id]:
            row.fired = row.began
            row.combination = run.latest(row.id)


def _total(run: Run) -> None:
    found = totals(run)
    run.open, run.at_work, run.held, run.queued = found.open, found.at_work, found.held, found.queued
    run.failures, run.stops, run.hopeful, run.used = found.failures, found.stops, found.hopeful, found.used
