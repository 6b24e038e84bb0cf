"""Backends of this process: inline, routes, threads that can only be disowned, and coroutines of another loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from backends_stage import Ctx, until

from callboard.backends import wire
from callboard.backends.inline import Inline
from callboard.backends.loops import LoopThread, OtherLoop
from callboard.backends.routes import Routes
from callboard.backends.threads import Threads
from callboard.errors import FenceLost, NotFound, Permanent, Transient
from callboard.ports import Done, Page
from callboard.testing.scripted import ScriptedBackend

if TYPE_CHECKING:
    from backends_stage import Stage


async def test_inline_gives_each_work_a_context_of_its_own(stage: Stage) -> None:
    contexts: list[Any] = []

    async def handler(work: Any, ctx: Any) -> Done:
        contexts.append(ctx)
        return Done(f'{{"value":{work.node}}}')

    closed: list[bool] = []
    backend = Inline(
        handler,
        lambda work: Ctx(stage, work.attempt),
        lister=stage.lister,
        can=lambda kind, inputs: None if kind == "llm" else "no",
        close=lambda: closed.append(True),
    )
    outcomes = [(await backend.carry_out(stage.work("f", node))).outcome for node in (1, 2)]
    assert outcomes == ['{"value":1}', '{"value":2}']
    assert contexts[0] is not contexts[1]
    assert await backend.list_page(stage.work("f"), 3) == Page([("page 3", None)])
    assert (backend.can("llm", {}), backend.can("x", {})) == (None, "no")
    await backend.close()
    assert closed


async def test_each_kind_goes_to_its_backend(stage: Stage) -> None:
    default, special = ScriptedBackend(cannot={"b": "no"}), ScriptedBackend()
    routes = Routes(default, {"function": special})
    await routes.carry_out(stage.work("f"))
    await routes.carry_out(stage.work("f")._replace(executor="llm"))
    assert (len(special.begun), len(default.begun)) == (1, 1)
    assert routes.can("b", {}) == "no" and routes.can("function", {}) is None
    await routes.close()
    assert special.closed and default.closed


async def test_all_backends_are_closed_even_if_one_fails(stage: Stage) -> None:
    class Broken(ScriptedBackend):
        async def close(self) -> None:
            raise RuntimeError("broken")

    default = ScriptedBackend()
    with pytest.raises(RuntimeError, match="broken"):
        await Routes(default, {"function": Broken()}).close()
    assert default.closed


# ── threads ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_blocking_calls_run_beside_each_other_off_the_loop() -> None:
    threads, barrier = Threads(), threading.Barrier(5)

    def call() -> int:
        barrier.wait(10)
        return threading.get_ident()

    found = await asyncio.gather(*(threads(call) for _ in range(5)))
    assert len(set(found)) == 5 and threading.get_ident() not in found
    threads.close()


async def test_at_most_so_many_run_at_once_and_all_run() -> None:
    threads = Threads(most=2)
    running, peak, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        with lock:
            running -= 1

    await asyncio.gather(*(threads(call) for _ in range(100)))
    assert peak <= 2


async def test_what_a_call_raises_is_raised_here() -> None:
    threads = Threads()

    def fails(error: BaseException) -> Any:
        raise error

    for error, kind in ((ValueError("x"), ValueError), (SystemExit(1), SystemExit), (StopIteration(), RuntimeError)):
        with pytest.raises(kind):
            await threads(lambda error=error: fails(error))


async def test_a_call_that_hangs_is_disowned_and_its_place_is_taken() -> None:
    threads, gate, begun = Threads(most=1), threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        gate.wait()

    hanging = asyncio.ensure_future(threads(hangs))
    await until(begun.is_set)
    waiting = asyncio.ensure_future(threads(lambda: "never"))
    await asyncio.sleep(0)
    waiting.cancel()
    hanging.cancel()
    for call in (hanging, waiting):
        with pytest.raises(asyncio.CancelledError):
            await call
    assert threads.disowned == 1
    assert await threads(lambda: "next") == "next"
    gate.set()
    await until(lambda: threads.disowned == 0)


def test_a_hanging_thread_does_not_keep_the_process() -> None:
    program = """
import asyncio, threading
from callboard.backends.threads import Threads
async def main():
    call = asyncio.ensure_future(Threads()(threading.Event().wait))
    await asyncio.sleep(0.05)
    call.cancel()
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0


# ── another loop ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_coroutine_runs_on_the_loop_it_belongs_to() -> None:
    thread = LoopThread()
    other = OtherLoop(thread.loop)

    async def where() -> Any:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    async def fails() -> None:
        raise ValueError("there")

    assert await other(where()) is thread.loop
    with pytest.raises(ValueError, match="there"):
        await other(fails())
    assert await OtherLoop(asyncio.get_running_loop())(where()) is asyncio.get_running_loop()
    thread.close()


async def test_a_cancellation_is_over_when_the_other_side_has_ended() -> None:
    thread = LoopThread()
    begun, ended = threading.Event(), threading.Event()

    async def hangs() -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.set()

    call = asyncio.ensure_future(OtherLoop(thread.loop)(hangs()))
    await until(begun.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()
    thread.close()


# ── the wire ────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_are_cut_wherever_the_bytes_break() -> None:
    data = b"".join(wire.pack("log", number, "Grüße\n") for number in range(20))
    for step in (1, 3, 7, 1000):
        lines, found = wire.Lines(), []
        for at in range(0, len(data), step):
            found += [wire.unpack(line) for line in lines.cut(data[at : at + step])]
        assert found == [["log", number, "Grüße\n"] for number in range(20)]


def test_a_long_line_is_refused_whole_or_in_parts() -> None:
    for pieces in ([b"x" * 200], [b"x" * 60, b"x" * 60], [b"x" * 150 + b"\n"]):
        lines = wire.Lines(longest=100)
        with pytest.raises(ValueError, match="a line of more than"):
            for piece in pieces:
                lines.cut(piece)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"[1]", b'["a",NaN]', b"\xff", b'["a","\\ud800"]', b"[" * 99999])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="no message"):
        wire.unpack(line)


def test_errors_travel_by_the_name_of_their_class() -> None:
    error = wire.error_in(wire.error_out(Transient("busy", evidence={"a": 1}, retry_after=2.0)))
    assert isinstance(error, Transient) and (error.evidence, error.retry_after) == ({"a": 1}, 2.0)
    assert type(wire.error_in(wire.error_out(NotFound("gone")))) is NotFound
    assert type(wire.error_in(wire.error_out(FenceLost((1,))))) is Permanent
    assert type(wire.error_in({"class": "SystemExit", "message": "x"})) is Permanent
    assert wire.error_out(Permanent("\ud800", evidence={1: object()})) == {"class": "Permanent", "message": "?"}
    for wrong in (None, [], {}, {"message": 3}):
        with pytest.raises(ValueError, match="without a message"):
            wire.error_in(wrong)


# ── a system that gives no more threads, and coroutines that leave ──────────────────────────────────────────


class _NoThread:
    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


async def test_a_call_without_a_thread_fails_and_is_not_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, called = Threads(most=1), list[int]()
    with monkeypatch.context() as starved:
        starved.setattr("callboard.backends.threads.threading.Thread", _NoThread)
        for _ in range(3):
            with pytest.raises(Transient, match="no further thread"):
                await threads(lambda: called.append(1))
    await threads(lambda: called.append(2))
    assert called == [2], "there is room for a thread still, and what has failed is over"
    threads.close()


async def test_where_no_further_thread_can_be_started_calls_wait_for_one_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, gate, begun = Threads(most=2), threading.Event(), threading.Event()

    def holds() -> None:
        begun.set()
        gate.wait(20)

    first = asyncio.ensure_future(threads(holds))
    await asyncio.to_thread(begun.wait, 20)
    with monkeypatch.context() as starved:
        starved.setattr("callboard.backends.threads.threading.Thread", _NoThread)
        second = asyncio.ensure_future(threads(lambda: "done"))
        await asyncio.sleep(0)
    gate.set()
    assert (await second, await first) == ("done", None)
    threads.close()


async def test_a_disowned_thread_takes_over_where_no_other_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, gate, begun = Threads(most=1), threading.Event(), threading.Event()

    def holds() -> None:
        begun.set()
        gate.wait(20)

    first = asyncio.ensure_future(threads(holds))
    await asyncio.to_thread(begun.wait, 20)
    second = asyncio.ensure_future(threads(lambda: "done"))
    await asyncio.sleep(0)
    with monkeypatch.context() as starved:
        starved.setattr("callboard.backends.threads.threading.Thread", _NoThread)
        first.cancel()
        await asyncio.wait([first])
    gate.set()
    assert await second == "done"
    threads.close()


async def test_a_loop_whose_thread_cannot_be_started_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = LoopThread()
    with monkeypatch.context() as starved:
        starved.setattr("callboard.backends.loops.threading.Thread", _NoThread)
        with pytest.raises(RuntimeError, match="new thread"):
            _ = thread.loop
    assert await OtherLoop(thread.loop)(_one()) == 1
    thread.close()


async def _one() -> int:
    return 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_a_coroutine_that_leaves_takes_no_other_along(error: BaseException) -> None:
    thread = LoopThread()
    other = OtherLoop(thread.loop)

    async def leaves() -> None:
        raise error

    caught: list[BaseException] = []
    try:
        await other(leaves())
    except BaseException as raised:  # also KeyboardInterrupt, which pytest would take for its own
        caught.append(raised)
    assert [type(one) for one in caught] == [type(error)]
    assert await other(_one()) == 1
    thread.close()
