"""A changed definition (T16): the proof at gate size, and what it says when a mechanism is taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from callboard.app.commands import adopt as command
from callboard.battery import adopt as proof
from callboard.battery import definitions
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS
from callboard.battery.worlds import Seeded
from callboard.core import handover
from callboard.faces.pipelines import changes

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.core.handover import Left

PARTS = 2
GATE = next(one for one in PROOFS if one.name == "adopt").gate


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_run_goes_on_as_it_was_or_as_the_edited_file_says(part: int, tmp_path: Path) -> None:
    found = proof.prove_adopt(Proving(tmp_path, GATE // PARTS, part))
    print(found.tried, dict(found.figures))
    assert found.failures == []
    assert found.figures["adopted"] > GATE // PARTS / 2 and found.figures["outcomes kept"] > GATE // PARTS / 2


def failures(tmp_path: Path, size: int = 14) -> str:
    found = proof.prove_adopt(Proving(tmp_path, size, 3))
    print(f"{len(found.failures)} failures of {found.tried}")
    return "\n".join(found.failures)


def test_it_would_be_found_if_what_stands_above_were_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see = changes._Asked._see

    def seen(self: Any, task: Any) -> None:
        see(self, task)
        self.closure[task.name] = self.own[task.name]

    monkeypatch.setattr(changes._Asked, "_see", seen)
    assert "these were not asked" in failures(tmp_path, 24)


def test_it_would_be_found_if_a_changed_list_kept_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare = changes.compare
    monkeypatch.setattr(changes, "compare", lambda *given: compare(*given)._replace(partly={}))
    monkeypatch.setattr(definitions, "EDITS", {"relist": definitions.relist})
    assert "calls were made for what asks the same" in failures(tmp_path)


def test_it_would_be_found_if_a_part_of_what_is_known_were_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = handover.left

    def less(*given: Any) -> Left:
        found = left(*given)
        return found._replace(known=found.known[:-1])

    monkeypatch.setattr(handover, "left", less)
    monkeypatch.setattr(command, "_carried", lambda one: {})  # nor is what was paid for it
    assert "calls were made for what asks the same" in failures(tmp_path)


def test_it_would_be_found_if_a_run_were_not_over_when_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.engine.replacing.Replaced", lambda by: proof.Approved("nothing", 1, by))
    assert failures(tmp_path, 4)


@pytest.mark.parametrize("name", definitions.EDITS)
def test_an_edit_makes_a_file_that_says_something_else_most_times(name: str) -> None:
    seeds = range(12)
    before = [definitions.drawn(Seeded(seed)) for seed in seeds]
    after = [definitions.EDITS[name](Seeded(seed), one) for seed, one in zip(seeds, before, strict=True)]
    assert sum(one.source() != other.source() for one, other in zip(before, after, strict=True)) >= 6
