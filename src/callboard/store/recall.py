"""What is asked of the store in memory, and how it lies there: its reading half.

Every answer is what the store on disk would say. Rows are the tuples that were written, so nothing is told apart that
SQLite would not tell apart.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from callboard.errors import Ambiguous, Conflict, NotFound
from callboard.ports import Call, Json, Letter, Record, Recorded, RunRow, RunRows
from callboard.store import chain, strict
from callboard.store.packing import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row: TypeAlias = tuple[Any, ...]


class Kept:
    """All that is recorded of one run."""

    __slots__ = (
        "branches", "consumed", "documents", "executions", "inbox", "items", "journal", "known", "logs", "outcomes",
        "row", "unread",
    )  # fmt: skip

    def __init__(self, row: RunRow) -> None:
        self.row = row
        self.executions: dict[int, Row] = {}
        self.outcomes: dict[tuple[int, int], str] = {}
        self.items: dict[int, Row] = {}
        self.branches: dict[int, str] = {}
        self.documents: dict[str, Row] = {}
        self.journal: list[tuple[int, float, bytes, bytes]] = []
        self.inbox: list[Letter] = []
        self.known: set[str] = set()
        self.consumed = self.unread = 0
        self.logs: list[Row] = []


class MemoryRecords:
    """The port `Records` in a dict; a removed record keeps its revision, so a late writer is refused."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._records: dict[tuple[str, str], tuple[int, str | None]] = {}

    def read(self, kind: str, id: str) -> Record | None:
        revision, text = self._records.get((kind, id), (0, None))
        return None if text is None else Record(kind, id, revision, json.loads(text))

    def write(self, kind: str, id: str, value: Json, *, revision: int) -> Record:
        text = strict.encode(value, f"{kind} {id}")
        return Record(kind, id, self._set(kind, id, text, revision), json.loads(text))

    def remove(self, kind: str, id: str, *, revision: int) -> None:
        self._set(kind, id, None, revision)

    def list(self, kind: str) -> Sequence[Record]:
        found = (self.read(*key) for key in sorted(self._records) if key[0] == kind)
        return [record for record in found if record is not None]

    def _set(self, kind: str, id: str, text: str | None, revision: int) -> int:
        with self._lock:
            latest, there = self._records.get((kind, id), (0, None))
            if revision != (0 if there is None else latest) or (text is None and there is None):
                raise Conflict(f"{kind} {id} was changed by someone else; revision {revision} is not the latest")
            self._records[kind, id] = (latest + 1, text)
            return latest + 1


class Recall(MemoryRecords):
    """The questions of the port `Store`."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[int, Kept] = {}
        self._numbers: dict[str, int] = {}
        self._plans: dict[str, str] = {}
        self._ledger: dict[str, Call] = {}
        self._events: list[tuple[int, str, str, str, str, str, float]] = []
        self._ours: dict[str, set[tuple[int, str]]] = {}

    def find_run(self, id: str | int) -> RunRow:
        if isinstance(id, int):
            return self._of(id).row
        if (number := self._numbers.get(id)) is not None:
            return self._runs[number].row
        if id.isascii() and id.isdigit() and int(id) in self._runs:
            return self._runs[int(id)].row
        begun = [known for known in reversed(self._numbers) if known.startswith(id)] if id else []
        if len(begun) == 1:
            return self._runs[self._numbers[begun[0]]].row
        if begun:
            raise Ambiguous(id, begun)
        raise NotFound(f"no run {id!r}")

    def runs(self, *, status: int | None = None, most: int = 100, before: int | None = None) -> Sequence[RunRow]:
        rows = (one.row for number, one in sorted(self._runs.items(), reverse=True) if not before or number < before)
        return [row for row in rows if status is None or row.status == status][:most]

    def open_runs(self) -> Sequence[RunRow]:
        return [one.row for one in self._runs.values() if one.row.status in (0, 2)]

    def verify(self, run: int) -> None:
        """What lies in memory is what was put there."""

    def load(self, run: int) -> RunRows:
        one = self._of(run)
        return RunRows(
            run=one.row,
            plan=self._plans[one.row.plan],
            executions=list({row[0] >> 20: row for row in self.executions(run)}.values()),
            items=[one.items[node] for node in sorted(one.items)],
            branches=sorted(one.branches.items()),
            documents=[(path, row[2], row[5]) for path, row in sorted(one.documents.items())],
            consumed=one.consumed,
        )

    def executions(self, run: int, *, node: int | None = None) -> Sequence[Row]:
        rows = sorted(self._runs[run].executions.values()) if run in self._runs else []
        return rows if node is None else [row for row in rows if unpack(row[0])[1] == node]

    def inbox(self, run: int, after: int, most: int = 1000) -> Sequence[Letter]:
        letters = self._runs[run].inbox if run in self._runs else []
        return [letter for letter in letters if letter.offset > after][:most]

    def waiting(self) -> Sequence[tuple[int, int]]:
        return [
            (number, one.inbox[-1].offset)
            for number, one in self._runs.items()
            if one.inbox and one.inbox[-1].offset > one.consumed
        ]

    def outcome(self, run: int, node: int, number: int, revision: int = 0) -> str | None:
        one = self._runs.get(run)
        return None if one is None else one.outcomes.get((pack(run, node, number), revision))

    def outcomes(self, run: int, keys: Sequence[tuple[int, int, int]]) -> Mapping[tuple[int, int, int], str]:
        found = {key: self.outcome(run, *key) for key in keys}
        return {key: text for key, text in found.items() if text is not None}

    def calls(self, run: int, node: int | None = None, number: int | None = None) -> Sequence[Call]:
        found = [
            call
            for call in self._ledger.values()
            if call.run == run and node in (None, call.node) and number in (None, call.number)
        ]
        return sorted(found, key=lambda call: (call.node, call.number, call.index, call.key))

    def totals(self, run: int) -> Mapping[str, Any]:
        calls = self.calls(run)
        cached = sum(call.status == "cached" for call in calls)
        return {
            "calls": len(calls) - cached,
            "cached": cached,
            "input_tokens": sum(call.input_tokens for call in calls),
            "output_tokens": sum(call.output_tokens for call in calls),
            "cost": sum(call.cost or 0 for call in calls),
            "unpriced": sum(call.cost is None and call.status not in ("cached", "reserved") for call in calls),
        }

    def events(self, after: int = 0, most: int = 1000) -> Sequence[tuple[int, str, str, Json, str, Json, float]]:
        return [
            (offset, key, namespace, json.loads(value), sender, json.loads(context), at)
            for offset, key, namespace, value, sender, context, at in self._events[after : after + most]
        ]

    def journal(self, run: int) -> Sequence[tuple[int, float, Sequence[str], str]]:
        one = self._of(run)
        return chain.verified(run, one.journal, len(one.journal))

    def documents(
        self, run: int | None = None, *, sources: bool = False
    ) -> Sequence[tuple[int, str, str, str | None, int, str]]:
        found = [one for number, one in self._runs.items() if run in (None, number)]
        rows = (one.documents[path] for one in found for path in sorted(one.documents))
        return [row[:6] for row in rows if sources or row[5] != "source"]

    def document(self, run: int, path: str) -> Recorded | None:
        found = self._runs[run].documents.get(path) if run in self._runs else None
        return Recorded(found[2], found[5], found[4], found[3]) if found is not None else None

    def notes(self, run: int) -> Mapping[str, str]:
        rows = self._runs[run].documents if run in self._runs else {}
        return {path: rows[path][6] for path in sorted(rows) if rows[path][6] is not None}

    def ours(self, hash: str, name: str) -> Sequence[tuple[int, str]]:
        found = self._ours.get(hash, ())
        return sorted((run, path) for run, path in found if f"/{path}".endswith(f"/{name}"))

    def logs(self, run: int, node: int | None = None, most: int = 1000) -> Sequence[tuple[int, int, float, str, str]]:
        logs = self._runs[run].logs if run in self._runs else []
        return [row for row in logs if node in (None, row[0])][-most:]

    def _of(self, run: int) -> Kept:
        try:
            return self._runs[run]
        except KeyError as error:
            raise NotFound(f"no run {run}") from error
