"""Mutable records in the project's file: the port `Records`, compare-and-set on the revision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import Conflict
from callboard.ports import Json, Record
from callboard.store import strict
from callboard.store.sql import queries as q
from callboard.store.sql.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence


class RecordTable(Database):
    """Settings, tokens, schedules …; a removed record keeps its revision, so a late writer is refused."""

    def read(self, kind: str, id: str) -> Record | None:
        row = self.row(q.RECORD, (kind, id))
        return None if row is None else Record(row[0], row[1], row[2], json.loads(row[3]))

    def write(self, kind: str, id: str, value: Json, *, revision: int) -> Record:
        text = strict.encode(value, f"{kind} {id}")
        query = q.CHANGE_RECORD if revision else q.WRITE_RECORD
        return Record(kind, id, self._set(query, kind, id, text, revision), json.loads(text))

    def remove(self, kind: str, id: str, *, revision: int) -> None:
        self._set(q.CHANGE_RECORD, kind, id, None, revision)

    def list(self, kind: str) -> Sequence[Record]:
        return [Record(row[0], row[1], row[2], json.loads(row[3])) for row in self.rows(q.RECORDS, (kind,))]

    def _set(self, query: str, kind: str, id: str, text: str | None, revision: int) -> int:
        with self.transaction() as writer:
            row = writer.execute(query, (kind, id, text, revision)).fetchone()
            point("record.write")
            if row is None:
                raise Conflict(f"{kind} {id} was changed by someone else; revision {revision} is not the latest")
        return int(row[0])
