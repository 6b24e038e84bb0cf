"""Every golden history is a test: those the design came with, and our own, one for each bug that chance found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from machine_adapter import Adapter, plan_of
from random_world import Seeded, World
from run_histories import first_difference, histories, main

HERE = Path(__file__).parent
ALL = [path for folder in ("histories", "histories_ours") for path in histories(HERE / folder)]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_machine_does_what_the_history_says(path: Path) -> None:
    history = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert first_difference(history) is None, history["name"]


class Held(Adapter):
    """The same, held against the invariants, its rows and its journal after every step."""

    def begin(self, plan: dict[str, Any]) -> None:
        self.world = World(Seeded(0), plan_of(plan))
        self.state, self.admission = self.world.run, self.world.admission

    def step(self, lines: list[str], at: float) -> list[str]:
        self.world.time = at - 1000.0
        decision = self.world.step([self.fact(line) for line in lines])
        found = [self.order(order) for order in decision.orders]
        while decision.orders:
            decision = self.world.step([])
            found += [self.order(order) for order in decision.orders]
        return found


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_what_it_does_can_be_loaded_and_replayed(path: Path) -> None:
    history = yaml.safe_load(path.read_text(encoding="utf-8"))
    held = Held()
    held.begin(history["plan"])
    at = 0.0
    for step in history["steps"]:
        at = step.get("at", at)
        held.step(step["in"], at)


def test_the_adapter_stays_small_enough_to_be_read() -> None:
    assert len((HERE / "machine_adapter.py").read_text(encoding="utf-8").splitlines()) <= 100


def test_every_history_has_a_name_of_its_own() -> None:
    names = [yaml.safe_load(path.read_text(encoding="utf-8"))["name"] for path in ALL]
    assert len(names) == len(set(names))


def a_history(**changes: Any) -> dict[str, Any]:
    plan = {"tasks": {"a": {}}}
    steps = [{"in": ["Begun"], "out": ["Start a 1.1"]}, {"in": ["Failed a 1.1 why=broken"], "out": ["Finish FAILED"]}]
    steps[1] |= {"is": {"a": "FAILED"}, "why": {"a": "broken"}, "run": "FAILED", "because": ""} | changes
    return {"plan": plan, "steps": steps}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"out": []}, "orders"),
        ({"is": {"a": "SUCCESS"}}, "a is FAILED 1"),
        ({"why": {"a": "reset"}}, "why a"),
        ({"run": "RUNNING"}, "the run is FAILED"),
        ({"because": "paused"}, "because"),
        ({"in": ["Failed nobody"]}, "Error"),
    ],
)
def test_the_runner_tells_the_first_difference(wrong: dict[str, Any], told: str) -> None:
    assert first_difference(a_history()) is None
    difference = first_difference(a_history(**wrong))
    assert difference is not None
    assert difference.startswith("step 2")
    assert told in difference


def test_the_runner_counts_what_passes_and_what_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = {"name": "good"} | a_history(), {"name": "bad"} | a_history(out=[])
    (tmp_path / "1-good.yaml").write_text(yaml.safe_dump(good), encoding="utf-8")
    assert main(str(tmp_path)) == 0
    (tmp_path / "2-bad.yaml").write_text(yaml.safe_dump(bad), encoding="utf-8")
    assert main(str(tmp_path)) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 pass, 1 fail"


def test_a_name_that_is_not_in_the_run_yet_is_init() -> None:
    adapter = Adapter()
    adapter.begin({"tasks": {"a": {}}})
    assert adapter.status("a/x") == "INIT 0"
