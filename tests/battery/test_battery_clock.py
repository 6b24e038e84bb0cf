"""Jumping clocks (T7): the proof at gate size, and the proof itself, shown a program that believes the wall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import clock, crowd
from callboard.battery.clock import Jump, Trial, jumps, prove_clock
from callboard.battery.crowd import Noise
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS

if TYPE_CHECKING:
    from pathlib import Path

TIMERS_BY_THE_WALL = """
import time
from callboard.core.deadline import Now
from callboard.engine import clock
clock.SystemClock.now = lambda self: Now(time.time(), self._boot, time.time())
"""
LEASES_BY_THE_WALL = """
from callboard.store.sql import sqlite
sqlite.holds = lambda lease, now: now.wall < lease.wall
"""
COPIES_OF_ANY_TIME = """
from callboard.store.sql import backups
backups.is_due = lambda folder, database, wall: not backups.place(folder, database, wall).exists()
"""
needs_library = pytest.mark.skipif(clock._library() is None, reason="libfaketime is not installed")


@needs_library
@pytest.mark.timeout(240)
def test_nothing_comes_of_it_when_the_wall_clock_jumps(tmp_path: Path) -> None:
    size = next(proof.gate for proof in PROOFS if proof.name == "clock")
    found = prove_clock(Proving(tmp_path, size))
    print(dict(found.figures))
    assert found.failures == []
    assert found.tried == size


@needs_library
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("mechanism", "to", "says"),
    [
        (TIMERS_BY_THE_WALL, "-3", "retry took"),
        (LEASES_BY_THE_WALL, "+3600", "taken over"),
        (COPIES_OF_ANY_TIME, "+3600", "copies were made"),
    ],
    ids=["timers", "leases", "copies"],
)
def test_it_would_be_found_if_anything_counted_by_the_wall(
    tmp_path: Path, mechanism: str, to: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", mechanism)
    monkeypatch.setattr(clock, "jumps", lambda: [Jump(to, (to,))])
    monkeypatch.setattr(clock, "AGAIN", 0)
    found = prove_clock(Proving(tmp_path, 1))
    print(*found.failures, sep="\n")
    assert [what for what in found.failures if says in what]


@pytest.mark.parametrize(
    ("seconds", "tried", "failures"),
    [
        ([9.0, 2.0], 2, []),
        ([9.0, 9.0, 9.0], 3, ["+1: retry took 9.00 s, not 2"]),
        ([0.1, 0.1, 0.1], 3, ["+1: retry took 0.10 s, not 2"]),
    ],
    ids=["once", "always", "always-too-soon"],
)
def test_what_came_at_another_time_is_tried_again_and_told_if_it_always_does(
    seconds: list[float], tried: int, failures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def jumped(folder: Path, *how: object) -> Trial:
        folders.append(folder)
        return Trial([], {"retry": seconds[len(folders) - 1]})

    monkeypatch.setattr(clock, "_library", lambda: "there")
    monkeypatch.setattr(clock, "_jumped", jumped)
    monkeypatch.setattr(clock, "jumps", lambda: [Jump("+1", ("+1",))])
    monkeypatch.setattr(Noise, "__exit__", lambda self, *error: self._process.communicate())  # it was calm
    assert prove_clock(Proving(tmp_path, 1)).failures == failures
    assert len(set(folders)) == tried


def test_clocks_change_twice_a_year_where_they_change_at_all() -> None:
    names = [jump.name for jump in jumps()]
    assert [sum(zone in name for name in names) for zone in clock.ZONES] == [2] * len(clock.ZONES)
    assert len(names) == next(proof.nightly for proof in PROOFS if proof.name == "clock")


def test_without_the_library_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_library", lambda: None)
    assert prove_clock(Proving(tmp_path, 3)).skipped.endswith("pip install libfaketime")
