"""The store in memory: the same answers as the one on disk, and nothing on disk.

For tests and for `store="memory"`, which a person has to ask for: what is here ends with the process. It passes
the same kit as the others, journal chain and fences included, so what runs on it runs on them.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain as flatten
from typing import Any, TypeAlias

from callboard.core.deadline import Deadline, Now, holds
from callboard.core.facts import Begun
from callboard.core.facts import encode as encode_fact
from callboard.core.plan import digest
from callboard.errors import Ambiguous, Conflict, FenceLost, NotFound, UsageError
from callboard.ports import Bounds, Call, Json, Letter, Owner, Record, Recorded, RunRow, RunRows, Write
from callboard.store import chain, strict
from callboard.store.bounds import USUAL, too_many_letters, too_many_runs
from callboard.store.content import MemoryContent
from callboard.store.packing import pack, unpack
from callboard.text.names import identifier, title

Row: TypeAlias = tuple[Any, ...]
Saved: TypeAlias = Callable[[Mapping[str, Any]], None]
NewRun: TypeAlias = tuple[str, str, str, str, str, float, int | None]


class _Run:
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


class MemoryStore(MemoryRecords):
    """The ports `Store` and `Records` in dicts. `saves` are the registered writes by name: functions of their
    parameters; one that raises is the end of its batch, of which nothing is recorded then."""

    def __init__(self, *, saves: Mapping[str, Saved] | None = None, bounds: Bounds = USUAL) -> None:
        super().__init__()
        self.bounds = bounds
        self._open = self._unread = 0  # runs that have not ended, letters not consumed
        self.content = MemoryContent()
        self._saves = dict(saves or {})
        self._runs: dict[int, _Run] = {}
        self._numbers: dict[str, int] = {}
        self._plans: dict[str, str] = {}
        self._ledger: dict[str, Call] = {}
        self._events: list[tuple[int, str, str, str, str, str, float]] = []
        self._ours: dict[str, set[tuple[int, str]]] = {}
        self._letters = self._version = 0

    # ── engines ─────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, writes: Sequence[Write]) -> None:
        with self._lock:
            self._check(writes)
            blobs = [chain.encode(write.journal) if write.journal else b"" for write in writes]
            for data in [data for write in writes for data in write.contents]:
                self.content.put(data)
            for name, params in [save for write in writes for save in write.saves]:
                self._saves[name](params)
            for write, blob in zip(writes, blobs, strict=True):
                self._record(self._runs[write.run], write, blob)

    def try_commit(self, writes: Sequence[Write]) -> bool:
        """As `commit`: nobody else can hold the lock for long."""
        self.commit(writes)
        return True

    def claim(
        self, run: int, owner: Owner, lease: Deadline, now: Now, *, alive: Callable[[Owner], bool | None]
    ) -> int | None:
        with self._lock:
            row = self._of(run).row
            if row.owner is not None and row.owner != owner and _holds(row, owner, now, alive):
                return None
            self._change(run, fence=row.fence + 1, owner=owner, lease=lease)
            return row.fence + 1

    def release(self, run: int, fence: int) -> None:
        self.release_all([(run, fence)])

    def release_all(self, runs: Sequence[tuple[int, int]]) -> None:
        """As `release` for (run, fence) pairs."""
        with self._lock:
            for run, fence in runs:
                if run in self._runs and self._runs[run].row.fence == fence:
                    self._change(run, owner=None, lease=None)

    def renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        with self._lock:
            lost = [run for run, fence in runs if not self._is_held(run, fence)]
            for run, _ in runs:
                if run not in lost:
                    self._change(run, lease=lease)
            return lost

    # ── anyone ──────────────────────────────────────────────────────────────────────────────────────────

    def create_run(
        self, *, id: str, name: str, plan: str, params: str, face: str, at: float, parent: int | None = None
    ) -> RunRow:
        return self.create_runs([(id, name, plan, params, face, at, parent)])[0]

    def create_runs(
        self, runs: Sequence[NewRun], *, owner: Owner | None = None, lease: Deadline | None = None
    ) -> Sequence[RunRow]:
        """As `create_run` for (id, name, plan, params, face, wall, parent) tuples, all or none.

        With an `owner`, runs that nobody owns are claimed for it at once: those rows have it as their owner.
        """
        with self._lock:
            for run in runs:
                self._check_new(run)
            brought = len({run[0] for run in runs if run[6] is None and run[0] not in self._numbers})
            if brought and self._open + brought > self.bounds.runs:
                raise too_many_runs(self.bounds.runs, brought)
            rows = [self._create(*run) for run in runs]
            if owner is None or lease is None:
                return rows
            for row in rows:
                if self._runs[row.number].row.owner is None:
                    self._change(row.number, fence=row.fence + 1, owner=owner, lease=lease)
            return [self._runs[row.number].row for row in rows]

    def adopt(
        self,
        write: Write,
        *,
        id: str,
        name: str,
        plan: str,
        params: str,
        face: str,
        facts: Sequence[tuple[str, str]],
        calls: Sequence[Call] = (),
    ) -> RunRow:
        with self._lock:
            if id in self._numbers:
                raise Conflict(f"there is a run {id!r} already")
            run = (id, name, plan, params, face, write.at, write.run)
            self._check_new(run)
            self.commit([write])
            row = self._create(*run, facts)
            for call in calls:
                self._settle(call._replace(run=row.number))
            return row

    def append(self, run: int, facts: Sequence[tuple[str, str]], at: float, *, urgent: bool = False) -> int:
        with self._lock:
            one = self._of(run)
            brought = len({id for id, _ in facts if id not in one.known})
            kept = self.bounds.kept if urgent else 0
            if brought and one.unread + brought > self.bounds.letters + kept:
                raise too_many_letters(self.bounds.letters, run, urgent=urgent)
            if brought and self._unread + brought > self.bounds.all_letters + kept:
                raise too_many_letters(self.bounds.all_letters, None, urgent=urgent)
            return self._post(one, facts, at)

    def publish(self, events: Sequence[tuple[str, str, Json, str, Json]], at: float) -> Sequence[int]:
        texts = [
            (key, namespace, strict.encode(value, f"event {key}"), sender, strict.encode(context, f"event {key}"), at)
            for key, namespace, value, sender, context in events
        ]
        with self._lock:
            first = len(self._events) + 1
            self._events += [(first + place, *text) for place, text in enumerate(texts)]
            return range(first, first + len(texts))

    def put(self, data: bytes) -> str:
        return self.content.put(data)

    keep = put

    def get(self, hash: str) -> bytes:
        return self.content.get(hash)

    def version(self) -> int:
        return self._version

    def checkpoint(self) -> None:
        """There is no log."""

    def backup_if_due(self, wall: float) -> None:
        """There is nothing to copy."""

    def close(self) -> None:
        """Nothing to close: what is here stays as long as the object."""

    # ── questions ───────────────────────────────────────────────────────────────────────────────────────

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

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

    def _of(self, run: int) -> _Run:
        try:
            return self._runs[run]
        except KeyError as error:
            raise NotFound(f"no run {run}") from error

    def _change(self, run: int, **fields: Any) -> None:
        one = self._runs[run]
        one.row = one.row._replace(**fields)

    def _is_held(self, run: int, fence: int) -> bool:
        one = self._runs.get(run)
        return one is not None and one.row.fence == fence and one.row.owner is not None

    def _check(self, writes: Sequence[Write]) -> None:
        """Raise for whatever the batch would be refused for, before anything is changed."""
        lost = {write.run: None for write in writes if not self._is_held(write.run, write.fence)}
        if lost:
            raise FenceLost(tuple(lost))
        seen = set[tuple[int, int]]()
        for write in writes:
            recorded = self._runs[write.run].outcomes
            for id, revision, text in write.outcomes:
                if (id, revision) in recorded or (id, revision) in seen:
                    raise Conflict(f"recorded already, and written once: {strict.outcome_of(id)}")
                seen.add((id, revision))
                strict.check_outcome(text, strict.outcome_of(id))
            for text in _states(write):
                strict.check(text, "a state")
            for name, _ in write.saves:
                if name not in self._saves:
                    raise UsageError(f"no write is registered as {name!r}")

    def _record(self, one: _Run, write: Write, blob: bytes) -> None:
        changed: dict[str, Any] = {"updated": write.at}
        if write.status is not None:
            self._open += (write.status < 5) - (one.row.status < 5)
            changed |= {"status": int(write.status), "ended": write.at if write.status >= 5 else None}
        if write.state is not None:
            changed["state"] = write.state
        one.row = one.row._replace(**changed)
        if blob:
            before = one.journal[-1][3] if one.journal else chain.START
            batch = len(one.journal) + 1
            one.journal.append((batch, write.at, blob, chain.link(before, batch, write.at, blob)))
        for row in write.executions:
            one.executions[row[0]] = row if row[5] is None else (*row[:5], strict.plain(row[5]), row[6])
        for id, revision, text in write.outcomes:
            one.outcomes[id, revision] = text
        one.items.update((row[0], row) for row in write.items)
        one.branches.update(write.branches)
        for document in write.documents:
            self._note(one, document)
        for call in write.ledger:
            self._settle(call)
        if write.inbox is not None and write.inbox > one.consumed:
            read = _place(one, write.inbox) - _place(one, one.consumed)
            one.unread, self._unread = one.unread - read, self._unread - read
            one.consumed = write.inbox
        one.logs += [(*row[:4], strict.plain(row[4])) for row in write.logs]

    def _note(self, one: _Run, row: Row) -> None:
        """The latest version of a document; an edit keeps which step wrote it, and that ours lies beside."""
        path, hash, replaces, execution, status, note = (*row, None)[:6]
        had = one.documents.get(path)
        if had is not None and not execution:
            execution, note = had[4], had[6]
            status = "conflict" if had[5] == "conflict" else status
        one.documents[path] = (one.row.number, path, hash, replaces, execution, status, note)
        if row[4] in ("pending", "published"):
            self._ours.setdefault(hash, set()).add((one.row.number, path))

    def _settle(self, call: Call) -> None:
        """What is settled is not unsettled, and an answer that was paid for stays."""
        known = self._ledger.get(call.key)
        if known is not None:
            if known.status == "settled" and call.status != "settled":
                return
            call = call._replace(answer=known.answer if call.answer is None else call.answer)
        self._ledger[call.key] = call

    def _check_new(self, run: NewRun) -> None:
        id, name, plan, params, *_ = run
        identifier(id)
        if name:
            title(name)
        strict.check(params, f"the parameters of run {id}")
        number = self._numbers.get(id)
        if number is not None:
            row = self._runs[number].row
            if (row.plan, row.params) != (digest(plan), params):
                raise Conflict(f"there is a run {id!r} already, with another plan or other parameters")

    def _create(
        self,
        id: str,
        name: str,
        plan: str,
        params: str,
        face: str,
        at: float,
        parent: int | None,
        facts: Sequence[tuple[str, str]] = (("begun", encode_fact(Begun())),),
    ) -> RunRow:
        if id in self._numbers:
            return self._runs[self._numbers[id]].row
        hash, number = digest(plan), len(self._runs) + 1
        row = RunRow(number, id, name, hash, 0, "{}", params, face, 0, None, None, at, at, None, parent)
        self._plans[hash], self._numbers[id], self._runs[number] = plan, number, _Run(row)
        self._open += 1
        self._post(self._runs[number], facts, at)
        return row

    def _post(self, one: _Run, facts: Sequence[tuple[str, str]], at: float) -> int:
        for id, fact in facts:
            if id not in one.known:
                one.known.add(id)
                self._letters += 1
                one.unread, self._unread = one.unread + 1, self._unread + 1
                one.inbox.append(Letter(self._letters, one.row.number, fact, id, at))
        self._version += 1
        return one.inbox[-1].offset


def _holds(row: RunRow, owner: Owner, now: Now, alive: Callable[[Owner], bool | None]) -> bool:
    """Whether the run's owner keeps it from `owner`: alive on this host, or within its lease where nobody can tell."""
    assert row.owner is not None
    lives = alive(row.owner) if row.owner.host == owner.host else None
    return row.lease is not None and holds(row.lease, now) if lives is None else lives


def _place(one: _Run, offset: int) -> int:
    """How many letters there are up to an offset."""
    return bisect_right(one.inbox, offset, key=lambda letter: letter.offset)


def _states(write: Write) -> Iterator[str]:
    """The JSON texts of a write that are not outcomes."""
    own = () if write.state is None else (write.state,)
    return flatten(own, (item[4] for item in write.items), (state for _, state in write.branches))
