"""An error of the engine's own, or of who listens to it, where nobody waits for it: it is told, and nothing stops."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from engine_stage import Calm, Faulty, Stage, full, passing, turn, until

from callboard.core.facts import Heard, Paused
from callboard.core.orders import Evaluate, Finish, Start
from callboard.core.plan import Probe, Rule, Task
from callboard.core.status import FAILED, RUNNING, SUCCESS
from callboard.engine.deadlines import Deadlines
from callboard.engine.telling import Telling
from callboard.engine.threads import Threads
from callboard.engine.timers import Timers
from callboard.errors import FenceLost, StoreDamaged, StoreError
from callboard.store.memory import MemoryStore
from callboard.testing.clock import FakeClock
from callboard.testing.scripted import HANG, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from pytest import MonkeyPatch

    from callboard.core.facts import Fact
    from callboard.core.orders import Order


def _broken(*arguments: Any, **named: Any) -> Any:
    raise ValueError("broken")


class _Once:
    """Fails the first `times` times, for arguments that `which` is true of; then it is what it stands for."""

    def __init__(self, real: Callable[..., Any], times: int = 1, which: Callable[..., bool] = lambda *a: True) -> None:
        self.real, self.left, self.which = real, times, which

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.left and self.which(*arguments):
            self.left -= 1
            raise ValueError("broken")
        return self.real(*arguments, **named)


# ── timers ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_timer_that_fails_silences_no_other() -> None:
    clock, said, heard = FakeClock(), [], []
    timers = Timers(clock, Telling(lambda state, why: said.append((state, why))))
    now = clock.now().elapsed
    timers.at(now + 1, _broken)
    timers.at(now + 1, lambda: heard.append("beside it"))
    timers.at(now + 2, lambda: heard.append("later"))
    await turn()
    clock.advance(1)
    await turn()
    assert heard == ["beside it"] and said == [("waiting", "a timer failed: ValueError: broken")]
    timers.at(now + 1.5, lambda: heard.append("set afterwards"))
    clock.advance(1)
    await turn()
    assert heard == ["beside it", "set afterwards", "later"]
    timers.close()


class _Attempt:
    def __init__(self) -> None:
        self.due, self.over = 0.0, False


async def test_a_limit_that_cannot_be_kept_is_no_reason_to_forget_the_others() -> None:
    clock = FakeClock()
    timers = Timers(clock, Telling())
    late: list[object] = []
    expire = _Once(late.append)
    deadlines = Deadlines(timers, expire)
    attempts = [_Attempt() for _ in range(3)]
    for place, attempt in enumerate(attempts):
        deadlines.add(attempt, 10.0, clock.now().elapsed + place // 2)
    await turn()
    clock.advance(10.0)
    await turn()
    assert late == attempts[1:2]
    clock.advance(1.0)
    await turn()
    assert late == attempts[1:]
    timers.close()


async def test_a_reserve_that_cannot_be_looked_at_is_looked_at_again(stage: Stage) -> None:
    class Reserve:
        size = 0

        def lacking(self, size: int = 0) -> str:
            return "" if self.size else "the disk is full"

        make = lacking

        def give_up(self) -> bool:
            return False

    reserve = Reserve()
    engine = await stage.engine(reserve=reserve)
    run = stage.run("a")
    await engine.submit(run)
    await turn()
    assert stage.status(run) is not SUCCESS
    real = reserve.make
    reserve.make = _Once(real, 2)  # type: ignore[method-assign]
    stage.clock.advance(2.0)
    await turn()
    reserve.size = 1
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert ("waiting", "a timer failed: ValueError: broken") in stage.said


# ── runs of one batch ───────────────────────────────────────────────────────────────────────────────────────


async def test_an_order_that_cannot_be_carried_out_stops_neither_its_run_nor_others(stage: Stage) -> None:
    engine = await stage.engine()
    one, other = stage.run("a", "b", id="one"), stage.run("a", id="other")
    dispatcher = engine._parts.dispatcher
    dispatcher.start = _Once(dispatcher.start, which=lambda held, *more: held.number == one)  # type: ignore[method-assign]
    await engine.submit(one, other)
    await passing(stage.clock, lambda: stage.status(one) is stage.status(other) is SUCCESS)
    assert not dispatcher.start.left  # type: ignore[attr-defined]


async def test_a_run_whose_orders_can_never_be_carried_out_is_set_aside_alone(stage: Stage) -> None:
    engine = await stage.engine()
    one, other = stage.run("a", id="one"), stage.run("a", "b", id="other")
    dispatcher = engine._parts.dispatcher
    dispatcher.start = _Once(dispatcher.start, -1, lambda held, *more: held.number == one)  # type: ignore[method-assign]
    await engine.submit(one, other)
    await passing(stage.clock, lambda: stage.status(other) is SUCCESS and one in engine.refused)
    assert engine.refused == {one: "ValueError: broken"}
    with pytest.raises(StoreError, match="broken"):
        await engine.ended(one)


async def test_whoever_waits_for_the_disk_hears_of_it_although_an_order_fails(stage: Stage) -> None:
    engine = await stage.engine(backend=ScriptedBackend({"a": HANG}))
    run = stage.run("a")
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.statuses(run) == {"a": "RUNNING"})
    hands: Any = engine._parts.turns._hands
    hands._act = _Once(hands._act)
    told = asyncio.ensure_future(engine.post(run, Paused()))
    await until(told.done)
    await told
    assert not hands._act.left
    await passing(stage.clock, lambda: run in engine.runs and engine.runs[run].run is not None)


class _Gate(Threads):
    """A thread for the store in which, from `close` on, everything waits for `open`."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()

    def worker(self, name: str) -> Executor:
        worker = super().worker(name)
        submit = worker.submit
        worker.submit = lambda call, *args: submit(self._gated, call, *args)  # type: ignore[method-assign,assignment]
        return worker

    def _gated(self, call: Callable[..., Any], *args: Any) -> Any:
        self.free.wait(20)
        return call(*args)


class _Elsewhere(Faulty):
    """A store that is always written in its thread."""

    def try_commit(self, writes: Sequence[Any]) -> bool:
        return False


async def test_what_comes_while_the_last_commit_is_made_is_refused_and_not_forgotten(stage: Stage) -> None:
    gate, backend = _Gate(), ScriptedBackend()
    engine = await stage.engine(_Elsewhere(stage.store), backend, threads=gate)
    run, go = stage.run("a"), backend.hold("a")
    await engine.submit(run)
    await until(lambda: backend.begun)
    gate.free.clear()
    go()
    await until(lambda: engine._parts.committer.flying)
    told = asyncio.ensure_future(engine.post(run, Paused()))
    await turn()
    assert not told.done()
    gate.free.set()
    await until(told.done)
    with pytest.raises(FenceLost):
        await told
    assert stage.status(run) is SUCCESS


async def test_who_waits_for_a_commit_of_a_run_that_is_lost_meanwhile_is_told(stage: Stage) -> None:
    gate, backend = _Gate(), ScriptedBackend({"a": HANG})
    engine = await stage.engine(_Elsewhere(stage.store), backend, threads=gate)
    run = stage.run("a")
    await engine.submit(run)
    await until(lambda: backend.begun)
    gate.free.clear()
    told = asyncio.ensure_future(engine.post(run, Paused()))
    await until(lambda: engine._parts.committer.flying)
    engine._lose_all([run])
    gate.free.set()
    await until(told.done)
    await told  # it was on disk before it was lost


# ── letters, and taking up ──────────────────────────────────────────────────────────────────────────────────


class _Unreadable(Faulty):
    """A store in which something of one run cannot be read."""

    def __init__(self, inner: Any, what: str, run: int, error: Exception) -> None:
        super().__init__(inner)
        self.what, self.run, self.error = what, run, error
        self.asked = 0

    def _of(self, what: str, run: int, *more: Any) -> Any:
        if (what, run) == (self.what, self.run):
            self.asked += 1
            raise self.error
        return getattr(self.inner, what)(run, *more)

    def inbox(self, run: int, *more: Any) -> Any:
        return self._of("inbox", run, *more)

    def load(self, run: int) -> Any:
        return self._of("load", run)


async def test_letters_that_cannot_be_read_keep_nobody_elses_from_being_read(stage: Stage) -> None:
    backend = ScriptedBackend({"a": HANG})
    store = _Unreadable(stage.store, "inbox", 0, StoreDamaged("a torn page"))
    engine = await stage.engine(store, backend, serve=True)
    one, other = stage.run("a", id="one"), stage.run("a", id="other")
    await engine.submit(one, other)
    await passing(stage.clock, lambda: len(backend.begun) == 2)
    store.run = one
    stage.letter(one, Paused())
    stage.letter(other, Paused())
    await passing(stage.clock, lambda: engine.runs[other].run and "paused" in engine.runs[other].run.holds)
    assert ("waiting", "letters to run one cannot be read: a torn page") in stage.said


async def test_a_letter_as_deep_as_a_well_is_no_fact(stage: Stage) -> None:
    engine = await stage.engine()
    run = stage.run("a")
    stage.store.append(run, [("deep", "[" * 100_000 + "]" * 100_000)], stage.clock.now().wall)
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    assert ("waiting", "letter deep to run show is no fact") in stage.said


@pytest.mark.parametrize("where", ["read", "begun"])
async def test_a_run_that_nobody_can_make_sense_of_holds_up_nobody(stage: Stage, where: str) -> None:
    one, other = stage.run("a", id="one"), stage.run("a", id="other")

    def begun(row: Any) -> dict[str, Any]:
        return _broken() if row.number == one and where == "begun" else {}

    store = _Unreadable(stage.store, "load", one if where == "read" else 0, ValueError("broken"))
    engine = await stage.engine(store, begun=begun)
    await engine.submit(one, other)
    await passing(stage.clock, lambda: stage.status(other) is SUCCESS)
    assert engine.refused == {one: "ValueError: broken"}


async def test_a_run_that_cannot_be_read_again_is_set_aside_and_nobody_waits_for_it(stage: Stage) -> None:
    store = _Unreadable(Faulty(stage.store, fails=full(2)), "load", 0, ValueError("broken"))
    engine = await stage.engine(store, ScriptedBackend({"a": HANG}))
    run = stage.run("a", "b")
    await engine.submit(run)
    store.run = run
    ended = asyncio.ensure_future(engine.ended(run))
    await passing(stage.clock, ended.done)
    with pytest.raises(StoreError, match="it cannot be read: ValueError: broken"):
        await ended


# ── beside the loop, and in the background ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("beat", "asked", "said"),
    [
        ("callboard-keeper", "renew", "leases cannot be renewed: ValueError: broken"),
        ("callboard-tending", "backup_if_due", "no copy of the store can be made: ValueError: broken"),
    ],
)
async def test_a_beat_that_fails_is_told_and_comes_again(
    stage: Stage, monkeypatch: MonkeyPatch, beat: str, asked: str, said: str
) -> None:
    calm = Calm()
    engine = await stage.engine(threads=calm, backend=ScriptedBackend({"a": HANG}))
    run = stage.run("a")
    await engine.submit(run)
    calls: list[object] = []
    monkeypatch.setattr(stage.store, asked, _Once(lambda *given: calls.append(given) or (), 1))
    await asyncio.to_thread(calm.beats[beat][1])
    await until(lambda: ("waiting", said) in stage.said)
    await asyncio.to_thread(calm.beats[beat][1])
    assert len(calls) == 1


async def test_what_fails_in_the_background_is_told(stage: Stage) -> None:
    engine = await stage.engine()

    async def fails() -> None:
        _broken()

    engine._taking.spawn(fails())
    await until(lambda: stage.said == [("waiting", "something in the background failed: ValueError: broken")])


async def test_documents_whose_queue_fails_are_told_of(stage: Stage, monkeypatch: MonkeyPatch) -> None:
    from_store = stage.store.put(b"text")
    engine = await stage.engine(put_document=lambda *given: None)
    run = stage.run("a")
    monkeypatch.setattr(engine._parts.publisher, "_tell", _broken)
    engine._parts.publisher.publish(_held_of(run), [("a.md", from_store, None, 1)])
    await until(lambda: ("waiting", "documents wait to be put in place: ValueError: broken") in stage.said)


def _held_of(run: int) -> Any:
    class Held:
        number, lost = run, False

    return Held()


# ── those who listen ────────────────────────────────────────────────────────────────────────────────────────


class _Gone(list[tuple[str, str]]):
    """Where nothing can be said any more: a terminal that was closed."""

    append = _broken


async def test_an_engine_whose_listener_fails_goes_on_all_the_same() -> None:
    stage = Stage(MemoryStore())
    stage.said = _Gone()
    engine = await stage.engine(Faulty(stage.store, fails=full(2, 3)))
    engine.watch(_broken)
    run = stage.run("a", Task("b", needs=("a",)))
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is SUCCESS)
    await stage.close()


async def test_a_watcher_that_leaves_keeps_nothing_from_the_next_one(stage: Stage) -> None:
    engine = await stage.engine()
    heard: list[object] = []

    def leaves(run: int, facts: Sequence[Fact], orders: Sequence[Order]) -> None:
        if any(type(order) is Finish for order in orders):
            leave()

    leave = engine.watch(leaves)
    engine.watch(lambda run, facts, orders: heard.extend(orders))
    await engine.submit(stage.run("a"))
    await passing(stage.clock, lambda: any(type(order) is Finish for order in heard))
    assert any(type(order) is Start for order in heard)


# ── what others raise ───────────────────────────────────────────────────────────────────────────────────────


class _Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


async def test_an_error_without_words_is_a_failure_like_any_other(stage: Stage) -> None:
    engine = await stage.engine(backend=ScriptedBackend({"a": _Mute()}))
    run = stage.run("a")
    await engine.submit(run)
    await passing(stage.clock, lambda: stage.status(run) is FAILED)


async def test_a_probe_that_cancels_itself_has_not_been_met(stage: Stage) -> None:
    asked: list[Evaluate] = []

    async def probe(run: int, order: Evaluate) -> Any:
        asked.append(order)
        raise asyncio.CancelledError

    engine = await stage.engine(probe=probe)
    run = stage.run("a", rules=(Rule("a", "START", Probe("p", ("k",))),))
    await engine.submit(run)
    stage.letter(run, Heard("k", 1))
    engine.look()
    await until(lambda: asked and engine.runs[run].run is not None and engine.runs[run].run.probing is None)
    assert stage.status(run) is RUNNING and stage.statuses(run) == {"a": "INIT"}
