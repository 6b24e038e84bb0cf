"""What people say to a run that an engine has: told at once, or by letters in its inbox."""

from __future__ import annotations

import json

import pytest
from engine_stage import Stage, passing, reload, turn, until

from callboard.core.deadline import after
from callboard.core.facts import Cancelled, Paused, Resumed
from callboard.core.plan import Review, Task
from callboard.core.status import STOPPED, SUCCESS
from callboard.engine.owner import new_owner
from callboard.errors import Refused
from callboard.testing.scripted import HANG


async def test_a_draft_waits_for_a_person(stage: Stage) -> None:
    from callboard.core.facts import Approved

    stage.backend.script["a"] = "draft"
    run = stage.run(Task("a", review=Review()))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: reload(stage.store, run).nodes[0].draft)
    draft = reload(stage.store, run).nodes[0].draft
    assert draft is not None
    with pytest.raises(Refused):
        await engine.post(run, Approved("a", 1, "another hash"))
    await engine.post(run, Approved("a", 1, draft[0]))
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run) or "") == {"value": "draft"}


async def test_a_person_is_told_no(stage: Stage) -> None:
    release = stage.backend.hold("a")
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    with pytest.raises(Refused, match="not paused"):
        await engine.post(run, Resumed())
    release()
    assert await engine.ended(run) is SUCCESS


async def test_letters_pause_and_resume_a_run(stage: Stage) -> None:
    release = stage.backend.hold("a")
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    stage.letter(run, Paused(), id="one")
    engine.look()
    await until(lambda: "paused" in reload(stage.store, run).holds)
    release()
    await until(lambda: stage.statuses(run)["a"] == "SUCCESS")
    await turn()
    assert len(stage.backend.begun) == 1 and not stage.store.waiting()
    stage.letter(run, Resumed(), id="two")
    engine.look()
    assert await engine.ended(run) is SUCCESS


async def test_without_a_bell_letters_are_found_by_looking(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await turn()
    stage.letter(run, Cancelled())
    stage.clock.advance(0.3)
    assert await engine.ended(run) is STOPPED


async def test_one_letter_alone_is_found(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    stage.letter(run, Paused())
    for _ in range(8):  # two seconds
        await turn()
        engine.look()
        stage.clock.advance(0.25)
    await turn()
    assert reload(stage.store, run).holds == {"paused"}


async def test_a_letter_to_an_ended_run_is_taken_up_when_its_owner_has_gone(stage: Stage) -> None:
    """Nobody commits anything when a process dies or a lease is over, so no version tells of it."""
    run = stage.run("a")
    first = await stage.engine()
    await first.submit(run)
    assert await first.ended(run) is SUCCESS
    await stage.close()
    lives, now = [True], stage.clock.now()
    assert stage.store.claim(run, new_owner(), after(now, 30.0), now, alive=lambda owner: False)
    stage.letter(run, Resumed())
    await stage.engine(serve=True, alive=lambda owner: lives[0])
    for _ in range(8):
        await turn()
        stage.clock.advance(0.25)
    assert stage.store.waiting()
    lives[0] = False
    await passing(stage.clock, lambda: not stage.store.waiting())


async def test_a_letter_that_is_no_fact_stops_nothing(stage: Stage) -> None:
    run = stage.run("a")
    stage.store.append(run, [("x", '["NoSuchFact"]'), ("y", "not json"), ("z", "{}")], 1.0)
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert not stage.store.waiting() and len([why for _, why in stage.said if "no fact" in why]) == 3


async def test_more_letters_than_are_read_at_once_are_all_taken(stage: Stage) -> None:
    from callboard.core.facts import Heard
    from callboard.core.plan import EventIs, Rule

    run = stage.run("a", "b", rules=(Rule("b", "START", EventIs("last")),))
    stage.letter(run, *(Heard("event", n) for n in range(1, 2501)), Heard("last", 2501))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert stage.statuses(run) == {"a": "SUCCESS", "b": "SUCCESS"} and not stage.store.waiting()
