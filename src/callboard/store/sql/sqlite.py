"""The store in one SQLite file: the writing half.

`commit` is the hot path of the whole house: all writes of a batch in one statement and one synced transaction,
fences checked inside it (see `queries.py` for the statement, `batch.py` for its bindings). Everything else here
is written once in a while, by whoever has the project open, in a transaction of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from callboard.core.deadline import holds
from callboard.core.facts import Begun
from callboard.core.facts import encode as encode_fact
from callboard.core.plan import digest
from callboard.crash import point
from callboard.errors import Conflict, FenceLost, NotFound, StoreError, UsageError
from callboard.ports import Bounds, Call, Json, Owner, RunRow, Write
from callboard.store import chain, seals, strict
from callboard.store.bounds import USUAL
from callboard.store.content import Content
from callboard.store.packing import unpack
from callboard.store.sql import batch as batches
from callboard.store.sql import queries as q
from callboard.store.sql import room
from callboard.store.sql.copies import Copies
from callboard.store.sql.database import roll_back
from callboard.store.sql.reading import lease_of, run_row
from callboard.store.sql.records import RecordTable
from callboard.store.sql.sound import Sound
from callboard.text.names import identifier, title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.core.deadline import Deadline, Now

BEGINNING = (("begun", encode_fact(Begun())),)  # the letter that a run begins with
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


NewRun = tuple[str, str, str, str, str, float, int | None]


class SQLiteStore(Sound, RecordTable, Copies):
    """The ports `Store` and `Records` on a file, shared by any number of processes of one machine.

    `path` is the database; bytes lie in `content/` beside it, backups in `backups/`, the lock in `run/`. `saves`
    are the registered writes by name: SQL with named parameters; `bounds` is how much may wait.

    Raises StoreRefused (a network file system, an unsafe SQLite, a newer schema, no database of ours), StoreDamaged,
    StoreError; ForkedProcess in a forked child.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        readonly: bool = False,
        saves: Mapping[str, str] | None = None,
        vfs: str | None = None,
        bounds: Bounds = USUAL,
    ) -> None:
        super().__init__(Path(path), readonly=readonly, vfs=vfs)
        self.bounds = bounds
        self.known_sound = set()
        self.content = Content(self.path.parent / "content")
        self._saves = dict(saves or {})
        self._heads: dict[int, batches.Head] = {}

    # ── engines ─────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, writes: Sequence[Write]) -> None:
        if writes:
            with self.lock:
                self._commit(writes)

    def try_commit(self, writes: Sequence[Write]) -> bool:
        """As `commit`, if no other writer holds the lock just now; False (and nothing written) when one does."""
        lock = self.lock
        if not lock.try_enter():
            return False
        try:
            if writes:
                self._commit(writes)
        finally:
            lock.__exit__()
        return True

    def claim(
        self, run: int, owner: Owner, lease: Deadline, now: Now, *, alive: Callable[[Owner], bool | None]
    ) -> int | None:
        while True:
            row = self.row(q.OWNER, (run,))
            if row is None:
                raise NotFound(f"no run {run}")
            fence, text, *until = row
            if text is not None and _keeps(Owner(*json.loads(text)), until, owner, now, alive):
                return None
            with self.transaction() as writer:
                taken = writer.execute(q.CLAIM, (run, fence, _encode(owner), text, *_columns(lease))).fetchone()
                point("run.claim")
            if taken is not None:
                self._heads.pop(run, None)
                return int(taken[0])

    def release(self, run: int, fence: int) -> None:
        self.release_all([(run, fence)])

    def release_all(self, runs: Sequence[tuple[int, int]]) -> None:
        """As `release` for (run, fence) pairs, in one transaction."""
        with self.transaction() as writer:
            for run, fence in runs:
                self._heads.pop(run, None)
                writer.execute(q.RELEASE, (run, fence))
            point("run.release")

    def renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        if not runs:
            return []
        with self.transaction() as writer:
            kept = {row[0] for row in writer.execute(q.RENEW, (_encode(dict(runs)), *_columns(lease)))}
            point("lease.renew")
        return [run for run, _ in runs if run not in kept]

    # ── anyone ──────────────────────────────────────────────────────────────────────────────────────────

    def create_run(
        self, *, id: str, name: str, plan: str, params: str, face: str, at: float, parent: int | None = None
    ) -> RunRow:
        return self.create_runs([(id, name, plan, params, face, at, parent)])[0]

    def create_runs(
        self, runs: Sequence[NewRun], *, owner: Owner | None = None, lease: Deadline | None = None
    ) -> Sequence[RunRow]:
        """As `create_run` for (id, name, plan, params, face, wall, parent) tuples, in one synced transaction.

        With an `owner`, runs that nobody owns are claimed for it at once: those rows have it as their owner.
        """
        lonely = [run[0] for run in runs if run[6] is None]
        room.for_runs(self.row, self.bounds, lonely)
        with self.transaction() as writer:
            room.for_runs(_asking(writer), self.bounds, lonely)
            rows = [_create_run(writer, *run) for run in runs]
            point("run.create")
            self.known_sound.update(row.number for row in rows if row.status == 0)
            if owner is None or lease is None:
                return rows
            text = _encode(owner)
            for row in rows:
                if row.owner is None:
                    writer.execute(q.CLAIM, (row.number, row.fence, text, None, *_columns(lease)))
            return [run_row(writer.execute(q.RUN, (row.number,)).fetchall()[0]) for row in rows]

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
        try:
            with self.transaction() as writer:
                if writer.execute(q.RUN_BY_ID, (id,)).fetchall():
                    raise Conflict(f"there is a run {id!r} already")
                row = _create_run(writer, id, name, plan, params, face, write.at, write.run, facts)
                ledger = [call._replace(run=row.number) for call in calls]
                batch = batches.encode([write._replace(ledger=[*write.ledger, *ledger])], self._head, self.content.put)
                try:
                    writer.execute(batch.statement, batch.bindings)
                except (apsw.Error, UnicodeError) as error:
                    raise self._reason(error, [write]) from error
                point("run.adopt")
        except BaseException:
            self._heads.pop(write.run, None)
            raise
        self._heads.update(batch.heads)
        self.known_sound.add(row.number)
        return row

    def append(self, run: int, facts: Sequence[tuple[str, str]], at: float, *, urgent: bool = False) -> int:
        ids = [id for id, _ in facts]
        room.for_letters(self.row, self.bounds, run, ids, urgent=urgent)
        with self.transaction() as writer:
            room.for_letters(_asking(writer), self.bounds, run, ids, urgent=urgent)
            last = _post(writer, run, facts, at)
            point("inbox.append")
            return last

    def publish(self, events: Sequence[tuple[str, str, Json, str, Json]], at: float) -> Sequence[int]:
        rows = [
            (key, namespace, strict.encode(value, f"event {key}"), sender, strict.encode(context, f"event {key}"))
            for key, namespace, value, sender, context in events
        ]
        with self.transaction() as writer:
            writer.execute(q.ADD_EVENTS, (_encode(rows), at))
            point("event.publish")
            last = _one(writer.execute(q.LAST_EVENT))
        return range(last - len(rows) + 1, last + 1)

    def put(self, data: bytes) -> str:
        self.lock  # noqa: B018  refuses a reader and a forked child
        return self.content.put(data)

    def keep(self, data: bytes) -> str:
        self.lock  # noqa: B018  refuses a reader and a forked child
        return self.content.keep(data)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, writes: Sequence[Write]) -> None:
        try:
            self.content.settle()
            batch = batches.encode(writes, self._head, self.content.put)
            point("commit.begin")
            if batch.saves:
                self._with_saves(batch)
            else:
                self.writer.execute(batch.statement, batch.bindings)
        except BaseException as error:
            for write in writes:
                self._heads.pop(write.run, None)
            if isinstance(error, apsw.Error | UnicodeError):
                raise self._reason(error, writes) from error
            raise
        point("commit.done")
        self._heads.update(batch.heads)

    def _with_saves(self, batch: batches.Batch) -> None:
        writer = self.writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            writer.execute(batch.statement, batch.bindings)
            point("commit.saves")
            for name, params in batch.saves:
                if name not in self._saves:
                    raise UsageError(f"no write is registered as {name!r}")
                writer.execute(self._saves[name], dict(params))
            point("commit.write")
            writer.execute("COMMIT")
        except BaseException:
            roll_back(writer)
            raise

    def _head(self, run: int, fence: int) -> batches.Head:
        known = self._heads.get(run)
        if known is not None and known.fence == fence:
            return known
        row = self.writer.execute(q.HEAD, (run,)).fetchone()
        return batches.Head(fence, 0, chain.START) if row is None else batches.Head(fence, row[0] & 0xFFFFFFFF, row[1])

    def _reason(self, error: Exception, writes: Sequence[Write]) -> Exception:
        """Why a batch was refused, in our words; nothing of it was written."""
        try:
            return self._told(error, str(error), writes)
        except apsw.Error as another:  # asking the database for more has failed
            return self.failed(another)

    def _told(self, error: Exception, text: str, writes: Sequence[Write]) -> Exception:
        if q.FENCE_LOST in text:
            return FenceLost(self._lost({write.run: write.fence for write in writes}))
        if isinstance(error, UnicodeError) or q.NOT_JSON in text or q.WRONG_COUNT in text:
            batches.check_outcomes(writes)
        if q.NOT_JSON in text or "malformed JSON" in text:
            return StoreError("an outcome or a state is nested too deeply to be recorded (1,000 levels)")
        if "outcome.id" in text:
            return Conflict(f"recorded already, and written once: {self._doubled(writes)}")
        return self.failed(error)

    def _lost(self, fences: Mapping[int, int]) -> tuple[int, ...]:
        kept = {row[0] for row in self.writer.execute(q.HELD_FENCES, (_encode(fences),))}
        return tuple(run for run in fences if run not in kept)

    def _doubled(self, writes: Sequence[Write]) -> str:
        ids = [row[0] for write in writes for row in write.outcomes]
        there = {row[0] for row in self.writer.execute(q.OUTCOMES_OF, (str(ids),))}
        first = next((id for id in ids if id in there or ids.count(id) > 1), ids[0])
        return "the outcome of run {}, node {}, number {}".format(*unpack(first))


def _create_run(
    writer: apsw.Connection,
    id: str,
    name: str,
    plan: str,
    params: str,
    face: str,
    at: float,
    parent: int | None,
    facts: Sequence[tuple[str, str]] = BEGINNING,
) -> RunRow:
    identifier(id)
    if name:
        title(name)
    hash = digest(plan)
    there = writer.execute(q.RUN_BY_ID, (id,)).fetchall()
    if not there:
        writer.execute(q.ADD_PLAN, (hash, plan))
        first = writer.changes() > 0
        row = (id, name, hash, params, face, float(at), parent)
        number = _one(writer.execute(q.ADD_RUN, row))
        writer.execute(q.ADD_STANDING, (number, at, seals.of_standing(number, 0, at, 0)))
        writer.execute(q.ADD_BIRTH, (number, at, *chain.birth(at, row, plan if first else None)))
        _post(writer, number, facts, at)
        there = writer.execute(q.RUN, (number,)).fetchall()
    found = run_row(there[0])
    if (found.plan, found.params) != (hash, params):
        raise Conflict(f"there is a run {id!r} already, with another plan or other parameters")
    return found


def _columns(lease: Deadline) -> tuple[float, float, float]:
    return lease.wall, lease.elapsed, lease.length


def _keeps(
    holder: Owner, until: Sequence[float | None], owner: Owner, now: Now, alive: Callable[[Owner], bool | None]
) -> bool:
    """Whether `holder` keeps the run from `owner`: alive on this host, or within its lease where nobody can tell."""
    if holder == owner:
        return False
    lives = alive(holder) if holder.host == owner.host else None
    if lives is not None:
        return lives
    lease = lease_of(holder, *until)
    return lease is not None and holds(lease, now)


def _post(writer: apsw.Connection, run: int, facts: Sequence[tuple[str, str]], at: float) -> int:
    writer.execute(q.ADD_LETTERS, (run, at, _encode(facts)))
    last = _one(writer.execute(q.LAST_LETTER, (run,)))
    writer.execute(q.POST, (run, last))
    if not writer.changes():
        raise NotFound(f"no run {run}")
    return last


def _asking(writer: apsw.Connection) -> room.Ask:
    """Questions on the connection that writes: what it answers stays true until the end of the transaction."""

    def ask(query: str, bindings: Sequence[Any]) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = writer.execute(query, bindings).fetchone()
        return found

    return ask


def _one(cursor: apsw.Cursor) -> int:
    """The integer of a query that answers with one."""
    value: int = cursor.get
    return value
