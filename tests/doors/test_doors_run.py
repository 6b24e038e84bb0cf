"""`callboard run`: what goes in, what comes out, and the codes scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from doors_desk import PROGRAM

if TYPE_CHECKING:
    from doors_desk import Desk

ECHO = """
    name: Echo
    pipe:
      - name: say
        type: command
        command: [cat]
"""
SUMMARY = """
    name: Summary
    pipe:
      - name: summary
        type: llm
        tmpl: "Summarise: {{pipe.pipein-text}}"
"""
TEXT = "The lamps were lit. The curtain rose at eight. The house was full."


@pytest.fixture(autouse=True)
def _files(desk: Desk) -> None:
    desk.write("echo.ai", ECHO)
    desk.write("summary.ai", SUMMARY)


# ── what goes in ────────────────────────────────────────────────────────────────────────────────────────


def test_the_text_flows_in_and_the_result_comes_out_alone_on_stdout(desk: Desk) -> None:
    said = desk.good("run", "echo.ai", "one two")
    assert said.out == "one two\n"
    assert "run echo-" in said.err and "say: success" in said.err


def test_a_dash_reads_standard_input(desk: Desk) -> None:
    assert desk.call("run", "echo.ai", "-", stdin=b"from a pipe").out == "from a pipe\n"


def test_what_is_redirected_is_read_without_being_asked(desk: Desk) -> None:
    assert desk.call("run", "echo.ai", stdin="\ufeffünï".encode()).out == "ünï\n"


def test_an_at_sign_reads_a_file(desk: Desk) -> None:
    desk.write("letters/ada.txt", "Dear company")
    assert desk.good("run", "echo.ai", "@letters/ada.txt").out == "Dear company\n"
    missing = desk.call("run", "echo.ai", "@nowhere.txt")
    assert missing.code == 8 and "nowhere.txt" in missing.err


def test_input_that_is_no_text_is_refused_with_its_place(desk: Desk) -> None:
    said = desk.call("run", "echo.ai", "-", stdin=b"ab\xff")
    assert said.code == 2 and "byte 2" in said.err


def test_variables_reach_templates(desk: Desk) -> None:
    desk.write("vars.ai", "pipe:\n  - {type: command, command: [echo, '{{vars.who}}', '{{vars.what}}']}\n")
    assert desk.good("run", "vars.ai", "--var", "who=Ada", "--var", "what=a=b").out.strip() == "Ada a=b"
    assert desk.call("run", "vars.ai", "--var", "who").code == 2
    unknown = desk.call("run", "vars.ai", "--var", "who=Ada")
    assert unknown.code == 2 and "vars.what" in unknown.err and "vars.ai:" in unknown.err


# ── what comes out ──────────────────────────────────────────────────────────────────────────────────────


def test_json_is_one_object_with_all_there_is_to_know(desk: Desk) -> None:
    said = desk.good("run", "summary.ai", TEXT, "--json")
    found = said.json
    assert found["exit_code"] == 0 and found["status"] == "success" and found["calls"] == 1
    assert found["result"] and [task["name"] for task in found["tasks"]] == ["summary"]
    assert said.out.count("\n") == 1


def test_the_last_line_is_the_next_command(desk: Desk) -> None:
    said = desk.good("run", "echo.ai", "x")
    assert said.last == f"next: callboard show {desk.run_id()}"


def test_quiet_leaves_only_how_it_ended(desk: Desk) -> None:
    said = desk.good("run", "echo.ai", "x", "--quiet")
    assert "say: success" not in said.err and "done: run echo-" in said.err


def test_a_project_is_made_once_and_said_so(desk: Desk) -> None:
    assert "made a project" in desk.good("run", "echo.ai", "x").err
    assert "made a project" not in desk.good("run", "echo.ai", "x").err
    assert (desk.here / ".callboard").stat().st_mode & 0o777 == 0o700


def test_a_project_may_be_named(desk: Desk) -> None:
    desk.good("--project", "elsewhere", "run", "echo.ai", "x")
    assert (desk.here / "elsewhere/.callboard").is_dir() and not (desk.here / ".callboard").exists()
    desk.environment(CALLBOARD_PROJECT="elsewhere")
    assert len(desk.json("ls")) == 1


def test_a_list_is_a_result_too(desk: Desk) -> None:
    desk.write("list.ai", "pipe:\n  - {type: command, each: [b, a], key: '{{item}}', command: [echo, '{{item}}']}\n")
    said = desk.good("run", "list.ai")
    assert [one["key"] for one in json.loads(said.out)] == ["b", "a"]


# ── again ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_id_stands_for_one_run(desk: Desk) -> None:
    first = desk.good("run", "summary.ai", TEXT, "--id", "nightly-1")
    again = desk.good("run", "summary.ai", TEXT, "--id", "nightly-1")
    assert again.out == first.out
    assert [run["id"] for run in desk.json("ls")] == ["nightly-1"]
    assert desk.json("show")["calls"] == 1


def test_an_id_that_stands_for_something_else_is_a_conflict(desk: Desk) -> None:
    desk.good("run", "echo.ai", "one", "--id", "nightly-1")
    assert desk.call("run", "echo.ai", "two", "--id", "nightly-1").code == 9
    assert desk.call("run", "summary.ai", "one", "--id", "nightly-1").code == 9


@pytest.mark.parametrize("id", ["Big", "a b", "../x", "", "a" * 65])
def test_an_id_is_small_letters(desk: Desk, id: str) -> None:
    assert desk.call("run", "echo.ai", "x", "--id", id).code == 2


def test_keep_keeps_an_output_that_is_there(desk: Desk) -> None:
    desk.write("out.ai", "pipe:\n  - {type: command, command: [cat], output_file: out.txt}\n")
    desk.write("out.txt", "mine")
    assert desk.good("run", "out.ai", "new", "--keep").out == "mine\n"
    assert desk.read("out.txt") == "mine"


def test_the_bytes_of_another_document_of_ours_are_a_persons_where_a_person_put_them(desk: Desk) -> None:
    for name in ("one", "two"):
        desk.write(f"{name}.ai", f"pipe:\n  - {{type: command, command: [cat], output_file: {name}.txt}}\n")
    desk.good("run", "one.ai", "first")
    desk.write("two.txt", "first")  # a copy, for later
    desk.good("run", "one.ai", "second")
    assert desk.read("one.txt") == "second"  # of an earlier run, to the same place
    desk.good("run", "two.ai", "third")
    assert (desk.read("two.txt"), desk.read("two (ours 1).txt")) == ("first", "third")


def test_a_document_that_was_edited_is_never_overwritten(desk: Desk) -> None:
    desk.write("out.ai", "pipe:\n  - {name: out, type: command, command: [cat], output_file: out.txt}\n")
    desk.good("run", "out.ai", "ours")
    assert desk.read("out.txt") == "ours"
    desk.write("out.txt", "edited by hand")
    said = desk.good("resume", desk.run_id(), "--restart", "out")
    assert desk.read("out.txt") == "edited by hand"
    assert desk.read("out (ours 1).txt") == "ours"
    assert "out.txt is yours, and stays; ours is out (ours 1).txt" in said.err


# ── what is wrong ───────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_not_there_is_not_found(desk: Desk) -> None:
    said = desk.call("run", "nowhere.ai")
    assert said.code == 8 and "nowhere.ai" in said.err


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("pipe:\n  - type: llm\n    tmpll: x\n", "3:5", "did you mean 'tmpl'"),
        ("pipe:\n  - type: llm\n    tmpl: x\n    output_file: {{production.instance_dir}}/x\n", "4:", "quote"),
        ("pipe:\n  - type: lm\n    tmpl: x\n", "2:", "llm"),
        ("pipe: [\n", "", "fix:"),
        ("pipe:\n  - {type: llm, name: a, tmpl: x}\n  - {type: llm, name: a, tmpl: x}\n", "3:", "a"),
        ("pipe:\n  - {type: llm, tmpl: '{{pipe.pipin-text}}'}\n", "2:", "pipein"),
        ("pipe:\n  - {type: llm, tmpl: missing.j2}\n", "2:", "missing.j2"),
    ],
)
def test_an_invalid_file_says_where_and_how_to_mend_it(desk: Desk, text: str, place: str, words: str) -> None:
    desk.write("wrong.ai", text.encode())
    for verb in ("check", "run"):
        said = desk.call(verb, "wrong.ai")
        assert said.code == 2
        assert f"wrong.ai:{place}" in said.err and words in said.err and "fix:" in said.err
    told = desk.call("check", "wrong.ai", "--json").json
    assert told["error"] == "InvalidFile" and told["file"] == "wrong.ai" and told["line"]
    assert not (desk.here / ".callboard").exists()


def test_a_missing_key_is_named_before_an_instance_is_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    desk.write("real.ai", "production: {name: shows}\n" + "pipe:\n  - {type: llm, model: gpt-4o-mini, tmpl: hello}\n")
    said = desk.call("run", "real.ai", "x")
    assert said.code == 2 and "real.ai:3:24" in said.err and "OPENAI_API_KEY" in said.err
    assert not (desk.here / "project-home").exists() and not (desk.here / ".callboard").exists()


def test_a_step_without_a_model_says_how_to_name_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    said = desk.call("run", "summary.ai", "x")
    assert said.code == 2 and "summary" in said.err and "--model offline" in said.err


def test_two_names_for_one_production_are_a_conflict_of_words(desk: Desk) -> None:
    desk.write("plays.yml", "name: plays\n")
    desk.write("show.ai", "production: {name: shows}\n" + "pipe:\n  - {type: llm, tmpl: hello}\n")
    said = desk.call("run", "show.ai", "--production", "plays.yml")
    assert said.code == 2 and "shows" in said.err and "plays" in said.err


def test_wrong_usage_is_told_with_the_usage_and_as_json(desk: Desk) -> None:
    said = desk.call("run")
    assert said.code == 2 and "Usage: " in said.err and not said.out
    assert desk.call("run", "--json").json["exit_code"] == 2
    assert desk.call("dance").code == 2


def test_a_failing_step_fails_the_run(desk: Desk) -> None:
    desk.write("fail.ai", "pipe:\n  - {name: bad, type: command, command: [sh, -c, 'echo oops >&2; exit 3']}\n")
    said = desk.call("run", "fail.ai")
    assert said.code == 1 and not said.out
    assert "bad failed: " in said.err and "oops" in said.err
    assert said.last == f"next: callboard resume {desk.run_id()} --retry"
    assert "oops" in desk.good("logs").out


def test_a_program_that_is_not_there_is_named(desk: Desk) -> None:
    desk.write("fail.ai", "pipe:\n  - {type: command, command: [no-such-program]}\n")
    said = desk.call("run", "fail.ai")
    assert said.code == 2 and "fail.ai:2:31" in said.err and "no-such-program" in said.err
    desk.write("late.ai", "pipe:\n  - {type: command, command: ['{{input}}']}\n")
    said = desk.call("run", "late.ai", "no-such-program")
    assert said.code == 1 and "cannot be started: no-such-program" in said.err


def test_a_limit_of_time_is_an_exit_of_its_own(desk: Desk) -> None:
    desk.write("slow.ai", "pipe:\n  - {name: nap, type: command, command: [sleep, '60'], timeout: 200ms}\n")
    said = desk.call("run", "slow.ai")
    assert said.code == 7 and "timed out" in said.err


# ── the program itself ──────────────────────────────────────────────────────────────────────────────────


def test_the_program_reads_a_pipe_and_writes_one(desk: Desk) -> None:
    read, write = os.pipe()
    os.write(write, "through ünï pipes".encode())
    os.close(write)
    started = desk.start("run", "echo.ai", stdin=read)
    os.close(read)
    said = started.ended()
    assert (said.code, said.out) == (0, "through ünï pipes\n")
    assert "\x1b" not in said.err


def test_a_reader_that_leaves_is_no_error(desk: Desk) -> None:
    desk.good("run", "echo.ai", "x")
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([PROGRAM, "ls"], stdout=write, stderr=subprocess.PIPE, cwd=desk.here)
    os.close(write)
    assert process.returncode == 0 and process.stderr == b""


def test_two_runs_at_once_share_a_project(desk: Desk) -> None:
    both = [desk.start("run", "echo.ai", text) for text in ("one", "two")]
    said = [one.ended() for one in both]
    assert [(one.code, one.out) for one in said] == [(0, "one\n"), (0, "two\n")], said
    assert [run["status"] for run in desk.json("ls")] == ["success", "success"]


# ── a person's own version ──────────────────────────────────────────────────────────────────────────────


def test_an_output_a_person_has_edited_survives_the_next_run(desk: Desk) -> None:
    desk.write("out.ai", ECHO + '        output_file: "o.txt"\n')
    desk.good("run", "out.ai", "first")
    assert desk.read("o.txt") == "first"
    desk.good("run", "out.ai", "second")
    assert desk.read("o.txt") == "second"
    desk.write("o.txt", "mine")
    said = desk.good("run", "out.ai", "third")
    assert desk.read("o.txt") == "mine" and desk.read("o (ours 1).txt") == "third"
    assert "o.txt is yours, and stays; ours is o (ours 1).txt" in said.err
    desk.good("run", "out.ai", "fourth", "--overwrite")
    assert desk.read("o.txt") == "fourth"
