"""What a person looks at: ls, show, logs, check, version; and how all of it is said to a program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

CHAIN = """
    name: Chain
    pipe:
      - {name: ask, type: llm, tmpl: "Summarise: {{input}}"}
      - {name: grumble, type: command, command: [sh, -c, "echo careful >&2; cat"], output_file: out.txt}
"""


@pytest.fixture
def run(desk: Desk) -> str:
    desk.write("chain.ai", CHAIN)
    desk.good("run", "chain.ai", "The house was full. The heating failed.")
    return desk.run_id()


def test_ls_lists_the_newest_first(desk: Desk, run: str) -> None:
    desk.good("run", "chain.ai", "Another evening.", "--name", "Second")
    found = desk.json("ls")
    assert [one["name"] for one in found] == ["Second", "Chain"]
    assert {"id", "status", "created", "ended", "calls", "cost"} <= set(found[0])
    lines = desk.good("ls").out.splitlines()
    assert lines[0].split()[:3] == ["id", "status", "name"] and lines[1].startswith("second-")
    assert len(desk.json("ls", "-n", "1")) == 1
    assert desk.json("ls", "--status", "failed") == []


def test_a_project_without_runs_says_so(desk: Desk, run: str) -> None:
    (desk.here / "empty").mkdir()
    assert desk.call("--project", "empty", "ls").code == 8
    assert desk.good("ls", "--status", "stopped").out == "no runs\n"


@pytest.mark.parametrize("verb", ["ls", "show", "logs", "resume", "pause", "cancel", "approve", "reject"])
def test_without_a_project_nothing_is_found_and_nothing_is_made(desk: Desk, verb: str) -> None:
    said = desk.call(verb)
    assert said.code == 8 and "callboard run FILE" in said.err
    assert not (desk.here / ".callboard").exists()
    assert desk.call(verb, "--json").json["exit_code"] == 8


@pytest.mark.parametrize("verb", ["show", "logs", "resume", "pause", "cancel", "approve", "reject"])
def test_a_run_that_is_not_there_is_not_found(desk: Desk, run: str, verb: str) -> None:
    said = desk.call(verb, "no-such-run")
    assert said.code == 8 and "no-such-run" in said.err


def test_a_run_has_an_id_a_beginning_and_a_number(desk: Desk, run: str) -> None:
    assert {desk.json("show", name)["id"] for name in (run, run[:7], "1")} == {run}


def test_show_tells_tasks_reasons_documents_and_money(desk: Desk, run: str) -> None:
    shown = desk.good("show").out
    for word in (run, "success", "1 model call", "ask", "grumble", "out.txt", "under $0.0001"):
        assert word in shown
    assert desk.json("show")["documents"][0]["task"] == "grumble"


def test_show_tells_the_story_and_the_result(desk: Desk, run: str) -> None:
    facts = [fact["fact"] for fact in desk.json("show", "--story")]
    assert facts[0] == "Begun" and facts.count("Succeeded") == 2
    assert "Succeeded" in desk.good("show", "--story").out
    assert desk.good("show", "--result").out.startswith("The house was full.")
    assert isinstance(desk.json("show", "--result"), str)


def test_logs_tell_what_was_said_and_how_far_it_had_come_only_when_asked(desk: Desk, run: str) -> None:
    assert "careful" in desk.good("logs").out and "characters" not in desk.good("logs").out
    assert "characters" in desk.good("logs", "--all").out
    assert [line["text"] for line in desk.json("logs", run, "grumble") if line["level"] == "stderr"] == ["careful"]
    assert desk.good("logs", run, "ask").out == "nothing was said\n"
    assert desk.call("logs", run, "nobody").code == 8


def test_logs_of_a_list_are_those_of_its_items(desk: Desk) -> None:
    desk.write("list.ai", "pipe:\n  - {name: l, type: command, each: [a], command: [sh, -c, 'echo psst >&2']}\n")
    desk.good("run", "list.ai")
    assert "psst" in desk.good("logs", desk.run_id(), "l").out


def test_check_shows_what_would_be_done_and_does_nothing(desk: Desk) -> None:
    desk.write("chain.ai", CHAIN)
    assert "Chain: good" in desk.good("check", "chain.ai").out
    found = desk.json("check", "chain.ai")
    assert [task["executor"] for task in found["tasks"]] == ["llm", "command"]
    assert desk.call("check", "nowhere.ai").code == 8
    assert sorted(path.name for path in desk.here.iterdir()) == ["chain.ai"]


def test_version_names_what_a_report_needs(desk: Desk) -> None:
    assert desk.good("version").out.startswith("callboard ")
    assert set(desk.json("version")) == {"callboard", "python", "sqlite"}


def test_help_names_every_verb(desk: Desk) -> None:
    said = desk.good("--help")
    for verb in ("run", "resume", "check", "ls", "show", "logs", "pause", "cancel", "approve", "reject", "production"):
        assert f"\n  {verb} " in said.out
        assert "Usage: " in desk.good(verb, "--help").out


def test_a_wrong_verdict_and_a_wrong_status_are_usage(desk: Desk, run: str) -> None:
    assert desk.call("ls", "--status", "sleeping").code == 2
    assert desk.call("resume", run).code == 2
    assert "--retry" in desk.call("resume", run).err


def test_json_may_be_asked_for_before_the_verb(desk: Desk, run: str) -> None:
    assert desk.good("--json", "show").json["id"] == run
    assert json.loads(desk.call("--json", "show", "no-such").out)["exit_code"] == 8


def test_the_restart_of_a_step_does_it_again_and_what_depends_on_it(desk: Desk, run: str) -> None:
    desk.good("resume", run, "--restart", "ask")
    assert [task["number"] for task in desk.json("show")["tasks"]] == [2, 2]
    assert desk.call("resume", run, "--restart", "nobody").code in (2, 8)


def test_a_verb_that_is_misspelt_is_named(desk: Desk) -> None:
    said = desk.good("resme", code=2)
    assert said.last == "error: no such command 'resme'; did you mean 'resume'?"
    assert desk.good("frobnicate", code=2).last == "error: no such command 'frobnicate'."
    said = desk.good("show", "--jsn", code=2)
    assert "Usage: " in said.err and said.last.startswith("error: no such option")


def test_what_is_checked_with_a_model_is_run_with_it(desk: Desk) -> None:
    desk.write("my file.ai", "pipe:\n  - {type: llm, tmpl: x}\n")
    assert desk.good("check", "my file.ai").last == "next: callboard run 'my file.ai'"
    assert desk.good("check", "my file.ai", "--model", "offline").last.endswith("'my file.ai' --model offline")
