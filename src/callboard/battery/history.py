"""The history checker: what a project's database says of its past, held against what the machine says of it.

Nothing is believed that can be worked out: each run's journal is replayed through the machine, and everything the
steps decided (executions, outcomes, items, documents) must be what stands in the tables, no more and no less. On the
way every start is noted, so that an outcome, a paid call or a log line without one is found, and every start is held
against the outcomes it needs. It takes the time of one replay, and writes nothing.

Who owned a run when is not recorded by the product, which keeps the last fence only. A proof that wants it told calls
`watch` on the new database first: triggers in the file note every claim, release and journal row, whichever process
it came from.

The journal keeps the wall clock only. Windows of `Count` rules are judged by elapsed time, so a run with such a rule
whose replay does not agree is not called broken: it cannot be told.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from callboard.battery.past import Past
from callboard.core.plan import Count
from callboard.errors import CallboardError, StoreDamaged
from callboard.store import strict
from callboard.store.packing import ids_of
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from callboard.ports import RunRows, Store

#: Runs whose past was looked at in this process: whoever runs a proof wants to know that it has not forgotten to.
looked: Counter[str] = Counter()

Begun = tuple[int, int, int, int]  # run, node, number, attempt
Outcomes = dict[tuple[int, int], str]  # (execution id, revision) → text, or a mark of its content

#: A project's database, seen from its directory.
DATABASE = ".callboard/callboard.db"
#: Sentences about one run; a broken one needs no more.
MOST = 20

_WATCH = """
CREATE TABLE IF NOT EXISTS battery_history (
  number INTEGER PRIMARY KEY, what TEXT NOT NULL, run INTEGER NOT NULL, fence INTEGER NOT NULL, owner TEXT) STRICT;
CREATE TRIGGER IF NOT EXISTS battery_owned AFTER UPDATE OF fence, owner ON standing
WHEN OLD.fence IS NOT NEW.fence OR OLD.owner IS NOT NEW.owner BEGIN
  INSERT INTO battery_history (what, run, fence, owner)
  VALUES (iif(NEW.owner IS NULL, 'released', 'claimed'), NEW.number, NEW.fence, NEW.owner); END;
CREATE TRIGGER IF NOT EXISTS battery_wrote AFTER INSERT ON journal WHEN NEW.id & 4294967295 BEGIN
  INSERT INTO battery_history (what, run, fence, owner)
  SELECT 'wrote', number, fence, owner FROM standing WHERE number = NEW.id >> 32; END;
"""
_IS_WATCHED = "SELECT 1 FROM sqlite_schema WHERE name = 'battery_history'"
_HISTORY = "SELECT what, run, fence, owner FROM battery_history ORDER BY number"
_OUTCOMES = "SELECT id, revision, text FROM outcome WHERE id >= ? AND id < ?"
_STRAYS = """SELECT DISTINCT 'execution', id >> 40 FROM execution WHERE id >> 40 NOT IN (SELECT number FROM run)
  UNION SELECT DISTINCT 'outcome', id >> 40 FROM outcome WHERE id >> 40 NOT IN (SELECT number FROM run)
  UNION SELECT DISTINCT 'journal row', id >> 32 FROM journal WHERE id >> 32 NOT IN (SELECT number FROM run)
  UNION SELECT DISTINCT 'letter', run FROM inbox WHERE run NOT IN (SELECT number FROM run)
  UNION SELECT DISTINCT 'document', run FROM document WHERE run NOT IN (SELECT number FROM run)
  UNION SELECT DISTINCT 'call', run FROM ledger WHERE run NOT IN (SELECT number FROM run)
  UNION SELECT DISTINCT 'standing', number FROM standing WHERE number NOT IN (SELECT number FROM run)"""
_STANDINGS = """SELECT number, fence, owner, posted, consumed,
  (SELECT coalesce(max("offset"), 0) FROM inbox WHERE inbox.run = standing.number),
  EXISTS (SELECT 1 FROM journal WHERE id > number << 32 AND id < (number + 1) << 32) FROM standing"""


def watch(database: Path) -> None:
    """Have the database itself note who owns what, from now on, until it is thrown away."""
    with closing(SQLiteStore(database)) as store, store.transaction() as writer:
        writer.execute(_WATCH)


def check(database: Path, *, begun: Iterable[Begun] = ()) -> list[str]:
    """What is wrong with the past of a finished or copied project: sentences that name run, task and number.

    `begun` are attempts (run, node, number, attempt) that the outside has seen: none may lack its record. Contents
    are looked for in `content/` beside the database, if there is one. Empty when all is well; raises nothing.
    """
    try:
        store = SQLiteStore(database, readonly=True)
    except CallboardError as error:
        return [f"{database}: it cannot be opened: {error}"]
    with closing(store):
        try:
            return list(_of_database(store, begun))
        except CallboardError as error:
            return [f"{database}: it cannot be read: {error}"]


def _of_database(store: SQLiteStore, begun: Iterable[Begun]) -> Iterator[str]:
    damage = store.check()
    yield from (f"{store.path}: {text}" for text in damage)
    yield from (f"run {run}: there is a {what} of it, and no such run" for what, run in store.rows(_STRAYS))
    for run, fence, owner, posted, consumed, last, wrote in store.rows(_STANDINGS):
        if consumed > posted or posted != last:
            yield f"run {run}: letters up to {consumed} are consumed, {posted} are posted and {last} is the last"
        if fence <= 0 and (wrote or owner):
            yield f"run {run}: it was written, and nobody ever claimed it"
    if store.row(_IS_WATCHED):
        yield from overlaps((what, run, fence) for what, run, fence, _ in store.rows(_HISTORY))
    yield from _adoptions(store)
    seen: dict[int, set[tuple[int, int, int]]] = {}
    for run, *attempt in begun:
        seen.setdefault(run, set()).add((attempt[0], attempt[1], attempt[2]))
    has_content = store.content.root.is_dir()
    for number in _numbers(store):
        yield from check_run(
            store, number, begun=seen.pop(number, ()), outcomes=_outcomes_of(store, number), content=has_content
        )
    yield from (f"run {run}: the outside has begun tasks of it, and no such run is recorded" for run in seen)


def facts(store: Store, run: int) -> Iterator[tuple[float, str, list[Any]]]:
    """What happened to a run, in its order: (wall, name of the fact, what it carries)."""
    for _, at, told, _ in store.journal(run):
        for text in told:
            name, *fields = json.loads(text)
            yield at, name, fields


def _numbers(store: Store) -> list[int]:
    numbers: list[int] = []
    while page := store.runs(most=1000, before=numbers[-1] if numbers else None):
        numbers += [row.number for row in page]
    return numbers[::-1]


def _adoptions(store: SQLiteStore) -> Iterator[str]:
    """A run that was replaced has one successor that knows it, and the other way round."""
    rows = {row.id: row for row in map(store.find_run, _numbers(store))}
    by = {row.id: json.loads(row.state).get("replaced") for row in rows.values()}
    of = {row.id: json.loads(row.params).get("adopts") for row in rows.values()}
    for id, other in by.items():
        if other is not None and (other not in of or of[other] != id):
            yield f"run {id}: it goes on as {other}, which knows nothing of it"
        if other is not None and rows[id].status in (0, 2):
            yield f"run {id}: it goes on as {other}, and is not over"
    for id, other in of.items():
        if isinstance(other, str) and other in by and by[other] != id:
            yield f"run {id}: it is in place of {other}, which goes on as {by[other]}"


def _outcomes_of(store: SQLiteStore, run: int) -> Outcomes:
    return {(id, revision): text for id, revision, text in store.rows(_OUTCOMES, ids_of(run))}


def overlaps(events: Iterable[tuple[str, int, int]]) -> Iterator[str]:
    """Claims that overlap or fall, from (claimed | released | wrote, run, fence) in the order it happened."""
    holds: dict[int, tuple[int, bool]] = {}
    for what, run, fence in events:
        last, held = holds.get(run, (0, False))
        if what == "claimed":
            if fence <= last:
                yield f"run {run}: it was claimed with fence {fence} after fence {last}"
            holds[run] = (fence, True)
        elif fence != last:
            yield f"run {run}: whoever {what} it had fence {fence}, and {last} was the last claim"
        elif what == "wrote" and not held:
            yield f"run {run}: it was written under fence {fence}, which had been released"
        elif what == "released":
            holds[run] = (fence, False)


# ── one run ─────────────────────────────────────────────────────────────────────────────────────────────


def check_run(
    store: Store,
    number: int,
    *,
    begun: Collection[tuple[int, int, int]] = (),
    outcomes: Outcomes | None = None,
    content: bool = True,
) -> list[str]:
    """What is wrong with the past of one run. A store that cannot list its outcomes is asked for those it must have."""
    looked["runs"] += 1
    name = f"run {number}"
    try:
        found = store.load(number)
        name = f"run {number} ({found.run.id})"
        said = _of_run(store, found, outcomes, begun)
        if content:
            said += _contents(store, found, outcomes or {})
    except StoreDamaged as error:
        said = [str(error)]
    except Exception as error:
        said = [f"it cannot be read: {type(error).__name__}: {error}"]
    return [f"{name}: {text}" for text in said[:MOST]]


def _of_run(
    store: Store, found: RunRows, outcomes: Outcomes | None, begun: Collection[tuple[int, int, int]]
) -> list[str]:
    journal = store.journal(found.run.number)
    recorded = {row[0]: row for row in store.executions(found.run.number)}
    past = Past(found)
    past.read(journal)
    said = past.said + ([] if past.broken else _differences(past, store, found, recorded, outcomes))
    if said and any(_counts(rule.when) for rule in past.run.plan.rules):
        return []
    if past.broken:
        return said
    said += [
        f"{past.name(node, execution)}: attempt {attempt} was begun outside, and no start of it is recorded"
        for node, execution, attempt in sorted(begun)
        if (node, execution, attempt) not in past.starts
    ]
    return said + list(_without_a_start(past, store))


def _counts(condition: Any) -> bool:
    return isinstance(condition, Count) or any(map(_counts, getattr(condition, "conditions", ())))


def _differences(
    past: Past, store: Store, found: RunRows, recorded: Mapping[int, Sequence[Any]], outcomes: Outcomes | None
) -> list[str]:
    said = []
    for id in sorted(past.executions.keys() | recorded.keys()):
        kept, want = recorded.get(id), past.executions.get(id)
        if want is None:
            said.append(f"{past.name_of(id)}: its row follows from no fact")
        elif kept is None:
            said.append(f"{past.name_of(id)}: it has no row, and the journal tells of it")
        elif _plainly(kept) != _plainly(want):
            said.append(f"{past.name_of(id)}: the row says {_plainly(kept)}, the journal {_plainly(want)}")
    said += _outcomes(past, store, found.run.number, outcomes)
    return said or past.differences(found)


def _plainly(row: Sequence[Any]) -> tuple[Any, ...]:
    return (row[1], row[2], row[4], None if row[5] is None else strict.plain(row[5]))


def _outcomes(past: Past, store: Store, run: int, outcomes: Outcomes | None) -> Iterator[str]:
    if outcomes is None:
        keys = [(*past.place(id), revision) for id, revision in past.outcomes]
        there = store.outcomes(run, keys)
        outcomes = {(past.id(*key[:2]), key[2]): text for key, text in there.items()}
    for id, revision in sorted(outcomes.keys() | past.outcomes.keys()):
        kept, want = outcomes.get((id, revision)), past.outcomes.get((id, revision))
        named = past.name_of(id) + (f", revision {revision}" if revision else "")
        if want is None:
            yield f"{named}: it has an outcome that follows from no fact"
        elif kept is None:
            yield f"{named}: its outcome is lost"
        elif kept != want and kept != f'["{sha256(want.encode()).hexdigest()}"]':
            yield f"{named}: its outcome is not the one that the journal tells of"


def _without_a_start(past: Past, store: Store) -> Iterator[str]:
    run = past.run.number
    for call in store.calls(run):
        attempt = (call.node, call.number, call.attempt)
        if call.number == 1 and call.status == "cached" and call.provider.startswith("adopted ") and not call.cost:
            continue  # what another run has paid for
        if attempt not in past.starts and attempt not in past.pages:
            yield f"{past.name(*attempt[:2])}: attempt {call.attempt} has a call ({call.status}) and no recorded start"
    numbers = {one[:2] for one in past.starts} | {one[:2] for one in past.pages}
    for node, number in sorted({(row[0], row[1]) for row in store.logs(run, None, 1 << 40)} - numbers):
        yield f"{past.name(node, number)}: it has log lines and no recorded start"


def _contents(store: Store, found: RunRows, outcomes: Outcomes) -> list[str]:
    """Every hash that stands in a row has its bytes."""
    wanted = {hash: f"document {path}" for path, hash, status in found.documents if hash and status != "source"}
    wanted |= {json.loads(text)[0]: "an outcome" for text in outcomes.values() if text[:1] == "["}
    said = []
    for hash, what in wanted.items():
        try:
            store.get(hash)
        except CallboardError as error:
            said.append(f"{what} has no content: {error}")
    return said
