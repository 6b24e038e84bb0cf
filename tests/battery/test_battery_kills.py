"""Random kills (T1): the proof at gate size, and the proof itself, shown a program that writes files in place."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from callboard.battery import kills
from callboard.battery.kills import Tally, killed_runs, large, prove_kills, undisturbed
from callboard.battery.open_steps import Resumed, resumed
from callboard.battery.proof import Proving

if TYPE_CHECKING:
    from pathlib import Path

PARTS, KILLS = 2, 50

#: Found by every process that is started with it on its path: documents are written where they are read.
IN_PLACE = """
import os
import time

from callboard.store import publish


def put(parent, name, hash, seen, read):
    data = read(hash)
    with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=parent), "wb", 0) as file:
        file.write(data[: len(data) // 2])
        time.sleep(0.05)
        file.write(data[len(data) // 2 :])
    return True


publish._put = put
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, PARTS + 1))
def test_whenever_it_is_killed_nothing_recorded_is_lost(seed: int, tmp_path: Path) -> None:
    found = prove_kills(Proving(tmp_path, KILLS, seed))
    print(f"seed {seed}: {found.tried} kills, {dict(found.figures)}")
    assert found.failures == []
    assert found.tried >= KILLS


@pytest.mark.timeout(300)
def test_it_would_be_found_if_documents_were_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harm").mkdir()
    (tmp_path / "harm/sitecustomize.py").write_text(IN_PLACE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "harm"))
    usual, tally = undisturbed(tmp_path), Tally()
    while not tally.failures and tally.plays < 5:
        killed_runs(tmp_path / f"show{tally.plays}", Random(tally.plays), usual, tally)
    print(tally.kills, tally.failures[:3])
    assert any("differs" in one for one in tally.failures)


@pytest.mark.timeout(300)
def test_a_run_with_many_open_steps_goes_on_after_each_kill(tmp_path: Path) -> None:
    found = resumed(tmp_path / "open", 20, 1)
    assert found.wrong == [] and 0 < found.waits[0] < 300


def test_it_is_found_when_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    took = [*[0.5] * 19, 2.5]
    monkeypatch.setattr(kills, "resumed", lambda root, steps, times: Resumed(took, ["a step has two outcomes"]))
    tally = Tally()
    assert large(Proving(tmp_path, 999), 2.0, tally) == {} and not tally.failures
    assert large(Proving(tmp_path, 1000), 2.0, tally) == {"with 10,000 open steps p99 s": 2.5}
    assert tally.failures == [
        "open: a step has two outcomes",
        "with 10,000 open steps it went on after 2.50 s (p99)",
    ]
