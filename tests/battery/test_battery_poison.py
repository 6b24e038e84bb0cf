"""Poison (T12): the proof at gate size, and the proof itself, shown programs that look after nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import crowd, poison
from callboard.battery.poison import Twins, prove_poison, side_by_side
from callboard.battery.poisons import POISONS
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS

if TYPE_CHECKING:
    from pathlib import Path

EVERYBODY_IS_BLAMED = """
from callboard.backends import child
child._HEARD["exhausted"] = child.Child._on_failed
"""
READ_AT_ANY_PACE = """
from callboard.core.pace import Pace
Pace.wait = lambda self, size, now: 0.0
"""


@pytest.mark.timeout(300)
def test_poison_is_set_aside_and_nobody_else_is_the_worse_for_it(tmp_path: Path) -> None:
    size = next(proof.gate for proof in PROOFS if proof.name == "poison")
    found = prove_poison(Proving(tmp_path, size))
    print(f"{found.tried} poisons, {dict(found.figures)}")
    assert found.failures == []


def alone(folder: Path, name: str) -> Twins:
    return side_by_side(folder, [one for one in POISONS if one.name == name])


@pytest.mark.timeout(240)
def test_it_would_be_found_if_one_call_took_the_memory_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", EVERYBODY_IS_BLAMED)
    twins = alone(tmp_path / "show", "function-hoards")
    assert any("which did no harm, is FAILED: MemoryError" in what for what in twins.wrong), twins


@pytest.mark.timeout(240)
def test_it_would_be_found_if_a_flood_was_read_at_any_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "BEFORE", READ_AT_ANY_PACE)
    monkeypatch.setattr(poison, "_LIMIT", 30)  # long enough for it to say all, on a busy machine too
    twins = alone(tmp_path / "show", "command-complains")
    assert any("an engine read" in what or "ended with exit code 4" in what for what in twins.wrong), twins


def test_every_poison_has_a_name_and_an_end_of_its_own() -> None:
    names = [one.name for one in POISONS]
    assert len(set(names)) == len(names) >= 30
    assert all(one.says for one in POISONS)
