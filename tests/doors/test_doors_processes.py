"""Several processes and one run: interrupted, killed, cancelled, paused and taken up again."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk, Started

#: Its first step waits until a file `go` is there, and says that it has begun by making a file `begun`.
WAITS = """
    name: Waits
    pipe:
      - name: first
        type: command
        command: [sh, -c, "touch begun; while test ! -e go; do sleep 0.02; done; cat"]
      - {name: second, type: command, command: [cat]}
"""
MANY = """
    name: Many
    limits: {run: 2}
    pipe:
      - {name: gist, type: llm, each: {glob: "docs/*.txt"}, tmpl: "Summarise: {{item.text}}", cache: false}
      - {name: all, type: llm, tmpl: "Summarise: {{pipe.pipein-text}}", cache: false, output_file: all.txt}
"""


@pytest.fixture
def running(desk: Desk) -> Started:
    """`callboard run`, in the middle of its first step."""
    desk.write("waits.ai", WAITS)
    started = desk.start("run", "waits.ai", "words")
    started.until((desk.here / "begun").exists, "the first step has begun")
    return started


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_resumed_where_it_was(
    desk: Desk, running: Started, sign: signal.Signals, code: int
) -> None:
    running.signal(sign)
    said = running.ended()
    assert said.code == code
    assert "interrupted: run waits-" in said.err and said.last == f"next: callboard resume {desk.run_id()}"
    assert desk.json("show")["because"] == "interrupted"
    desk.write("go", "")
    assert desk.good("resume").out == "words\n"


def test_a_second_signal_leaves_at_once_and_nothing_is_lost(desk: Desk, running: Started) -> None:
    running.signal(signal.SIGINT)
    running.signal(signal.SIGINT)
    assert running.ended().code == 130
    desk.write("go", "")
    assert desk.good("resume").out == "words\n"


def test_a_killed_run_is_resumed_where_it_was(desk: Desk, running: Started) -> None:
    running.signal(signal.SIGKILL)
    running.ended()
    shown = desk.json("show")
    assert shown["status"] == "running" and shown["next"] == f"callboard resume {shown['id']}"
    desk.write("go", "")
    assert desk.good("resume").out == "words\n"


def test_what_was_answered_before_a_kill_is_not_asked_for_again(desk: Desk) -> None:
    for number in range(6):
        desk.write(f"docs/{number}.txt", f"Letter {number} praises the actors. The lamps were dim.")
    desk.write("many.ai", MANY)
    ledger = desk.here / "ledger.jsonl"
    desk.environment(CALLBOARD_OFFLINE_LEDGER=str(ledger), CALLBOARD_OFFLINE_LATENCY="0.1")
    started = desk.start("run", "many.ai", "--quiet")
    started.until(lambda: ledger.exists() and ledger.read_text().count("\n") >= 3, "three calls")
    started.signal(signal.SIGKILL)
    started.ended()
    done = {task["name"]: task.get("items", {}).get("done") for task in desk.json("show")["tasks"]}
    before = ledger.read_text().count("\n")
    desk.good("resume", "--quiet")
    keys = [json.loads(line)["key"] for line in ledger.read_text().splitlines()]
    assert len(set(keys)) == 7, "every call has one key, whoever makes it"
    assert len(keys) - before == 7 - done["gist"], "only what had no recorded answer was asked for"
    assert desk.json("show")["calls"] == 7
    assert desk.read("all.txt")


def test_another_process_cancels_a_run(desk: Desk, running: Started) -> None:
    assert desk.good("cancel").code == 0
    said = running.ended()
    assert said.code == 6 and "cancelled: run waits-" in said.err
    assert desk.json("show")["status"] == "stopped"


def test_another_process_pauses_a_run_and_resume_goes_on(desk: Desk, running: Started) -> None:
    desk.good("pause")
    desk.write("go", "")
    said = running.ended()
    assert said.code == 4 and "paused: run waits-" in said.err
    assert [task["status"] for task in desk.json("show")["tasks"]] == ["success", "queued"]
    assert desk.good("resume").out == "words\n"


def test_a_pause_may_be_taken_back_while_the_work_goes_on(desk: Desk, running: Started) -> None:
    desk.good("pause")
    said = desk.good("resume")
    assert f"goes on in process {running.process.pid}" in said.err
    desk.write("go", "")
    assert running.ended().out == "words\n"


def test_what_another_process_carries_out_is_busy(desk: Desk, running: Started) -> None:
    said = desk.call("resume", desk.run_id())
    assert said.code == 9 and str(running.process.pid) in said.err
    assert f"carried out by process {running.process.pid}" in desk.good("show").out
    desk.write("go", "")
    assert running.ended().code == 0


def test_the_same_id_at_once_is_carried_out_once(desk: Desk, running: Started) -> None:
    desk.write("go", "")
    assert running.ended().code == 0
    both = [desk.start("run", "waits.ai", "words", "--id", "one") for _ in range(2)]
    codes = sorted(started.ended().code for started in both)
    assert codes in ([0, 0], [0, 9])
    assert [run["id"] for run in desk.json("ls")].count("one") == 1


def test_a_cancelled_run_may_be_taken_up_again(desk: Desk, running: Started) -> None:
    desk.good("cancel")
    running.ended()
    assert desk.call("resume", desk.run_id()).code == 2
    desk.write("go", "")
    assert desk.good("resume", desk.run_id(), "--retry").out == "words\n"


def test_a_run_that_nobody_carries_out_is_paused_and_cancelled_at_once(desk: Desk, running: Started) -> None:
    running.signal(signal.SIGINT)
    running.ended()
    assert desk.json("pause")["status"] == "running"
    assert desk.json("cancel")["status"] == "stopped"
    assert desk.call("cancel").code == 8
    said = desk.call("pause", desk.run_id())
    assert said.code == 2 and desk.run_id() in said.err


def test_progress_is_told_where_there_is_no_terminal(desk: Desk, running: Started) -> None:
    line = running.process.stderr.readline()  # flushed as it is said, not when the pipe is full
    assert line.startswith("made a project")
    desk.write("go", "")
    assert "first: success" in running.ended().err
