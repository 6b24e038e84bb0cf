"""A disk that is full at any one commit: the caller gets what an undisturbed run gets, and memory tells no lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import callboard
from callboard.app.stage import thread as engine_thread
from callboard.core import rows
from callboard.errors import StoreError, Transient
from callboard.store import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.app.stage.functions import FunctionPlan
    from callboard.core.run import Run
    from callboard.ports import Write


class Faulty(memory.MemoryStore):
    """Its n-th commit fails, before or after it has been recorded."""

    fails, after = 0, False

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.commits = 0

    def commit(self, writes: Sequence[Write]) -> None:
        self.commits += 1
        if self.commits != self.fails or self.after:
            super().commit(writes)
        if self.commits == self.fails:
            raise StoreError("the disk is full")


def _show(calls: list[str]) -> FunctionPlan:
    def first() -> int:
        calls.append("first")
        if calls.count("first") == 1:
            raise Transient("busy", retry_after=0.001)
        return 1

    async def each(item: int, first: int) -> int:
        calls.append(f"each {item}")
        return item + first

    def last(each: list[Any]) -> int:
        calls.append("last")
        return sum(one["value"] for one in each)

    return callboard.plan(
        callboard.task(first, retry=2),
        callboard.task("each", each, each=[10, 20], needs=["first"]),
        callboard.task(last, needs=["each"]),
    )


@pytest.mark.parametrize("after", [False, True], ids=["nothing-recorded", "all-recorded"])
def test_whichever_commit_fails_the_caller_gets_the_value(monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    monkeypatch.setattr(memory, "MemoryStore", Faulty)
    monkeypatch.setattr(Faulty, "after", after)
    commits, n = 99, 0
    while n <= commits:
        monkeypatch.setattr(Faulty, "fails", n)
        calls: list[str] = []
        differences = _compared(monkeypatch)
        result = callboard.run(_show(calls), store="memory")
        assert (result.value, result.status) == (32, "success"), n
        assert sorted(calls) == ["each 10", "each 20", "first", "first", "last"], (
            "a commit that fails calls nobody again"
        )
        assert not differences
        store = engine_thread._threads[-1]._house.store  # type: ignore[union-attr]
        assert len(store.journal(result.number)) >= 5 and not store.waiting()
        commits = store.commits if n == 0 else commits
        engine_thread.close_all()
        n += 1
    assert commits > 5


def _compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What memory and disk say differently after any commit of the engines that are opened from now on."""
    differences: list[str] = []
    opened: Callable[[engine_thread.EngineThread], Any] = engine_thread.EngineThread._opened

    def watched(stage: engine_thread.EngineThread) -> Any:
        house, carrier = opened(stage)

        def compare(run: int, facts: object, orders: object) -> None:
            held = carrier.engine.runs.get(run)
            if held is not None and held.run is not None and _told(held.run) != _told(_reload(house.store, run)):
                differences.append(f"{facts}: {_told(held.run)} {_told(_reload(house.store, run))}")

        carrier.engine.watch(compare)
        return house, carrier

    monkeypatch.setattr(engine_thread.EngineThread, "_opened", watched)
    return differences


def _reload(store: memory.MemoryStore, run: int) -> Run:
    return rows.loaded(store.load(run))


def _told(run: Run) -> dict[str, Any]:
    nodes = {
        run.name_of(row.id): (row.status.name, row.number, row.attempt, row.tries, row.revision, row.wake, row.next)
        for row in run.nodes
    }
    names = ("status", "holds", "cancelling", "open", "at_work", "held", "queued", "failures", "pending")
    return nodes | {name: getattr(run, name) for name in names}
