"""Hung steps (T11): the proof at gate size, and the proof itself, shown an engine that looks after nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import crowd
from callboard.battery.hung import HANGS, prove_hung, side_by_side, wrong
from callboard.battery.proof import Proving

if TYPE_CHECKING:
    from pathlib import Path

NOBODY_LOOKS = """
from callboard.backends.child import Child
async def has_offspring(self, flight): return False
Child.has_offspring = has_offspring
"""


@pytest.mark.timeout(180)
def test_a_time_limit_ends_a_step_with_all_that_it_has_started(tmp_path: Path) -> None:
    found = prove_hung(Proving(tmp_path, len(HANGS)))
    print(f"{found.tried} steps that hang, {dict(found.figures)}")
    assert found.failures == []


@pytest.mark.timeout(180)
def test_it_would_be_found_if_nobody_looked_for_what_a_call_leaves_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", NOBODY_LOOKS)
    hung, noise = side_by_side(tmp_path / "show", [hang for hang in HANGS if hang.how == "leaves"])
    found = [what for one in hung for what in wrong(one, noise)]
    assert any("after its limit" in what for what in found)
