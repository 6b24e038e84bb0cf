"""Many processes (T9): the proof at gate size, and the proof itself, shown a store that gives a run to everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import crowd
from callboard.battery.many import prove_many
from callboard.battery.proof import Proving

if TYPE_CHECKING:
    from pathlib import Path

EVERYBODY = """
from callboard.store.sql import queries, sqlite
sqlite._holds = lambda *holder: False
queries.CLAIM = queries.CLAIM.replace("fence = fence + 1", "fence = max(fence, 1)")
"""


@pytest.mark.timeout(300)
def test_any_number_of_processes_share_a_project(tmp_path: Path) -> None:
    found = prove_many(Proving(tmp_path, 60))
    print(f"{found.tried} seconds, {dict(found.figures)}")
    assert found.failures == []


@pytest.mark.timeout(180)
def test_it_would_be_found_if_a_run_could_be_taken_from_a_living_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", EVERYBODY)
    found = prove_many(Proving(tmp_path, 8))
    print(*found.failures[:5], sep="\n")
    assert found.failures
