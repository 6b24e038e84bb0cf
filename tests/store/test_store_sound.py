"""What has been changed behind the store's back is found at the first touch, and only that run is refused."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from callboard.core.deadline import Now, after
from callboard.core.plan import Plan, Task, digest, dump
from callboard.engine.clock import SystemClock
from callboard.engine.engine import Engine
from callboard.engine.owner import new_owner
from callboard.errors import StoreDamaged
from callboard.ports import Call, Owner, Write
from callboard.store.sql import schema, sound
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.scripted import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = Now(2.0, "boot", 2.0)

PLAN = dump(Plan(tuple(Task(f"t{n}", needs=(f"t{n - 1}",) if n else ()) for n in range(4))))
ME = Owner("here", "boot", 100, 1.5, "me")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A project with two runs that have ended, and their paid calls."""
    path = tmp_path / ".callboard" / "callboard.db"
    store = SQLiteStore(path)
    for id in ("one", "two"):
        row = store.create_run(id=id, name=id, plan=PLAN, params=f'{{"input":"{id}"}}', face="x", at=1.0)
        asyncio.run(_carried_out(store, row.number))
        fence = store.claim(row.number, ME, after(NOW, 1e12), NOW, alive=lambda owner: False)
        call = Call(row.number, 0, 1, 1, 0, f"key {id}", "p", "m", "hash", 1, 1, 1, 0.1, 2.0, '"answer"')
        store.commit([Write(row.number, fence or 0, 3.0, ledger=[call])])
        store.release(row.number, fence or 0)
    store.close()
    return path


async def _carried_out(store: SQLiteStore, run: int) -> None:
    engine = Engine(store, ScriptedBackend({f"t{n}": f"value {n}" for n in range(4)}), SystemClock(), new_owner())
    await engine.start()
    await engine.submit(run)
    await engine.ended(run)
    await engine.stop()


def edit(path: Path, sql: str) -> None:
    """As a person would, or a disk."""
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


EDITS = {
    "an outcome": "UPDATE outcome SET text = replace(text, 'value', 'other') WHERE id >> 40 = 2",
    "an outcome gone": "DELETE FROM outcome WHERE id >> 40 = 2 AND id >> 20 & 1048575 = 1",
    "a status": "UPDATE execution SET status = 7 WHERE id >> 40 = 2 AND id >> 20 & 1048575 = 3",
    "an execution gone": "DELETE FROM execution WHERE id >> 40 = 2 AND id >> 20 & 1048575 = 3",
    "an execution more": "INSERT INTO execution VALUES ((2 << 40) | (3 << 20) | 2, 5, 1, 9, 9.0, NULL, NULL)",
    "a reason": "UPDATE execution SET reason = 'because' WHERE id >> 40 = 2",
    "a journal row": "UPDATE journal SET at = at + 1 WHERE id = 2 << 32 | 2",
    "a journal row gone": "DELETE FROM journal WHERE id = 2 << 32 | 3",
    "the journal's end": "DELETE FROM journal WHERE id = (SELECT max(id) FROM journal)",
    "the status of the run": "UPDATE standing SET status = 7 WHERE number = 2",
    "its own state": "UPDATE standing SET state = '{\"failing\":1}' WHERE number = 2",
    "the place in its inbox": "UPDATE standing SET consumed = 0 WHERE number = 2",
    "its parameters": 'UPDATE run SET params = \'{"input":"else"}\' WHERE number = 2',
    "its name": "UPDATE run SET name = 'else' WHERE number = 2",
    "its row": "PRAGMA foreign_keys = OFF; DELETE FROM run WHERE number = 2",
    "an item more": "INSERT INTO item VALUES (2 << 20 | 9, 0, 0, 'key', '1')",
}


@pytest.mark.parametrize("what", EDITS)
def test_whatever_is_edited_is_found_and_other_runs_are_not_touched(path: Path, what: str) -> None:
    edit(path, EDITS[what])
    store = SQLiteStore(path)
    with pytest.raises(StoreDamaged, match="run 2"):
        store.verify(2)
    store.verify(1)
    assert store.check() == [], "SQLite finds nothing wrong"
    store.close()


def test_an_answer_that_was_changed_is_not_given_again(path: Path) -> None:
    edit(path, "UPDATE ledger SET answer = '\"else\"' WHERE run = 2")
    store = SQLiteStore(path)
    assert store.calls(1)[0].answer == '"answer"'
    with pytest.raises(StoreDamaged, match="run 2"):
        store.calls(2)
    store.close()


def test_the_plan_of_two_runs_is_missed_by_both(path: Path) -> None:
    edit(path, "UPDATE plan SET text = replace(text, 't3', 't4')")
    store = SQLiteStore(path)
    for run in (1, 2):
        with pytest.raises(StoreDamaged, match="its plan"):
            store.verify(run)
    store.close()


def test_it_is_looked_for_once_by_each_process(path: Path) -> None:
    store = SQLiteStore(path)
    store.verify(2)
    edit(path, EDITS["an outcome"])
    store.verify(2)
    store.close()
    again = SQLiteStore(path)
    with pytest.raises(StoreDamaged):
        again.verify(2)
    again.close()


def test_of_a_large_run_the_chain_and_the_counts_are_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "MOST", 3)
    damages: list[tuple[str, Callable[[SQLiteStore], None]]] = [
        (EDITS["a journal row"], lambda store: store.verify(2)),
        ("DELETE FROM outcome WHERE id >> 40 = 1 AND id >> 20 & 1048575 = 1", lambda store: store.verify(1)),
    ]
    for sql, look in damages:
        edit(path, sql)
        store = SQLiteStore(path)
        with pytest.raises(StoreDamaged):
            look(store)
        store.close()


def test_a_project_of_the_first_schema_goes_on(tmp_path: Path) -> None:
    path = tmp_path / ".callboard" / "callboard.db"
    path.parent.mkdir(mode=0o700)
    old = apsw.Connection(str(path))
    old.execute("CREATE TABLE schema_version (number INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT")
    old.execute(f"PRAGMA application_id = {schema.APPLICATION}")
    old.execute(schema.MIGRATIONS[0])
    old.execute("INSERT INTO schema_version VALUES (1, 1.0)")
    hash = digest(PLAN)
    old.execute("INSERT INTO plan VALUES (?, ?)", (hash, PLAN))
    old.execute("INSERT INTO run VALUES (1, 'one', 'one', ?, '{}', 'x', 1.0, NULL)", (hash,))
    old.execute("INSERT INTO standing (number, updated, posted) VALUES (1, 1.0, 1)")
    old.execute("INSERT INTO inbox VALUES (1, 1, 'begun', '[\"Begun\"]', 1.0)")
    old.close()
    store = SQLiteStore(path)
    store.verify(1)
    asyncio.run(_carried_out(store, 1))
    store.close()
    again = SQLiteStore(path)
    again.verify(1)
    assert again.find_run("one").status == 5 and len(list((path.parent / "backups").glob("*-schema1-*"))) == 1
    again.close()


def test_a_journal_row_that_has_become_a_text_is_damage_and_no_fault_of_ours(path: Path) -> None:
    """As one flipped bit of a row's header makes it."""
    data = bytearray(path.read_bytes())
    with closing(SQLiteStore(path, readonly=True)) as store:
        facts, hash = store.rows("SELECT facts, hash FROM journal WHERE id = 2 << 32 | 2")[0]
    for left in path.parent.glob("callboard.db-*"):  # all of it was copied back
        left.unlink()
    for found in re.finditer(re.escape(facts + hash), bytes(data)):  # a page that was left has it, too
        end = found.start() - 8  # the time stands between
        assert data[end - 1] == 0x4C, "the header of the row ends with the type of its hash"
        data[end - 2] ^= 1
    path.write_bytes(data)
    with closing(SQLiteStore(path, readonly=True)) as store, pytest.raises(StoreDamaged):
        store.verify(2)
