"""A proof that fails, breaks or dies is a finding, whatever else it does; only what holds is said to hold."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from battery_harm import __file__ as HARM
from click.testing import CliRunner

from callboard import battery
from callboard.battery import running
from callboard.battery.proof import Proof
from callboard.battery.proofs import PROOFS
from callboard.cli import prove as door
from callboard.cli.main import cli
from callboard.errors import NotFound


def _proof(name: str, no_history: str = "it has no runs") -> Proof:
    where = f"tests.battery.battery_harm:{name}"
    return Proof(name.upper(), f"one that {name}", where, "trials", 3, 5, no_history=no_history)


@pytest.fixture(autouse=True)
def reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HARM.removesuffix("/tests/battery/battery_harm.py"))


def _proven(name: str, folder: Path) -> running.Proven:
    return running.prove(_proof(name), folder, size=3, seed=7, say=lambda text: None)


def test_what_holds_leaves_nothing_behind(tmp_path: Path) -> None:
    heard: list[str] = []
    proven = running.prove(_proof("holds"), tmp_path, size=3, seed=7, say=heard.append)
    assert (proven.word, proven.found.tried, proven.found.figures) == ("held", 3, {"seed": 7})
    assert heard == ["1 of 3"] and list(tmp_path.iterdir()) == []


def test_what_fails_keeps_its_evidence(tmp_path: Path) -> None:
    proven = _proven("fails", tmp_path)
    assert proven.word == "failed" and proven.folder is not None
    assert (proven.folder / "evidence.txt").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("breaks", "ValueError: a mistake"), ("dies", "-9 and no finding (seed 7): last words")]
)
def test_a_proof_that_breaks_or_dies_has_failed(name: str, said: str, tmp_path: Path) -> None:
    proven = _proven(name, tmp_path)
    assert proven.word == "failed" and said in proven.found.failures[0]


def test_a_proof_that_has_forgotten_the_history_checker_has_failed(tmp_path: Path) -> None:
    forgot = running.prove(_proof("holds", ""), tmp_path, size=3, seed=7, say=lambda text: None)
    assert forgot.word == "failed" and "the history checker has read nothing" in forgot.found.failures[0]
    looked = running.prove(_proof("looks", ""), tmp_path, size=3, seed=7, say=lambda text: None)
    assert looked.word == "held" and looked.found.figures == {"histories": 1.0}


@pytest.mark.parametrize("proof", [proof for proof in PROOFS if not proof.no_history], ids=lambda proof: proof.name)
def test_each_proof_has_the_history_checker_at_hand(proof: Proof) -> None:
    """Only a run of it shows that it is asked; this much can be seen beforehand, on every change."""
    todo, seen = [proof.where.partition(":")[0]], {"proof"}
    while todo:
        name = todo.pop()
        seen.add(name)
        text = Path(battery.__path__[0], f"{name}.py").read_text("utf-8")
        if re.search(r"\bhistory\.check|battery\.history import .*\bcheck\b", text):
            return
        todo += {one for one in re.findall(r"callboard\.battery\.(\w+)", text) if one not in seen}
    pytest.fail(f"{proof.name} never asks the history checker, and does not say why")


def test_a_name_that_is_no_proof_is_refused() -> None:
    with pytest.raises(NotFound, match="prove --list"):
        running.chosen(["T999"], "gate")


def test_every_proof_has_a_name_of_its_own_and_a_size_in_some_tier() -> None:
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)
    assert all(proof.gate <= proof.nightly or not proof.nightly for proof in PROOFS)
    assert all(proof.gate or proof.nightly for proof in PROOFS)


def test_the_command_tells_each_and_ends_with_1_when_one_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PROOFS", (_proof("holds"), _proof("fails")))
    monkeypatch.setattr(door, "PROOFS", running.PROOFS)
    said = CliRunner().invoke(cli, ["prove", "--folder", str(tmp_path), "--json"])
    told = [json.loads(line) for line in said.stdout.splitlines()]
    assert [(one["name"], one["result"]) for one in told] == [("HOLDS", "held"), ("FAILS", "failed")]
    assert said.exit_code == 1 and "1 held, 1 failed" in said.stderr
    assert CliRunner().invoke(cli, ["prove", "holds", "--folder", str(tmp_path)]).exit_code == 0


def test_several_at_once_are_told_as_they_end(tmp_path: Path) -> None:
    proofs = [_proof(name) for name in ("holds", "fails", "dies")]
    proven = running.prove_all(proofs, tmp_path, size=lambda proof: 3, seed=7, jobs=3, say=lambda proof, text: None)
    assert {one.proof.name: one.word for one in proven} == {"HOLDS": "held", "FAILS": "failed", "DIES": "failed"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_ends_all_of_them(tmp_path: Path, jobs: int) -> None:
    heard: list[str] = []

    def interrupted(proof: Proof, text: str) -> None:
        heard.append(text)

    proofs = [_proof("fails"), _proof("hangs"), _proof("holds")]
    proving = running.prove_all(proofs, tmp_path, size=lambda proof: 3, seed=7, jobs=jobs, say=interrupted)
    assert next(proving).proof.name == "FAILS"
    with pytest.raises(KeyboardInterrupt):
        proving.throw(KeyboardInterrupt())
    assert not _alive(tmp_path), "a proof goes on that nobody waits for"


def _alive(folder: Path) -> list[str]:
    lines = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    return [text for text in map(_read, lines) if str(folder) in text]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["prove", "--folder", str(tmp_path / "none")])
    assert said.exit_code != 0
