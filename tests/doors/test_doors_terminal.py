"""What a terminal shows: one line of progress, colours, widths; and that it shows none of it elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

LIST = """
    name: Reading
    limits: {run: 2}
    pipe:
      - name: read
        type: llm
        each: [one, two, three, four, five, six]
        tmpl: "Summarise: {{item}}"
        cache: false
      - {name: last, type: command, command: [echo, done]}
"""


@pytest.fixture(autouse=True)
def _files(desk: Desk) -> None:
    desk.write("reading.ai", LIST)
    desk.environment(TERM="xterm-256color", CALLBOARD_OFFLINE_LATENCY="0.15")


def test_progress_is_one_line_that_is_rewritten_and_leaves_no_trace(desk: Desk) -> None:
    said = desk.terminal("run", "reading.ai")
    assert said.code == 0
    drawn = [line for line in said.out.split("\r") if " done · " in line and "run reading" not in line]
    assert drawn and all(len(line.rstrip("\n")) < 80 for line in drawn)
    assert any("left" in line for line in drawn)
    after = said.out.rpartition("\r")[2]
    assert after.startswith("done\n") and "next: callboard show" in after


def test_lines_fit_the_terminal(desk: Desk) -> None:
    desk.write("reading.ai", LIST.replace("name: read", "name: a-step-with-a-name-that-is-long-enough-to-wrap"))
    said = desk.terminal("run", "reading.ai", columns=40)
    assert all(len(line) < 40 for line in said.out.split("\r") if " done · " in line and "run " not in line)
    shown = desk.terminal("show", columns=50).out.splitlines()
    table = [line for line in shown if "a-step" in line or line.startswith("task")]
    assert table and all(len(_plain(line)) <= 50 for line in table)


def test_a_terminal_has_colours_and_a_pipe_has_none(desk: Desk) -> None:
    desk.good("run", "reading.ai")
    assert "\x1b[32msuccess" in desk.terminal("show").out
    assert "\x1b" not in desk.spawn("show").out
    assert "\x1b[31merror" in desk.terminal("show", "nobody").out


def test_no_color_is_honoured(desk: Desk) -> None:
    desk.good("run", "reading.ai")
    desk.environment(NO_COLOR="1")
    for words in (("show",), ("ls",), ("show", "nobody")):
        assert "\x1b" not in desk.terminal(*words).out


def test_wide_signs_keep_columns_in_line(desk: Desk) -> None:
    desk.write("wide.ai", "name: 火の鳥\npipe:\n  - {name: 歌, type: command, command: [cat]}\n")
    desk.good("run", "wide.ai", "x")
    desk.good("run", "reading.ai")
    lines = desk.good("ls").out.splitlines()
    wide = next(line for line in lines if "火の鳥" in line)
    other = next(line for line in lines if "Reading" in line)
    assert wide.index(":") + 3 == other.index(":")  # three signs that take two columns each


def _plain(line: str) -> str:
    for code in ("0", "1", "2", "31", "32", "33", "36"):
        line = line.replace(f"\x1b[{code}m", "")
    return line


def test_a_narrow_terminal_shows_less_and_never_cuts_an_id(desk: Desk) -> None:
    desk.write("a-pipeline-with-a-name.ai", "pipe:\n  - {name: a-question, type: human, question: well?}\n")
    desk.good("run", "a-pipeline-with-a-name.ai", "x", code=4)
    run = desk.run_id()
    for wide in (60, 80, 120):
        shown = _plain(desk.terminal("ls", columns=wide).out)
        assert run in shown and "waiting for" in shown
        assert all(len(line) <= wide for line in shown.splitlines()[:2])
    assert "waiting for approval of a-question" in _plain(desk.terminal("ls", columns=100).out)
    assert "begun (UTC)" not in desk.terminal("ls", columns=60).out


def test_a_run_of_very_many_tasks_is_shown_in_few_lines(desk: Desk) -> None:
    steps = "".join(f"  - {{name: s{n}, type: command, command: ['true'], needs: []}}\n" for n in range(60))
    desk.write("many.ai", f"pipe:\n{steps}  - {{name: bad, type: command, command: ['false'], needs: []}}\n")
    desk.good("run", "many.ai", "x", code=1)
    shown = desk.good("show").out
    assert "61 tasks: 60 success, 1 failed" in shown and "bad" in shown and "s59" not in shown
    assert "… and 60 more; --json has all of them" in shown
    assert len(desk.json("show")["tasks"]) == 61


def test_many_failed_items_are_a_few_names_and_a_number(desk: Desk) -> None:
    desk.write(
        "items.ai",
        "pipe:\n  - {name: each, type: command, each: [a, b, c, d, e], key: '{{item}}', command: ['false']}\n",
    )
    said = desk.good("run", "items.ai", code=1)
    assert "items a, b, c and 2 more" in said.err and "items a, b, c and 2 more" in desk.good("show").out
    assert desk.json("show")["tasks"][0]["reason"] == "items a,b,c,d,e"


def _plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)
