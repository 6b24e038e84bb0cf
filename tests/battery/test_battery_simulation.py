"""The simulation finds nothing; it finds what it should when a mechanism is taken away; a seed is a history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from callboard.battery import simulation
from callboard.battery.harms import FIRST_HARMS, HARMS
from callboard.battery.proof import Proving
from callboard.battery.proofs import PROOFS
from callboard.battery.simulation import main, prove_simulation, simulate
from callboard.core.deadline import after
from callboard.engine import mail, recovery, turns
from callboard.engine.owner import Keeper
from callboard.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.battery.harms import Harms

PARTS = 10
GATE = next(proof for proof in PROOFS if proof.name == "simulation").gate

#: Seeds that found something once among the first harms, and what it was.
FOUND = {
    24: "a run that was rebuilt began things in another order, and was called broken",
    165: "a lease by the wall clock was never over after the clock had been set back",
    610: "a run was read, let go by its owner, claimed and begun again",
    409: "the same: its rows and its journal told different things",
    527: "the same: what a person had said was taken twice",
    977: "the same: an interruption that was acknowledged was forgotten",
    101: "a lease counts from the moment it was asked for, not from when it was written",
}


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_goes_wrong_the_promise_holds(part: int, tmp_path: Path) -> None:
    found = prove_simulation(Proving(tmp_path, GATE // PARTS, seed=part + 1))
    print(found.figures)
    assert found.failures == []
    assert found.figures["events of the shortest"] >= 2_000


@pytest.mark.parametrize("seed", FOUND, ids=str)
def test_what_was_found_once_is_found_no_more(seed: int) -> None:
    assert simulate(seed, FIRST_HARMS).said == []


def test_the_same_seed_is_the_same_history_to_the_last_event() -> None:
    one, two, other = simulate(7), simulate(7), simulate(8)
    assert (one.world.trace, one.world.events) == (two.world.trace, two.world.events)
    assert one.world.trace != other.world.trace


def test_each_harm_is_done_in_the_gate() -> None:
    done = Counter[str]()
    for seed in range(20):
        done += simulate(seed).harmed
    assert done.keys() == {harm.__name__ for harm in HARMS}


def test_a_seed_can_be_looked_at_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(7) == 0
    assert "events" in capsys.readouterr().out


def _no_fence_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "_is_held", lambda self, run, fence: True)


def _no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "renew", lambda self: None)


def _nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail.Mailroom, "_is_orphan", lambda self, row, now: False)


def _reads_before_it_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(store: Any, run: int, owner: Any, lease: float, now: Any, alive: Any) -> Any:
        found = store.load(run)
        if found.run.owner == owner:
            return recovery._taken(store, found, found.run.fence)
        fence = store.claim(run, owner, after(now, lease), now, alive=alive)
        if fence is None:
            return None
        return recovery._taken(store, found if fence == found.run.fence + 1 else store.load(run), fence)

    monkeypatch.setattr(recovery, "take", take)


def _acts_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = turns.Turns._turn

    def _turn(self: Any) -> None:
        known = self._committer.commit

        def told_at_once(writes: Any, then: Any) -> None:
            then(None)
            self._committer.flying = True
            known_then = lambda error: setattr(self._committer, "flying", False)  # noqa: E731
            self._committer.flying = False
            known(writes, known_then)

        self._committer.commit = told_at_once
        try:
            commit(self)
        finally:
            self._committer.commit = known

    monkeypatch.setattr(turns.Turns, "_turn", _turn)


@pytest.mark.parametrize(
    "take_away", [_no_fence_check, _no_renewal, _nobody_looks, _reads_before_it_claims, _acts_before_the_commit]
)
def test_without_a_mechanism_it_fails(
    take_away: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    monkeypatch.setattr(simulation, "CALM", 40.0)
    assert any(_breaks(seed, FIRST_HARMS) for seed in (*FOUND, *range(40)))


def _breaks(seed: int, harms: Harms) -> bool:
    try:
        return bool(simulate(seed, harms).said)
    except Exception:
        return True
