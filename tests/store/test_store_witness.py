"""The log of a database: taken away, cut, exchanged, after every process was killed. And copies, once a day."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from callboard.core.plan import Plan, Task, dump
from callboard.errors import StoreDamaged, StoreError
from callboard.store.sql import backups
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = dump(Plan((Task("first"),)))


def make(store: SQLiteStore, id: str) -> None:
    store.create_run(id=id, name=id, plan=PLAN, params="{}", face="x", at=1.0)


def left_behind(tmp_path: Path, name: str = "killed", runs: int = 5) -> Path:
    """The database of a process that was killed: some commits are copied back, some stand in the log only."""
    live = tmp_path / f"live-{name}" / "callboard.db"
    with closing(SQLiteStore(live)) as store:
        make(store, "first")
        store.checkpoint()
        for number in range(runs):
            make(store, f"{name}-{number}")
        shutil.copytree(live.parent, tmp_path / name)
    return tmp_path / name / "callboard.db"


def log(path: Path) -> Path:
    return Path(f"{path}-wal")


def test_a_log_that_is_left_is_read_to_its_end(tmp_path: Path) -> None:
    path = left_behind(tmp_path)
    with closing(SQLiteStore(path)) as store:
        assert len(store.runs()) == 6 and not store.faults


def _cut(path: Path) -> None:
    os.truncate(log(path), 32 + 3 * (24 + 4096))


def _flip(path: Path) -> None:
    data = bytearray(log(path).read_bytes())
    data[32 + 24 + 100] ^= 1
    log(path).write_bytes(data)


def _flip_the_header(path: Path) -> None:
    data = bytearray(log(path).read_bytes())
    data[26] ^= 1
    log(path).write_bytes(data)


def _take_away(path: Path) -> None:
    log(path).unlink()


def _exchange(path: Path) -> None:
    other = left_behind(path.parent.parent, "other", 9)
    log(path).write_bytes(log(other).read_bytes())


def _exchange_database(path: Path) -> None:
    other = left_behind(path.parent.parent, "other", 9)
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").write_bytes(Path(f"{other}{end}").read_bytes())


HARMS = [_cut, _flip, _flip_the_header, _take_away, _exchange, _exchange_database]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__.strip("_"))
def test_commits_that_are_missing_are_missed_and_it_stays_said(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = left_behind(tmp_path)
    harm(path)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match="callboard repair"):
            SQLiteStore(path)
    if harm is _exchange_database:
        with pytest.raises(StoreDamaged, match="another database"):
            SQLiteStore(path, readonly=True)
    elif harm is not _exchange:
        with closing(SQLiteStore(path, readonly=True)) as store:
            assert store.faults


def test_a_log_of_which_everything_was_copied_back_may_go(tmp_path: Path) -> None:
    path = left_behind(tmp_path)
    SQLiteStore(path).close()
    _take_away(path)
    with closing(SQLiteStore(path)) as store:
        assert len(store.runs()) == 6


def test_after_another_boot_the_index_proves_nothing(tmp_path: Path) -> None:
    path = left_behind(tmp_path)
    note = path.parent / "run" / "callboard.db.known"
    note.write_text(note.read_text().replace('"boot": "', '"boot": "another '))
    _take_away(path)
    with closing(SQLiteStore(path)) as store:
        assert [row.id for row in store.runs()] == ["first"]


def test_a_database_that_was_removed_is_begun_anew(tmp_path: Path) -> None:
    path = left_behind(tmp_path)
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    with closing(SQLiteStore(path)) as store:
        assert not store.runs()
    SQLiteStore(path).close()


def test_a_page_of_the_journal_that_is_lost_makes_no_other_database(tmp_path: Path) -> None:
    path = left_behind(tmp_path)
    SQLiteStore(path).close()
    with closing(apsw.Connection(str(path))) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'").get
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    path.write_bytes(data)
    with closing(SQLiteStore(path, readonly=True)) as store:
        assert store.faults and store.rows("SELECT id FROM run WHERE id = 'first'") == [("first",)]


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_log_without_its_database_is_not_thrown_away(tmp_path: Path, is_empty: bool) -> None:
    path = left_behind(tmp_path)
    before = log(path).read_bytes()
    path.write_bytes(b"") if is_empty else path.unlink()
    for readonly in (False, True) if is_empty else (False,):
        with pytest.raises(StoreDamaged, match="its log is there"):
            SQLiteStore(path, readonly=readonly)
    assert log(path).read_bytes() == before


def test_a_table_that_has_lost_a_letter_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "callboard.db"
    SQLiteStore(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'revision', 'revisiom') WHERE name = 'record'")
    connection.close()
    with pytest.raises(StoreDamaged, match="record"):
        SQLiteStore(path)


def test_a_copy_is_made_once_a_day_and_seven_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "callboard.db"
    day = backups.EVERY
    with closing(SQLiteStore(path)) as store:
        made = [store.backup_if_due(1.8e9 + hours * day / 24) for hours in range(0, 24 * 10, 4)]
        assert len([one for one in made if one is not None]) == 10
        kept = backups.found(tmp_path / "backups", path)
        assert kept == [one for one in made if one is not None][:-8:-1]
        make(store, "later")
        assert store.backup_if_due(1.7e9) is not None, "a clock that was set back"
    with closing(SQLiteStore(kept[0], readonly=True)) as copy:
        assert copy.check() == [] and not copy.runs()


def test_copies_do_not_multiply_when_the_clock_jumps(tmp_path: Path) -> None:
    path, folder, day = tmp_path / "callboard.db", tmp_path / "backups", backups.EVERY
    now = 1.8e9

    def made(wall: float) -> int:
        return sum(store.backup_if_due(wall) is not None for _ in range(3))

    with closing(SQLiteStore(path)) as store:
        assert made(now) == 1
        assert [made(now - seconds) for seconds in range(0, 3600, 60)] == [0] * 60, "backwards in steps"
        assert [made(now + years * 365 * day) for years in (68, -10, -68)] == [1, 1, 1]
        assert [made(now + years * 365 * day) for years in (0, 68, -10, -68)] == [0, 0, 0, 0]
        for later in range(20):  # a wrong clock that runs for weeks, again and again
            store.backup_if_due(now + (68 * 365 + later) * day)
        assert len(backups.found(folder, path)) == backups.KEPT
        assert [made(now + days * day) for days in range(2, 12)] == [1] * 10
        assert [path.name for path in backups.found(folder, path)] == [
            backups.place(folder, path, now + days * day).name for days in range(11, 4, -1)
        ]


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "callboard.db"
    with closing(SQLiteStore(path)) as store:
        monkeypatch.setattr(backups.files, "sync_file", _full)
        with pytest.raises(StoreError, match="full"):
            store.backup_if_due(1.8e9)
        assert not list((tmp_path / "backups").iterdir())
        with backups.alone(tmp_path / "run" / "callboard.db.backup") as alone:
            assert alone and store.backup_if_due(1.8e9) is None, "somebody else is at it"


def _full(path: Path) -> None:
    raise apsw.FullError(str(path))


def test_looking_into_the_index_leaves_the_locks_of_this_process_on_it(tmp_path: Path) -> None:
    path = tmp_path / "callboard.db"
    first = SQLiteStore(path)
    assert _locks(path)
    for store in (SQLiteStore(path), SQLiteStore(path, readonly=True)):
        store.close()
    assert _locks(path), "another store of this process was closed, and its descriptors with it"
    kept = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        SQLiteStore(path).close()
    assert len(os.listdir("/proc/self/fd")) == kept
    first.close()
    assert not _locks(path)


def _locks(path: Path) -> list[str]:
    """The kernel's record of this process's locks on the index."""
    inode = os.stat(f"{path}-shm").st_ino
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [
        " ".join(row)
        for row in rows
        if row[1] == "POSIX" and row[4] == str(os.getpid()) and row[5].endswith(f":{inode}")
    ]
