"""The past of one run, replayed: what its steps decided, and what is wrong with how they follow each other.

One pass over the journal, each step once. What holds of a run as a whole is left to the machine's own invariants; what
stands here can only be seen on the way: a fact that did not follow, an outcome before its start, a start before
what it needs.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from callboard.core import invariants, orders, replay, rows
from callboard.core.deadline import Deadline, Now
from callboard.core.executions import pack
from callboard.core.graph import OPTIONAL, OVER
from callboard.core.plan import load as load_plan
from callboard.core.run import Run
from callboard.core.status import SKIPPED
from callboard.store.packing import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from callboard.core.run import Node
    from callboard.ports import RunRows

_NOTES, _ADOPTED = ('["Admitted"', '["Drained"'), '["Adopted"'  # a replay notes its own: it has an admission
_BY_HAND = ('["Asked"', '["Reopened"')


class Past:
    """`read` brings `run` to the journal's end; `said` is what was wrong on the way, `broken` that it ended there."""

    def __init__(self, found: RunRows) -> None:
        self.run = Run(found.run.number, found.run.id, load_plan(found.plan))
        self.said: list[str] = []
        self.broken = False
        self.starts: set[tuple[int, int, int]] = set()  # node, number, attempt
        self.pages: set[tuple[int, int, int]] = set()  # node, number, page
        self.executions: dict[int, tuple[Any, ...]] = {}
        self.outcomes: dict[tuple[int, int], str] = {}
        self.adopted: set[int] = set()  # nodes of which something was taken over from another run
        self._begun: dict[int, int] = {}  # execution → its latest attempt
        self._meddled: set[int] = set()  # tasks that somebody has started by hand

    def read(self, journal: Iterable[tuple[int, float, Sequence[str], str]]) -> None:
        """Each (batch, wall, facts, hash)."""
        for batch, at, told, _ in journal:
            try:
                self._step(batch, at, told)
            except Exception as error:
                self.said.append(f"its journal cannot be replayed past batch {batch}: {type(error).__name__}: {error}")
                self.broken = True
                return
        try:
            invariants.check(self.run, drained=False)
        except AssertionError as error:
            self.said.append(f"where its journal ends, {error}")

    def _step(self, batch: int, at: float, told: Sequence[str]) -> None:
        decision = replay.step(self.run, told, Now(at, "journal", at))
        want, taken = _without_notes(told), _without_notes(decision.journal)
        if taken != want:
            first = next((one for one, other in zip_longest(want, taken) if one != other), None)
            raise ValueError(f"{first or 'nothing'} was recorded and does not follow"[:300])
        for text in want:
            if text.startswith(_ADOPTED):
                self._adopt(text)
        for row in decision.executions:
            self.executions[row[0]] = row
        for id, revision, text in decision.outcomes:
            self._outcome(batch, id, revision, text)
        for text in want:
            if text.startswith(_BY_HAND):
                self._meddle(text)
        for order in decision.orders:
            if type(order) is orders.Start:
                self._start(batch, order)
            elif type(order) is orders.List:
                self.pages.add((order.node, order.number, order.page))

    # ── on the way ──────────────────────────────────────────────────────────────────────────────────────

    def _outcome(self, batch: int, id: int, revision: int, text: str) -> None:
        node, number = self.place(id)
        task = self.run.nodes[node].task
        if (id, revision) in self.outcomes:
            self.said.append(f"{self.name(node, number)}: a second outcome in batch {batch}")
        is_known = number == 1 and node in self.adopted
        if id not in self._begun and not is_known and self.run.nodes[node].mapped is None and task.executor != "group":
            self.said.append(f"{self.name(node, number)}: an outcome in batch {batch}, before any start")
        self.outcomes[id, revision] = text

    def _adopt(self, text: str) -> None:
        for task, item, *_ in json.loads(text)[2]:
            node = self.run.find(task if item is None else f"{task}/{item}")
            if node is not None:
                self.adopted.add(node)

    def _start(self, batch: int, order: orders.Start) -> None:
        node, number, attempt = order
        id = self.id(node, number)
        if attempt <= self._begun.get(id, 0):
            self.said.append(f"{self.name(node, number)}: attempt {attempt} starts again in batch {batch}")
        self._begun[id] = attempt
        self.starts.add((node, number, attempt))
        row = self.run.nodes[node]
        if row.number == number and attempt == 1:
            self._needs(batch, row)

    def _needs(self, batch: int, row: Node) -> None:
        """What began because its needs were met has their outcomes, or they were skipped."""
        run, graph = self.run, self.run.graph
        task = row.id if row.parent < 0 else row.parent
        if row.early or task in graph.ruled or task in self._meddled or row.task.every is not None:
            return
        kinds = dict(graph.parents[row.id]) if row.parent < 0 else {}
        for above, number, revision in run.inputs(row.id) if row.parent < 0 else row.combination or ():
            if kinds.get(above) in (OPTIONAL, OVER) or (above in self._meddled):
                continue
            id = self.id(above, number)
            skipped = id in self.executions and self.executions[id][1] == SKIPPED
            if not skipped and (id, revision) not in self.outcomes:
                need = self.name(above, number)
                self.said.append(f"{self.name(row.id, row.number)}: started in batch {batch} without {need}")

    def _meddle(self, text: str) -> None:
        """Whoever starts a task by hand may do it before its needs are met, and so may all that follows from it."""
        name = json.loads(text)[1 if text.startswith(_BY_HAND[0]) else 2]
        node = self.run.find(name) if name is not None else None
        if node is None:
            return
        row = self.run.nodes[node]
        todo = [row.id if row.parent < 0 else row.parent]
        while todo:
            one = todo.pop()
            if one not in self._meddled:
                self._meddled.add(one)
                todo += [child for child, _ in self.run.graph.children[one]]

    # ── in the end ──────────────────────────────────────────────────────────────────────────────────────

    def differences(self, found: RunRows) -> list[str]:
        """What the rows say otherwise than the journal, of all that decides how the run goes on."""
        try:
            loaded = rows.loaded(found, self.run.graph)
        except Exception as error:
            return [f"its rows cannot be loaded: {type(error).__name__}: {error}"]
        got, want = _by_the_wall(replay.stored(loaded)), _by_the_wall(replay.stored(self.run))
        said = [
            f"its rows say {name} {got[name]!r}, the journal {want[name]!r}"
            for name in want
            if name not in ("nodes", "branches") and got[name] != want[name]
        ]
        for place, (one, other) in enumerate(zip(got["nodes"], want["nodes"], strict=False)):
            said += [
                f"{self.name(place, one['number'])}: its row says {name} {one[name]!r}, the journal {other[name]!r}"
                for name in other
                if one[name] != other[name]
            ]
        for place, (one, other) in enumerate(zip(got["branches"], want["branches"], strict=True)):
            if one != other:
                said.append(f"rule branch {place}: the row says {one}, the journal {other}")
        if len(got["nodes"]) != len(want["nodes"]):
            said.append(f"{len(got['nodes'])} tasks and items by its rows, {len(want['nodes'])} by the journal")
        return said

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────

    def id(self, node: int, number: int) -> int:
        return pack(self.run.number, node, number)

    def place(self, id: int) -> tuple[int, int]:
        """(node, number) of an execution."""
        return unpack(id)[1:]

    def name_of(self, id: int) -> str:
        return self.name(*self.place(id))

    def name(self, node: int, number: int) -> str:
        task = self.run.name_of(node) if node < len(self.run.nodes) else f"node {node}"
        return f"task {task}, number {number}"


def _without_notes(journal: Sequence[str]) -> list[str]:
    return [text for text in journal if not text.startswith(_NOTES)]


def _by_the_wall(told: dict[str, Any]) -> dict[str, Any]:
    """A picture without what the journal does not keep: the boot and its elapsed time, and the order of beginnings.

    (What was never written because it follows from the statuses gets another place in it each time a run is loaded.)
    """
    for node in told["nodes"]:
        del node["began"]
        for name in ("wake", "tick"):
            if type(node[name]) is Deadline:
                node[name] = (node[name].wall, node[name].length)
    for branch in told["branches"]:
        branch["times"] = {place: [one[0] for one in times] for place, times in branch["times"].items()}
    return told
