"""The stateful model (T19): the proof at gate size, the proof without a mechanism, and what it has found once."""

from __future__ import annotations

import ast
import importlib.util
from typing import TYPE_CHECKING

import pytest

from callboard.battery import course, promised, rules
from callboard.battery.model import STEPS, prove_model
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS
from callboard.battery.show import fast_folder
from callboard.core.facts import LeaseLost
from callboard.engine import batch, recovery
from callboard.store.sql import database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

PARTS = 4
GATE = next(proof for proof in PROOFS if proof.name == "model").gate


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_is_done_to_it_it_does_what_was_promised(part: int, tmp_path: Path) -> None:
    found = prove_model(Proving(tmp_path, GATE // PARTS, seed=part + 1))
    print(dict(found.figures))
    assert found.failures == []
    assert all(found.figures.get(name) for name in ("deaths of all", "power cuts", "letters", "attempts"))


@pytest.mark.parametrize("half", [promised, course])
def test_the_model_knows_nothing_of_what_it_is_held_against(half: ModuleType) -> None:
    with open(str(half.__file__)) as file:
        tree = ast.parse(file.read())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported <= {"__future__", "json", "collections", "typing", course.__name__}


def test_the_same_seed_plays_the_same(tmp_path: Path) -> None:
    one, two, other = (prove_model(Proving(tmp_path, 5, seed)).figures for seed in (3, 3, 4))
    assert one == two != other


def test_without_hypothesis_it_says_that_it_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = prove_model(Proving(tmp_path, 5))
    assert (found.tried, found.failures) == (0, ())
    assert "Hypothesis is not installed" in found.skipped


def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SETTINGS", database.SETTINGS.replace("FULL", "NORMAL"))


def _letters_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known = batch.step
    monkeypatch.setattr(batch, "step", lambda *args: (it := known(*args))._replace(write=it.write._replace(inbox=None)))


def _lost_works_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    known = recovery.left_behind
    monkeypatch.setattr(
        recovery, "left_behind", lambda *args: [fact for fact in known(*args) if type(fact) is not LeaseLost]
    )


def _outcomes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is told as done and writes half: its outcomes come to nothing."""
    known = batch.step

    def step(*args: object) -> object:
        stepped = known(*args)  # type: ignore[arg-type]
        return stepped._replace(write=stepped.write._replace(outcomes=()))

    monkeypatch.setattr(batch, "step", step)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("take_away", [_no_sync, _letters_forgotten, _lost_works_not_seen, _outcomes_elsewhere])
def test_without_a_mechanism_it_fails(
    take_away: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    with fast_folder() as folder:
        failures, _ = rules.play(folder, 60, STEPS, 1, smaller=False)
    print(*failures)
    assert failures
