"""Lost workers (T10): the proof at gate size, and the proof itself, shown a program that looks after nobody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from callboard.battery import crowd, lost
from callboard.battery.crowd import until
from callboard.battery.lost import LOSSES, _resumed, lose, prove_lost, wrong
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS

if TYPE_CHECKING:
    from pathlib import Path

NOBODY_SWEEPS = """
from callboard.backends import supervisor
supervisor.sweep = lambda marked: 0
"""
NOBODY_LOOKS = """
from callboard.backends import leavings
leavings.Leavings.clear = lambda self, had: None
"""
A_NUMBER_IS_A_PROCESS = """
from callboard.engine import owner
began = owner.started
owner.alive = lambda one: began(one.pid) is not None
owner.keeps.__globals__["alive"] = owner.alive
from callboard.app import wiring
wiring.alive = owner.alive
"""
ANOTHER_HOST_IS_DEAD = """
from callboard.store.sql import sqlite
sqlite._keeps = lambda *told: False
from callboard.app import wiring
wiring.keeps = lambda *told: False
"""


@pytest.mark.timeout(180)
def test_what_a_lost_worker_had_at_work_is_soon_somebody_elses(tmp_path: Path) -> None:
    size = next(proof.gate for proof in PROOFS if proof.name == "lost")
    found = prove_lost(Proving(tmp_path, size))
    print(f"{found.tried} losses, {dict(found.figures)}")
    assert found.failures == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("name", "without", "said"),
    [
        ("supervisor", NOBODY_SWEEPS, "were left behind"),
        ("engine and supervisor", NOBODY_LOOKS, "beside what its first attempt had started"),
        ("number used again", A_NUMBER_IS_A_PROCESS, "who took it over left with 9"),
        ("another host", ANOTHER_HOST_IS_DEAD, "before its owner's lease was over"),
    ],
)
def test_it_would_be_found_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, without: str, said: str
) -> None:
    monkeypatch.setattr(crowd, "BEFORE", without)
    monkeypatch.setattr(lost, "LEASE", 60.0)  # longer than a busy machine needs to take the run too soon
    trial = lose(tmp_path / "show", next(loss for loss in LOSSES if loss.name == name), "command")
    assert any(said in what for what in wrong(trial, 0.0)), trial


class Late:
    """A `resume` that was begun before a lease was over, and asks only after it."""

    begun = 0.0

    def __init__(self) -> None:
        self.asked = 0

    def callboard(self, *argv: str) -> Late:
        self.asked += 1
        self.begun = time.time()
        return self

    def wait(self) -> int:
        until("the lease is over", lambda: time.time() > self.begun + 0.05)
        return 0


def test_who_asks_too_late_to_be_refused_has_the_run() -> None:
    one: Any = Late()
    assert _resumed(one, time.time() + 0.03) == (one, [])
    assert one.asked == 1
