"""What an attempt begins with: the outcomes of its combination, resolved when it starts.

The machine names what an execution reads as (node, number, revision); here that becomes values. A skipped
upstream has no outcome and lets what came before it flow through; a failed optional one is named as failed; a
mapped one becomes the list of {"key", "value"} in list order. Large joins are read in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from callboard.core.executions import pack
from callboard.core.orders import List
from callboard.core.status import SKIPPED
from callboard.errors import Permanent
from callboard.ports import Attempt, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.core.orders import Start
    from callboard.core.run import Node, Run
    from callboard.engine.held import Held
    from callboard.engine.texts import Texts
    from callboard.engine.versions import Version, Versions
    from callboard.ports import Json, Store

Key = tuple[int, int, int]  # node, number, revision
Edits: TypeAlias = "Sequence[tuple[str, str, str]]"  # as `DocumentEdited` has them
_NO_WORKS: dict[str, Any] = {}
_decode = json.JSONDecoder().raw_decode

#: Outcomes that are read on the loop; more are read in a thread.
MOST_ON_LOOP = 64


class _Missing(Exception):
    """An outcome that is not in memory. Raised before anything was done, so that all can be fetched at once."""


class Inputs:
    """Builds `Work` for Start and List orders. Without `versions` outcomes are read as they were recorded."""

    def __init__(self, store: Store, texts: Texts, project: str, versions: Versions | None = None) -> None:
        self._store, self._texts, self._versions = store, texts, versions
        self._project = hashlib.sha256(project.encode())

    def ready(self, held: Held, run: Run, order: Start | List) -> Work | None:
        """The work, when all it needs is in memory; else None: then `fetched`."""
        row = run.nodes[order.node]
        if row.parent < 0:
            parents = run.graph.parents[row.id]
            if not parents:
                return self._work(held, run, row, order, _NO_WORKS)
            if len(parents) == 1 and row.combination is None and row.task.map is None:
                above = run.nodes[parents[0][0]]
                text = self._texts.get((held.number, above.id, 1, 0))
                if text is not None and above.mapped is None:  # a link of a chain
                    outcome = _decoded(text)
                    if self._versions is None or "documents" not in outcome:
                        return self._work(held, run, row, order, {above.task.name: outcome})
        try:
            upstream = _Reader(held.number, run, self._texts, {}, self._known()).upstream(row)
        except _Missing:
            return None
        return self._work(held, run, row, order, upstream)

    async def fetched(self, held: Held, run: Run, order: Start | List, edited: Callable[[Edits], None]) -> Work:
        """The work, with outcomes read from the store, and documents from where they lie. `edited` hears of versions
        that people have made of them. Raises StoreError, and Permanent for a version that cannot be read."""
        row = run.nodes[order.node]
        found: dict[Key, str | None] = {}
        known = self._known()
        while True:
            reader = _Reader(held.number, run, self._texts, found, known, eager=True)
            upstream = reader.upstream(row)
            if reader.missing:
                found |= await self._read(held.number, reader.missing)
            elif reader.unseen and known is not None:
                known |= await asyncio.to_thread(self._see, held.number, reader.unseen)
                for version in (known[key] for key in reader.unseen):
                    edited(version.edits)
                    if version.fault:
                        raise Permanent(version.fault)
            else:
                return self._work(held, run, row, order, upstream)._replace(read=reader.read)

    def _known(self) -> dict[Key, Version] | None:
        return None if self._versions is None else {}

    def _see(self, run: int, outcomes: Mapping[Key, Json]) -> dict[Key, Version]:
        """In the thread."""
        assert self._versions is not None
        return {key: self._versions.of(run, pack(run, key[0], key[1]), outcome) for key, outcome in outcomes.items()}

    async def _read(self, run: int, keys: Sequence[Key]) -> dict[Key, str | None]:
        if len(keys) <= MOST_ON_LOOP:
            return {key: self._store.outcome(run, *key) for key in keys}
        known = await asyncio.to_thread(self._store.outcomes, run, keys)
        return {key: known.get(key) for key in keys}

    def key(self, run: str, task: str, item: str | None, number: int) -> str:
        """The idempotency key of all attempts of a number: hex of SHA-256."""
        hashed = self._project.copy()
        hashed.update(f"\0{run}\0{task}\0{item or ''}\0{number}".encode())
        return hashed.hexdigest()

    def _work(self, held: Held, run: Run, row: Node, order: Start | List, upstream: Mapping[str, Json]) -> Work:
        task, item = row.task, row.key
        number, attempt = order.number, order.page if isinstance(order, List) else order.attempt
        value = held.values.get(_listed(run, row)) if held.values else None
        inputs = task.inputs
        if row.note:
            inputs = {**inputs, "note": row.note}
        return Work(
            run.number,
            row.id,
            number,
            Attempt(run.id, task.name, item, number, attempt, held.dir),
            attempt,
            self.key(run.id, task.name, item, number),
            task.executor,
            inputs,
            upstream,
            None if value is None else json.loads(value),
            held.params,
            task.timeout,
            task.effect,
            held.settings,
        )


def _decoded(text: str) -> Json:
    """An outcome. (`json.loads` looks for blanks around it, which costs more than to read a small one.)"""
    return _decode(text)[0] if text[0] == "{" else json.loads(text)


def same_item(run: Run, item: Node, task: Node) -> Node | None:
    """The item of `task` with the key of `item`, when both tasks go over one list; else None."""
    if item.parent < 0 or task.mapped is None or task.parent >= 0:
        return None
    if _list_of(run, item.parent) != _list_of(run, task.id):
        return None
    node = task.mapped.index.get(item.key or "")
    return run.nodes[node] if node is not None else None


def _listed(run: Run, row: Node) -> int:
    """The item of the list itself that an item of any task going over it stands for."""
    if row.parent < 0:
        return row.id
    mapped = run.nodes[_list_of(run, row.parent)].mapped
    return mapped.index.get(row.key or "", row.id) if mapped is not None else row.id


def _list_of(run: Run, task: int) -> int:
    """The mapped task whose list this one goes over, itself when the list is its own."""
    while task in run.graph.overs:
        task = run.graph.overs[task]
    return task


class _Reader:
    """One reading of a node's upstream. Not eager: the first outcome that is not in memory ends it."""

    def __init__(
        self,
        number: int,
        run: Run,
        texts: Texts,
        found: Mapping[Key, str | None],
        known: Mapping[Key, Version] | None = None,
        *,
        eager: bool = False,
    ) -> None:
        self._number, self._run, self._texts, self._found, self._eager = number, run, texts, found, eager
        self._known = known
        self.missing: list[Key] = []
        self.unseen: dict[Key, Json] = {}  # outcomes that brought documents, which nobody has looked at yet
        self.read: dict[str, str] = {}  # documents that values were found in: path → hash

    def upstream(self, row: Node) -> dict[str, Json]:
        """Outcome objects by task name."""
        run = self._run
        values: dict[str, Json] = {}
        over = row.task.map.over if row.task.map is not None and not row.task.map.barrier else ""
        for node, number, revision in run.inputs(row.id):
            above = run.nodes[node]
            if above.task.name == over and above.parent < 0:
                continue  # an item reads its twin, and its task as a whole reads nothing of that list
            twin = same_item(run, row, above)
            if twin is not None:
                values[above.task.name] = self._outcome(twin, twin.number, twin.revision)
            else:
                values[above.task.name] = self._outcome(above, number, revision)
        return values

    def _outcome(self, above: Node, number: int, revision: int) -> Json:
        key = (above.id, number, revision)
        text = self._text(key)
        if text is not None:
            outcome = _decoded(text)
            if "documents" in outcome and self._known is not None:
                outcome = self._as_it_lies_there(key, outcome)
            return outcome if above.mapped is None or above.parent >= 0 else self._joined(outcome)
        if above.number == number and above.status is SKIPPED:
            return self._flow(above)
        return {"value": None, "failed": above.reason or "failed"}

    def _as_it_lies_there(self, key: Key, outcome: Json) -> Json:
        version = self._known.get(key) if self._known is not None else None
        if version is None and not self._eager:
            raise _Missing
        if version is None:
            self.unseen[key] = outcome
            return outcome
        self.read.update(version.read)
        return version.outcome

    def _flow(self, skipped: Node) -> Json:
        """What a skipped task hands on: what it would have read, first need first."""
        for node, number, revision in self._run.inputs(skipped.id):
            above = self._run.nodes[node]
            if skipped.parent >= 0 and above.parent < 0:
                continue
            outcome = self._outcome(above, number, revision)
            return {**outcome, "skipped": skipped.reason or "skipped"}
        return {"value": None, "skipped": skipped.reason or "skipped"}

    def _joined(self, outcome: Json) -> Json:
        """A mapped task's outcome names its items; a join reads their values."""
        nodes = self._run.nodes
        items: list[Json] = []
        for key, node, number in outcome.get("items") or ():
            item = nodes[node]
            revision = item.revision if item.number == number else 0
            items.append({"key": key, **self._outcome(item, number, revision)})
        return {"value": items, "failed": outcome.get("failed") or []}

    def _text(self, key: Key) -> str | None:
        text = self._texts.get((self._number, *key))
        if text is not None:
            return text
        if key in self._found:
            return self._found[key]
        if not self._eager:
            raise _Missing
        self.missing.append(key)
        return '{"value":null}'
