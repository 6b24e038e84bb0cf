"""What an engine does with runs: from the first letter to the last outcome."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest
from engine_stage import Stage, passing, reload, told, turn, until

from callboard.core.deadline import after
from callboard.core.executions import pack
from callboard.core.facts import Asked, Cancelled, Continued, Paused, Resumed
from callboard.core.plan import Map, Plan, Retry, Review, Task
from callboard.core.status import FAILED, RUNNING, STOPPED, SUCCESS
from callboard.engine.owner import new_owner
from callboard.errors import BudgetRefused, Permanent, Refused, RunInterrupted, StoreError, Transient, UnknownEffect
from callboard.ports import Call, Done, Page
from callboard.testing.scripted import HANG, ScriptedBackend, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.ports import Work


async def test_a_chain_hands_its_outcomes_down(stage: Stage) -> None:
    stage.backend.script["b"] = lambda work: work.upstream["a"]["value"] + 1
    stage.backend.script["a"] = 41
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine()
    assert await engine.submit(run) == (run,)
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 1) or "") == {"value": 42}
    assert stage.statuses(run) == {"a": "SUCCESS", "b": "SUCCESS"}


async def test_a_fan_out_ends_in_its_join(stage: Stage) -> None:
    names = [f"t{n}" for n in range(600)]  # more than one step may start
    stage.backend.script["join"] = lambda work: len(work.upstream)
    run = stage.run(*names, Task("join", needs=tuple(names)))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 600) or "") == {"value": 600}


async def test_outcomes_out_of_memory_are_read_from_the_store(stage: Stage) -> None:
    stage.backend.script |= {"a": "of a", "c": lambda work: work.upstream["a"]["value"]}
    release = stage.backend.hold("b")
    run = stage.run("a", "b", Task("c", needs=("a", "b")))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.statuses(run)["a"] == "SUCCESS")
    engine._texts.forget()
    release()
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 2) or "") == {"value": "of a"}


async def test_a_skip_lets_the_pipe_flow_through(stage: Stage) -> None:
    stage.backend.script |= {"a": "text", "b": Done("{}", skipped="when is false")}
    stage.backend.script["c"] = lambda work: work.upstream["b"]
    run = stage.run("a", Task("b", needs=("a",), may_skip=True), Task("c", needs=("b",)))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 2) or "")["value"] == {"value": "text", "skipped": "when is false"}


async def test_a_failed_optional_need_is_named(stage: Stage) -> None:
    stage.backend.script |= {"a": Permanent("no such page"), "b": lambda work: work.upstream["a"]}
    run = stage.run(Task("a", critical=False), Task("b", optional=("a",)))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 1) or "")["value"] == {"value": None, "failed": "no such page"}


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


async def test_a_mapped_task_asks_page_by_page_and_joins_in_list_order(stage: Stage) -> None:
    stage.backend.lists["m"] = [[("b", 2), ("a", 1)], [("c", 3)]]
    stage.backend.script["m"] = lambda work: work.item * 10
    stage.backend.script["m/a"] = Permanent("no")
    stage.backend.script["j"] = lambda work: work.upstream["m"]
    run = stage.run(Task("m", map=Map(allow_failures=1)), Task("j", needs=("m",)))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    outcome = json.loads(stage.value(run, 1) or "")
    assert outcome["value"] == {"value": [{"key": "b", "value": 20}, {"key": "c", "value": 30}], "failed": ["a"]}


async def test_items_of_a_second_task_read_their_twins(stage: Stage) -> None:
    stage.backend.lists["m"] = [[("x", 1), ("y", 2)]]
    stage.backend.script["m"] = lambda work: work.item + 100
    stage.backend.script["n"] = lambda work: work.upstream["m"]["value"] * 2
    stage.backend.script["j"] = lambda work: work.upstream["n"]["value"]
    run = stage.run(Task("m", map=Map()), Task("n", map=Map(over="m")), Task("j", needs=("n",)))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 2) or "")["value"] == [{"key": "x", "value": 202}, {"key": "y", "value": 204}]


async def test_a_list_that_fails_for_a_moment_is_asked_again(stage: Stage) -> None:
    asked = []

    async def list_page(work: object, page: int) -> Page:
        asked.append(page)
        if len(asked) == 1:
            raise Transient("busy")
        return Page([("k", 1)])

    stage.backend.list_page = list_page  # type: ignore[method-assign]
    run = stage.run(Task("m", map=Map()))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: asked)
    await turn()
    stage.clock.advance(1.1)
    assert await engine.ended(run) is SUCCESS and asked == [1, 1]


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


async def test_limits_hold_across_runs(stage: Stage) -> None:
    most = running = 0

    async def count(work: object) -> int:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await turn(5)
        running -= 1
        return 1

    stage.backend.script["a"] = stage.backend.script["b"] = count
    runs = [stage.run(Task("a", limits=("gpu",)), Task("b", limits=("gpu",)), id=f"r{n}") for n in range(5)]
    engine = await stage.engine(capacity={"gpu": 2})
    await engine.submit(*runs)
    for run in runs:
        assert await engine.ended(run) is SUCCESS
    assert most == 2


async def test_a_thousand_runs_go_on_side_by_side(stage: Stage) -> None:
    runs = [stage.run("a", Task("b", needs=("a",)), id=f"r{n}") for n in range(1000)]
    long = stage.run(*(f"t{n}" for n in range(2000)), id="long")
    engine = await stage.engine()
    order: list[int] = []
    engine.watch(lambda run, facts, orders: order.append(run))
    await engine.submit(long, *runs)
    for run in runs:
        assert await engine.ended(run) is SUCCESS
    assert await engine.ended(long) is SUCCESS
    last = {run: place for place, run in enumerate(order)}
    assert max(last[run] for run in runs) < last[long]  # nobody waited for the long one


async def test_memory_equals_the_disk_after_every_commit(stage: Stage) -> None:
    stage.backend.script |= {"a": [Transient("busy"), 1], "c": Permanent("no")}
    stage.backend.lists["m"] = [[("x", 1)], [("y", 2)]]
    run = stage.run(
        Task("a", retry=Retry(2)), Task("b", needs=("a",)), Task("c", critical=False), Task("d", optional=("c",)),
        Task("m", map=Map(), needs=("a",)), Task("j", needs=("m", "b")),
    )  # fmt: skip
    engine = await stage.engine()
    compared = 0

    def compare(number: int, facts: object, orders: object) -> None:
        nonlocal compared
        held = engine.runs.get(number)
        if held is not None and held.run is not None:
            compared += 1
            assert told(held.run) == told(reload(stage.store, number))

    engine.watch(compare)
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert compared > 3 and not stage.said


async def test_a_run_whose_code_is_elsewhere_is_left_alone(stage: Stage) -> None:
    stage.backend.cannot["function"] = "its functions live in show.py; run it again"
    run = stage.run("a")
    engine = await stage.engine()
    assert await engine.submit(run) == ()
    with pytest.raises(StoreError, match=r"show\.py"):
        await engine.ended(run)
    await until(lambda: stage.store.find_run(run).owner is None)


async def test_an_orderly_stop_can_be_resumed(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a", "b", Task("c", needs=("a",)))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.statuses(run)["b"] == "SUCCESS")
    end = asyncio.ensure_future(engine.ended(run))
    await turn()
    await engine.stop()
    with pytest.raises(RunInterrupted):
        await end
    assert stage.backend.stopped == ["a"]
    loaded = reload(stage.store, run)
    assert loaded.status is RUNNING and loaded.holds == {"interrupted"} and loaded.nodes[0].tries == 0
    assert stage.store.find_run(run).owner is None
    stage.backend.script["a"] = 1
    stage.letter(run, Continued())
    again = await stage.engine()
    await again.submit(run)
    assert await again.ended(run) is SUCCESS


async def test_a_stop_without_interruption_leaves_runs_to_the_next_engine(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await engine.stop(interrupt=False)
    assert reload(stage.store, run).holds == set()
    stage.backend.script["a"] = 1
    again = await stage.engine(serve=True)
    assert await again.ended(run) is SUCCESS


def test_plans_are_shared_by_their_runs() -> None:
    from callboard.core.plan import digest, dump
    from callboard.engine.recovery import Shapes

    shapes = Shapes(2)
    texts = [dump(Plan((Task(f"t{n}"),))) for n in range(4)]
    first = shapes.get(digest(texts[0]), texts[0])
    assert shapes.get(digest(texts[0]), texts[0]) is first
    for text in texts:
        shapes.get(digest(text), text)
    assert len(shapes._young) <= 2


async def test_more_letters_than_are_read_at_once_are_all_taken(stage: Stage) -> None:
    from callboard.core.facts import Heard
    from callboard.core.plan import EventIs, Rule

    run = stage.run("a", "b", rules=(Rule("b", "START", EventIs("last")),))
    stage.letter(run, *(Heard("event", n) for n in range(1, 2501)), Heard("last", 2501))
    engine = await stage.engine()
    await engine.submit(run)
    assert await engine.ended(run) is SUCCESS
    assert stage.statuses(run) == {"a": "SUCCESS", "b": "SUCCESS"} and not stage.store.waiting()


async def test_a_run_created_for_its_engine_is_taken_as_it_is(stage: Stage) -> None:
    from callboard.core.plan import dump

    engine = await stage.engine()
    plan = dump(Plan((Task("a"), Task("b", needs=("a",)))))
    new = [(f"r{n}", "", plan, "{}", "test", 1.0, None) for n in range(3)]
    rows = stage.store.create_runs(new, owner=engine.owner, lease=after(stage.clock.now(), 30.0))  # type: ignore[attr-defined]
    for row in rows:
        assert await engine.submit(row) == (row.number,)
        assert await engine.ended(row.number) is SUCCESS


async def test_a_graph_deeper_than_what_is_kept_reads_its_join_in_a_thread(stage: Stage) -> None:
    names = [f"t{n}" for n in range(100)]
    stage.backend.script |= {name: name for name in names}
    stage.backend.script["join"] = lambda work: [work.upstream[name]["value"] for name in names]
    release = stage.backend.hold("t99")
    run = stage.run(*names, Task("join", needs=tuple(names)))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: list(stage.statuses(run).values()).count("SUCCESS") == 99)
    engine._texts.forget()
    release()
    assert await engine.ended(run) is SUCCESS
    assert json.loads(stage.value(run, 100) or "")["value"] == names


async def test_an_engine_that_awaits_a_run_of_another_hears_of_its_end(stage: Stage) -> None:
    release = stage.backend.hold("a")
    run = stage.run("a")
    first, second = await stage.engine(), await stage.engine()
    await first.submit(run)
    await until(lambda: stage.backend.begun)
    assert await second.submit(run) == ()
    end = asyncio.ensure_future(second.ended(run))
    await turn()
    release()
    await until(lambda: stage.status(run) is SUCCESS)
    await passing(stage.clock, end.done)
    assert end.result() is SUCCESS


async def test_a_straggler_keeps_no_further_page_waiting_not_even_over_a_kill(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.core.run.FULL_PAGE", 2)
    backend = ScriptedBackend(
        {"m": lambda work: HANG if work.item == 1 else work.item},
        lists={"m": [[("a", 1), ("b", 2)], [("c", 3), ("d", 4)], [("e", 5)]]},
    )
    page, second = backend.list_page, asyncio.Event()

    async def never(work: Work, number: int) -> Page:
        if number == 1:
            return await page(work, number)
        second.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    backend.list_page = never  # type: ignore[method-assign]
    run = stage.run(Task("m", map=Map()))
    first = await stage.engine(backend=backend)
    await first.submit(run)
    await until(second.is_set)
    await stage.kill(first)
    backend.list_page = page  # type: ignore[method-assign]
    again = await stage.engine(backend=backend)
    await again.submit(run)
    await passing(stage.clock, lambda: stage.statuses(run).get("m/e") == "SUCCESS")
    assert stage.statuses(run) == {"m": "RUNNING", "m/a": "RUNNING"} | {f"m/{one}": "SUCCESS" for one in "bcde"}
    assert [one.name for one in backend.begun].count("m/b") == 1
