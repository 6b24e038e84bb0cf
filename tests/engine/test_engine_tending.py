"""The daily copy is made by engines, beside their work, and whether it can be made concerns nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine_stage import Calm, Stage

from callboard.core.status import SUCCESS, Status
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
