"""Full queues: both stores refuse alike, a refusal takes no lock and looks at one row, and processes keep the bound."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from callboard.errors import Busy
from callboard.store.memory import MemoryStore
from callboard.store.sql import queries, room, schema
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.kits import store_full
from callboard.testing.kits.bench import FACT, Bench
from callboard.testing.kits.store_full import LOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.ports import Bounds


@pytest.mark.parametrize("kind", ["memory", "sqlite", "sqlite-reopened"])
@pytest.mark.parametrize("case", store_full.CASES, ids=lambda case: case.__name__)
def test_a_full_store(case: Callable[[Bench], None], kind: str, tmp_path: Path) -> None:
    bench = (
        Bench(lambda: MemoryStore(bounds=LOW), reopen=False)
        if kind == "memory"
        else Bench(lambda: SQLiteStore(tmp_path / "callboard.db", bounds=LOW), reopen=kind == "sqlite-reopened")
    )
    try:
        case(bench)
    finally:
        bench.store.close()


def _full(path: Path, bounds: Bounds = LOW) -> SQLiteStore:
    """A store with as many runs and letters as there may be."""
    store = SQLiteStore(path, bounds=bounds)
    bench = Bench(lambda: store)
    for number in range(bounds.runs):
        bench.run(f"run-{number}")
    store.append(1, [(str(number), FACT) for number in range(bounds.letters - 1)], 20.0)
    return store


def test_who_is_refused_waits_for_no_lock(tmp_path: Path) -> None:
    store = _full(tmp_path / "callboard.db")
    refused: list[Busy] = []

    def come() -> None:
        for act in (lambda: Bench(lambda: store).run("more"), lambda: store.append(1, [("more", FACT)], 21.0)):
            try:
                act()
            except Busy as error:
                refused.append(error)

    with closing(store), store.lock:  # somebody writes, for as long as this takes
        came = threading.Thread(target=come, daemon=True)
        came.start()
        came.join(15)
        assert not came.is_alive() and len(refused) == 2


@pytest.mark.parametrize("query", ["OPEN", "UNREAD", "IS_RUN", "KNOWN_LETTERS"])
def test_a_refusal_looks_at_a_row_however_many_wait(query: str, tmp_path: Path) -> None:
    with closing(_full(tmp_path / "callboard.db")) as store:
        bindings = {"OPEN": (), "UNREAD": (1,), "IS_RUN": ("a",), "KNOWN_LETTERS": (1, "[1]")}[query]
        plan = [str(row[3]) for row in store.rows(f"EXPLAIN QUERY PLAN {getattr(queries, query)}", bindings)]
        scanned = [line for line in plan if line.startswith("SCAN") and line not in ("SCAN queue", "SCAN f VIRTUAL")]
        assert not [line for line in scanned if "VIRTUAL TABLE" not in line], plan


def test_a_project_of_an_older_version_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "callboard.db"
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
        older.setattr(queries, "RECOUNT", "SELECT 1")
        older.setattr("callboard.store.sql.room.for_runs", lambda *args, **more: None)
        older.setattr("callboard.store.sql.room.for_letters", lambda *args, **more: None)
        store = _full(path)
        store.close()
    with closing(SQLiteStore(path, bounds=LOW)) as store:
        assert store.row(queries.OPEN) == (LOW.runs,)
        assert store.row(queries.UNREAD, (1,)) == (LOW.runs + LOW.letters - 1, LOW.letters)
        with pytest.raises(Busy):
            Bench(lambda: store).run("more")


def test_a_count_that_was_damaged_is_mended_when_the_project_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "callboard.db"
    _full(path).close()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE queue SET runs = 5000, letters = -7")
    with closing(SQLiteStore(path, bounds=LOW)) as store:
        assert store.row("SELECT runs, letters FROM queue") == (LOW.runs, LOW.runs + LOW.letters - 1)


CROWD = """
import sys
from callboard.errors import Busy
from callboard.ports import Bounds
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.kits.bench import FACT, Bench
path, who = sys.argv[1:]
store = SQLiteStore(path, bounds=Bounds(runs=25, letters=40, all_letters=1000))
bench = Bench(lambda: store)
sys.stdin.read()
accepted = []
for number in range(30):
    for kind, act in (
        ("run", lambda: bench.run(f"{who}-{number}")),
        ("letter", lambda: store.append(1, [(f"{who}-{number}", FACT)], 1.0)),
    ):
        try:
            act()
        except Busy as error:
            assert error.retry_after > 0
        else:
            accepted.append(f"{kind} {who}-{number}")
print(*accepted, sep=chr(10))
"""


@pytest.mark.timeout(120)
def test_several_processes_keep_the_bound_to_the_last_run_and_letter(tmp_path: Path) -> None:
    path = tmp_path / "callboard.db"
    with closing(SQLiteStore(path)) as store:
        Bench(lambda: store).run("first")
        crowd = [
            subprocess.Popen(
                [sys.executable, "-c", CROWD, str(path), str(who)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for who in range(3)
        ]  # fmt: skip
        for process in crowd:  # all of them go before anybody waits for one
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        told = [process.communicate()[0].split("\n")[:-1] for process in crowd]
        assert [process.returncode for process in crowd] == [0, 0, 0]
        accepted = {line for lines in told for line in lines}
        assert {f"run {row.id}" for row in store.runs() if row.id != "first"} == {
            line for line in accepted if line.startswith("run")
        }
        letters = {f"letter {letter.id}" for letter in store.inbox(1, 0) if letter.id != "begun"}
        assert letters == {line for line in accepted if line.startswith("letter")}
        assert len(store.open_runs()) == 25 and len(letters) == 39


def test_who_has_waited_for_the_lock_is_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them saw room for one more."""
    store = SQLiteStore(tmp_path / "callboard.db", bounds=LOW)
    bench, looked, accepted = Bench(lambda: store), threading.Semaphore(0), list[str]()
    for name in ("a", "b"):
        bench.run(name)
    count = room.for_runs

    def for_runs(*arguments: Any) -> None:
        try:
            count(*arguments)
        finally:
            looked.release()

    def come(name: str) -> None:
        try:
            bench.run(name)
        except Busy:
            return
        accepted.append(name)

    monkeypatch.setattr(room, "for_runs", for_runs)
    crowd = [threading.Thread(target=come, args=(f"c{n}",)) for n in range(4)]
    with closing(store):
        with store.lock:
            for thread in crowd:
                thread.start()
            for _ in crowd:
                assert looked.acquire(timeout=20)
        for thread in crowd:
            thread.join(20)
        assert len(accepted) == 1 and len(store.open_runs()) == LOW.runs
