"""Journals that earlier machines have made replay to the rows that they made then, to the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from make_corpus import kept

from callboard.core import plan as plans
from callboard.core.rebuilt import rebuild, same, same_branch, same_state
from callboard.core.status import ENDED
from callboard.store.packing import unpack

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.jsonl"))


def runs(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def mismatches(run: dict[str, Any]) -> list[str]:
    """What a replay of the run tells otherwise than was recorded."""
    plan = plans.load(run["plan"])
    journal = [(at, facts) for at, facts in run["journal"]]
    try:
        found = rebuild(run["number"], run["id"], plan, journal, status=run["status"], keep=kept)
    except ValueError as error:
        return [str(error)]
    said = [] if plans.dump(plan) == run["plan"] else ["the plan is written otherwise"]
    recorded = {row[0]: tuple(row) for row in run["executions"]}
    said += [
        f"execution {unpack(id)}: {found.executions.get(id)}, not {recorded.get(id)}"
        for id in recorded.keys() | found.executions.keys()
        if id not in recorded or id not in found.executions or not same(recorded[id], found.executions[id])
    ]
    outcomes = {(*unpack(id), revision, text) for (id, revision), text in found.outcomes.items()}
    said += [f"outcome {one}" for one in outcomes ^ {tuple(one) for one in run["outcomes"]}]
    said += [f"item {one}" for one in set(found.items.values()) ^ {tuple(one) for one in run["items"]}]
    branches = dict(run["branches"])
    if branches.keys() != found.branches.keys() or not all(
        same_branch(branches[n], found.branches[n]) for n in branches
    ):
        said.append("branches")
    if (found.status, same_state(run["state"], found.state)) != (run["status"], True):
        said.append(f"it stands {found.status} {found.state}, not {run['status']} {run['state']}")
    return said


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_was_recorded_then_is_what_a_replay_tells_now(file: Path) -> None:
    told = {run["name"]: found for run in runs(file) if (found := mismatches(run))}
    assert told == {}


def test_the_corpus_has_real_runs_and_histories_with_every_ending_and_nearly_every_fact() -> None:
    assert {file.stem.partition("-")[0] for file in CORPUS} == {"pipelines", "histories"}
    every = [run for file in CORPUS for run in runs(file)]
    assert {row[1] for run in every for row in run["executions"]} >= {int(one) for one in ENDED}
    named = {json.loads(fact)[0] for run in every for _, facts in run["journal"] for fact in facts}
    assert len(named) >= 30, sorted(named)


def test_a_journal_that_tells_something_else_would_be_found() -> None:
    run = runs(CORPUS[-1])[0]
    (batch,) = (facts for _, facts in run["journal"] if any(fact.startswith('["Succeeded",0,') for fact in facts))
    batch[:] = ['["Failed",0,1,1]' if fact.startswith('["Succeeded",0,') else fact for fact in batch]
    assert mismatches(run)
