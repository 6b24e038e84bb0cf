"""An effect that may happen only once meets `kill -9`, Ctrl-C and its time limit: a person is asked, and nothing is
repeated unasked. One that is safe under a key is repeated under the same key."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
from doors_desk import until

if TYPE_CHECKING:
    from pathlib import Path

    from doors_desk import Desk, Started

#: Sends a letter; where it is told to, it then stands still and is never heard of again.
SEND = """
    import os, sys, time
    with open("sent.txt", "a") as sent: sent.write(os.environ["CALLBOARD_KEY"] + "\\n")
    while not os.path.exists("go"): time.sleep(0.02)
    print("sent", end="")
"""
SHOW = """
    name: Send
    pipe:
      - {name: draft, type: command, command: [echo, Dear Ada]}
      - {name: send, type: command, effect: EFFECT, command: [PYTHON, send.py]}
      - {name: note, type: command, command: [cat], stdin: "noted {{pipe.steps.draft}}", output_file: note.txt}
"""
FUNCTION = """
    import os, time
    from callboard import register

    @register
    def send(pipe_data, params):
        with open("sent.txt", "a") as sent: sent.write("once\\n")
        while not os.path.exists("go"): time.sleep(0.02)
        return "sent"
"""
SCRIPT = """
    import os, time
    import callboard

    def send(ctx):
        with open("sent.txt", "a") as sent: sent.write(ctx.key + "\\n")
        while not os.path.exists("go"): time.sleep(0.02)
        return "sent"

    def note(send):
        return f"noted {send}"

    plan = callboard.plan(callboard.task("send", send, effect="once"), callboard.task("note", note, needs=["send"]))
    result = callboard.run(plan, id="s")
    print(result.status, result.because, result.value)
"""


def sent(desk: Desk) -> list[str]:
    file = desk.here / "sent.txt"
    return file.read_text().splitlines() if file.exists() else []


def begun(desk: Desk, effect: str = "once") -> Started:
    """A run that stands in the middle of its effect."""
    desk.write("send.py", SEND)
    desk.write("send.ai", SHOW.replace("EFFECT", effect).replace("PYTHON", sys.executable))
    run = desk.start("run", "send.ai", "text", "--id", "s")
    run.until(lambda: sent(desk), "the letter is sent")
    return run


def killed(desk: Desk, effect: str = "once") -> None:
    run = begun(desk, effect)
    run.signal(signal.SIGKILL)
    assert run.ended().code == -signal.SIGKILL
    (desk.here / "go").touch()


def test_a_killed_once_effect_needs_a_decision_and_says_which_command_it_was(desk: Desk) -> None:
    killed(desk)
    left = desk.good("resume", "s", code=4)
    assert "waiting for a decision about send" in left.err
    shown = desk.good("show", "s").out
    assert "needs a decision" in shown
    assert "send may happen only once. It was begun, and whether it happened nobody knows" in shown
    for verb in ("--done", "--redo", "--failed"):
        assert f"callboard approve s {verb}" in shown
    assert desk.json("show", "s")["held"] == [
        {"task": "send", "for": "decision", "why": "the process that carried it out is gone"}
    ]
    assert len(sent(desk)) == 1
    desk.good("resume", "s", code=4)
    assert len(sent(desk)) == 1, "asking again is no answer"


def test_decided_that_it_happened_the_run_goes_on_without_it(desk: Desk) -> None:
    killed(desk)
    desk.good("resume", "s", code=4)
    assert "decided about send: it happened" in desk.good("approve", "s", "--done").err
    desk.good("resume", "s")
    assert len(sent(desk)) == 1
    assert desk.read("note.txt") == "noted Dear Ada"


def test_decided_to_do_it_again_it_is_done_again_under_the_same_key(desk: Desk) -> None:
    killed(desk)
    desk.good("resume", "s", code=4)
    desk.good("approve", "s", "--redo")
    desk.good("resume", "s")
    first, second = sent(desk)
    assert first == second
    assert desk.json("show", "s")["status"] == "success"


def test_decided_that_it_failed_the_run_fails_and_nothing_comes_after(desk: Desk) -> None:
    killed(desk)
    desk.good("resume", "s", code=4)
    assert "s  failed" in desk.good("approve", "s", "--failed").out
    assert len(sent(desk)) == 1 and not (desk.here / "note.txt").exists()


def test_who_interrupts_a_once_effect_is_asked_too(desk: Desk) -> None:
    run = begun(desk)
    run.signal(signal.SIGINT)
    left = run.ended()
    assert left.code == 130, left
    (desk.here / "go").touch()
    assert "it was interrupted" in desk.good("show", "s").out
    desk.good("resume", "s", code=4)
    assert len(sent(desk)) == 1
    desk.good("approve", "s", "--done")
    desk.good("resume", "s")
    assert len(sent(desk)) == 1


def test_a_once_effect_whose_time_is_over_is_not_tried_again(desk: Desk) -> None:
    desk.write("send.py", SEND)
    step = SHOW.replace("EFFECT", "once, timeout: 1s, retry: 3").replace("PYTHON", sys.executable)
    desk.write("send.ai", step)
    desk.good("run", "send.ai", "text", "--id", "s", code=4)
    assert "its time limit was over" in desk.good("show", "s").out
    assert [task["attempt"] for task in desk.json("show", "s")["tasks"] if task["name"] == "send"] == [1]
    assert len(sent(desk)) <= 1, "on a slow machine its time is over before it has come to that"


def test_a_keyed_effect_is_repeated_under_the_same_key(desk: Desk) -> None:
    killed(desk, "keyed")
    desk.good("resume", "s")
    first, second = sent(desk)
    assert first == second


def test_a_function_of_the_project_is_asked_about_as_well(desk: Desk) -> None:
    desk.write("function/sends.py", FUNCTION)
    desk.write("send.ai", "name: Send\npipe:\n  - {name: send, type: function, function: send, effect: once}\n")
    run = desk.start("run", "send.ai", "text", "--id", "s")
    run.until(lambda: sent(desk), "the letter is sent")
    run.signal(signal.SIGKILL)
    run.ended()
    (desk.here / "go").touch()
    desk.good("resume", "s", code=4)
    assert len(sent(desk)) == 1
    desk.good("approve", "s", "--redo")
    desk.good("resume", "s")
    assert len(sent(desk)) == 2


@pytest.mark.timeout(60)
def test_a_plan_of_functions_is_asked_about_as_well(desk: Desk, tmp_path: Path) -> None:
    desk.write("script.py", SCRIPT)
    run = desk.start("script.py", program=sys.executable)
    until(lambda: sent(desk), "the letter is sent")
    run.signal(signal.SIGKILL)
    run.ended()
    (desk.here / "go").touch()
    asked = desk.start("script.py", program=sys.executable).ended()
    assert asked.out.strip() == "running decision send None", asked
    desk.good("approve", "s", "--redo")
    done = desk.start("script.py", program=sys.executable).ended()
    assert done.out.strip() == "success  noted sent", done
    first, second = sent(desk)
    assert first == second
