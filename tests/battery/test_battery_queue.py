"""Full queues (T13): the proof at gate size, and the proof itself, shown stores that refuse nobody or too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import crowd
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS
from callboard.battery.queue import prove_queue

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_BOUNDS = """
from callboard.store.sql import room
room.for_runs = lambda ask, bounds, ids: None
"""
COUNTED_BEFORE_THE_LOCK = """
from callboard.store.sql import room, sqlite
sqlite._asking = lambda writer: lambda query, bindings: None
"""
PEOPLE_WAIT_LIKE_EVENTS = """
from callboard.store.sql import room
import callboard.ports
room.for_letters = lambda ask, bounds, run, ids, urgent: room.for_runs(ask, bounds, [str(n) for n in range(len(ids))])
"""


@pytest.mark.timeout(180)
def test_a_full_project_takes_nothing_more_and_loses_nothing(tmp_path: Path) -> None:
    size = next(proof.gate for proof in PROOFS if proof.name == "queue")
    found = prove_queue(Proving(tmp_path, size))
    print(dict(found.figures))
    assert found.failures == []
    assert found.figures["refused"] > 9 * size


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "mechanism",
    [WITHOUT_BOUNDS, COUNTED_BEFORE_THE_LOCK, PEOPLE_WAIT_LIKE_EVENTS],
    ids=["no bound", "counted too early", "people"],
)
def test_it_would_be_found_if_the_bound_were_not_kept(
    tmp_path: Path, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", mechanism)
    found = prove_queue(Proving(tmp_path, 12))
    print(*found.failures[:5], sep="\n")
    assert found.failures
