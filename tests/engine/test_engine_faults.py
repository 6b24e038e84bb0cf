"""What goes wrong: commits that fail, processes that die, engines that meet, disks that are full."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest
from engine_stage import Faulty, Kill, Stage, full, passing, reload, told, turn, until

from callboard.core.deadline import after
from callboard.core.facts import Begun, Paused, encode
from callboard.core.plan import Map, Retry, Task
from callboard.core.status import FAILED, RUNNING, SUCCESS
from callboard.engine import batch as batches
from callboard.engine import recovery
from callboard.engine.committer import Committer
from callboard.engine.owner import alive, new_owner
from callboard.engine.threads import Threads
from callboard.errors import FenceLost, Permanent, StoreDamaged, StoreError, Transient
from callboard.ports import Call, Done, Write
from callboard.store.memory import MemoryStore
from callboard.testing.scripted import HANG, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.engine.engine import Engine
    from callboard.ports import RunRows, Store


SHOW = (
    Task("a", retry=Retry(2, delay=0.1)),
    Task("b", needs=("a",)),
    Task("m", map=Map(), needs=("a",)),
    Task("n", map=Map(over="m")),
    Task("j", needs=("b", "n")),
)


def _backend(stage: Stage) -> ScriptedBackend:
    hash = stage.store.put(b"text")
    return ScriptedBackend(
        {
            "a": [Transient("busy"), 1],
            "b": Done('{"value":2}', documents=[("b.md", hash, None)]),
            "m": lambda work: work.item,
            "n": lambda work: work.upstream["m"]["value"] + 1,
            "j": lambda work: sum(one["value"] for one in work.upstream["n"]["value"]),
        },
        lists={"m": [[("x", 10), ("y", 20)], [("z", 30)]]},
    )


def _is_whole(stage: Stage, run: int) -> None:
    """As if nothing had gone wrong."""
    assert stage.status(run) is SUCCESS
    assert set(stage.statuses(run).values()) == {"SUCCESS"} and len(stage.statuses(run)) == 11
    assert json.loads(stage.value(run, 4) or "") == {"value": 63}
    assert [row[5] for row in stage.store.documents(run)] == ["published"]
    assert not stage.store.waiting()
    stage.store.journal(run)


def _watch(stage: Stage, engine: Engine) -> list[str]:
    """Memory is compared with a reload after every commit; what differed."""
    differences: list[str] = []

    def compare(run: int, facts: object, orders: object) -> None:
        held = engine.runs.get(run)
        if held is not None and held.run is not None and told(held.run) != told(reload(stage.store, run)):
            differences.append(f"{facts}: {told(held.run)} {told(reload(stage.store, run))}")

    engine.watch(compare)
    return differences


async def _count(stage: Stage) -> int:
    store = Faulty(stage.store)
    run = stage.run(*SHOW, id="undisturbed")
    engine = await stage.engine(store, _backend(stage))
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    _is_whole(stage, run)
    await engine.stop()
    return store.commits


@pytest.mark.parametrize("after", [False, True], ids=["nothing-written", "all-written"])
async def test_whichever_commit_fails_memory_equals_the_disk(stage: Stage, after: bool) -> None:
    commits = await _count(stage)
    assert commits > 8
    for n in range(1, commits + 1):
        run = stage.run(*SHOW, id=f"n{n}")
        engine = await stage.engine(Faulty(stage.store, fails=full(n), after=after), _backend(stage))
        differences = _watch(stage, engine)
        await engine.submit(run)
        await passing(stage.clock, lambda run=run: stage.status(run) is SUCCESS)  # type: ignore[misc]
        await passing(stage.clock, lambda engine=engine: not engine.runs)  # type: ignore[misc]
        _is_whole(stage, run)
        assert not differences
        assert ("paused", "the disk is full") in stage.said
        await engine.stop()


@pytest.mark.parametrize("after", [False, True], ids=["before-the-commit", "before-the-dispatch"])
async def test_wherever_it_is_killed_the_next_engine_finishes(stage: Stage, after: bool) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    commits = await _count(stage)
    for n in range(1, commits + 1):
        store = Faulty(stage.store, fails=lambda k, n=n: Kill() if k == n else None, after=after)  # type: ignore[misc]
        run = stage.run(*SHOW, id=f"n{n}")
        backend = _backend(stage)
        engine = await stage.engine(store, backend)
        await engine.submit(run)
        await passing(stage.clock, lambda store=store, n=n: store.commits >= n)  # type: ignore[misc]
        await stage.kill(engine)
        again = await stage.engine(backend=backend)
        await again.submit(run)
        await passing(stage.clock, lambda run=run: stage.status(run) is SUCCESS)  # type: ignore[misc]
        _is_whole(stage, run)
        await again.stop()


async def test_a_recorded_outcome_is_never_made_again(stage: Stage) -> None:
    stage.backend.script["b"] = HANG
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    await stage.kill(engine)
    stage.backend.script["b"] = 1
    again = await stage.engine()
    await again.submit(run)
    assert await again.ended(run) is SUCCESS
    assert [(one.name, one.attempt) for one in stage.backend.begun] == [("a", 1), ("b", 1), ("b", 2)]
    assert reload(stage.store, run).nodes[1].losses == 0  # its engine died: no step towards poison


async def test_what_ran_inside_a_dead_engine_is_a_step_towards_poison(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    await stage.kill(engine)
    again = await stage.engine(inside=lambda task: True)
    await again.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    assert reload(stage.store, run).nodes[0].losses == 1


async def test_a_serving_engine_takes_over_from_a_dead_one_within_two_seconds(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    server = await stage.engine(serve=True)
    await turn()
    assert run not in server.runs  # its owner lives
    await stage.kill(engine)
    stage.backend.script["a"] = 1
    for _ in range(5):
        await turn()
        stage.clock.advance(0.25)
    await until(lambda: stage.status(run) is SUCCESS)  # and no time goes on


async def test_a_woken_engine_whose_fence_is_lost_changes_nothing(stage: Stage) -> None:
    release = stage.backend.hold("a")
    run, other = stage.run("a", "slow"), stage.run("b", id="other")
    stage.backend.script["slow"] = HANG
    frozen = await stage.engine()
    await frozen.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    taker = ScriptedBackend({"a": "by the second"})
    fence = stage.store.load(run).run.fence
    stage.store.release(run, fence)  # what the end of a lease comes to
    second = await stage.engine(backend=taker)
    await second.submit(run)
    assert await second.ended(run) is SUCCESS
    release()
    await frozen.submit(other)
    assert await frozen.ended(other) is SUCCESS
    await until(lambda: run not in frozen.runs)
    await turn()
    assert stage.backend.stopped == ["slow"]
    assert json.loads(stage.value(run) or "") == {"value": "by the second"}
    assert await frozen.ended(run) is SUCCESS  # it hears how it ended from the store


async def test_a_lost_fence_costs_the_others_of_its_batch_nothing(stage: Stage) -> None:
    gates = [stage.backend.hold(name) for name in ("a", "b", "c")]
    runs = [stage.run(name, id=name) for name in ("a", "b", "c")]
    engine = await stage.engine()
    await engine.submit(*runs)
    await until(lambda: len(stage.backend.begun) == 3)
    stage.store.release(runs[1], stage.store.load(runs[1]).run.fence)
    for release in gates:
        release()
    await passing(stage.clock, lambda: stage.status(runs[0]) is SUCCESS and stage.status(runs[2]) is SUCCESS)
    assert stage.status(runs[1]) is RUNNING and runs[1] not in engine.runs


async def test_a_person_whose_run_was_lost_hears_of_it(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    stage.store.release(run, stage.store.load(run).run.fence)
    with pytest.raises(FenceLost):
        await engine.post(run, Paused())
    with pytest.raises(FenceLost):
        await engine.post(run, Paused())


async def test_the_keeper_finds_a_lost_lease(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    run = stage.run("a")
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    stage.store.release(run, stage.store.load(run).run.fence)
    assert engine.is_sure(run)
    await asyncio.to_thread(engine._parts.keeper.renew)
    assert not engine.is_sure(run), "also before it has heard why"
    await until(lambda: stage.backend.stopped)
    assert not engine.runs


async def test_a_full_disk_pauses_the_engine_and_space_lets_it_go_on(stage: Stage) -> None:
    state = {"full": False}
    store = Faulty(stage.store, fails=lambda n: StoreError("the disk is full") if state["full"] else None)
    release = stage.backend.hold("a")
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine(store)
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    state["full"] = True
    release()
    began = stage.clock.now().elapsed
    await passing(stage.clock, lambda: store.commits >= 7, 0.1)
    assert stage.clock.now().elapsed - began > 3.0  # growing waits
    assert len(stage.backend.begun) == 1 and stage.statuses(run)["a"] == "RUNNING"
    state["full"] = False
    for _ in range(24):  # six seconds
        await turn()
        stage.clock.advance(0.25)
    await until(lambda: stage.status(run) is SUCCESS)
    assert len(stage.backend.begun) == 2 and stage.said[-1] == ("running", "")


class _Blind(Faulty):
    """After its second commit, which fails, it cannot be read three times."""

    left = 3

    def load(self, run: int) -> RunRows:
        if self.commits == 2 and self.left:
            self.left -= 1
            raise StoreError("the disk cannot be read")
        return self.inner.load(run)


async def test_a_run_that_cannot_be_loaded_again_is_tried_until_it_can(stage: Stage) -> None:
    store = _Blind(stage.store, fails=full(2))
    run = stage.run("a", Task("b", needs=("a",)))
    engine = await stage.engine(store)
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert store.left == 0


async def test_a_run_that_cannot_be_stepped_is_set_aside_and_the_others_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = stage.run("a", id="bad"), stage.run("a", id="good")
    step = batches.machine.step

    def broken(run: object, *rest: object) -> object:
        if run.number == bad:  # type: ignore[attr-defined]
            raise AssertionError("cannot be")
        return step(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batches.machine, "step", broken)
    engine = await stage.engine()
    await engine.submit(bad, good)
    assert await engine.ended(good) is SUCCESS
    with pytest.raises(StoreError, match="set aside"):
        await engine.ended(bad)


async def test_a_write_that_cannot_be_recorded_stops_its_own_run_only(stage: Stage) -> None:
    stage.backend.script["a"] = Done('{"value":1}', saves=[("no such write", {})])
    bad, good = stage.run("a", id="bad"), stage.run("b", id="good")
    engine = await stage.engine()
    await engine.submit(bad, good)
    assert await engine.ended(good) is SUCCESS
    with pytest.raises(StoreError, match="no such write"):
        await engine.ended(bad)


async def test_ten_thousand_open_steps_are_resumed_at_once() -> None:
    stage = Stage(MemoryStore())
    stage.backend.script["t"] = HANG
    names = [f"t{n}" for n in range(10_000)]
    run = stage.run(*names)
    stage.backend.script |= dict.fromkeys(names, HANG)
    engine = await stage.engine()
    await engine.submit(run)
    await until(lambda: len(stage.backend.begun) == 10_000)
    await stage.kill(engine)
    begun = stage.backend.begun = []
    stage.backend.script.clear()
    again = await stage.engine()
    await again.submit(run)
    assert await again.ended(run) is SUCCESS and len(begun) == 10_000
    await stage.close()


async def test_a_slow_store_is_written_in_a_thread_and_nothing_changes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.engine.committer.SLOW", 0.0)
    run = stage.run(*SHOW)
    engine = await stage.engine(backend=_backend(stage), threads=Threads())
    differences = _watch(stage, engine)
    await engine.submit(run)
    while stage.status(run) is not SUCCESS:  # the thread is as slow as it is, so there are no turns to be counted
        await turn()
        stage.clock.advance(0.02)
    _is_whole(stage, run)
    assert not differences


class _Seconds(Threads):
    """Every commit takes 15 ms, of which the interpreter was waited for so long."""

    def __init__(self, waited: float) -> None:
        self._now, self._waited = 0.0, waited

    def seconds(self) -> float:
        self._now += 0.015
        return self._now

    def away(self) -> float:
        return self._waited


@pytest.mark.parametrize(("waited", "elsewhere"), [(0.0, [False, True, True]), (0.012, [False] * 3)])
async def test_a_commit_that_waits_for_the_disk_goes_to_the_thread_and_one_that_waits_for_the_interpreter_does_not(
    stage: Stage, waited: float, elsewhere: list[bool]
) -> None:
    here, found = threading.get_ident(), list[bool]()

    class Watched(Faulty):
        def commit(self, writes: Sequence[Write]) -> None:
            found.append(threading.get_ident() != here)

    committer = Committer(Watched(stage.store), _Seconds(waited))
    landed = list[BaseException | None]()
    for count in range(1, 4):
        committer.commit([], landed.append)
        await until(lambda count=count: len(landed) == count)
    assert (found, landed) == (elsewhere, [None] * 3)
    committer.close()


async def test_an_interrupted_stop_with_a_full_disk_still_ends(stage: Stage) -> None:
    stage.backend.script["a"] = HANG
    state = {"full": False}
    store = Faulty(stage.store, fails=lambda n: StoreError("the disk is full") if state["full"] else None)
    run = stage.run("a")
    engine = await stage.engine(store)
    await engine.submit(run)
    await until(lambda: stage.backend.begun)
    state["full"] = True
    await engine.stop()
    state["full"] = False
    stage.backend.script["a"] = 1
    again = await stage.engine()
    await again.submit(run)
    assert await again.ended(run) is SUCCESS


async def test_what_comes_while_a_commit_is_under_way_is_not_on_disk_with_it(stage: Stage) -> None:
    """An empty list was shared with the batch: a call seemed paid for, a person was answered for ever."""
    written, flying = threading.Event(), threading.Event()

    class Slow(Faulty):
        def commit(self, writes: Sequence[Write]) -> None:
            self.inner.commit(writes)
            flying.set()
            written.wait()

    run = stage.run("a", Task("b", needs=("a",)), Task("c", needs=("b",)))
    release, last = stage.backend.hold("b"), stage.backend.hold("c")
    store = Slow(stage.store)
    engine = await stage.engine(store, threads=Threads())
    written.set()
    await engine.submit(run)
    await until(lambda: len(stage.backend.begun) == 2)
    engine._parts.committer._in_thread = 8
    flying.clear()
    written.clear()
    release()
    await until(flying.is_set)
    call = Call(run, 1, 1, 1, 0, "key", "p", "m", "h", 1, 1, 5, 0.1, 1.0)
    paid, asked = asyncio.ensure_future(engine.paid([call])), asyncio.ensure_future(engine.post(run, Paused()))
    engine.note(run, 1, 1, "a line")
    await turn()
    known: list[tuple[int, int]] = []
    paid.add_done_callback(lambda _: known.append((1, len(stage.store.calls(run)))))
    written.set()
    await asyncio.gather(paid, asked)
    assert known == [(1, 1)] and reload(stage.store, run).holds == {"paused"}
    assert len(stage.store.logs(run)) == 1
    last()


async def test_units_of_a_limit_survive_commits_that_fail(stage: Stage) -> None:
    run = stage.run(*(Task(name, limits=("gpu",)) for name in "abcd"))
    engine = await stage.engine(Faulty(stage.store, fails=full(2, 4, 6)), capacity={"gpu": 2})
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert sorted(one.name for one in stage.backend.begun) == ["a", "b", "c", "d"]


class Damaged(Faulty):
    """A store in which one run cannot be read."""

    def __init__(self, inner: Store, run: int) -> None:
        super().__init__(inner)
        self._run = run

    def load(self, run: int) -> RunRows:
        if run == self._run:
            raise StoreDamaged("the rows of this run are damaged")
        return self.inner.load(run)


async def test_a_run_that_cannot_be_read_holds_up_nobody(stage: Stage) -> None:
    runs = [stage.run("a", id=id) for id in ("first", "damaged", "last")]
    engine = await stage.engine(Damaged(stage.store, runs[1]))
    assert await engine.submit(*runs) == (runs[0], runs[2])
    assert await engine.ended(runs[0]) is SUCCESS and await engine.ended(runs[2]) is SUCCESS
    assert "damaged" in engine.refused[runs[1]]
    assert ("set aside", f"run {runs[1]}: the rows of this run are damaged") in stage.said


async def test_a_run_that_was_let_go_between_reading_and_claiming_it_is_read_again(stage: Stage) -> None:
    """Its fence had risen by one, as if nobody had had it: what had been done was done again."""
    run, now = stage.run("a"), stage.clock.now()
    first = new_owner()
    fence = stage.store.claim(run, first, after(now, 30.0), now, alive=alive)
    assert fence == 1

    class Late(Faulty):
        def load(self, number: int) -> RunRows:
            found = self.inner.load(number)
            if found.run.owner == first:
                self.inner.commit([Write(number, 1, now.wall, [encode(Begun())], int(RUNNING))])
                self.inner.release(number, 1)
            return found

    taken = recovery.take(Late(stage.store), run, new_owner(), 30.0, now, alive)  # type: ignore[arg-type]
    assert taken is not None and (taken.fence, taken.rows.run.status) == (2, RUNNING)


async def test_a_run_is_not_mistaken_for_one_whose_id_is_its_number(stage: Stage) -> None:
    stage.backend.script["b"] = Permanent("broken")
    run = stage.run("a", id="2")
    other = stage.run("b", id="other")
    engine = await stage.engine()
    await engine.submit(run, other)
    assert (await engine.ended(run), await engine.ended(other)) == (SUCCESS, FAILED)
    await passing(stage.clock, lambda: stage.store.find_run("other").owner is None)
    assert await engine.ended(other) is FAILED
