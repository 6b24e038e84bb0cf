"""`run_in_production` in a script: interrupted, waiting for a person, called where it would wait for itself."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from facade_script import Script

import callboard
from callboard.errors import RunWaiting

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "pipe:\n  - {name: wait, type: function, function: wait}\n  - {name: shout, type: function, function: shout}\n"
SCRIPT = """
@callboard.register("wait")
def wait(pipe_data, params):
    if os.path.exists("go"): return "come"
    say("at work")
    forever()

@callboard.register("shout")
def shout(pipe_data, params):
    return pipe_data["pipein_text"].upper()

try:
    print(callboard.run_in_production("show.ai", {"name": "shows"}, "hello", "text"))
except KeyboardInterrupt as error:
    did(f"{type(error.__cause__).__name__} {error.__cause__.run} {error}")
    raise
"""


def test_ctrl_c_names_the_run_and_the_command_that_goes_on(here: Path) -> None:
    (here / "show.ai").write_text(SHOW)
    script = Script(here, SCRIPT)
    script.until("at work")
    script.interrupt()
    ended = script.ended()
    assert ended.code != 0
    told = (here / "did.txt").read_text()
    found = re.match(r"RunInterrupted (\S+) run (\S+) was interrupted; go on with callboard resume (\S+)\n", told)
    assert found is not None and len(set(found.groups())) == 1


def test_a_run_that_waits_for_a_person_is_an_error_that_says_how_it_goes_on(here: Path) -> None:
    (here / "ask.ai").write_text("pipe:\n  - {name: ask, type: human, question: well?}\n")
    with pytest.raises(RunWaiting) as caught:
        callboard.run_in_production("ask.ai", {"name": "shows"}, "hello")
    error = caught.value
    assert error.run and error.exit_code == 4
    assert f"is waiting for approval of ask. Go on with: callboard approve {error.run} --hash " in str(error)
    pm = callboard.load_production({"name": "shows"})
    assert [one["status"] for one in pm.list_instances().to_dict("records")] == ["paused"]


def test_it_may_be_called_while_a_loop_runs(here: Path) -> None:
    (here / "echo.ai").write_text("pipe:\n  - {type: command, command: [cat]}\n")

    async def notebook() -> tuple[str, str]:
        return callboard.run_in_production("echo.ai", {"name": "shows"}, "hello")

    assert asyncio.run(notebook()) == ("hello", "00001")
