"""Both stores pass the kit: in memory, on disk, and on disk opened anew before everything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.store.memory import MemoryStore
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.kits.store import CASES, Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("kind", ["memory", "sqlite", "sqlite-reopened"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_store(case: Callable[[Bench], None], kind: str, tmp_path: Path) -> None:
    bench = (
        Bench(MemoryStore, reopen=False)
        if kind == "memory"
        else Bench(lambda: SQLiteStore(tmp_path / "callboard.db"), reopen=kind == "sqlite-reopened")
    )
    try:
        case(bench)
    finally:
        bench.store.close()
