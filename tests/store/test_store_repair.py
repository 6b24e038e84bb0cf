"""A damaged database is mended from whatever has a part of it, whole or not at all, and the damaged one is kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from callboard.core.deadline import Now, after
from callboard.core.facts import Heard, encode
from callboard.core.plan import Plan, Task, dump
from callboard.crash import listening
from callboard.engine.clock import SystemClock
from callboard.engine.engine import Engine
from callboard.engine.owner import new_owner
from callboard.errors import Busy, CallboardError, StoreDamaged
from callboard.ports import Call, Owner, Write
from callboard.store import chain
from callboard.store.sql import repair as repairing
from callboard.store.sql.pages import Pages
from callboard.store.sql.repair import Repair, Repaired
from callboard.store.sql.salvage import Salvage
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.scripted import ScriptedBackend

NOW = Now(2.0, "boot", 2.0)
PLAN = dump(Plan(tuple(Task(f"t{n}", needs=(f"t{n - 1}",) if n else ()) for n in range(4))))
ME = Owner("here", "boot", 100, 1.5, "me")
LARGE = "x" * 90_000
RUNS = 12


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with runs that have ended, paid calls, a record, a letter nobody has read, a large outcome."""
    home = tmp_path_factory.mktemp("sound") / ".callboard"
    with closing(SQLiteStore(home / "callboard.db")) as store:
        for number in range(1, RUNS + 1):
            row = store.create_run(
                id=f"run-{number}", name="", plan=PLAN, params=json.dumps({"input": "text" * 40}), face="x", at=1.0
            )
            asyncio.run(_carried_out(store, row.number))
            fence = store.claim(row.number, ME, after(NOW, 1e12), NOW, alive=lambda owner: False) or 0
            calls = [
                Call(
                    row.number,
                    n,
                    1,
                    1,
                    0,
                    f"key {number} {n}",
                    "p",
                    "m",
                    "hash",
                    1,
                    1,
                    1,
                    0.1,
                    2.0,
                    '"' + "a" * 300 + '"',
                )
                for n in range(4)
            ]
            store.commit([Write(row.number, fence, 3.0, ledger=calls, logs=[(0, 1, 3.0, "info", "a line")])])
            store.release(row.number, fence)
        store.write("project", "name", "abc", revision=0)
        store.append(3, [("letter", encode(Heard("key", 1, "value")))], 4.0)
    shutil.rmtree(home / "backups")  # the daily copy, of the first run
    return home


async def _carried_out(store: SQLiteStore, run: int) -> None:
    values = {f"t{n}": LARGE if (n, run) == (2, 5) else f"value {n} of {run}" * 20 for n in range(4)}
    engine = Engine(store, ScriptedBackend(values), SystemClock(), new_owner())
    await engine.start()
    await engine.submit(run)
    await engine.ended(run)
    await engine.stop()


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / ".callboard") / "callboard.db"


def mend(path: Path, *damaged: Path, dry_run: bool = False, wall: float = 1.8e9) -> Repaired:
    return Repair(path, wall=wall, say=lambda text: None, dry_run=dry_run).mend(damaged)


def content(path: Path) -> dict[str, list[Any]]:
    """All rows that a repair brings back to the letter."""
    with closing(SQLiteStore(path, readonly=True)) as store:
        assert not store.faults and not store.check()
        tables = ("plan", "run", "execution", "outcome", "journal", "inbox", "item", "branch", "document", "ledger",
                  "event", "record", "log")  # fmt: skip
        rows = {table: store.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}
        rows["standing"] = store.rows("SELECT number, status, state, ended, posted, consumed, letters FROM standing")
        rows["queue"] = store.rows("SELECT * FROM queue")
        for row in store.runs(most=1000):
            assert store.verify_all(row.number) == []
            store.calls(row.number)
    return rows


def edit(path: Path, sql: str) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(sql)


def live_pages(path: Path) -> list[int]:
    pages = Pages(path.read_bytes())
    return [one.number for one in pages.of_file() if any(True for _ in pages.rows(one, {})) or one.data[0] == 5]


def zero(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))


def test_every_row_is_found_without_sqlite(path: Path) -> None:
    found = {(row.rowid, row.values) for row in Pages(path.read_bytes()).rows_of_file()}
    with closing(apsw.Connection(str(path))) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                assert (
                    (None, row) in found
                    or (row[0], (None, *row[1:])) in found
                    or any(rowid is not None and values == row for rowid, values in found)
                ), (table, row)


def test_what_is_salvaged_are_rows_of_every_table_that_has_any(path: Path, tmp_path: Path) -> None:
    """A migration that adds a column has to be told to the salvage."""
    with closing(Salvage(tmp_path / "found.db")) as found:
        found.add(Pages(path.read_bytes()).rows_of_file(), 0)
        for table in ("plan", "run", "standing", "journal", "letter", "ledger", "record", "log"):
            assert found.rows(f"SELECT 1 FROM {table}"), table
        assert found.standing(2).status == 5 and found.standing(2).consumed


def test_a_sound_database_made_anew_is_the_same(path: Path) -> None:
    before = content(path)
    done = mend(path)
    assert [run for run, _ in done.whole] == list(range(1, RUNS + 1)) and not (done.partly or done.lost or done.said)
    assert content(path) == before
    assert done.evidence is not None and (done.evidence / "callboard.db").exists()


def test_whichever_page_is_lost_no_run_is_damaged_afterwards_and_a_copy_has_what_it_held(path: Path) -> None:
    before, home = content(path), path.parent
    kept = path.read_bytes()
    with closing(SQLiteStore(path)) as store:
        copy = store.backup(home / "backups" / "callboard-20260101T000000Z.db").read_bytes()
    pages = live_pages(path)
    assert len(pages) > 30
    for number, page in enumerate(pages):
        for left in home.glob("callboard.db*"):
            left.unlink()
        path.write_bytes(kept)
        has_copy = number % 3 > 0
        (home / "backups" / "callboard-20260101T000000Z.db").write_bytes(copy if has_copy else b"")
        zero(path, page)
        done = mend(path, wall=1.8e9 + page)
        after_it = content(path)
        if has_copy:
            assert after_it == before, page
        assert len(done.whole) + len(done.partly) + len(done.lost) == RUNS
        for run in after_it["journal"]:
            assert run in before["journal"]
        shutil.rmtree(home / "damaged")


EDITS = {
    "an outcome": "UPDATE outcome SET text = replace(text, 'value', 'other') WHERE id >> 40 = 2",
    "outcomes gone": "DELETE FROM outcome",
    "a status": "UPDATE execution SET status = 7 WHERE id >> 40 = 2",
    "executions gone": "DELETE FROM execution",
    "its status": "UPDATE standing SET status = 7 WHERE number = 2",
    "where they stand": "DELETE FROM standing",
    "their rows": "PRAGMA foreign_keys = OFF; DELETE FROM run",
    "their births": "DELETE FROM journal WHERE id & 4294967295 = 0",
    "its parameters": 'UPDATE run SET params = \'{"input":"else"}\' WHERE number = 2',
    "the plan": "UPDATE plan SET text = replace(text, 't3', 't4')",
    "another mark": "PRAGMA application_id = 7",
    "another schema": "UPDATE schema_version SET number = 99 WHERE number = 1",
    "a letter it would not read": "UPDATE standing SET posted = consumed WHERE number = 3",
    "its inbox": "UPDATE standing SET consumed = 0, echo = 0 WHERE number = 2",
    "a birth in another place": "UPDATE journal SET id = id + 1000 WHERE id = 7 << 32",
    "what waits": "UPDATE queue SET runs = 7, letters = 7",
    "all indexes": "DROP INDEX standing_status; DROP INDEX inbox_run; DROP INDEX ledger_execution",
}


@pytest.mark.parametrize("what", EDITS)
def test_what_follows_from_the_journals_is_made_anew(path: Path, what: str) -> None:
    before = content(path)
    edit(path, EDITS[what])
    done = mend(path)
    assert not (done.partly or done.lost)
    assert content(path) == before


def test_a_journal_with_a_gap_leads_to_the_gap_and_what_was_paid_stays_paid(path: Path) -> None:
    edit(path, "UPDATE journal SET facts = x'5b' WHERE id = 2 << 32 | 2; VACUUM")
    done = mend(path)
    assert [(part.run, part.id, part.steps) for part in done.partly] == [(2, "run-2", 1)] and done.partly[0].of > 1
    with closing(SQLiteStore(path)) as store:
        store.verify(2)
        assert store.find_run(2).status == 2, "it has not ended"
        assert [call.answer for call in store.calls(2)] == [call.answer for call in store.calls(1)]
        asyncio.run(_carried_out(store, 2))
        assert store.find_run(2).status == 5


def test_a_line_of_a_log_that_was_changed_in_one_place_is_told_once(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.backup(path.parent / "backups" / "callboard-20260101T000000Z.db")
        count = len(store.rows("SELECT * FROM log"))
    edit(path, "UPDATE log SET at = at + 1 WHERE run = 3; DELETE FROM execution")
    assert not mend(path).lost
    with closing(SQLiteStore(path)) as store:
        assert len(store.rows("SELECT * FROM log")) == count


def test_an_answer_that_nobody_can_believe_is_not_taken_over(path: Path) -> None:
    edit(path, "UPDATE ledger SET answer = '\"else\"' WHERE run = 2 AND node = 1")
    done = mend(path)
    assert len(done.said) == 1 and "run 2" in done.said[0]
    with closing(SQLiteStore(path)) as store:
        assert [call.node for call in store.calls(2)] == [0, 2, 3]


def test_rows_that_no_page_tells_of_are_found_by_their_form(path: Path) -> None:
    """The page says that it has no cells; the bytes of the journal are all there."""
    before = content(path)
    with closing(apsw.Connection(str(path))) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'").get
    data = bytearray(path.read_bytes())
    pages = Pages(bytes(data))
    leaves = [
        one.number
        for one in pages.of_file()
        if any(len(row.values) == 4 and type(row.values[3]) is bytes for row in pages.rows(one, {}))
    ]
    assert root and leaves
    for page in leaves:
        data[(page - 1) * 4096] = 77
    path.write_bytes(data)
    done = mend(path)
    assert not done.lost and not done.partly
    assert content(path) == before


def test_the_last_row_of_a_journal_that_was_deleted_is_found_by_its_form(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        row = store.create_run(id="held", name="", plan=PLAN, params="{}", face="x", at=5.0)
        fence = store.claim(row.number, ME, after(NOW, 1e12), NOW, alive=lambda owner: False) or 0
        store.commit([Write(row.number, fence, 6.0, [encode(Heard("key", 1))])])
        store.release(row.number, fence)
    before = content(path)
    edit(path, f"DELETE FROM journal WHERE id = {row.number} << 32 | 1")
    mend(path)
    assert content(path)["journal"] == before["journal"]


def test_a_large_outcome_gets_its_content_again(path: Path) -> None:
    large = max((path.parent / "content").rglob("*"), key=lambda file: file.stat().st_size if file.is_file() else 0)
    large.write_bytes(b"damaged")
    done = mend(path, large)
    assert done.evidence is not None and (done.evidence / large.name).read_bytes() == b"damaged"
    with closing(SQLiteStore(path)) as store:
        assert LARGE in (store.outcome(5, 2, 1) or "")
    assert not (done.evidence / "callboard.db").exists(), "the database was sound, and stayed"


def test_what_stands_in_the_log_only_is_found_there_and_another_log_is_no_source(path: Path, tmp_path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.create_run(id="later", name="", plan=PLAN, params="{}", face="x", at=5.0)
        killed = shutil.copytree(path.parent, tmp_path / "killed") / "callboard.db"
    for log, runs in ((Path(f"{killed}-wal").read_bytes(), RUNS + 1), (_another_log(tmp_path), RUNS)):
        Path(f"{killed}-wal").write_bytes(log)
        assert len(Repair(killed, wall=1.8e9, say=lambda text: None, dry_run=True).mend([]).whole) == runs


def _another_log(tmp_path: Path) -> bytes:
    with closing(SQLiteStore(tmp_path / "another" / "callboard.db")) as store:
        for number in range(30):
            store.create_run(id=f"other-{number}", name="", plan=PLAN, params="{}", face="x", at=5.0)
        return Path(f"{store.path}-wal").read_bytes()


def test_another_database_is_no_source(path: Path, tmp_path: Path) -> None:
    before = content(path)
    with closing(SQLiteStore(path)) as store:
        store.backup(path.parent / "backups" / "callboard-20260101T000000Z.db")
    _another_log(tmp_path)
    shutil.copyfile(tmp_path / "another" / "callboard.db", path)
    done = mend(path)
    assert "another database" in done.said[0]
    assert content(path) == before


def test_a_number_that_was_changed_makes_no_other_database(path: Path) -> None:
    SQLiteStore(path).close()  # who it is, is noted when it is opened
    before = content(path)
    edit(path, "PRAGMA user_version = 77")
    done = mend(path)
    assert not done.said and not done.lost
    assert content(path) == before


def test_a_database_that_is_gone_comes_back_from_its_copy(path: Path) -> None:
    before = content(path)
    with closing(SQLiteStore(path)) as store:
        store.backup(path.parent / "backups" / "callboard-20260101T000000Z.db")
    for left in path.parent.glob("callboard.db*"):
        left.unlink()
    mend(path)
    assert content(path) == before


def test_a_dry_run_changes_nothing(path: Path) -> None:
    zero(path, live_pages(path)[5])
    before = _tree(path.parent)
    assert mend(path, dry_run=True).evidence is None
    assert _tree(path.parent) == before


def _tree(home: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in home.rglob("*") if file.is_file()}


_OPEN = """
import sys
from pathlib import Path
from callboard.store.sql.salvage import Salvage
from callboard.store.sql.sqlite import SQLiteStore
store = SQLiteStore(Path(sys.argv[1]), readonly=sys.argv[2] == "reads")
store.runs()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["reads", "writes"])
def test_it_refuses_while_somebody_has_the_project_open(path: Path, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OPEN, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(Busy, match="open"):
            mend(path)
        other.communicate()
    assert mend(path).whole


def _killed_at(number: int, path: Path) -> str:
    """The point that a repair was killed at, the so-manieth it passed; "" when it came to its end before."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        left = number

        def passed(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.write(tell, name.encode())
                os._exit(9)

        with listening(passed):
            mend(path)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as said:
        name = said.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (9 if name else 0)
    return name


@pytest.mark.timeout(240)
def test_wherever_it_is_killed_the_damaged_or_the_mended_project_is_there_and_again_goes_on(
    path: Path, tmp_path: Path
) -> None:
    before, killed = content(path), list[str]()
    edit(path, EDITS["executions gone"] + "; UPDATE outcome SET text = '{}'")
    shutil.copytree(path.parent, tmp_path / "damaged")
    points = list[str]()
    with listening(points.append):
        mend(path)
    built = points.index("repair.built")
    for number in [*range(1, built, 11), *range(built, len(points) + 1)]:
        shutil.rmtree(path.parent)
        shutil.copytree(tmp_path / "damaged", path.parent)
        killed.append(_killed_at(number, path))
        state = _state(path)
        again = Repair(path, wall=1.9e9, say=lambda text: None)
        if again.go_on() is None and state == "damaged":
            again.mend([])
        assert content(path) == before, killed[-1]
        folders = list((path.parent / "damaged").iterdir())
        assert any((folder / "callboard.db").exists() for folder in folders)
        assert not any((folder / "mended.db").exists() for folder in folders)
    assert {"repair.begin", "repair.aside", "repair.swap", "repair.swapped", "repair.end", "repair.keep"} <= set(killed)


def test_while_the_databases_change_places_nobody_opens_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(path)
    with pytest.raises(OSError, match="power"), listening(_power_cut):
        mend(path)
    for readonly in (False, True):
        with pytest.raises(StoreDamaged, match="go on with it"):
            SQLiteStore(path, readonly=readonly)
    assert Repair(path, wall=1.9e9, say=lambda text: None).go_on() is not None
    assert content(path) == before


def _power_cut(name: str) -> None:
    if name == "repair.swap":
        raise OSError("power")


def _state(path: Path) -> str:
    try:
        with closing(SQLiteStore(path)) as store:
            return "damaged" if store.verify_all(2) else "mended"
    except StoreDamaged as error:
        assert "go on with it" in str(error)
        return "between"


def test_what_does_not_hold_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zero(path, live_pages(path)[7])
    before = path.read_bytes()
    monkeypatch.setattr(repairing.mended, "faults", lambda *args: ["a fault"])
    with pytest.raises(CallboardError, match="nothing was changed"):
        mend(path)
    assert path.read_bytes() == before


def test_of_two_chains_the_longer_one_counts_and_then_the_first() -> None:
    def row(before: bytes, batch: int, blob: bytes) -> tuple[float, bytes, bytes]:
        return 1.0, blob, chain.link(before, batch, 1.0, blob)

    one, other = row(chain.START, 1, b"[one]"), row(chain.START, 1, b"[other]")
    behind = row(other[2], 2, b"[behind]")
    assert chain.longest(chain.START, {1: [one, other]}) == [one]
    assert chain.longest(chain.START, {1: [one, other], 2: [behind]}) == [other, behind]
    assert chain.longest(chain.START, {2: [behind]}) == []
