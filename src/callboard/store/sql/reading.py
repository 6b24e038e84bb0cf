"""What is asked of a project's file: the reading half of the store.

Every answer comes from one short statement; what may be long (a run's executions, its journal) is read in
pages, so no read transaction lasts long enough to hold up a checkpoint.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.core.deadline import Deadline
from callboard.errors import Ambiguous, NotFound, StoreDamaged
from callboard.ports import Call, Json, Letter, Owner, Recorded, RunRow, RunRows
from callboard.store import chain, seals
from callboard.store.packing import MOST_RUNS, ids_of, pack, unpack
from callboard.store.sql import queries as q
from callboard.store.sql.database import Database, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.store.content import Content

PAGE = 50_000  # executions read at once: about 40 ms
_JOURNAL_PAGE = 500


class Reading(Database):
    """The questions of the port `Store`."""

    content: Content

    def find_run(self, id: str | int) -> RunRow:
        if isinstance(id, int):
            if (found := self.row(q.RUN, (id,))) is None:
                raise NotFound(f"no run {id}")
            return run_row(found)
        if found := self.row(q.RUN_BY_ID, (id,)):
            return run_row(found)
        if id.isascii() and id.isdigit() and int(id) <= MOST_RUNS and (found := self.row(q.RUN, (int(id),))):
            return run_row(found)
        begun = self.rows(q.RUNS_BY_BEGINNING, (id,)) if id else []
        if len(begun) == 1:
            return run_row(begun[0])
        if begun:
            raise Ambiguous(id, [row[1] for row in begun])
        raise NotFound(f"no run {id!r}")

    def runs(self, *, status: int | None = None, most: int = 100, before: int | None = None) -> Sequence[RunRow]:
        below = MOST_RUNS + 1 if before is None else before
        return [run_row(row) for row in self.rows(q.RUNS, (status, below, most))]

    def open_runs(self) -> Sequence[RunRow]:
        return [run_row(row) for row in self.rows(q.OPEN_RUNS)]

    def load(self, run: int) -> RunRows:
        row = self.row(q.RUN, (run,))
        if row is None:
            raise NotFound(f"no run {run}")
        latest = {row[0] >> 20: row for row in self.executions(run)}
        return RunRows(
            run=run_row(row),
            plan=self.rows(q.PLAN, (row[3],))[0][0],
            executions=list(latest.values()),
            items=self.rows(q.ITEMS_OF, (run,)),
            branches=self.rows(q.BRANCHES_OF, (run,)),
            documents=self.rows(q.PATHS_OF, (run,)),
            consumed=self.rows(q.CONSUMED_OF, (run,))[0][0],
        )

    def executions(self, run: int, *, node: int | None = None) -> Sequence[Row]:
        first, end = ids_of(run, node)
        found = page = self.rows(q.EXECUTIONS_PAGE, (first, end, PAGE))
        while len(page) == PAGE:
            page = self.rows(q.EXECUTIONS_PAGE, (page[-1][0] + 1, end, PAGE))
            found += page
        return found

    def inbox(self, run: int, after: int, most: int = 1000) -> Sequence[Letter]:
        return [Letter(*row) for row in self.rows(q.INBOX, (run, after, most))]

    def waiting(self) -> Sequence[tuple[int, int]]:
        return [(run, offset) for run, offset in self.rows(q.WAITING)]

    def outcome(self, run: int, node: int, number: int, revision: int = 0) -> str | None:
        row = self.row(q.OUTCOME, (pack(run, node, number), revision))
        return None if row is None else self._whole(row[0])

    def outcomes(self, run: int, keys: Sequence[tuple[int, int, int]]) -> Mapping[tuple[int, int, int], str]:
        wanted = set(keys)
        found = {}
        for id, revision, text in self.rows(q.OUTCOMES_OF, (str([pack(run, *key[:2]) for key in wanted]),)):
            key = (*unpack(id)[1:], revision)
            if key in wanted:
                found[key] = self._whole(text)
        return found

    def calls(self, run: int, node: int | None = None, number: int | None = None) -> Sequence[Call]:
        return [_call(row) for row in self.rows(q.CALLS, (run, node, number))]

    def totals(self, run: int) -> Mapping[str, Any]:
        row = self.rows(q.TOTALS, (run,))[0]
        return dict(zip(("calls", "cached", "input_tokens", "output_tokens", "cost", "unpriced"), row, strict=True))

    def events(self, after: int = 0, most: int = 1000) -> Sequence[tuple[int, str, str, Json, str, Json, float]]:
        return [
            (offset, key, namespace, json.loads(value), sender, json.loads(context), at)
            for offset, key, namespace, value, sender, context, at in self.rows(q.EVENTS, (after, most))
        ]

    def journal(self, run: int) -> Sequence[tuple[int, float, Sequence[str], str]]:
        count = self.row(q.BATCHES, (run,))
        if count is None:
            raise NotFound(f"no run {run}")
        found = page = self.rows(q.JOURNAL_PAGE, (run, 0, _JOURNAL_PAGE))
        while len(page) == _JOURNAL_PAGE:
            page = self.rows(q.JOURNAL_PAGE, (run, page[-1][0], _JOURNAL_PAGE))
            found += page
        born = self.row(q.BIRTH, (run,))
        return chain.verified(run, found, count[0], chain.START if born is None else born[2])

    def documents(
        self, run: int | None = None, *, sources: bool = False
    ) -> Sequence[tuple[int, str, str, str | None, int, str]]:
        return self.rows(q.DOCUMENTS_OF, (run, sources))

    def document(self, run: int, path: str) -> Recorded | None:
        found = self.row(q.DOCUMENT_OF, (run, path))
        return None if found is None else Recorded(*found)

    def notes(self, run: int) -> Mapping[str, str]:
        return dict(self.rows(q.NOTES_OF, (run,)))

    def ours(self, hash: str, name: str) -> Sequence[tuple[int, str]]:
        return self.rows(q.OURS, (hash, name))

    def logs(self, run: int, node: int | None = None, most: int = 1000) -> Sequence[tuple[int, int, float, str, str]]:
        return self.rows(q.LOGS_OF, (run, node, most))[::-1]

    def get(self, hash: str) -> bytes:
        return self.content.get(hash)

    def _whole(self, text: str) -> str:
        """The outcome itself where only a mark of its content stands (an array: an outcome is an object)."""
        return text if text[0] == "{" else self.content.get(json.loads(text)[0]).decode()


def run_row(row: Row) -> RunRow:
    """A row of `queries.RUN` as a value. Raises StoreDamaged."""
    if not (type(row[4]) is int and all(isinstance(row[at], str) for at in (1, 2, 3, 5, 6, 7))):
        raise StoreDamaged(f"the row of run {row[0]} cannot be read; its file is kept as it is")
    try:
        owner = None if row[9] is None else Owner(*json.loads(row[9]))
    except (ValueError, TypeError) as error:
        raise StoreDamaged(f"the owner of run {row[0]} cannot be read; its file is kept as it is") from error
    lease = None if owner is None else lease_of(owner, row[10], *row[15:])
    return RunRow._make((*row[:9], owner, lease, *row[11:15]))


def lease_of(owner: Owner, wall: float | None, elapsed: float | None, length: float | None) -> Deadline | None:
    """The lease of an owner; one that was written before leases counted elapsed time is over in its own boot."""
    return None if wall is None else Deadline(wall, owner.boot, elapsed or 0.0, length or 0.0)


def _call(row: Row) -> Call:
    call, seal = Call(*row[:-1]), row[-1]
    if seal is not None and seals.of_call(call) != seal:
        raise StoreDamaged(
            f"a recorded answer of run {call.run} is damaged (call {call.key}); its file is kept as it is"
        )
    return call
