"""The reserve on a real disk, what is missing in words, and content that finds no room."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from callboard.core.deadline import Now, after
from callboard.errors import NoRoom, NotFound, StoreError
from callboard.ports import Owner, Write
from callboard.store import room, whole
from callboard.store.room import Reserve, demand_beginning, no_room, words
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME = Owner("here", "boot", 1, 1.0, "me")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / ".callboard/run").mkdir(parents=True)
    return tmp_path / ".callboard/run/reserve"


def _failing(monkeypatch: pytest.MonkeyPatch, number: int, most: int = 0) -> None:
    """From now on nothing that is larger than `most` can be allocated."""
    real = room.allocate

    def allocate(file: int, size: int) -> None:
        if size > most:
            raise OSError(number, os.strerror(number))
        real(file, size)

    monkeypatch.setattr(room, "allocate", allocate)


def test_a_reserve_is_really_allocated_and_nobody_elses(place: Path) -> None:
    assert Reserve(place).make() == ""
    status = place.stat()
    assert status.st_size == room.SIZE <= status.st_blocks * 512
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert os.listdir(place.parent) == ["reserve"]


def test_it_is_given_up_once_and_made_again(place: Path) -> None:
    reserve = Reserve(place)
    reserve.make()
    assert (reserve.give_up(), reserve.give_up(), place.exists()) == (True, False, False)
    assert reserve.make() == "" and place.stat().st_size == room.SIZE


def test_one_that_is_not_whole_is_none(place: Path) -> None:
    place.write_bytes(b"half")
    assert Reserve(place).make() == "" and place.stat().st_size == room.SIZE


@pytest.mark.parametrize("how", ["no-nameless", "no-links", "no-fallocate"])
def test_it_can_be_made_where_a_file_system_can_do_less(place: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **more: Any) -> None:
        raise OSError(errno.EPERM, "not here")

    match how:
        case "no-nameless":
            monkeypatch.setattr(room, "_NAMELESS", 0)
        case "no-links":
            monkeypatch.setattr(os, "link", refused)
        case "no-fallocate":
            monkeypatch.delattr(os, "posix_fallocate")
    assert Reserve(place).make() == "" and place.stat().st_size == room.SIZE
    assert os.listdir(place.parent) == ["reserve"]


def test_it_is_not_made_without_room_beside_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, errno.ENOSPC, room.SIZE)
    assert Reserve(place).make() == "the disk is full"
    assert os.listdir(place.parent) == []
    assert Reserve(place).lacking() == ""


def test_who_looks_from_outside_sees_that_it_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, real = Reserve(place), os.statvfs
    assert reserve.missing() == ""  # given up, and there is room again

    def statvfs(path: Any) -> os.statvfs_result:
        told = list(real(path))
        told[4] = 10  # blocks that are free
        return os.statvfs_result(told)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert reserve.missing() == "the disk is full"
    reserve.make()
    assert reserve.missing() == ""


def test_something_new_is_refused_with_the_fix(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = Reserve(place)
    reserve.demand()
    _failing(monkeypatch, errno.ENOSPC)
    with pytest.raises(NoRoom, match=r"nothing new is begun in .*: the disk is full\n  fix: free some room") as told:
        reserve.demand()
    assert (told.value.lacks, told.value.exit_code) == ("the disk is full", 9)


def test_a_new_project_is_refused_before_anything_of_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand_beginning(tmp_path / "not/there/yet")
    _failing(monkeypatch, errno.EDQUOT)
    with pytest.raises(NoRoom, match=r"the disk quota is used up\n  fix: .*--project DIR"):
        demand_beginning(tmp_path / "not/there/yet")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EMFILE, "this process has no file descriptors left"),
        (errno.EACCES, "the project's folder may not be written to"),
    ],
)
def test_what_is_missing_is_said_in_words(tmp_path: Path, number: int, said: str) -> None:
    told = no_room(OSError(number, "…"), tmp_path)
    assert told is not None and told.lacks == said and str(told).startswith(said)


def test_another_error_is_not_about_room(tmp_path: Path) -> None:
    assert no_room(OSError(errno.EIO, "broken"), tmp_path) is None
    assert "broken" in words(OSError(errno.EIO, "broken"), tmp_path)


# ── content ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "callboard.db")
    yield store
    store.close()


class Full:
    """A disk that takes no content while `is_so`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_so, self._create = True, whole.create
        monkeypatch.setattr(whole, "create", self.create)

    def create(self, directory: Path, name: str, data: bytes, *, synced: bool = True) -> bool:
        if self.is_so:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._create(directory, name, data, synced=synced)


def _claimed(store: SQLiteStore) -> int:
    row = store.create_run(id="show", name="show", plan="{}", params="{}", face="test", at=1.0)
    now = Now(1.0, "boot", 1.0)
    assert store.claim(row.number, ME, after(now, 30.0), now, alive=lambda owner: False) == 1
    return row.number


def test_content_without_room_waits_and_no_commit_overtakes_it(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, disk = _claimed(store), Full(monkeypatch)
    with pytest.raises(NoRoom, match="the disk is full"):
        store.put(b"document")
    hash = store.keep(b"document")
    write = Write(run, 1, 2.0, documents=[("a.md", hash, None, run << 40 | 1, "pending")])
    for commit in store.commit, store.try_commit:
        with pytest.raises(NoRoom):
            commit([write])
    assert store.documents(run) == [] and store.get(hash) == b"document"
    disk.is_so = False
    store.commit([write])
    assert [row[2] for row in store.documents(run)] == [hash]
    assert store.content.path(hash).read_bytes() == b"document"


def test_what_waits_is_gone_with_its_process(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Full(monkeypatch)
    hash = store.keep(b"document")
    other = SQLiteStore(store.path)
    try:
        with pytest.raises(NotFound):
            other.get(hash)
    finally:
        other.close()


def test_a_disk_that_is_read_only_is_called_so(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.close()

    def refused(*args: Any, **more: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "callboard.db.turn")

    monkeypatch.setattr("callboard.store.sql.database.WriteLock", refused)
    with pytest.raises(StoreError, match="the disk is read-only: nothing of this was recorded"):
        SQLiteStore(store.path)
