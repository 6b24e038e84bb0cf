"""What only the SQLite store does: its file, its lock, its gate, and what happens when any of them is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from callboard.core.deadline import Now, after
from callboard.errors import (
    Busy,
    Conflict,
    FenceLost,
    NotJson,
    StoreDamaged,
    StoreError,
    StoreRefused,
    UsageError,
)
from callboard.ports import Write
from callboard.store.sql import batch, database, lock, queries, schema
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.kits.store import FACT, ME, PLAN, Bench

NOW = Now(2.0, "boot", 2.0)

CHILD = Path(__file__).with_name("child_of_store.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".callboard" / "callboard.db"


@pytest.fixture
def bench(path: Path):
    bench = Bench(lambda: SQLiteStore(path))
    yield bench
    bench.store.close()


def child(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_owner_can_read_what_is_recorded(bench: Bench, path: Path) -> None:
    number, fence = bench.owned()
    text = json.dumps({"value": "a" * 100_000})
    bench.store.commit([Write(number, fence, 1.0, [FACT], outcomes=[(number << 40 | 1, 0, text)])])
    files = [one for one in path.parent.rglob("*") if one.is_file()]
    assert len(files) == 7  # database, log, its index, what is known of them, two of the lock, one content file
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
    folders = [path.parent, *(one for one in path.parent.rglob("*") if one.is_dir())]
    assert {one.stat().st_mode & 0o777 for one in folders} == {0o700}


def test_commits_are_synced_and_the_log_is_grown_in_advance(bench: Bench, path: Path) -> None:
    store = bench.store
    assert store.writer.pragma("synchronous") == 2
    assert store.writer.pragma("journal_mode") == "wal"
    assert Path(f"{path}-wal").stat().st_size >= database.GROWN
    bench.again()
    assert Path(f"{path}-wal").stat().st_size >= database.GROWN


def test_an_idle_checkpoint_moves_the_log_into_the_file(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, [FACT])])
    bench.store.checkpoint()
    busy, log, done = bench.store.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert (busy, log) == (0, done)


def test_the_database_itself_refuses_ids_that_are_none(bench: Bench) -> None:
    for id in ("", "A", "a b", "a" * 65, ".a"):
        with pytest.raises(apsw.ConstraintError):
            bench.store.writer.execute(
                "INSERT INTO run (id, name, plan, params, face, created) VALUES (?, '', '', '{}', '', 0)", (id,)
            )


def test_a_large_outcome_is_a_file_and_its_damage_is_seen(bench: Bench, path: Path) -> None:
    number, fence = bench.owned()
    text = json.dumps({"value": "a" * 100_000})
    bench.store.commit([Write(number, fence, 1.0, outcomes=[(number << 40 | 1, 0, text)])])
    (file,) = (one for one in (path.parent / "content").rglob("*") if one.is_file())
    assert file.read_text() == text
    file.write_text(text.replace("aa", "ab", 1))
    with pytest.raises(StoreDamaged, match=file.name):
        bench.store.outcome(number, 0, 1)
    assert bench.store.put(text.encode()) == file.parent.name + file.name
    assert bench.store.outcome(number, 0, 1) == text


def test_registered_writes_commit_with_their_batch(path: Path) -> None:
    store = SQLiteStore(path, saves={"credit": "UPDATE record SET value = :value WHERE kind = 'credits'"})
    bench = Bench(lambda: store)
    number, fence = bench.owned()
    store.write("credits", "a", 5, revision=0)
    good = Write(number, fence, 1.0, [FACT], saves=[("credit", {"value": "4"})])
    store.commit([good])
    assert store.read("credits", "a").value == 4
    with pytest.raises(UsageError, match="unknown"):
        store.commit([good._replace(saves=[("credit", {"value": "3"}), ("unknown", {})])])
    with pytest.raises(FenceLost):
        store.commit([good._replace(fence=fence + 1)])
    assert store.read("credits", "a").value == 4 and len(store.journal(number)) == 1
    store.commit([good])
    assert len(store.journal(number)) == 2
    store.close()


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────


def test_processes_that_write_at_once_see_no_lock_error(bench: Bench, path: Path) -> None:
    number, fence = bench.owned()
    children = [child("append", path, number, name, 60) for name in ("a", "b")]
    for place in range(60):
        bench.store.commit([Write(number, fence, float(place), [FACT])])
    for one in children:
        out, err = one.communicate(timeout=50)
        assert (one.returncode, out, err) == (0, "", "")
    assert len(bench.store.inbox(number, 0)) == 121
    assert len(bench.store.journal(number)) == 60


def test_a_killed_process_loses_nothing_it_acknowledged(bench: Bench, path: Path) -> None:
    number = bench.run().number
    for round in range(3):
        one = child("commit", path, number)
        acknowledged = [int(one.stdout.readline()) for _ in range(20 + round)][-1]  # type: ignore[union-attr]
        one.send_signal(signal.SIGKILL)
        acknowledged = int((one.stdout.read().split() or [acknowledged])[-1])  # type: ignore[union-attr]
        one.communicate()
        store = bench.again()
        rows = store.journal(number)
        assert acknowledged <= len(rows) <= acknowledged + 1
        assert store.outcome(number, acknowledged, 1) == f'{{"value":{acknowledged}}}'


def test_a_killed_process_leaves_no_lock(bench: Bench, path: Path) -> None:
    number = bench.run().number
    one = child("hold", path, number)
    assert one.stdout.readline() == "held\n"  # type: ignore[union-attr]
    assert not bench.store.try_commit([Write(number, 1, 1.0)])
    one.kill()
    one.communicate()
    assert bench.store.append(number, [("a", FACT)], 1.0)


def test_a_lock_that_is_never_given_back_is_an_error_with_words(
    bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bench.run().number
    monkeypatch.setattr(lock, "PATIENCE", 0.02)
    other = SQLiteStore(path)
    with other.lock:
        with pytest.raises(Busy, match="stopped"):
            bench.store.append(number, [("a", FACT)], 1.0)
        bench.store.checkpoint()  # has time
    assert bench.store.append(number, [("a", FACT)], 1.0)
    other.close()


def test_taking_the_lock_hands_the_interpreter_to_no_other_thread(bench: Bench) -> None:
    """Beside a busy thread each hand-over costs 5 ms, and a commit has four calls of the lock."""
    gate, ran = threading.Lock(), threading.Event()
    gate.acquire()
    other = threading.Thread(target=lambda: (gate.acquire(), ran.set()))
    usual = sys.getswitchinterval()
    sys.setswitchinterval(3600)  # it can have the interpreter only if we give it up, as we do until it is at the gate
    try:
        other.start()
        gate.release()
        for _ in range(5000):
            assert bench.store.lock.try_enter()
            bench.store.lock.__exit__()
        handed_over = ran.is_set()
    finally:
        sys.setswitchinterval(usual)
    other.join()
    assert not handed_over


def test_a_forked_child_is_told_and_harms_nothing(path: Path) -> None:
    one = child("fork", path)
    out, err = one.communicate(timeout=30)
    assert (out.split(), err) == (["ForkedProcess"] * 4 + ["parent", "writes"], "")
    store = SQLiteStore(path)
    assert len(store.inbox(1, 0)) == 2
    store.close()


def test_two_stores_of_one_process_share_a_file(bench: Bench, path: Path) -> None:
    number, fence = bench.owned()
    other = SQLiteStore(path)
    before = bench.store.version()
    other.append(number, [("a", FACT)], 1.0)
    assert bench.store.version() != before
    bench.store.commit([Write(number, fence, 2.0, [FACT])])
    taken = other.claim(number, ME._replace(token="other"), after(NOW, 9.0), NOW, alive=lambda _: False)
    other.commit([Write(number, taken or 0, 4.0, [FACT])])
    with pytest.raises(FenceLost):
        bench.store.commit([Write(number, fence, 5.0, [FACT])])
    assert len(bench.store.journal(number)) == 2
    other.close()


def test_readers_in_threads_do_not_disturb_a_writer(bench: Bench) -> None:
    number, fence = bench.owned()
    done, faults = threading.Event(), list[Exception]()

    def read() -> None:
        while not done.is_set():
            try:
                rows = bench.store.journal(number)
                assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
                bench.store.load(number)
            except Exception as error:
                faults.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for place in range(50):
        bench.store.commit([Write(number, fence, float(place), [FACT])])
    done.set()
    for thread in threads:
        thread.join()
    assert not faults and len(bench.store.journal(number)) == 50


def test_without_descriptors_the_second_to_read_waits_for_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step failed for it: its answer was there, and whether its document was recorded could not be read."""
    store = bench.store
    store.runs()
    asked, found = threading.Event(), list[object]()

    def reader() -> apsw.Connection:
        asked.set()
        raise apsw.CantOpenError("unable to open database file")

    def read() -> None:
        try:
            found.append(store.runs())
        except StoreError as error:
            found.append(error)

    monkeypatch.setattr(store, "_reader", reader)
    second = threading.Thread(target=read)
    with store.snapshot():
        second.start()
        assert asked.wait(20)
    second.join(20)
    assert found == [[]]
    store._readers.idle.clear()
    with pytest.raises(StoreError, match="cannot be opened for this"):
        store.runs()
    with pytest.raises(StoreError, match="cannot be opened for this"), store.snapshot():
        pass


# ── reading only ────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_opened_for_reading_cannot_write(bench: Bench, path: Path) -> None:
    row = bench.run()
    reader = SQLiteStore(path, readonly=True)
    assert reader.find_run("show-1") == row and reader.load(row.number).plan == PLAN
    for write in (
        lambda: reader.append(row.number, [("a", FACT)], 1.0),
        lambda: reader.commit([Write(row.number, 1, 1.0)]),
        lambda: reader.put(b"bytes"),
        lambda: reader.checkpoint(),
    ):
        with pytest.raises(StoreRefused, match="reading only"):
            write()
    reader.close()
    with pytest.raises(StoreError):
        SQLiteStore(path.with_name("none.db"), readonly=True)


# ── schema ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_migration_keeps_everything_and_is_preceded_by_a_backup(
    bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bench.run()
    bench.store.close()
    with pytest.raises(StoreRefused, match="older"):
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (a INTEGER) STRICT"))
        SQLiteStore(path, readonly=True)
    assert bench.again().find_run("show-1") == row
    known = len(schema.MIGRATIONS)
    assert bench.store.rows("SELECT max(number) FROM schema_version") == [(known,)]
    (backup,) = (path.parent / "backups").iterdir()
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = apsw.Connection(str(backup), flags=apsw.SQLITE_OPEN_READONLY)
    assert copy.execute("SELECT max(number) FROM schema_version").fetchall() == [(known - 1,)]
    assert copy.execute("SELECT id FROM run").fetchall() == [("show-1",)]
    copy.close()


def test_a_migration_that_fails_changes_nothing(bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = bench.run()
    with monkeypatch.context() as patch:
        bench.store.close()
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (a); CREATE TABLE run (a)"))
        with pytest.raises(StoreError):
            SQLiteStore(path)
    assert bench.again().find_run("show-1") == row
    assert not bench.store.rows("SELECT 1 FROM sqlite_schema WHERE name = 'more'")


def test_a_newer_schema_is_refused(bench: Bench, path: Path) -> None:
    bench.store.writer.execute("INSERT INTO schema_version VALUES (?, 0)", (len(schema.MIGRATIONS) + 1,))
    for readonly in (False, True):
        with pytest.raises(StoreRefused, match="newer Callboard"):
            SQLiteStore(path, readonly=readonly)


def test_a_database_of_someone_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    apsw.Connection(str(other)).execute("CREATE TABLE mine (a)")
    before = other.read_bytes()
    with pytest.raises(StoreRefused, match="not one of Callboard"):
        SQLiteStore(other)
    assert other.read_bytes() == before


# ── damage and full disks ───────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_database_is_damage(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreDamaged, match="callboard repair"):
        SQLiteStore(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_truncated_file_is_damage(bench: Bench, path: Path) -> None:
    bench.run()
    bench.store.close()
    Path(f"{path}-wal").unlink()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreDamaged):
        SQLiteStore(path).find_run("show-1")


def test_a_torn_page_is_damage_at_first_touch(bench: Bench, path: Path) -> None:
    number, fence = bench.owned()
    rows = [(number << 40 | node << 20 | 1, 5, 1, node, 1.0, "x" * 50, None) for node in range(2000)]
    bench.store.commit([Write(number, fence, 1.0, executions=rows)])
    bench.store.close()
    size = page_size(path)
    with path.open("r+b") as file:
        for page in range(30, path.stat().st_size // size):
            file.seek(page * size)
            file.write(b"\xff" * 64)
    Path(f"{path}-wal").unlink()  # all of it was copied back
    with pytest.raises(StoreDamaged, match="callboard repair"):
        SQLiteStore(path)  # nobody writes to it any more
    store = SQLiteStore(path, readonly=True)
    assert store.faults
    with pytest.raises(StoreDamaged):
        store.executions(number)
    assert store.check()
    assert store.find_run("show-1").number == number  # what is intact goes on
    store.close()


def page_size(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[16:18], "big")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE journal SET facts = CAST(replace(facts, 'key', 'kez') AS BLOB) WHERE id & 255 = 2",
        "UPDATE journal SET at = at + 1 WHERE id & 255 = 2",
        "UPDATE journal SET hash = zeroblob(32) WHERE id & 255 = 3",
        "DELETE FROM journal WHERE id & 255 = 2",
        "DELETE FROM journal WHERE id & 255 = 4",
        "UPDATE journal SET id = id + 10 WHERE id & 255 = 4",
    ],
)
def test_a_journal_that_was_changed_is_damage(bench: Bench, damage: str) -> None:
    number, fence = bench.owned()
    for place in range(4):
        bench.store.commit([Write(number, fence, float(place), [FACT])])
    bench.store.commit([Write(number, fence, 9.0, status=2)])  # from here on, so many rows there must be
    assert len(bench.store.journal(number)) == 4 and bench.store.check() == []
    bench.store.writer.execute(damage)
    with pytest.raises(StoreDamaged, match=f"journal of run {number}"):
        bench.store.journal(number)


def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(bench: Bench) -> None:
    number, fence = bench.owned()
    write = Write(number, fence, 1.0, [FACT])
    bench.store.commit([write])
    pages = bench.store.writer.pragma("page_count")
    bench.store.writer.pragma("max_page_count", pages)
    filler = [(number << 40 | node << 20 | 1, 5, 1, node, 1.0, "x" * 900, None) for node in range(6000)]
    with pytest.raises(StoreError, match="disk is full"):
        bench.store.commit([write._replace(executions=filler)])
    bench.store.writer.pragma("max_page_count", pages * 100)
    bench.store.commit([write])
    store = bench.again()
    assert len(store.journal(number)) == 2 and not store.executions(number)


def test_a_backup_is_a_whole_project_file(bench: Bench, path: Path, tmp_path: Path) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, [FACT])])
    copy = bench.store.backup(tmp_path / "copy" / "callboard.db")
    bench.store.commit([Write(number, fence, 2.0, [FACT])])
    shutil.rmtree(path.parent / "content", ignore_errors=True)
    store = SQLiteStore(copy)
    assert len(store.journal(number)) == 1 and store.check() == []
    assert [one.name for one in copy.parent.iterdir() if one.name.startswith(".")] == []
    store.close()


def test_the_store_says_which_outcome_was_there(bench: Bench) -> None:
    number, fence = bench.owned()
    outcome = (number << 40 | 7 << 20 | 3, 0, "{}")
    bench.store.commit([Write(number, fence, 1.0, outcomes=[outcome])])
    with pytest.raises(Conflict, match=f"run {number}, node 7, number 3"):
        bench.store.commit([Write(number, fence, 1.0, outcomes=[outcome])])


# ── a link of a chain, which has a statement of its own ─────────────────────────────────────────────────


def link_of(number: int, fence: int, node: int, outcome: str = '{"value":"ä"}', reason: str | None = None) -> Write:
    """The write of one link: node `node` has ended, the next one begins."""
    first, next = (number << 40 | n << 20 | 1 for n in (node, node + 1))
    ended = (first, 5, 1, node + 1, 2.5, reason, None)
    begins = (next, 2, 1, node + 2, 2.5, None, '{"fired":1}')
    return Write(number, fence, 2.5, [FACT, FACT], executions=[ended, begins], outcomes=[(first, 0, outcome)])


def tables_of(bench: Bench) -> list[list[tuple[object, ...]]]:
    names = ("journal", "execution", "outcome", "standing")
    return [bench.store.rows(f"SELECT * FROM {name} ORDER BY 1") for name in names]  # type: ignore[attr-defined]


def test_a_link_is_recorded_as_any_batch_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, statements = [], []
    for name, is_link in (("short", None), ("long", lambda write: False)):
        if is_link is not None:
            monkeypatch.setattr(batch, "_is_link", is_link)
        bench = Bench(lambda name=name: SQLiteStore(tmp_path / name / "callboard.db"))
        number, fence = bench.owned()
        for node in range(3):
            bench.store.commit([link_of(number, fence, node, reason="stopped \udc80" if node else None)])
        made = batch.encode([link_of(number, fence, 3)], lambda run, fence: batch.Head(fence, 0, bytes(32)), str)
        statements.append(made.statement)
        recorded.append(tables_of(bench)[:3])
        bench.store.close()
    assert recorded[0] == recorded[1]
    assert statements[0] == queries.INSERT_LINK != statements[1]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [('{"value":', NotJson), ('{"value":NaN}', NotJson), ('{"value":"\\ud800"}', NotJson), ("[1]", NotJson)],
)
def test_a_link_whose_outcome_is_no_strict_json_is_refused_whole(
    bench: Bench, outcome: str, error: type[Exception]
) -> None:
    number, fence = bench.owned()
    before = tables_of(bench)
    with pytest.raises(error, match="node 0"):
        bench.store.commit([link_of(number, fence, 0, outcome)])
    assert tables_of(bench) == before


def test_a_link_that_is_recorded_already_or_whose_fence_is_lost_is_refused_whole(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([link_of(number, fence, 0)])
    before = tables_of(bench)
    with pytest.raises(Conflict, match="node 0, number 1"):
        bench.store.commit([link_of(number, fence, 0)])
    with pytest.raises(FenceLost):
        bench.store.commit([link_of(number, fence + 1, 1)])
    assert tables_of(bench) == before
