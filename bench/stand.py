"""Where everything is measured: a project of its own, an engine on the running loop, tasks that do nothing.

Nothing hides the cost of recording tasks that do nothing. The plans here have their bare counterparts in `limit.py`.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.core.deadline import after
from callboard.core.plan import Plan, Task, dump
from callboard.engine.clock import SystemClock
from callboard.engine.engine import Engine
from callboard.engine.owner import LEASE, new_owner
from callboard.ports import Done
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from callboard.ports import Json, RunRow, Work

_NOTHING = Done('{"value":null}')


class NoOp:
    """A backend whose tasks do nothing. `begun` is called at the first line of each."""

    def __init__(self, begun: Callable[[Work], None] | None = None) -> None:
        self._begun = begun

    async def carry_out(self, work: Work) -> Done:
        if self._begun is not None:
            self._begun(work)
        return _NOTHING

    async def list_page(self, work: Work, page: int) -> tuple[Sequence[tuple[str, Json]], bool]:
        return (), False

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


class Stand(NamedTuple):
    """A project of its own, with an engine on the running loop."""

    folder: Path
    store: SQLiteStore
    engine: Engine

    def create(self, *plans: str, names: str = "run") -> Sequence[RunRow]:
        new = [(f"{names}-{n}", "", plan, "{}", "bench", time.time(), None) for n, plan in enumerate(plans)]
        return self.store.create_runs(new, owner=self.engine.owner, lease=after(SystemClock().now(), LEASE))

    async def carry_out(self, rows: Sequence[RunRow]) -> None:
        await self.engine.submit(*rows)
        for row in rows:
            await self.engine.ended(row.number)


@contextlib.asynccontextmanager
async def stand(directory: Path | None, backend: NoOp | None = None) -> AsyncIterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="callboard-bench-", dir=directory) as name:
        folder = Path(name)
        store = SQLiteStore(folder / "callboard.db")
        engine = Engine(store, backend or NoOp(), SystemClock(), new_owner(), folder=folder / "run", report=complain)
        await engine.start()
        try:
            yield Stand(folder, store, engine)
        finally:
            await engine.stop(interrupt=False)
            store.close()


def complain(state: str, why: str) -> None:
    print(f"  engine: {state} {why}", file=sys.stderr)


# ── plans ───────────────────────────────────────────────────────────────────────────────────────────────


def fan(n: int) -> str:
    return dump(Plan(tuple(Task(f"t{i}") for i in range(n))))


def line(n: int) -> str:
    return dump(Plan(tuple(Task(f"t{i}", needs=(f"t{i - 1}",) if i else ()) for i in range(n))))


def layers(count: int, width: int, needs: int = 3) -> list[tuple[int, ...]]:
    """What each task of a layered graph needs: some of the layer above, the same ones each time."""
    chance = random.Random(7)
    return [
        tuple(sorted(chance.sample(range((layer - 1) * width, layer * width), needs))) if layer else ()
        for layer in range(count)
        for _ in range(width)
    ]


def graph(needs: Sequence[tuple[int, ...]]) -> str:
    return dump(Plan(tuple(Task(f"t{n}", needs=tuple(f"t{i}" for i in above)) for n, above in enumerate(needs))))
