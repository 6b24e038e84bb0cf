"""What an engine does with runs: from the first letter to the last outcome."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from engine_stage import Stage, passing, reload, told, turn, until

from callboard.core.deadline import after
from callboard.core.facts import Continued
from callboard.core.plan import Map, Plan, Retry, Task
from callboard.core.status import RUNNING, SUCCESS
from callboard.errors import Permanent, RunInterrupted, StoreError, Transient
from callboard.ports import Done, Page
from callboard.testing.scripted import HANG, ScriptedBackend

if TYPE_CHECKING:
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
