"""The daily copy is made by engines, beside their work, and whether it can be made concerns nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine_stage import Calm, Stage, until

from callboard.core.status import SUCCESS, Status
from callboard.engine.doorbell import Doorbell
from callboard.engine.tending import EVERY
from callboard.errors import StoreError
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.scripted import HANG

if TYPE_CHECKING:
    from pathlib import Path

    from pytest import MonkeyPatch


def _looked(stage: Stage, monkeypatch: MonkeyPatch, error: Exception | None = None) -> list[float]:
    """The times at which the store was asked for a copy."""
    looks: list[float] = []

    def look(wall: float) -> None:
        looks.append(wall)
        if error is not None:
            raise error

    monkeypatch.setattr(stage.store, "backup_if_due", look)
    return looks


async def test_an_engine_that_leaves_in_good_order_looks_whether_a_copy_is_due(
    stage: Stage, monkeypatch: MonkeyPatch
) -> None:
    looks = _looked(stage, monkeypatch)
    engine = await stage.engine()
    run = stage.run("a")
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS and not looks
    await engine.stop()
    assert looks == [stage.clock.now().wall]


async def test_one_that_is_interrupted_keeps_nobody_waiting_for_a_copy(stage: Stage, monkeypatch: MonkeyPatch) -> None:
    looks = _looked(stage, monkeypatch)
    stage.backend.script["a"] = HANG
    engine = await stage.engine()
    await engine.submit(stage.run("a"))
    await engine.stop()
    assert looks == []


async def test_one_that_stays_looks_every_minute_and_goes_on_without_a_copy(
    stage: Stage, monkeypatch: MonkeyPatch
) -> None:
    looks, threads = _looked(stage, monkeypatch, StoreError("the disk is full")), Calm()
    engine = await stage.engine(threads=threads)
    every, look = threads.beats["callboard-tending"]
    await asyncio.to_thread(look)
    assert (every, len(looks)) == (EVERY, 1)
    run = stage.run("a")
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS


async def test_what_was_copied_is_the_project_as_it_was_left(tmp_path: Path) -> None:
    stage = Stage(SQLiteStore(tmp_path / "callboard.db"))
    engine = await stage.engine()
    run = stage.run("a")
    await engine.submit(run)
    await engine.ended(run)
    await engine.stop()
    (copy,) = (tmp_path / "backups").glob("callboard-*.db")
    kept = SQLiteStore(copy, readonly=True)
    assert Status(kept.find_run(run).status) is SUCCESS
    kept.close()
    stage.store.close()


def hung(folder: Path, name: str) -> Doorbell:
    """The bell of an engine that hangs it and does no more."""
    bell = Doorbell(folder, name)
    bell.hang(asyncio.get_running_loop(), lambda: None)
    return bell


def dies(bell: Doorbell) -> None:
    asyncio.get_running_loop().remove_reader(bell._socket)
    bell._socket.close()  # type: ignore[union-attr]


async def test_where_a_bell_is_silent_an_engine_looks_for_what_is_left_when_it_starts(
    stage: Stage, tmp_path: Path
) -> None:
    looks, living, dead = list[object](), hung(tmp_path, "living"), hung(tmp_path, "dead")
    dies(dead)
    engine = await stage.engine(folder=tmp_path, clear=lambda had: looks.append((had, dead.path.exists())))
    await engine.stop()
    assert looks == [(None, True)]
    assert living.path.exists() and not dead.path.exists()
    await (await stage.engine(folder=tmp_path, clear=looks.append)).stop()
    assert len(looks) == 1  # nobody has died since
    living.take_down()


async def test_who_dies_later_is_looked_for_within_the_minute(stage: Stage, tmp_path: Path) -> None:
    beats, looks, other = Calm(), list[object](), hung(tmp_path, "other")
    engine = await stage.engine(folder=tmp_path, threads=beats, clear=looks.append)
    _, look = beats.beats["callboard-tending"]
    look()
    assert not looks
    dies(other)
    look()
    look()
    assert looks == [None] and not other.path.exists()
    await engine.stop()


async def test_a_look_that_fails_is_taken_again(stage: Stage, tmp_path: Path) -> None:
    beats, looks, dead = Calm(), list[object](), hung(tmp_path, "dead")
    dies(dead)

    def clear(had: object) -> None:
        looks.append(had)
        if len(looks) == 1:
            raise StoreError("the disk is full")

    engine = await stage.engine(folder=tmp_path, threads=beats, clear=clear)
    engine._tending._clearing.shutdown()  # type: ignore[union-attr]
    assert len(looks) == 1 and dead.path.exists()
    beats.beats["callboard-tending"][1]()
    assert len(looks) == 2 and not dead.path.exists()
    await engine.stop()


async def test_what_one_has_left_is_ended_before_its_run_goes_on(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    first = await stage.engine()
    run = stage.run("a")
    await first.submit(run)
    await until(lambda: len(stage.backend.works) == 1)
    await stage.kill(first)
    del stage.backend.script["a"]
    looks: list[object] = []
    second = await stage.engine(clear=lambda had: looks.append((had, len(stage.backend.works))))
    await second.submit(run)
    assert await second.ended(run) is SUCCESS
    assert (first.owner, 1) in looks and len(stage.backend.works) == 2
