"""Damaged files (T17): the proof at gate size, and the proof itself, shown a program that believes what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import damage, damages
from callboard.battery.damage import prove_damage
from callboard.battery.proof import Proving
from callboard.store import chain
from callboard.store.sql import swap
from callboard.store.sql.pages import Pages
from callboard.store.sql.sound import Sound

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_what_is_damaged_is_found_or_does_no_harm_and_is_mended(tmp_path: Path, part: int) -> None:
    found = prove_damage(Proving(tmp_path, 50, part))
    print(f"{found.tried} damages, {dict(found.figures)}")
    assert found.failures == []


def test_each_kind_of_damage_does_something(tmp_path: Path) -> None:
    with damage.fast_folder() as folder, damage.as_if_new(100_000):
        world = damage.make(folder)
        tally = damage.Tally()
        for number, kind in enumerate(dict.fromkeys(damages.DAMAGES)):
            assert damage.damaged(world, folder / "disk", f"kinds-{number}", tally, kind) == [], kind.__name__
        assert tally.found >= 10


def test_the_same_seed_does_the_same_harm(tmp_path: Path) -> None:
    one, other = (prove_damage(Proving(tmp_path, 4, 9)) for _ in range(2))
    assert one.tried == other.tried == 4 and one.failures == other.failures == []


def _only(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    monkeypatch.setattr(damage, "DAMAGES", [getattr(damages, kind) for kind in kinds])


def test_it_would_be_found_if_runs_were_believed_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(monkeypatch, "edited")
    monkeypatch.setattr(Sound, "verify", lambda self, run: None)
    found = prove_damage(Proving(tmp_path, 25))
    assert [one for one in found.failures if "an outcome that is not true" in one], found.failures


def test_it_would_be_found_if_a_repair_did_not_read_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(monkeypatch, "zeroed_page")
    monkeypatch.setattr(Pages, "of_log", lambda pages: iter(()))
    found = prove_damage(Proving(tmp_path, 8))
    assert [one for one in found.failures if "is not whole, and its journal is" in one], found.failures


def test_it_would_be_found_if_a_repair_took_whatever_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any row of the next batch, whether its hash fits or not."""
    _only(monkeypatch, "edited")
    monkeypatch.setattr(damages, "_EDITS", damages._EDITS[:2])
    monkeypatch.setattr(chain, "longest", lambda before, rows: [rows[n][0] for n in sorted(rows)])
    assert prove_damage(Proving(tmp_path, 12)).failures


def test_it_would_be_found_if_the_old_log_stayed_beside_the_mended_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(monkeypatch, "zeroed_page")
    monkeypatch.setattr(swap, "ASIDE", ())
    assert prove_damage(Proving(tmp_path, 8)).failures
