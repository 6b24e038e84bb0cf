"""`await callboard.arun` on a loop of one's own, `run` beside one, in threads, and inside of each other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest

import callboard
from callboard.errors import RunInterrupted, UsageError

#: Seconds until a test is taken for stuck.
PATIENCE = 20.0


def one() -> int:
    return 1


async def test_coroutines_run_on_the_loop_that_awaits_and_functions_beside_it() -> None:
    here = asyncio.get_running_loop()
    seen: dict[str, Any] = {}

    async def first() -> int:
        seen["loop"] = asyncio.get_running_loop()
        return 1

    def second(first: int) -> int:
        seen["thread"] = threading.current_thread()
        return first + 1

    result = await callboard.arun(callboard.plan(first, callboard.task(second, needs=["first"])))
    assert result.value == 2
    assert seen["loop"] is here and seen["thread"] is not threading.current_thread()


async def test_many_are_awaited_at_once() -> None:
    both = asyncio.Barrier(20)

    async def meet(item: int) -> int:
        await both.wait()
        return item

    plans = [callboard.plan(callboard.task("meet", meet, each=[n, n + 100])) for n in range(10)]
    results = await asyncio.gather(*(callboard.arun(plan) for plan in plans))
    assert [[one["value"] for one in result.value] for result in results] == [[n, n + 100] for n in range(10)]


async def test_a_loop_that_waits_goes_on_with_other_things() -> None:
    release = threading.Event()
    waiting = asyncio.ensure_future(callboard.arun(lambda: release.wait(PATIENCE)))
    await asyncio.sleep(0)
    release.set()
    assert (await waiting).value is True


# ── being cancelled ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_timeout_interrupts_its_run_and_no_other() -> None:
    begun, go, calls = asyncio.Event(), asyncio.Event(), list[str]()

    def prepare() -> str:
        calls.append("prepare")
        return "ready"

    async def slow(prepare: str) -> str:
        calls.append("slow")
        begun.set()
        await go.wait()
        return prepare

    plan = callboard.plan(prepare, callboard.task("slow", slow, needs=["prepare"]))
    other = asyncio.ensure_future(callboard.arun(plan, id="other"))
    await begun.wait()
    begun.clear()
    one = asyncio.ensure_future(callboard.arun(plan, id="one"))
    await begun.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one, 0)
    assert (await callboard.arun(lambda: 3)).value == 3
    go.set()
    assert (await other).value == "ready"
    assert (await callboard.arun(plan, id="one")).value == "ready"
    assert calls.count("prepare") == 2, "what was recorded is not done again"
    assert calls.count("slow") == 3


async def test_when_it_is_cancelled_nothing_of_the_run_goes_on() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(callboard.arun(slow, id="show"))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_an_id_that_many_use_at_once_is_one_run() -> None:
    calls: list[int] = []

    def once() -> int:
        calls.append(1)
        return 1

    results = await asyncio.gather(*(callboard.arun(once, id="show") for _ in range(20)))
    assert {result.number for result in results} == {1} and calls == [1]


async def test_whoever_waits_for_the_same_run_is_next() -> None:
    begun, go, calls = asyncio.Event(), asyncio.Event(), list[int]()

    async def slow() -> int:
        calls.append(1)
        begun.set()
        await go.wait()
        return len(calls)

    first = asyncio.ensure_future(callboard.arun(slow, id="show"))
    await begun.wait()
    begun.clear()
    others = [asyncio.ensure_future(callboard.arun(slow, id="show")) for _ in range(2)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await begun.wait()
    go.set()
    results = await asyncio.gather(*others)
    assert [result.value for result in results] == [2, 2]


def test_a_loop_that_ends_leaves_an_interrupted_run_and_no_failed_one() -> None:
    begun = threading.Event()
    calls: list[int] = []

    async def slow() -> int:
        calls.append(1)
        begun.set()
        if len(calls) == 1:
            await asyncio.Event().wait()
        return len(calls)

    async def main() -> None:
        waiting = asyncio.ensure_future(callboard.arun(slow, id="show"))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        assert not waiting.done()

    asyncio.run(main())
    assert callboard.run(slow, id="show").value == 2


def test_an_interruption_in_the_middle_of_a_function_is_no_failure() -> None:
    calls: list[int] = []

    def slow() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return len(calls)

    with pytest.raises(RunInterrupted, match="id='show'"):
        callboard.run(slow, id="show")
    assert callboard.run(slow, id="show").value == 2


async def test_a_coroutine_that_cancels_itself_has_failed() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(callboard.RunFailed, match="cancelled itself"):
        await callboard.arun(gives_up)


# ── beside and inside each other ────────────────────────────────────────────────────────────────────────────


async def test_a_notebook_may_wait_in_its_cell() -> None:
    """A loop runs in the main thread, and the cell calls `run` without awaiting anything."""
    assert callboard.run(callboard.plan(one, callboard.task("two", _later, needs=["one"]))).value == 2


async def _later(one: int) -> int:
    await asyncio.sleep(0)
    return one + 1


def test_many_threads_wait_at_once_each_for_its_own() -> None:
    together = threading.Barrier(16)

    def work(n: int) -> Any:
        def meets() -> int:
            together.wait(PATIENCE)
            return n

        plan = callboard.plan(callboard.task("meets", meets), callboard.task("two", _plus(n), needs=["meets"]))
        return callboard.run(plan).value

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        assert list(threads.map(work, range(16))) == [2 * n for n in range(16)]


def _plus(n: int) -> Any:
    async def plus(meets: int) -> int:
        await asyncio.sleep(0)
        return meets + n

    return plus


def test_loops_in_several_threads_keep_their_coroutines_apart() -> None:
    def work(n: int) -> bool:
        async def main() -> bool:
            loop = asyncio.get_running_loop()

            async def same() -> bool:
                await asyncio.sleep(0)
                return asyncio.get_running_loop() is loop

            results = [(await callboard.arun(same)).value for _ in range(5)]
            return all(results)

        return asyncio.run(main())

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))


def test_a_function_may_run_a_run_of_its_own() -> None:
    def outer() -> int:
        return int(callboard.run(one).value) + 1

    async def outer_later() -> int:
        return int((await callboard.arun(one)).value) + 2

    assert callboard.run(outer).value == 2
    assert callboard.run(outer_later).value == 3


def test_a_coroutine_that_would_wait_for_itself_is_told_so() -> None:
    async def outer() -> Any:
        return callboard.run(_zero).value

    async def _zero() -> int:
        return 0

    with pytest.raises(callboard.RunFailed, match=r"await callboard\.arun") as failed:
        callboard.run(outer)
    assert isinstance(failed.value.__cause__, UsageError)
