"""Frozen owners (T8): the proof at gate size, and the proof itself, shown a store that asks for no fence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from callboard.battery import crowd
from callboard.battery.frozen import freeze, prove_frozen
from callboard.battery.proof import Proving

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_FENCES = """
from callboard.store.sql import queries
for name, text in vars(queries).copy().items():
    if isinstance(text, str):
        setattr(queries, name, text.replace(f"RAISE(ABORT, '{queries.FENCE_LOST}')", "1"))
"""
THE_LIVING_ARE_BELIEVED = """
from callboard.engine import owner
owner._is_stopped = lambda pid: False
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_frozen_owner_that_wakes_up_can_change_nothing(tmp_path: Path, seed: int) -> None:
    found = prove_frozen(Proving(tmp_path, 10, seed))
    print(f"seed {seed}: {found.tried} freezes, {dict(found.figures)}")
    assert found.failures == []
    assert found.figures["taken over"] > 4


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mechanism", [WITHOUT_FENCES, THE_LIVING_ARE_BELIEVED], ids=["fence", "lease"])
def test_it_would_be_found_if_the_store_or_the_owners_believed_everybody(
    tmp_path: Path, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", mechanism)
    with ThreadPoolExecutor(4) as hands:
        trials = hands.map(lambda n: freeze(tmp_path / str(n), 0.1, 2.5, is_late=True), range(4))
        found = [what for trial in trials for what in trial.wrong]
    print(*found, sep="\n")
    assert found
