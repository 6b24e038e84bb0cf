"""Power cuts (T3): the proof at gate size, and the proof itself, shown a store that does not sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery.power import lost_after_kills, lost_unsynced, places_of_names, play, prove_power
from callboard.battery.proof import Proving
from callboard.battery.show import as_if_new, fast_folder
from callboard.store.sql import database
from callboard.testing.disk.image import whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


def test_the_log_misses_nothing(folder: Path) -> None:
    played = play(folder, "power-whole")
    root = played.log.root
    there = {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if not path.name.endswith("-shm")
    }
    assert whole(played.log) == there


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    found = prove_power(Proving(tmp_path, 250, seed))
    print(f"seed {seed}: {found.tried} images, {dict(found.figures)}")
    assert found.failures == []


def test_a_few_images_tell_much_already(tmp_path: Path) -> None:
    """What is grossly wrong need not wait for a thousand of them."""
    assert prove_power(Proving(tmp_path, 60)).failures == []


@pytest.mark.parametrize("part", [0, 1])
def test_what_a_killed_process_left_is_durable_before_it_is_shown(folder: Path, part: int) -> None:
    """At every place where a file gets a name."""
    with as_if_new():
        played = play(folder, f"power-names-{part}")
        assert lost_after_kills(played, folder, places_of_names(played)[part::2], f"names-{part}") == []


def test_it_would_be_found_if_commits_were_not_synced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(lost_unsynced(folder)) > 4
    monkeypatch.setattr(database, "SETTINGS", database.SETTINGS.replace("FULL", "NORMAL"))
    found = prove_power(Proving(tmp_path, 60))
    print(f"with NORMAL {len(found.failures)} of 60 images had lost something")
    assert len(found.failures) > 6
