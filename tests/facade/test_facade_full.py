"""A project that is full, for Python: `callboard.Busy` says when to come again, and running work does not notice."""

from __future__ import annotations

import asyncio
import threading

import pytest

import callboard


def one() -> int:
    return 1


@pytest.mark.parametrize("store", [None, "memory"])
async def test_a_run_beyond_the_bound_is_refused_and_those_that_run_end(
    store: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_MOST_RUNS", "2")
    gate, begun = threading.Event(), threading.Semaphore(0)

    def held() -> int:
        begun.release()
        gate.wait()
        return 2

    running = [asyncio.ensure_future(callboard.arun(held, id=f"held-{n}", store=store)) for n in range(2)]
    for _ in running:
        await asyncio.to_thread(begun.acquire)
    with pytest.raises(callboard.Busy, match="2 that have not ended") as refused:
        await callboard.arun(one, store=store)
    assert refused.value.retry_after == 5.0
    with pytest.raises(callboard.Busy):
        await asyncio.to_thread(callboard.run, one, store=store)
    gate.set()
    assert [result.value for result in await asyncio.gather(*running)] == [2, 2]
    assert (await callboard.arun(one, store=store)).value == 1


def test_run_in_production_is_refused_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "waits.ai").write_text("name: Waits\npipe:\n  - {name: release, type: human, question: Now?}\n")
    monkeypatch.setenv("CALLBOARD_MOST_RUNS", "1")
    config = {"name": "cards", "steps": ["cards"]}
    with pytest.raises(callboard.RunWaiting):
        callboard.run_in_production("waits.ai", config, "text", "raw", "cards")
    there = sorted(path.name for path in tmp_path.rglob("cards_*"))
    with pytest.raises(callboard.Busy):
        callboard.run_in_production("waits.ai", config, "text", "raw", "cards")
    assert sorted(path.name for path in tmp_path.rglob("cards_*")) == there
