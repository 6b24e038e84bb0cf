"""The store in memory: the same answers as the one on disk, and nothing on disk.

For tests and for `store="memory"`, which a person has to ask for: what is here ends with the process. It passes
the same kit as the others, journal chain and fences included, so what runs on it runs on them. Here it is written to;
what is asked of it is `recall.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain as flatten
from typing import Any, TypeAlias

from callboard.core.deadline import Deadline, Now, holds
from callboard.core.facts import Begun
from callboard.core.facts import encode as encode_fact
from callboard.core.plan import digest
from callboard.errors import Conflict, FenceLost, UsageError
from callboard.ports import Bounds, Call, Json, Letter, Owner, RunRow, Write
from callboard.store import chain, strict
from callboard.store.bounds import USUAL, too_many_letters, too_many_runs
from callboard.store.content import MemoryContent
from callboard.store.recall import Kept, Recall, Row
from callboard.text.names import identifier, title

Saved: TypeAlias = Callable[[Mapping[str, Any]], None]
NewRun: TypeAlias = tuple[str, str, str, str, str, float, int | None]


class MemoryStore(Recall):
    """The ports `Store` and `Records` in dicts. `saves` are the registered writes by name: functions of their
    parameters; one that raises is the end of its batch, of which nothing is recorded then."""

    def __init__(self, *, saves: Mapping[str, Saved] | None = None, bounds: Bounds = USUAL) -> None:
        super().__init__()
        self.bounds = bounds
        self._open = self._unread = 0  # runs that have not ended, letters not consumed
        self.content = MemoryContent()
        self._saves = dict(saves or {})
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

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

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

    def _record(self, one: Kept, write: Write, blob: bytes) -> None:
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

    def _note(self, one: Kept, row: Row) -> None:
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
        self._plans[hash], self._numbers[id], self._runs[number] = plan, number, Kept(row)
        self._open += 1
        self._post(self._runs[number], facts, at)
        return row

    def _post(self, one: Kept, facts: Sequence[tuple[str, str]], at: float) -> int:
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


def _place(one: Kept, offset: int) -> int:
    """How many letters there are up to an offset."""
    return bisect_right(one.inbox, offset, key=lambda letter: letter.offset)


def _states(write: Write) -> Iterator[str]:
    """The JSON texts of a write that are not outcomes."""
    own = () if write.state is None else (write.state,)
    return flatten(own, (item[4] for item in write.items), (state for _, state in write.branches))
