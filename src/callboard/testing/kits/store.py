"""The kit of the ports `Store` and `Records`: what every store must do, said as cases.

A case is a function of a `Bench`, which opens the store under test; its name reads as a sentence. Nothing here
knows how a store keeps what it is given, so memory, SQLite and whatever comes later pass the same cases:

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
    def test_store(case, tmp_path): case(Bench(lambda: SQLiteStore(tmp_path / "callboard.db")))
"""

from __future__ import annotations

from callboard.testing.kits import store_around, store_runs
from callboard.testing.kits.bench import FACT, FAR, ME, PLAN, YOU, Bench, Both, Case

__all__ = ["CASES", "FACT", "FAR", "ME", "PLAN", "YOU", "Bench", "Both", "Case"]

CASES: list[Case] = [*store_runs.CASES, *store_around.CASES]
