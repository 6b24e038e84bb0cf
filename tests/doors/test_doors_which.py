"""Which run is meant, why it does not move, and where its files lie, for a person who may stand elsewhere."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

SLOW = "pipe:\n  - {name: slow, type: command, command: [sh, -c, 'echo $$ > started; exec sleep 60']}\n"
ASK = "pipe:\n  - {name: ask, type: human, question: well?}\n"
WRITE = "pipe:\n  - {name: write, type: command, command: [cat], output_file: out/report.txt}\n"


@pytest.fixture
def left(desk: Desk) -> str:
    """The id of a run whose process was killed; a newer one waits for a person."""
    desk.write("slow.ai", SLOW)
    desk.write("ask.ai", ASK)
    running = desk.start("run", "slow.ai", "x")
    running.until(lambda: (desk.here / "started").exists(), "the command to begin")
    running.kill()
    run = desk.run_id()
    desk.good("run", "ask.ai", "x", code=4)
    desk.write("slow.ai", "")
    return run


def test_resume_takes_what_was_left_behind_before_what_waits_for_a_person(desk: Desk, left: str) -> None:
    resumed = desk.start("resume")
    resumed.until(lambda: desk.json("show", left)["carried_out_by"], "the run to be taken up")
    resumed.signal(signal.SIGINT)
    assert f"run {left} (nobody carries it out; 1 other run not ended: callboard ls)" in resumed.ended().err
    desk.good("cancel", left)
    said = desk.good("resume", code=4)  # only one is left, which waits
    assert "other run" not in said.err


def test_resume_takes_what_is_paused_before_what_waits(desk: Desk) -> None:
    desk.write("write.ai", WRITE)
    desk.write("ask.ai", ASK)
    desk.write("two.ai", ASK + "  - {name: last, type: command, command: [echo, over]}\n")
    desk.good("run", "two.ai", "x", code=4)
    paused = desk.run_id()
    desk.good("pause", paused)
    desk.good("approve", paused)
    desk.good("run", "ask.ai", "x", code=4)
    said = desk.good("resume")
    assert f"run {paused} (paused; 1 other run not ended: callboard ls)" in said.err and said.out == "over\n"


def test_a_list_of_runs_says_why_one_does_not_move(desk: Desk, left: str) -> None:
    desk.good("pause", left)
    desk.write("write.ai", WRITE)
    desk.good("run", "write.ai", "x")
    found = {run["id"]: run["because"] for run in desk.json("ls")}
    assert sorted(found.values()) == ["", "paused", "review ask"] and found[left] == "paused"
    said = desk.good("ls")
    assert "waiting for approval of ask" in said.out and "paused" in said.out
    assert said.last.startswith("next: callboard show ask-")  # the newest that does not move, not the newest


def test_a_run_that_was_left_behind_says_so(desk: Desk, left: str) -> None:
    assert "nobody carries it out" in desk.good("ls").out
    assert "running (nobody carries it out)" in desk.good("show", left).out
    assert desk.json("show", left)["because"] == "no engine"


def test_paths_work_from_where_the_person_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("write.ai", WRITE)
    said = desk.good("run", "write.ai", "x")
    assert "wrote out/report.txt" in said.err
    assert "in" not in desk.good("ls").out.splitlines()[0].split()
    below = desk.here / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert desk.good("ls").out.splitlines()[0].split()[-1] == "in"
    shown = desk.good("show").out
    assert "begun in ../.." in shown and "../../out/report.txt" in shown
    [document] = desk.json("show")["documents"]
    assert document["path"] == "out/report.txt" and os.path.samefile(document["file"], "../../out/report.txt")
    assert "../../out/report.txt" in desk.good("resume", "1", "--restart", "write").err


def test_resume_after_a_failure_says_how_to_try_again(desk: Desk) -> None:
    desk.write("bad.ai", "pipe:\n  - {name: bad, type: command, command: ['false']}\n")
    desk.good("run", "bad.ai", "x", code=1)
    run = desk.run_id()
    expected = (
        f"error: there is no run that has not ended; the newest, {run}, has failed: callboard resume {run} --retry\n"
    )
    assert desk.call("resume").err == expected
    desk.write("good.ai", "pipe:\n  - {name: good, type: command, command: ['true']}\n")
    desk.good("run", "good.ai", "x")
    assert desk.call("resume").err == "error: there is no run that has not ended\n"
