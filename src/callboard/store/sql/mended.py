"""A database made anew from what was brought back: as if every step had been recorded again.

The journal rows are those that were found, to the byte. What follows from them is replayed and written by the same
statement that engines write with, so a mended row has the form, the seal and the checks of any other. What no journal
tells is taken from where it was found: paid calls (so that they are not paid again), letters, records, events, log
lines, and how a document lies in its place.

The file is nobody's until it gets its name, so it is written without a log and synced once, at its end.
"""

from __future__ import annotations

import json
from contextlib import closing
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import apsw

from callboard.core import documents, rebuilt
from callboard.core import plan as plans
from callboard.core.facts import Begun, encode
from callboard.crash import point
from callboard.errors import CallboardError, InvalidPlan
from callboard.ports import Call, Write
from callboard.store import chain, seals
from callboard.store.content import digest
from callboard.store.sql import batch as batches
from callboard.store.sql import files, schema
from callboard.store.sql import queries as q
from callboard.store.sql.revived import Lost, Revived
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from callboard.core.rebuilt import Document, Rebuilt
    from callboard.store.content import Content
    from callboard.store.sql.salvage import Salvage

_MANY = 1000  # rows of a kind in one statement
_CALLS = """SELECT run, node, number, attempt, "index", key, provider, model, prompt_hash, input_tokens, output_tokens,
    cost, latency, at, answer, status FROM ledger WHERE run = ?"""
_LOGS = "SELECT number, run, node, execution, at, level, text FROM log WHERE run = ? ORDER BY number"
_PLACES = """SELECT path, hash, status, note FROM document WHERE run = ? AND status IN ('published', 'conflict')
    ORDER BY status = 'conflict', rank DESC"""


class Mended:
    """The new database at `path`, whose contents are `content`; `keep` puts more there. `identity` is the number of
    the database before."""

    def __init__(
        self,
        path: Path,
        content: Content,
        keep: Callable[[bytes], str],
        wall: float,
        identity: int | None,
        vfs: str | None = None,
    ) -> None:
        self.path, self._content, self._keep = path, content, keep
        self._new = apsw.Connection(str(path), vfs=vfs)
        self._new.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        point("repair.build")
        if identity:
            self._new.execute(f"PRAGMA user_version = {identity}")
        schema.upgrade(self._new, schema.MIGRATIONS, wall, lambda _: None)
        self._new.execute(q.VIEWS)

    def close(self) -> None:
        """Done: on the disk, and closed."""
        self._new.close()
        files.sync_file(self.path)
        point("repair.built")

    def add(self, run: Revived, salvage: Salvage) -> Lost | None:
        """Record a run with all that belongs to it, or say why it cannot be."""
        try:
            plan = plans.load(run.plan)
            journal = [(at, chain.decode(blob)) for at, blob, _ in run.rows]
            told = rebuilt.rebuild(run.run, run.id, plan, journal, status=run.status)
        except (ValueError, KeyError, TypeError, InvalidPlan) as error:
            return Lost(run.run, run.id, f"its journal cannot be replayed ({error})")
        point("repair.build")
        with self._new:
            self._begin(run)
            self._record(run, _writes(run, told, salvage))
            self._around(run, salvage)
            for data in _bytes_of(told, self._content):
                self._keep(data)
        return None

    def add_rest(self, salvage: Salvage) -> None:
        """What belongs to no run."""
        point("repair.build")
        with self._new:
            self._new.executemany(q.RESTORE_RECORD, salvage.rows("SELECT kind, id, revision, value FROM record"))
            self._new.executemany(q.RESTORE_EVENT, salvage.rows('SELECT * FROM event ORDER BY "offset"'))

    def _begin(self, run: Revived) -> None:
        created = float(run.row[5])
        self._new.execute(q.ADD_PLAN, (run.row[2], run.plan))
        self._new.execute(q.RESTORE_RUN, (run.run, *run.row))
        seal = seals.of_standing(run.run, 0, created, 0)
        self._new.execute(q.RESTORE_STANDING, (run.run, created, seal, run.fence + 1))
        begun = [] if run.birth is None else [(0, *run.birth)]
        rows = [*begun, *((batch, *row) for batch, row in enumerate(run.rows, 1))]
        self._new.executemany(q.RESTORE_JOURNAL, ((run.run, *row) for row in rows))

    def _record(self, run: Revived, writes: Iterable[Write]) -> None:
        end = run.rows[-1][2] if run.rows else chain.START
        head = batches.Head(run.fence + 1, len(run.rows), end)
        for write in writes:
            batch = batches.encode([write], lambda number, fence: head, self._keep)
            self._new.execute(batch.statement, batch.bindings)

    def _around(self, run: Revived, salvage: Salvage) -> None:
        letters = [(offset, run.run, id, fact, at) for offset, id, fact, at in run.letters]
        self._new.executemany(q.RESTORE_LETTER, letters)
        if not run.rows and not any(id == "begun" for _, _, id, _, _ in letters):
            at = float(run.row[5])
            self._new.execute(q.RESTORE_LETTER, (None, run.run, "begun", encode(Begun()), at))
        self._new.execute(q.RESTORE_PLACE, (run.run, run.consumed))
        self._new.executemany(q.RESTORE_LOG, salvage.rows(_LOGS, (run.run,)))


def _writes(run: Revived, told: Rebuilt, salvage: Salvage) -> Iterator[Write]:
    """All of a run but its journal, in portions."""
    number, fence = run.run, run.fence + 1
    empty = Write(number, fence, float(run.row[5]))
    if run.rows:
        yield empty._replace(at=told.updated, status=told.status or None, state=told.state, contents=told.contents)
    for executions in _portions(told.executions.values()):
        yield empty._replace(executions=executions)
    for outcomes in _portions(((*key, text) for key, text in told.outcomes.items())):
        yield empty._replace(outcomes=outcomes)
    for items in _portions(told.items.values()):
        yield empty._replace(items=items)
    for branches in _portions(told.branches.items()):
        yield empty._replace(branches=branches)
    for calls in _portions(Call(*row) for row in salvage.rows(_CALLS, (number,))):
        yield empty._replace(ledger=calls)
    yield from _documents(empty, told, salvage)


def _documents(empty: Write, told: Rebuilt, salvage: Salvage) -> Iterator[Write]:
    """Every version, in the order they were recorded; of the latest also how it lies in its place."""
    places = {(path, hash): (status, note) for path, hash, status, note in salvage.rows(_PLACES, (empty.run,))}
    versions = [
        (one, _placed(one, places) if one is all[-1] else (one.status, None))
        for all in told.documents.values()
        for one in all
    ]
    versions.sort(key=lambda version: version[0].at)
    for at, group in groupby(versions, key=lambda version: version[0].at):
        rows = [(one.path, one.hash, one.replaces, one.execution, *place) for one, place in group]
        yield empty._replace(at=at, documents=rows)


def _bytes_of(told: Rebuilt, content: Content) -> Iterator[bytes]:
    """Contents of documents that are gone and hold just what their step has answered."""
    wanted = {
        (one.execution, one.hash)
        for all in told.documents.values()
        for one in all
        if one.hash and not content.has(one.hash)
    }
    for (id, _), text in told.outcomes.items() if wanted else ():
        data = documents.content(json.loads(text).get("value"))
        if (id, digest(data)) in wanted:
            yield data


def _placed(one: Document, places: dict[tuple[str, str], tuple[str, str | None]]) -> tuple[str, str | None]:
    """(status, note) of the latest version: what the journal says of it, and what lies beside a person's."""
    status, note = places.get((one.path, one.hash), (one.status, None))
    return (status, note) if status == "conflict" else (one.status, None)


def _portions(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(rows)
    while portion := list(islice(rest, _MANY)):
        yield portion


def faults(path: Path, content: Content, runs: Sequence[int], say: Callable[[str], None]) -> list[str]:
    """What a database that was made anew does not hold of what it was made from; nothing, or we are wrong."""
    with closing(SQLiteStore(path, readonly=True)) as store:
        store.content = content
        found = [*store.faults, *store.check()]
        for place, run in enumerate(runs, 1):
            say(f"checking run {run} ({place} of {len(runs)})")
            try:
                store.glance(run)
                found += [f"run {run}: {fault}" for fault in store.against_journal(run)]
            except CallboardError as error:
                found.append(str(error))
    return found
