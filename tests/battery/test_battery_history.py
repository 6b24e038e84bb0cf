"""The history checker, shown a past that is as it should be, and one with each kind of fault in it."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING

import apsw
import pytest
from engine_stage import Stage, passing

from callboard.battery import history
from callboard.battery.past import Past
from callboard.core.deadline import Now, after
from callboard.core.facts import Approved, Asked, Failed, Reopened, Succeeded, encode
from callboard.core.plan import Count, Map, Retry, Review, Rule, Task
from callboard.core.status import Status
from callboard.engine.apply import apply
from callboard.engine.owner import new_owner
from callboard.errors import Transient
from callboard.ports import Call, Done, Work, Write
from callboard.store import chain
from callboard.store.memory import MemoryStore
from callboard.store.packing import pack
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.scripted import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.ports import Store

A, B, _, _, _, R, G = range(7)
TASKS = (
    Task("a", retry=Retry(2)),
    Task("b", needs=("a",)),
    Task("m", map=Map()),
    Task("o", map=Map("m")),
    Task("j", needs=("o", "b")),
    Task("r", review=Review(), needs=("b",)),
    Task("g", "group", needs=("a",)),
)

NOW = Now(2.0, "boot", 2.0)


async def _perform(store: Store) -> None:
    """A small show: a retry, items, an approved draft, a document, a paid call, a large outcome, a second act."""
    document = store.put(b"the document")

    def b(work: Work) -> Done:
        call = Call(work.run, work.node, work.number, 1, 0, f"key {work.number}", "p", "m", "h", 1, 1, 5, 0.1, 1.0)
        return Done(json.dumps({"value": "x" * 70_000}), documents=[("b.md", document, None)], calls=[call])

    script = {"a": [Transient("busy"), "text"], "b": b}
    backend = ScriptedBackend(script, lists={"m": [[("x", 1)], [("y", 2)]]})
    stage = Stage(store, backend)
    run = stage.run(*TASKS)
    engine = await stage.engine()
    await engine.submit(run)
    await passing(stage.clock, lambda: engine.runs[run].run is not None and engine.runs[run].run.held)
    engine.note(run, B, 1, "a line")
    held = engine.runs[run].run
    assert held is not None
    draft = held.nodes[R].draft
    assert draft is not None
    await engine.post(run, Approved("r", 1, draft.hash))
    assert await engine.ended(run) is Status.SUCCESS
    await stage.close()
    apply(store, stage.clock, run, [Reopened("restart", "j")])
    again = await stage.engine()
    await again.submit(run)
    assert await again.ended(run) is Status.SUCCESS
    await stage.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("history") / ".callboard" / "callboard.db"
    store = SQLiteStore(database)
    history.watch(database)
    asyncio.run(_perform(store))
    store.close()
    return database


@pytest.fixture
def past(shown: Path, tmp_path: Path) -> Path:
    shutil.copytree(shown.parent, tmp_path / ".callboard")
    return tmp_path / ".callboard" / shown.name


def change(database: Path, *statements: str, chained: bool = False) -> list[str]:
    """What the checker says of a database after these statements."""
    connection = apsw.Connection(str(database))
    with connection:
        for statement in statements:
            connection.execute(statement)
        if chained:
            _chain(connection)
    connection.close()
    return history.check(database)


def rewrite(database: Path, edit: Callable[[list[str]], list[str]]) -> list[str]:
    """The same after the facts of a journal were changed by somebody who knows how to chain them."""
    connection = apsw.Connection(str(database))
    with connection:
        for id, blob in connection.execute("SELECT id, facts FROM journal").fetchall():
            facts = edit(chain.decode(blob))
            if facts:
                connection.execute("UPDATE journal SET facts = ? WHERE id = ?", (chain.encode(facts), id))
        _chain(connection)
    connection.close()
    return history.check(database)


def _chain(connection: apsw.Connection) -> None:
    before = chain.START
    for id, at, blob in connection.execute("SELECT id, at, facts FROM journal ORDER BY id").fetchall():
        before = chain.link(before, id & 0xFFFFFFFF, at, blob)
        connection.execute("UPDATE journal SET hash = ? WHERE id = ?", (before, id))


def test_a_past_as_it_should_be_is_whole(past: Path) -> None:
    assert history.check(past) == []
    assert history.check(past, begun=[(1, A, 1, 1), (1, A, 1, 2)]) == []


async def test_the_store_in_memory_has_such_a_past_too() -> None:
    store = MemoryStore()
    await _perform(store)
    assert history.check_run(store, 1) == []


_FIRST, _B = pack(1, A, 1), pack(1, B, 1)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"DELETE FROM outcome WHERE id = {_FIRST}", "run 1 (show): task a, number 1: its outcome is lost"),
        (f"UPDATE outcome SET text = '{{\"value\":1}}' WHERE id = {_FIRST}", "task a, number 1: its outcome is not"),
        (f"INSERT INTO outcome VALUES ({pack(1, A, 2)}, 0, '{{}}')", "task a, number 2: it has an outcome that"),
        (f"INSERT INTO outcome VALUES ({_FIRST}, 1, '{{}}')", "number 1, revision 1: it has an outcome that follows"),
        (f"DELETE FROM execution WHERE id = {_B}", "task b, number 1: it has no row"),
        (f"UPDATE execution SET attempt = 7 WHERE id = {_B}", "task b, number 1: the row says (5, 7,"),
        (f"UPDATE execution SET status = 6 WHERE id = {_B}", "task b, number 1: the row says (6,"),
        (f"INSERT INTO execution VALUES ({pack(1, A, 2)}, 5, 1, 9, 1.0, NULL, NULL)", "a, number 2: its row follows"),
        (f"UPDATE execution SET state = '{{\"tries\":9}}' WHERE id = {_FIRST}", "its row says tries 9, the journal 1"),
        ("UPDATE standing SET status = 6", "its rows say status"),
        ('UPDATE standing SET state = \'{"holds":["paused"]}\'', "its rows say holds ['paused']"),
        ("UPDATE standing SET consumed = posted + 1", "run 1: letters up to"),
        ("UPDATE standing SET fence = 0", "nobody ever claimed it"),
        ("DELETE FROM item WHERE key = 'y' AND parent = 3", "run 1 (show): its rows cannot be loaded"),
        ("UPDATE document SET hash = 'ff'", "its rows say documents {'b.md': 'ff'}"),
        ("UPDATE document SET status = 'pending'", "its rows say pending ['b.md'], the journal []"),
        ("UPDATE ledger SET attempt = 2", "task b, number 1: attempt 2 has a call (settled) and no recorded start"),
        ("UPDATE ledger SET node = 77", "task node 77, number 1: attempt 1 has a call"),
        ("UPDATE log SET execution = 5", "task b, number 5: it has log lines and no recorded start"),
        ("UPDATE journal SET at = at + 1 WHERE id & 4294967295 = 3", "the journal of run 1 is damaged at batch 3"),
        ("DELETE FROM journal WHERE id & 4294967295 = 2", "damaged at batch 2"),
        ("DELETE FROM journal WHERE id = (SELECT max(id) FROM journal)", "ends at batch"),
        ("UPDATE run SET number = 2", "run 1: there is a execution of it, and no such run"),
        ("UPDATE battery_history SET fence = 1 WHERE what = 'claimed' AND fence = 3", "claimed with fence 1 after"),
        ("DELETE FROM battery_history WHERE what = 'claimed' AND fence = 3", "whoever wrote it had fence 3"),
        ("UPDATE battery_history SET what = 'released' WHERE number = 2", "under fence 1, which had been released"),
    ],
)
def test_a_fault_in_the_tables_is_told(past: Path, statement: str, told: str) -> None:
    said = change(past, "PRAGMA foreign_keys = OFF", statement)
    assert any(told in one for one in said), said


def _without(kind: str) -> Callable[[list[str]], list[str]]:
    return lambda facts: [one for one in facts if not one.startswith(f'["{kind}"')]


def test_an_outcome_without_a_start_is_told(past: Path) -> None:
    said = rewrite(past, _without("Admitted"))
    assert any('["Failed",0,1,1' in one and "was recorded and does not follow" in one for one in said), said


def test_a_fact_that_was_recorded_twice_is_told(past: Path) -> None:
    said = rewrite(past, lambda facts: [one for one in facts for _ in range(1 + one.startswith('["Approved"'))])
    assert any("was recorded and does not follow" in one for one in said), said


def test_what_the_journal_forgot_is_told(past: Path) -> None:
    said = rewrite(past, _without("Published"))
    assert any("the journal ['b.md']" in one or "does not follow" in one for one in said), said


def test_a_start_that_only_the_outside_knows_is_told(past: Path) -> None:
    said = history.check(past, begun=[(1, B, 1, 2), (9, 0, 1, 1)])
    assert said == [
        "run 1 (show): task b, number 1: attempt 2 was begun outside, and no start of it is recorded",
        "run 9: the outside has begun tasks of it, and no such run is recorded",
    ]


def test_content_that_is_gone_is_told(past: Path) -> None:
    shutil.rmtree(past.parent / "content")
    assert history.check(past) == []  # a copy of the database alone cannot tell
    (past.parent / "content").mkdir()
    said = history.check(past)
    assert any("document b.md has no content" in one for one in said), said
    assert any("an outcome has no content" in one for one in said), said


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    assert "cannot be opened" in history.check(tmp_path / "none.db")[0]
    (tmp_path / "text.db").write_text("text" * 5000)
    assert history.check(tmp_path / "text.db")


def test_a_start_without_what_it_needs_is_told(past: Path) -> None:
    store = SQLiteStore(past, readonly=True)
    lived = Past(store.load(1))
    lived.read(store.journal(1)[:6])
    del lived.outcomes[pack(1, A, 1), 0]
    lived.run.nodes[B].early = False
    lived._needs(9, lived.run.nodes[B])
    assert lived.said == ["task b, number 1: started in batch 9 without task a, number 1"]
    store.close()


def test_an_outcome_before_its_start_and_an_attempt_that_starts_again_are_told(past: Path) -> None:
    store = SQLiteStore(past, readonly=True)
    lived = Past(store.load(1))
    lived._outcome(1, pack(1, A, 1), 0, "{}")
    lived._outcome(2, pack(1, G, 1), 0, "{}")
    lived._outcome(3, pack(1, G, 1), 0, "{}")
    assert lived.said == [
        "task a, number 1: an outcome in batch 1, before any start",
        "task g, number 1: a second outcome in batch 3",
    ]
    store.close()


async def test_a_step_that_was_not_the_last_is_read_as_such() -> None:
    """Two facts of one moment in two steps: after the first the run looked over, and was not."""
    store = MemoryStore()
    stage = Stage(store)
    run = stage.run(Task("a"))
    stage.letter(run, *([Asked("a", "START")] * 1200))
    engine = await stage.engine()
    await engine.submit(run)
    await engine.ended(run)
    await stage.close()
    assert history.check_run(store, run) == []


def test_what_cannot_be_told_is_not_told() -> None:
    store = MemoryStore()
    stage = Stage(store)
    number = stage.run(Task("a"), rules=(Rule("a", "START", Count("k", 2, 5.0)),))
    fence = store.claim(number, new_owner(), after(NOW, 10.0), NOW, alive=lambda owner: True)
    assert fence
    store.commit([Write(number, fence, 1.0, [encode(Succeeded(0, 1, 1)), encode(Failed(0, 1, 1))])])
    assert history.check_run(store, number) == []
