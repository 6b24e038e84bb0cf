"""Both stores, and a stage on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from engine_stage import Stage

from callboard.store.memory import MemoryStore
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from callboard.ports import Store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "callboard.db")
    yield store
    store.close()


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    stage = Stage(store)
    yield stage
    await stage.close()
