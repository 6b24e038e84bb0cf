"""What can still be read of a project's records, from every file that has a part of them.

The rows that `pages.py` finds are told apart by their form, held against the hash or the seal they carry, and put into
a database of their own, since all of them may be more than memory holds. What is found twice counts once. Of rows that
change (a call that was settled, a record with a newer revision) the one that went furthest counts; between two that
exclude each other the source that was named first: the file itself, its log, then the copies, the newest first.

A row is believed for what it is, not for where it stood: a journal row because its hash fits behind the one before, a
plan because its hash is its name, a paid call because of its seal. What has neither (a log line, an event) is taken as
it is found.
"""

from __future__ import annotations

import json
import re
from struct import unpack
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import apsw

from callboard.core.plan import digest
from callboard.crash import point
from callboard.ports import Call
from callboard.store import chain, seals
from callboard.store.sql.pages import varint, width
from callboard.store.sql.schema import is_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from callboard.store.sql.pages import Image, Row

_TABLES = """
CREATE TABLE plan (hash TEXT PRIMARY KEY, text TEXT);
CREATE TABLE run (number, id, name, plan, params, face, created, parent, rank, PRIMARY KEY (number, rank, id));
CREATE TABLE standing (number, status, updated, batches, consumed, posted, fence, sealed, echoed, rank);
CREATE INDEX standing_number ON standing (number);
CREATE TABLE journal (run, batch, at, facts, hash, rank, sum, PRIMARY KEY (run, batch, hash, sum));
CREATE TABLE letter ("offset", run, id, fact, at, rank, PRIMARY KEY ("offset", run, id));
CREATE TABLE document (run, path, hash, replaces, execution, status, note, rank);
CREATE INDEX document_path ON document (run, path);
CREATE TABLE ledger (key PRIMARY KEY, run, node, number, attempt, "index", provider, model, prompt_hash, input_tokens,
  output_tokens, cost, latency, at, answer, status, seal, worth);
CREATE TABLE unread (key PRIMARY KEY, run);
CREATE TABLE record (kind, id, revision, value, PRIMARY KEY (kind, id));
CREATE TABLE event ("offset" PRIMARY KEY, key, namespace, value, sender, context, at);
CREATE TABLE log (number, run, node, execution, at, level, text, PRIMARY KEY (number, run, at));
CREATE TABLE loose (at, facts, hash, PRIMARY KEY (at, facts, hash));
CREATE TABLE version (number PRIMARY KEY);
"""
_PLAN = "INSERT INTO plan VALUES (?, ?) ON CONFLICT DO NOTHING"
_RUN = "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_STANDING = "INSERT INTO standing VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_JOURNAL = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_LETTER = "INSERT INTO letter VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_DOCUMENT = "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_LEDGER = f"""INSERT INTO ledger VALUES ({",".join("?" * 18)}) ON CONFLICT DO UPDATE SET attempt = excluded.attempt,
  provider = excluded.provider, model = excluded.model, prompt_hash = excluded.prompt_hash,
  input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, cost = excluded.cost,
  latency = excluded.latency, at = excluded.at, answer = excluded.answer, status = excluded.status,
  seal = excluded.seal, worth = excluded.worth WHERE excluded.worth > worth"""
_UNREAD = "INSERT INTO unread VALUES (?, ?) ON CONFLICT DO NOTHING"
_RECORD = """INSERT INTO record VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision,
  value = excluded.value WHERE excluded.revision > revision"""
_EVENT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_LOG = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_LOOSE = "INSERT INTO loose VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_VERSION = "INSERT INTO version VALUES (?) ON CONFLICT DO NOTHING"

_WORTH = {"reserved": 1, "unknown": 2, "failed": 3, "cached": 4, "settled": 5}
_STATES = ("pending", "published", "conflict", "edited", "missing", "source")
_HEX = re.compile(r"[0-9a-f]{64}").fullmatch
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}").fullmatch
#: The header of a journal row: four columns, the first left out (it is the key), a time, two blobs, the last of 32.
#: (Looked for ahead, because what looks like one may begin inside another.)
_ROW = re.compile(rb"(?=[\x05-\x08]\x00[\x01-\x09](?:[\x0c-\x7f]|[\x80-\xff]{1,3}[\x00-\x7f])\x4c)", re.DOTALL)
_MOST_RUNS = (1 << 23) - 1


class Standing(NamedTuple):
    """Where a run stood, of the row that went furthest. `status` is None where no seal vouches for it, and `consumed`
    where nothing does."""

    status: int | None = None
    batches: int = 0
    consumed: int | None = None
    posted: int = 0
    fence: int = 0


class Salvage:
    """Rows by what they are, in a database at `path`. One source after another, then the questions."""

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self._found = apsw.Connection(str(path), vfs=vfs)
        self._found.execute("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE")
        point("repair.gather")
        self._found.execute(_TABLES)

    def close(self) -> None:
        self._found.close()

    # ── sources ─────────────────────────────────────────────────────────────────────────────────────────

    def add(self, rows: Iterable[Row], rank: int) -> None:
        """Take what rows of a source are worth."""
        point("repair.gather")
        with self._found:
            for row in rows:
                self._take(row, rank)
            self._take_plans()

    def add_log(self, rows: Iterable[Row], rank: int, *, file: int) -> bool:
        """As `add`; False, and nothing taken, when another beginning of a run is told in the source `file`: then the
        log belongs elsewhere."""
        try:
            point("repair.gather")
            with self._found:
                for row in rows:
                    self._take(row, rank)
                if self._begin_otherwise(file, rank):
                    raise _AnothersLog
                self._take_plans()
        except _AnothersLog:
            return False
        return True

    def carve(self, images: Iterable[Image]) -> None:
        """Look for journal rows by their form alone: also where no page says that a cell is."""
        point("repair.gather")
        with self._found:
            for image in images:
                for row in _carved(image.data):
                    self._found.execute(_LOOSE, row)

    def _take(self, row: Row, rank: int) -> None:
        kinds = (_BY_KEY if row.rowid is None else _BY_ROWID).get(len(row.values), ())
        for bind in kinds:
            if (bound := bind(row.rowid or 0, row.values, rank)) is not None:
                self._found.execute(*bound)
                return

    def _take_plans(self) -> None:
        """The first run of a plan has its text in what it began with."""
        point("repair.gather")
        for run, at, facts, hash in self.rows("SELECT run, at, facts, hash FROM journal WHERE batch = 0"):
            if chain.link(chain.START, 0, at, facts) == hash and (text := chain.born(run, at, facts, hash)[-1]):
                self._found.execute(_PLAN, (digest(text), text))

    # ── questions ───────────────────────────────────────────────────────────────────────────────────────

    def rows(self, query: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._found.execute(query, bindings).fetchall()
        return found

    def runs(self) -> list[int]:
        """The number of every run of which there is a trace that can be trusted."""
        return [
            row[0]
            for row in self.rows(
                "SELECT number FROM run UNION SELECT number FROM standing WHERE sealed UNION SELECT run FROM journal"
            )
        ]

    def births(self, run: int) -> list[tuple[float, bytes, bytes, int]]:
        """(wall, blob, hash, rank) of what a run began with, sound ones only."""
        query = "SELECT at, facts, hash, rank FROM journal WHERE run = ? AND batch = 0 ORDER BY rank"
        return [row for row in self.rows(query, (run,)) if chain.link(chain.START, 0, row[0], row[1]) == row[2]]

    def candidates(self, run: int) -> dict[int, list[tuple[float, bytes, bytes]]]:
        """Journal rows of a run by their batch, those of the better source first."""
        found: dict[int, list[tuple[float, bytes, bytes]]] = {}
        for batch, *row in self.rows(
            "SELECT batch, at, facts, hash FROM journal WHERE run = ? AND batch > 0 ORDER BY rank", (run,)
        ):
            found.setdefault(batch, []).append((row[0], row[1], row[2]))
        return found

    def loose(self) -> list[tuple[float, bytes, bytes]]:
        return [(row[0], row[1], row[2]) for row in self.rows("SELECT at, facts, hash FROM loose")]

    def plan(self, hash: str) -> str | None:
        found = self.rows("SELECT text FROM plan WHERE hash = ?", (hash,))
        return found[0][0] if found else None

    def standing(self, run: int) -> Standing:
        rows = self.rows(
            "SELECT status, batches, consumed, posted, fence, sealed, echoed FROM standing WHERE number = ?"
            " ORDER BY batches, consumed", (run,),
        )  # fmt: skip
        sealed, echoed = [row for row in rows if row[5]], [row[2] for row in rows if row[6]]
        return Standing(
            sealed[-1][0] if sealed else None,
            sealed[-1][1] if sealed else 0,
            max(echoed, default=None),
            max((row[3] for row in rows), default=0),
            max((row[4] for row in rows), default=0),
        )

    def _begin_otherwise(self, one: int, other: int) -> bool:
        """Whether two sources tell of another beginning of the same run."""
        query = """SELECT run FROM journal AS one JOIN journal AS other USING (run, batch)
            WHERE batch = 0 AND one.rank = ? AND other.rank = ? AND one.hash <> other.hash"""
        for (run,) in self.rows(query, (one, other)):
            ranks = {rank for *_, rank in self.births(run)}
            if {one, other} <= ranks:
                return True
        return False


class _AnothersLog(Exception):
    """The log is another database's."""


# ── what a row is ───────────────────────────────────────────────────────────────────────────────────────

_Bound = tuple[str, tuple[Any, ...]] | None
_Values = tuple[Any, ...]


def _is_time(value: object) -> bool:
    return type(value) in (int, float)


def _all(values: _Values, *kinds: type) -> bool:
    return all(type(value) is kind for value, kind in zip(values, kinds, strict=False))


def _plan(rowid: int, values: _Values, rank: int) -> _Bound:
    if _all(values, str, str) and digest(values[1]) == values[0]:
        return _PLAN, values
    return None


def _version(rowid: int, values: _Values, rank: int) -> _Bound:
    return (_VERSION, (rowid,)) if is_version(values) else None


def _journal(rowid: int, values: _Values, rank: int) -> _Bound:
    _, at, facts, hash = values
    run, batch = rowid >> 32, rowid & 0xFFFFFFFF
    if values[0] is None and _is_time(at) and _all(values[2:], bytes, bytes) and len(hash) == 32:
        sum = crc32(facts, crc32(repr(float(at)).encode()))  # its hash may be whole, and the rest not
        return (_JOURNAL, (run, batch, float(at), facts, hash, rank, sum)) if 0 < run <= _MOST_RUNS else None
    return None


def _letter(rowid: int, values: _Values, rank: int) -> _Bound:
    _, run, id, fact, at = values
    if values[0] is None and _all(values[1:], int, str, str) and _is_time(at) and 0 < len(id) <= 200 and rowid > 0:
        return _LETTER, (rowid, run, id, fact, float(at), rank)
    return None


def _run(rowid: int, values: _Values, rank: int) -> _Bound:
    _, id, name, plan, params, face, created, parent = values
    if values[0] is not None or not _all(values[1:], str, str, str, str, str) or not _is_time(created):
        return None
    if not _ID(id) or not _HEX(plan) or type(parent) not in (int, type(None)) or not 0 < rowid <= _MOST_RUNS:
        return None
    return _RUN, (rowid, id, name, plan, params, face, float(created), parent, rank)


def _standing(rowid: int, values: _Values, rank: int) -> _Bound:
    """Of the first eleven columns, and the seal and the echo where there are any."""
    _, status, state, fence, _, _, updated, _, posted, consumed, batches = values[:11]
    seal, echo = values[11:13] if len(values) > 12 else (None, None)
    if values[0] is not None or not _all((status, state, fence, posted, consumed, batches), int, str, *(int,) * 4):
        return None
    if not _is_time(updated) or not 0 < rowid <= _MOST_RUNS:
        return None
    sealed = seal is not None and seals.of_standing(rowid, status, float(updated), batches) == seal
    return _STANDING, (rowid, status, updated, batches, consumed, posted, fence, sealed, echo == consumed, rank)


def _document(rowid: int, values: _Values, rank: int) -> _Bound:
    run, path, hash, replaces, execution, status, note = values
    if _all(values, int, str, str) and type(execution) is int and status in _STATES:
        return _DOCUMENT, (run, path, hash, replaces, execution, status, note, rank)
    return None


def _call(rowid: int, values: _Values, rank: int) -> _Bound:
    """A paid call. One whose seal does not fit may have been paid, and nobody can tell what was answered."""
    key, run, node, number, attempt, index, *rest = values[:16]
    seal = values[16] if len(values) > 16 else None
    if not _all(values, str, int, int, int, int, int) or rest[-1] not in _WORTH:
        return None
    call = Call(run, node, number, attempt, index, key, *rest)
    if seal is not None and seals.of_call(call) != seal:
        return _UNREAD, (key, run)
    return _LEDGER, (key, run, node, number, attempt, index, *rest, seal, _WORTH[call.status])


def _record(rowid: int, values: _Values, rank: int) -> _Bound:
    kind, id, revision, value = values
    if not _all(values, str, str, int) or not kind or not id or revision <= 0:
        return None
    return (_RECORD, values) if value is None or (type(value) is str and _is_json(value)) else None


def _event(rowid: int, values: _Values, rank: int) -> _Bound:
    if values[0] is None and _all(values[1:], str, str, str, str, str) and _is_time(values[6]) and rowid > 0:
        return (_EVENT, (rowid, *values[1:])) if _is_json(values[3]) and _is_json(values[5]) else None
    return None


def _log(rowid: int, values: _Values, rank: int) -> _Bound:
    if values[0] is None and _all(values[1:], int, int, int) and _is_time(values[4]) and 0 < rowid < 1 << 40:
        return (_LOG, (rowid, *values[1:])) if _all(values[5:], str, str) else None
    return None


_BY_ROWID = {
    2: (_plan, _version), 4: (_journal,), 5: (_letter,), 7: (_event, _log), 8: (_run,),
    11: (_standing,), 13: (_standing,), 15: (_standing,), 16: (_standing,),
}  # fmt: skip
_BY_KEY = {4: (_record,), 7: (_document,), 16: (_call,), 17: (_call,)}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _carved(data: bytes) -> Iterator[tuple[float, bytes, bytes]]:
    """What has the form of a journal row and lies on this page as a whole."""
    for match in _ROW.finditer(data):
        at = match.start()
        try:
            kind, behind = varint(data, at + 3)
            time, begin = data[at + 2], behind + 1
            if data[at] != begin - at:
                continue
            middle = begin + width(time)
            end = middle + width(kind)
        except (IndexError, ValueError):
            continue
        if end + 32 <= len(data):
            yield _time(time, data[begin:middle]), data[middle:end], data[end : end + 32]


def _time(kind: int, data: bytes) -> float:
    if kind == 7:
        return float(unpack(">d", data)[0])
    return float(kind - 8) if kind >= 8 else float(int.from_bytes(data, "big", signed=True))
