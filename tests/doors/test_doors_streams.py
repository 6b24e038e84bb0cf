"""Standard streams that are closed, full or gone: a run goes on, a result that is lost is told."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from doors_desk import PATIENCE, PROGRAM

if TYPE_CHECKING:
    from doors_desk import Desk, Said

FILE = """
    name: Lines
    pipe:
      - {name: each, type: command, each: [a, b, c], command: [echo, "{{item}}"]}
      - {name: last, type: command, command: [echo, the end]}
"""


@pytest.fixture(autouse=True)
def _files(desk: Desk) -> None:
    desk.write("lines.ai", FILE)


def shell(desk: Desk, line: str) -> Said:
    """`callboard LINE`, with redirections, read by a shell."""
    from doors_desk import Said

    words = ["sh", "-c", f"{shlex.quote(PROGRAM)} {line}"]
    done = subprocess.run(
        words, cwd=desk.here, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "<&- 2>&-", "2>&1 >result.txt | true"])
def test_a_run_goes_on_where_nobody_can_be_told(desk: Desk, where: str) -> None:
    shell(desk, f"run lines.ai {where}")
    assert desk.json("show")["status"] == "success"


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_its_result_and_its_code_are_what_they_always_are(desk: Desk, where: str) -> None:
    said = shell(desk, f"run lines.ai {where}")
    assert (said.code, said.out) == (0, "the end\n")


def test_all_streams_may_be_closed(desk: Desk) -> None:
    assert shell(desk, "run lines.ai <&- >&- 2>&-").code == 0
    assert desk.json("show")["status"] == "success"
    assert "sound" in desk.good("doctor").out


@pytest.mark.parametrize("words", ["ls", "show", "ls --json", "--help", "logs", "version"])
def test_an_answer_that_is_lost_is_an_error_in_one_line(desk: Desk, words: str) -> None:
    desk.good("run", "lines.ai")
    said = shell(desk, f"{words} >/dev/full")
    assert said.code == 70
    assert said.err.splitlines()[-1].startswith("error: standard output cannot be written to: ")
    assert "Traceback" not in said.err and "bug" not in said.err


def test_a_run_whose_result_is_lost_says_how_it_went_and_where_the_result_is(desk: Desk) -> None:
    said = shell(desk, "run lines.ai >/dev/full")
    assert said.code == 70
    assert "done: run lines-" in said.err and "standard output cannot be written to" in said.err
    assert desk.good("show", "--result").out == "the end\n"


def test_a_reader_that_has_left_is_no_error(desk: Desk) -> None:
    desk.good("run", "lines.ai")
    assert shell(desk, "show --json | true").err == ""
    assert shell(desk, "logs | head -1").err == ""


def test_no_file_of_ours_gets_the_number_of_a_stream(desk: Desk) -> None:
    """What a library prints to standard error would land in it."""
    desk.write(
        "look.ai",
        "pipe:\n  - {name: look, type: command, command: [sh, -c, 'readlink /proc/$PPID/fd/2 /proc/$PPID/fd/1']}\n",
    )
    shell(desk, "run look.ai >&- 2>&-")
    seen = json.loads(desk.good("show", "--json").out)
    assert seen["status"] == "success"
    assert os.devnull in desk.good("show", "--result").out
