"""What a run has cost is what its provider charged, wherever it was killed."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

SHOW = """
    pipe:
      - name: first
        type: llm
        tmpl: "Summarise: {{input}}"
      - name: second
        type: llm
        tmpl: "Title: {{pipe.pipein-text}}"
"""
TEXT = "The lamps were lit. The curtain rose at eight. The house was full."


@pytest.mark.parametrize("at", ["call.paid", "cache.put", "cache.kept", "cache.kept:2", "commit.done:2"])
def test_the_ledger_tells_the_truth_after_a_kill(desk: Desk, at: str) -> None:
    ledger = desk.here.parent / "provider.jsonl"
    desk.environment(CALLBOARD_OFFLINE_LEDGER=str(ledger), CRASH_AT=at)
    desk.write("show.ai", SHOW)
    assert desk.spawn("run", "show.ai", TEXT, "--id", "show").code == -signal.SIGKILL
    desk.environment(CRASH_AT="")
    killed = desk.good("resume", "show", "--json").json
    charged = {json.loads(line)["key"] for line in ledger.read_text().splitlines()}
    assert killed["totals"]["calls"] == len(charged) == 2 and killed["totals"]["cached"] == 0
    again = desk.good("run", "show.ai", TEXT, "--id", "again", "--json").json
    assert again["totals"] | {"calls": 0} == {**again["totals"], "calls": 0, "cached": 2, "cost": 0}
    desk.environment(CALLBOARD_PROJECT=str(desk.here.parent / "fresh"))
    usual = desk.good("run", "show.ai", TEXT, "--json").json
    assert killed["totals"] == usual["totals"] and killed["cost"] == usual["cost"] > 0
