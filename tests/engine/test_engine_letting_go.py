"""One run is let go while the others go on: interrupted in good order, released, resumable by anybody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine_stage import Faulty, full, reload, turn, until

from callboard.core.facts import Continued
from callboard.core.plan import Review, Task
from callboard.core.status import RUNNING, SUCCESS
from callboard.ports import Done
from callboard.testing.scripted import HANG

if TYPE_CHECKING:
    from engine_stage import Stage


async def test_one_run_is_halted_and_the_others_go_on(stage: Stage) -> None:
    first, second = stage.run("a", "b", id="first"), stage.run("a", Task("b", needs=("a",)), id="second")
    release = stage.backend.hold("a")
    engine = await stage.engine()
    await engine.submit(first, second)
    await until(lambda: len(stage.backend.begun) == 3)
    assert await engine.let_go(first)
    assert first not in engine.runs and stage.store.find_run("first").owner is None
    assert reload(stage.store, first).holds == {"interrupted"}
    assert stage.statuses(first) == {"a": "QUEUED", "b": "SUCCESS"}
    release()
    assert await engine.ended(second) is SUCCESS


async def test_what_was_let_go_goes_on_where_it_was_left(stage: Stage) -> None:
    run = stage.run("a", Task("b", needs=("a",)))
    stage.backend.script["b"] = [HANG, "again"]
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    assert await engine.let_go(run)
    assert await engine.let_go(run), "twice is once"
    await engine.submit(run)
    await engine.post(run, Continued())
    assert await engine.ended(run) is SUCCESS
    assert [(one.name, one.number) for one in stage.backend.begun] == [("a", 1), ("b", 1), ("b", 1)]


async def test_a_run_that_waits_is_released_as_it_is(stage: Stage) -> None:
    run = stage.run(Task("a", review=Review()))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: engine.runs[run].run is not None and engine.runs[run].run.held)
    assert await engine.let_go(run, interrupt=False)
    assert reload(stage.store, run).holds == set() and stage.store.find_run("show").owner is None


async def test_a_run_that_is_at_work_is_not_released_without_an_interruption(stage: Stage) -> None:
    run = stage.run("a")
    release = stage.backend.hold("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    assert not await engine.let_go(run, interrupt=False)
    release()
    assert await engine.ended(run) is SUCCESS


async def test_documents_that_were_recorded_are_put_in_place_before_it_is_released(stage: Stage) -> None:
    hash = stage.store.put(b"text")
    placed: list[str] = []
    stage.backend.script |= {"a": Done('{"value":1}', documents=[("a.md", hash, None)]), "b": HANG}
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine(put_document=lambda run, path, hash, replaces: placed.append(path))
    await engine.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    assert await engine.let_go(run)
    assert placed == ["a.md"] and [row[5] for row in stage.store.documents(run)] == ["published"]


async def test_a_full_disk_holds_up_nobody_who_lets_go(stage: Stage) -> None:
    run = stage.run("a")
    stage.backend.script["a"] = [HANG, "again"]
    store = Faulty(stage.store, fails=full(3, 4, 5, 6, 7, 8, 9))
    engine = await stage.engine(store)
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    store.fails = full(*range(store.commits + 1, 100))
    assert await asyncio.wait_for(engine.let_go(run), 20)
    assert stage.backend.stopped == ["a"] and stage.status(run) is RUNNING
    again = await stage.engine()
    await again.submit(run)
    await turn()
    assert await again.ended(run) is SUCCESS


async def test_another_run_that_never_rests_holds_up_nobody(stage: Stage) -> None:
    links = 20_000
    busy = stage.run(*(Task(f"t{n}", needs=(f"t{n - 1}",) if n else ()) for n in range(links)), id="busy")
    run = stage.run("slow", id="slow")
    stage.backend.script["slow"] = HANG
    engine = await stage.engine()
    await engine.submit(run, busy)
    await until(lambda: any(one.name == "slow" for one in stage.backend.begun))
    assert await engine.let_go(run)
    assert len(stage.backend.begun) < links and stage.status(busy) is RUNNING, "it did not wait for the other one"
    before = len(stage.backend.begun)
    await until(lambda: len(stage.backend.begun) > before)
