"""A disk without room: the reserve is given up, what is at work is recorded, nothing starts, and it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine_stage import Faulty, Stage, passing, turn, until

from callboard.core.plan import Map, Task
from callboard.core.status import RUNNING, SUCCESS
from callboard.engine import room
from callboard.errors import NoRoom, StoreError
from callboard.ports import Done
from callboard.testing.scripted import HANG, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.ports import Write

FULL = "the disk is full"


class Disk:
    """Has `free` units of room; a commit takes one, the reserve three. The port `Reserve`."""

    def __init__(self, free: int = 100, *, reserve: int = 3, fails: str = FULL) -> None:
        self.free, self.reserve, self.fails = free, reserve, fails
        self.made = self.given_up = 0

    def lacking(self, size: int = 0) -> str:
        return "" if self.free >= (4 if size else 1) else self.fails

    def make(self) -> str:
        if self.reserve:
            return self.lacking()
        if self.free < 4:
            return self.fails
        self.free, self.reserve, self.made = self.free - 3, 3, self.made + 1
        return ""

    def give_up(self) -> bool:
        given, self.reserve = self.reserve, 0
        self.free += given
        self.given_up += bool(given)
        return bool(given)


class OnDisk(Faulty):
    """A store on such a disk."""

    def __init__(self, stage: Stage, disk: Disk, error: type[StoreError] = NoRoom) -> None:
        super().__init__(stage.store)
        self.disk, self.error, self.loads = disk, error, 0

    def commit(self, writes: Sequence[Write]) -> None:
        self.commits += 1
        if not self.disk.free:
            raise NoRoom(FULL, FULL) if self.error is NoRoom else StoreError("the disk failed")
        self.inner.commit(writes)
        self.disk.free -= 1

    def load(self, run: int) -> object:
        self.loads += 1
        return self.inner.load(run)


def _told(stage: Stage) -> list[str]:
    return [why for state, why in stage.said if state in ("paused", "running")]


async def test_what_was_at_work_is_recorded_in_the_room_of_the_reserve_and_nothing_starts(stage: Stage) -> None:
    release = stage.backend.hold("a")
    stage.backend.script["c"] = HANG
    run = stage.run("a", Task("b", needs=("a",)), Task("c"))
    disk = Disk()
    engine = await stage.engine(OnDisk(stage, disk), reserve=disk)
    await engine.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    disk.free = 0
    release()
    await passing(stage.clock, lambda: stage.value(run), seconds=0.0)
    assert disk.given_up == 1
    await turn()
    assert stage.statuses(run)["b"] == "QUEUED" and len(stage.backend.begun) == 2
    assert len(_told(stage)) == 1 and _told(stage)[0].startswith(f"paused: {FULL}")


async def test_it_goes_on_by_itself_when_the_reserve_stands_again(stage: Stage) -> None:
    run = stage.run("a", Task("b", needs=("a",)), Task("c", needs=("b",)))
    disk = Disk(2)
    engine = await stage.engine(OnDisk(stage, disk), reserve=disk)
    await engine.submit(run)
    await passing(stage.clock, lambda: disk.given_up, seconds=0.0)
    for _ in range(20):
        await turn()
        stage.clock.advance(1.0)
    assert stage.status(run) is RUNNING and not disk.made
    disk.free = 50
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS, seconds=0.5)
    assert disk.made == 1 and disk.reserve == 3
    assert _told(stage)[1:] == [room.OVER]
    assert [one.name for one in stage.backend.begun] == ["a", "b", "c"]


async def test_within_ten_seconds_of_room_it_goes_on_even_after_a_long_pause(stage: Stage) -> None:
    run = stage.run("a", Task("b", needs=("a",)))
    disk = Disk(0, reserve=0)
    engine = await stage.engine(OnDisk(stage, disk), reserve=disk)
    await engine.submit(run)
    for _ in range(200):
        await turn(20)
        stage.clock.advance(5.0)
    disk.free = 50
    began = stage.clock.now().elapsed
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS, seconds=0.25)
    assert stage.clock.now().elapsed - began <= 10.0


async def test_without_any_room_runs_are_not_even_read_again(stage: Stage) -> None:
    run = stage.run("a", Task("b", needs=("a",)))
    disk = Disk(1)
    store = OnDisk(stage, disk)
    engine = await stage.engine(store, reserve=disk)
    await engine.submit(run)
    disk.free = disk.reserve = 0
    await passing(stage.clock, lambda: _told(stage), seconds=0.0)
    for _ in range(5):
        await turn()
    loads, commits = store.loads, store.commits
    for _ in range(30):
        await turn(20)
        stage.clock.advance(1.0)
    assert (store.loads - loads, store.commits - commits) == (0, 0)


async def test_an_error_of_the_disk_counts_as_no_room_when_nothing_can_be_written(stage: Stage) -> None:
    run = stage.run("a", Task("b", needs=("a",)))
    disk = Disk(1)
    engine = await stage.engine(OnDisk(stage, disk, StoreError), reserve=disk)
    await engine.submit(run)
    await passing(stage.clock, lambda: disk.given_up, seconds=0.0)
    assert _told(stage)[0].startswith(f"paused: {FULL}")


async def test_an_engine_without_its_reserve_begins_paused(stage: Stage) -> None:
    run = stage.run("a")
    disk = Disk(2, reserve=0)
    engine = await stage.engine(OnDisk(stage, disk), reserve=disk)
    await engine.submit(run)
    await turn()
    assert not stage.backend.begun and _told(stage)
    disk.free = 50
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)


async def test_pages_of_a_list_and_retries_wait_for_room_too(stage: Stage) -> None:
    backend = ScriptedBackend({"m": lambda work: work.item}, lists={"m": [[("x", 1), ("y", 2)], [("z", 3)]]})
    run = stage.run(Task("m", map=Map()))
    disk = Disk(2)
    engine = await stage.engine(OnDisk(stage, disk), backend, reserve=disk)
    await engine.submit(run)
    await passing(stage.clock, lambda: disk.given_up, seconds=0.0)
    disk.free = 100
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert len(backend.begun) == 3


async def test_a_document_without_a_place_may_have_the_reserve(stage: Stage) -> None:
    disk, tries = Disk(), 0

    def put(run: int, path: str, hash: str, replaces: str | None) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            disk.free = 3  # somebody was quicker
            raise StoreError("no room for it")

    hash = stage.store.put(b"text")
    stage.backend.script["a"] = Done('{"value":2}', documents=[("a.md", hash, None)])
    run = stage.run("a")
    engine = await stage.engine(OnDisk(stage, disk), reserve=disk, put_document=put)
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert (tries, disk.given_up) == (2, 1)


async def test_where_room_only_seems_to_be_it_is_not_told_to_and_fro(stage: Stage) -> None:
    """A folder that may not be written to, beside a reserve that can be made."""
    run = stage.run("a", Task("b", needs=("a",)))
    disk = Disk(50)
    store = OnDisk(stage, disk)
    store.fails = lambda n: NoRoom("its folder may not be written to", "its folder may not be written to")
    store.commit = lambda writes: Faulty.commit(store, writes)  # type: ignore[method-assign]
    engine = await stage.engine(store, reserve=disk)
    await engine.submit(run)
    await until(lambda: store.commits)
    for _ in range(10):
        tried = store.commits
        stage.clock.advance(1.0)
        await until(lambda tried=tried: store.commits > tried)  # type: ignore[misc]
    assert len(_told(stage)) == 1
    store.fails = lambda n: None
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert _told(stage)[1:] == [room.OVER]
