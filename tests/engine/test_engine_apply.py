"""Commands to runs that nobody carries out, and to runs that somebody does."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from engine_stage import Stage, reload, until

from callboard.core.executions import pack
from callboard.core.facts import Approved, Cancelled, Continued, Edited, Paused, Rejected, Resumed
from callboard.core.plan import Review, Task
from callboard.core.status import FAILED, RUNNING, STOPPED, SUCCESS
from callboard.engine.apply import apply
from callboard.errors import NotFound, Refused
from callboard.ports import Done
from callboard.testing.scripted import HANG

if TYPE_CHECKING:
    from pathlib import Path


async def _left_behind(stage: Stage) -> int:
    """A run whose engine died with `a` at work."""
    stage.backend.script["a"] = HANG
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await stage.kill(engine)
    return run


async def test_a_command_to_a_run_without_engine_shows_its_effect_at_once(stage: Stage) -> None:
    run = await _left_behind(stage)
    assert apply(stage.store, stage.clock, run, [Paused()]) == (True, RUNNING)
    loaded = reload(stage.store, run)
    assert loaded.holds == {"paused"} and loaded.nodes[0].status.name == "QUEUED"
    row = stage.store.find_run(run)
    assert row.owner is None and not stage.store.waiting()


async def test_cancelling_a_dead_run_ends_it(stage: Stage) -> None:
    run = await _left_behind(stage)
    assert apply(stage.store, stage.clock, run, [Cancelled()]) == (True, STOPPED)
    assert stage.statuses(run)["a"] == "STOPPED"


async def test_nothing_is_started_by_a_command(stage: Stage) -> None:
    run = stage.run("a")
    assert apply(stage.store, stage.clock, run, [Paused()]) == (True, RUNNING)
    apply(stage.store, stage.clock, run, [Resumed()], id="r")
    assert not stage.backend.begun and stage.statuses(run) == {"a": "QUEUED"}
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS


async def test_a_command_that_cannot_be_is_refused_aloud(stage: Stage) -> None:
    run = await _left_behind(stage)
    with pytest.raises(Refused, match="not paused"):
        apply(stage.store, stage.clock, run, [Resumed()])
    with pytest.raises(NotFound):
        apply(stage.store, stage.clock, 99, [Resumed()])


async def test_a_command_to_a_living_engine_waits_in_its_inbox_until_the_bell(stage: Stage, tmp_path: Path) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine(folder=tmp_path)
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    assert apply(stage.store, stage.clock, run, [Cancelled()], folder=tmp_path) == (False, RUNNING)
    assert await engine.ended(run) is STOPPED


async def test_an_interrupted_run_is_continued(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await engine.stop()
    stage.backend.script["a"] = 1
    apply(stage.store, stage.clock, run, [Continued()])
    again = await stage.engine(serve=True)
    assert await again.ended(run) is SUCCESS


async def test_a_draft_keeps_its_documents_until_it_is_approved_whoever_applies_that(stage: Stage) -> None:
    """The engine dies between draft and approval; a command edits and approves; another engine puts it in place."""
    hash = stage.store.put(b"draft")
    outcome = f'{{"value":"draft","documents":[{{"path":"a.md","hash":"{hash}"}}]}}'
    stage.backend.script["a"] = Done(outcome, documents=[("a.md", hash, None)])
    run = stage.run(Task("a", review=Review()))
    put: list[tuple[int, str, str, str | None]] = []
    engine = await stage.engine(put_document=lambda *document: put.append(document))
    await engine.submit(run)
    await until(lambda: reload(stage.store, run).nodes[0].hold == "review")
    await stage.kill(engine)
    assert not put and not stage.store.documents(run)

    apply(stage.store, stage.clock, run, [Edited("a", 1, "e", '{"value":"edited"}')])
    apply(stage.store, stage.clock, run, [Approved("a", 1, "e")])
    edited = sha256(b"edited").hexdigest()
    assert stage.store.get(edited) == b"edited"
    assert [row[1:] for row in stage.store.documents(run)] == [("a.md", edited, None, pack(run, 0, 1), "pending")]
    assert stage.status(run) is RUNNING and not put

    again = await stage.engine(put_document=lambda *document: put.append(document), serve=True)
    assert await again.ended(run) is SUCCESS
    assert put == [(run, "a.md", edited, None)]


async def test_a_rejected_draft_takes_its_documents_with_it(stage: Stage) -> None:
    hash = stage.store.put(b"draft")
    stage.backend.script["a"] = Done('{"value":"draft"}', documents=[("a.md", hash, None)])
    run = stage.run(Task("a", review=Review()))
    put: list[object] = []
    engine = await stage.engine(put_document=lambda *document: put.append(document))
    await engine.submit(run)
    await until(lambda: reload(stage.store, run).nodes[0].hold == "review")
    await engine.post(run, Rejected("a", 1))
    assert await engine.ended(run) is FAILED
    assert not put and not stage.store.documents(run)
