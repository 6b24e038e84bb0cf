"""What comes of an attempt: its errors, its limits, its end, and what it brings along."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from engine_stage import Stage, reload, turn, until

from callboard.core.executions import pack
from callboard.core.facts import Asked, Cancelled, Resumed
from callboard.core.plan import Retry, Task
from callboard.core.status import FAILED, RUNNING, STOPPED, SUCCESS
from callboard.engine import batch
from callboard.errors import BudgetRefused, Permanent, StoreError, Transient, UnknownEffect
from callboard.ports import Call, Done
from callboard.testing.scripted import HANG, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.ports import Work


@pytest.mark.parametrize(
    ("raised", "status"),
    [(Permanent("wrong"), FAILED), (ZeroDivisionError("by zero"), FAILED), (SystemExit(3), FAILED)],
)
async def test_an_error_fails_the_task_and_not_the_engine(stage: Stage, raised: BaseException, status: int) -> None:
    stage.backend.script["a"] = raised
    run, other = stage.run("a"), stage.run("b", id="other")
    engine = await stage.engine()
    await engine.submit(run, other)
    assert await engine.ended(run) is status
    assert await engine.ended(other) is SUCCESS


async def test_a_transient_error_is_tried_again_when_its_time_has_come(stage: Stage) -> None:
    stage.backend.script["a"] = [Transient("busy"), Transient("busy"), "at last"]
    run = stage.run(Task("a", retry=Retry(3, delay=10.0)))
    engine = await stage.engine()
    await engine.submit(run)
    for attempts in (1, 2):
        await until(lambda: stage.statuses(run)["a"] == "RETRYING")
        await turn()
        stage.clock.advance(9.9)
        await turn()
        assert stage.statuses(run)["a"] == "RETRYING" and len(stage.backend.begun) == attempts
        stage.clock.advance(0.2)
        await until(lambda attempts=attempts: len(stage.backend.begun) == attempts + 1)
    assert await engine.ended(run) is SUCCESS
    assert [one.attempt for one in stage.backend.begun] == [1, 2, 3]


async def test_all_attempts_of_a_number_carry_one_key(stage: Stage) -> None:
    stage.backend.script["a"] = [Transient("busy"), "done"]
    run = stage.run(Task("a", retry=Retry(2)), "b")
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    keys = {name: {w.key for w in stage.backend.works if w.attempt.task == name} for name in "ab"}
    assert len(keys["a"]) == len(keys["b"]) == 1 and keys["a"] != keys["b"]


async def test_at_its_time_limit_an_attempt_is_cancelled(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run(Task("a", timeout=5.0), Task("b", timeout=500.0))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.statuses(run) == {"a": "RUNNING", "b": "SUCCESS"})
    stage.clock.advance(5.1)
    assert await engine.ended(run) is FAILED
    assert stage.backend.stopped == ["a"]


async def test_the_wall_clock_may_jump_without_effect_on_time_limits(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run(Task("a", timeout=5.0))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    stage.clock.jump(10_000.0)
    stage.clock.advance(1.0)
    await turn()
    assert stage.statuses(run) == {"a": "RUNNING"}
    stage.clock.advance(4.1)
    assert await engine.ended(run) is FAILED


async def test_a_lost_worker_is_replaced_three_times_and_then_it_is_poison(stage: Stage) -> None:
    stage.backend.script["a"] = [WorkerLost(), WorkerLost(), WorkerLost()]
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is FAILED
    assert len(stage.backend.begun) == 3 and reload(stage.store, run).nodes[0].reason == "poison"


async def test_an_empty_purse_holds_the_run(stage: Stage) -> None:
    stage.backend.script["a"] = BudgetRefused("4.98 of 5.00")
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: "budget" in reload(stage.store, run).holds)
    stage.backend.script["a"] = 1
    await engine.post(run, Resumed())
    assert await engine.ended(run) is SUCCESS


async def test_a_once_effect_of_unknown_end_is_held(stage: Stage) -> None:
    stage.backend.script["a"] = UnknownEffect("the connection broke")
    run = stage.run(Task("a", effect="once"))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: reload(stage.store, run).nodes[0].hold == "decision")


async def test_cancelling_interrupts_what_is_at_work(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await engine.post(run, Cancelled())
    assert await engine.ended(run) is STOPPED
    assert stage.backend.stopped == ["a"] and stage.statuses(run) == {"a": "STOPPED", "b": "INIT"}


async def test_an_attempt_cancelled_before_its_first_line_stops_too(stage: Stage) -> None:
    run = stage.run(Task("a"))
    engine = await stage.engine()
    halted: list[int] = []

    def cancel(number: int, facts: Sequence[object], orders: Sequence[object]) -> None:
        held = engine.runs.get(number)
        if held is not None and held.works and not halted:
            halted.append(number)
            engine._parts.dispatcher.end_all(held, "halt")

    engine.watch(cancel)
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS  # halted once, then carried out
    assert reload(stage.store, run).nodes[0].attempt > 1


async def test_what_was_paid_for_is_kept_though_it_was_to_stop(stage: Stage) -> None:
    async def stubborn(work: object) -> Done:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Done('{"value":"paid"}')
        raise AssertionError

    stage.backend.script["a"] = stubborn
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await engine.post(run, Asked("a", "STOP"))
    await engine.ended(run)
    assert stage.statuses(run) == {"a": "SUCCESS"} and stage.value(run) == '{"value":"paid"}'


async def test_documents_are_put_in_place_before_a_run_ends(stage: Stage) -> None:
    put: list[tuple[int, str, str, str | None]] = []
    tried = []

    def put_document(run: int, path: str, hash: str, replaces: str | None) -> None:
        tried.append(path)
        if len(tried) == 1:
            raise StoreError("the disk is full")
        assert stage.store.documents(run)[0][5] == "pending"
        put.append((run, path, hash, replaces))

    hash = stage.store.put(b"text")
    stage.backend.script["a"] = Done('{"value":1}', documents=[("a.md", hash, None)])
    run = stage.run("a")
    engine = await stage.engine(put_document=put_document)
    await engine.submit(run)
    await until(lambda: tried)
    await until(lambda: any(state == "waiting" for state, _ in stage.said))
    await turn()
    assert stage.status(run) is RUNNING
    stage.clock.advance(0.2)
    assert await engine.ended(run) is SUCCESS
    assert put == [(run, "a.md", hash, None)]
    assert [row[5] for row in stage.store.documents(run)] == ["published"]


async def test_a_version_that_is_in_place_does_not_hide_a_later_one(stage: Stage) -> None:
    """Both versions are under way: the row of the first, recorded late, would be taken for the latest."""
    hashes = [stage.store.put(text) for text in (b"first", b"second")]
    placed: list[str] = []
    doors = {hash: threading.Event() for hash in hashes}

    def put_document(run: int, path: str, hash: str, replaces: str | None) -> None:
        assert doors[hash].wait(10)
        placed.append(hash)

    stage.backend.script["a"] = [Done('{"value":1}', documents=[("a.md", hash, None)]) for hash in hashes]
    run = stage.run("a")
    engine = await stage.engine(put_document=put_document)
    await engine.submit(run)
    await until(lambda: stage.statuses(run)["a"] == "SUCCESS")
    await engine.post(run, Asked("a", "RESTART"))
    await until(lambda: stage.store.documents(run)[0][2] == hashes[1])
    doors[hashes[0]].set()
    await until(lambda: placed)
    await turn()
    await until(lambda: not engine.runs[run].facts)
    latest = (hashes[1], None, pack(run, 0, 2))
    assert [row[2:] for row in stage.store.documents(run)] == [(*latest, "pending")]
    doors[hashes[1]].set()
    assert await engine.ended(run) is SUCCESS
    assert [row[2:] for row in stage.store.documents(run)] == [(*latest, "published")]


async def test_paid_calls_are_recorded_though_their_attempt_fails(stage: Stage) -> None:
    def call(index: int) -> Call:
        return Call(1, 0, 1, 1, index, f"key-{index}", "fake", "m", "h", 1, 1, 7, 0.1, 1.0, '"answer"')

    async def pay(work: object) -> object:
        await engine.paid([call(0)])
        assert [one.key for one in stage.store.calls(1)] == ["key-0"]  # on disk before the attempt goes on
        raise Permanent("after the call")

    stage.backend.script |= {"a": pay, "b": Done('{"value":1}', calls=[call(1)])}
    run = stage.run(Task("a", critical=False), "b")
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert [one.key for one in stage.store.calls(run)] == ["key-0", "key-1"]


async def test_events_of_an_attempt_are_in_the_log_before_its_outcome(stage: Stage) -> None:
    from callboard.core.plan import EventIs, Rule

    stage.backend.script["a"] = Done('{"value":1}', events=[("done", {"n": 1})])
    run = stage.run("a", "b", rules=(Rule("b", "START", EventIs("done")),))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    ((_, key, _, value, sender, _, _),) = stage.store.events()
    assert (key, value, sender) == ("done", {"n": 1}, "show/a")
    assert stage.statuses(run)["b"] == "SUCCESS"


async def test_log_lines_ride_in_the_next_transaction(stage: Stage) -> None:
    stage.backend.script["a"] = lambda work: engine.note(work.run, work.node, work.number, "halfway")
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert [row[4] for row in stage.store.logs(run)] == ["halfway"]


async def test_a_talkative_task_has_four_lines_kept_a_second(stage: Stage) -> None:
    def talk(work: Work) -> None:
        for line in range(20):
            engine.note(work.run, work.node, work.number, f"line {line}")

    stage.backend.script["a"] = talk
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert [row[4] for row in stage.store.logs(run)] == ["line 0", "line 1", "line 2", "line 3"]


def test_of_a_document_that_is_placed_and_made_again_in_one_step_the_machine_has_the_last_word() -> None:
    placed, made = ("a.md", "hash", None, 1, "published"), ("a.md", "hash", None, 2, "pending")
    edited = ("a.md", "theirs", "hash", 0, "edited")
    run: Any = SimpleNamespace(pending=set[str]())
    assert batch._documents(run, [placed], [made, edited]) == [made, placed, edited]
    run.pending.add("a.md")
    assert batch._documents(run, [placed], [edited, made]) == [placed, edited, made]
