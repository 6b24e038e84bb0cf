"""A run goes on with a changed pipeline file: what is shown, what is kept, what runs again, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

CHAIN = """
name: Chain
pipe:
  - {name: one, type: command, command: [sh, -c, "echo one >> calls; cat; echo -one"]}
  - {name: two, type: command, command: [sh, -c, "echo two >> calls; cat; echo -two"]}
  - {name: three, type: command, command: [sh, -c, "echo three >> calls; test -e good && cat"], output_file: three.txt}
  - {name: four, type: command, command: [sh, -c, "echo four >> calls; cat; echo -four"]}
"""
FIXED = CHAIN.replace("test -e good && cat", "cat; echo -fixed")


def calls(desk: Desk) -> list[str]:
    """Which steps were carried out, in order."""
    return desk.read("calls").split()


@pytest.fixture
def failed(desk: Desk) -> str:
    """A run whose third step has failed."""
    desk.write("chain.ai", CHAIN)
    desk.good("run", "chain.ai", "x", "--id", "show", code=1)
    assert calls(desk) == ["one", "two", "three"]
    return "show"


def fates(found: Any) -> dict[str, str]:
    return {step["name"]: step["fate"] for step in found["steps"]}


def test_a_fixed_step_and_what_comes_after_it_run_again_and_nothing_else(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", FIXED)
    said = desk.good("adopt", failed)
    assert "~ three: command" in said.out and "2 steps would be kept, 1 step would run again" in said.out
    assert said.last == "next: callboard adopt show --yes"
    assert desk.json("ls")[0]["id"] == "show" and len(desk.json("ls")) == 1, "a preview writes nothing"
    said = desk.good("adopt", failed, "--yes")
    assert said.last == "next: callboard resume show.2" and calls(desk) == ["one", "two", "three"]
    assert desk.good("resume", "show.2").out == "x-one-two-fixed-four\n"
    assert calls(desk) == ["one", "two", "three", "three", "four"]
    assert desk.read("three.txt") == "x-one-two-fixed"


def test_what_stands_below_a_changed_step_runs_again(desk: Desk) -> None:
    desk.write("chain.ai", CHAIN)
    desk.write("good", "")
    desk.good("run", "chain.ai", "x", "--id", "show")
    desk.write("chain.ai", CHAIN.replace("echo -two", "echo -2"))
    found = desk.json("adopt", "show", "--yes")
    assert fates(found) == {"one": "kept", "two": "again", "three": "again", "four": "again"}
    assert [step["why"] for step in found["steps"]][2] == "after two, which changed"
    assert desk.good("resume", "show.2").out == "x-one-2-four\n"


def test_what_is_shown_has_everything_in_json(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", FIXED)
    found = desk.json("adopt", failed)
    assert fates(found) == {"one": "kept", "two": "kept", "three": "again", "four": "begins"}
    (step,) = [step for step in found["steps"] if step["what"] == "changed"]
    assert step["name"] == "three" and step["why"] == "command changed"
    assert [change["key"] for change in step["changes"]] == ["command"]
    assert (found["kept"], found["again"], found["adopted"]) == (2, 1, None)
    assert desk.json("adopt", failed, "--yes")["adopted"] == "show.2"


def test_the_run_that_was_replaced_points_on_and_takes_nothing_any_more(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", FIXED)
    desk.good("adopt", failed, "--yes")
    shown = desk.json("show", "show")
    assert (shown["status"], shown["because"], shown["adopted_by"]) == ("failed", "adopted show.2", "show.2")
    assert desk.good("show", "show").last == "next: callboard show show.2"
    assert "in place of show" in desk.good("show", "show.2").out
    assert {run["id"]: run["because"] for run in desk.json("ls")} == {"show.2": "no engine", "show": "adopted show.2"}
    assert "goes on as show.2" in desk.good("ls").out
    for words in (["resume", "show"], ["resume", "show", "--retry"], ["cancel", "show"], ["pause", "show"]):
        said = desk.call(*words)
        assert said.code == 2 and "goes on as show.2" in said.err, said
    said = desk.call("adopt", "show")
    assert said.code == 2 and "callboard adopt show.2" in said.err


def test_adopting_twice_is_one_adoption(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", FIXED)
    desk.good("adopt", failed, "--yes")
    assert "goes on as show.2 already" in desk.good("adopt", failed, "--yes").out
    assert len(desk.json("ls")) == 2
    desk.write("chain.ai", FIXED.replace("-fixed", "-better"))
    assert desk.call("adopt", failed, "--yes").code == 2
    assert desk.json("adopt", "show.2", "--yes")["adopted"] == "show.3"
    assert desk.good("run", "chain.ai", "x", "--id", "show").out == "x-one-two-better-four\n", "the id goes on"
    assert calls(desk).count("one") == 1


def test_a_file_with_faults_tells_all_of_them_and_changes_nothing(desk: Desk, failed: str) -> None:
    faulty = FIXED.replace("name: one", "name: one, need: [four]").replace('[sh, -c, "echo four', '[shh, "echo four')
    desk.write("chain.ai", faulty)
    said = desk.call("adopt", failed, "--yes")
    assert said.code == 2 and "'need'" in said.err and "'shh'" in said.err
    desk.write("chain.ai", CHAIN.replace("{name: one,", "{name: one, needs: [four],"))
    said = desk.call("adopt", failed, "--yes")
    assert said.code == 2 and "closes a circle" in said.err
    assert [run["id"] for run in desk.json("ls")] == ["show"]


def test_a_file_that_says_the_same_is_nothing_to_adopt(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", "# a remark\n" + CHAIN)
    assert "says what the run began with" in desk.good("adopt", failed).out
    said = desk.call("adopt", failed, "--yes")
    assert said.code == 2 and "nothing to adopt" in said.err


def test_how_a_step_is_tried_is_not_what_it_asks(desk: Desk) -> None:
    desk.write("chain.ai", CHAIN)
    desk.write("good", "")
    desk.good("run", "chain.ai", "x", "--id", "show")
    desk.write("chain.ai", CHAIN.replace("{name: two,", "{name: two, timeout: 5m, retry: 3, priority: 0,"))
    found = desk.json("adopt", "show", "--yes")
    assert set(fates(found).values()) == {"kept"}
    assert desk.json("show", "show.2")["status"] == "success" and len(calls(desk)) == 4
    assert desk.json("show", "show.2")["documents"][0]["status"] == "published"


def test_a_step_with_another_name_is_kept_unless_somebody_sees_the_name(desk: Desk) -> None:
    desk.write("chain.ai", CHAIN)
    desk.write("good", "")
    desk.good("run", "chain.ai", "x", "--id", "show")
    desk.write("chain.ai", CHAIN.replace("name: two", "name: second"))
    found = desk.json("adopt", "show")
    assert fates(found) == dict.fromkeys(("one", "second", "three", "four"), "kept")
    assert [(step["what"], step["was"]) for step in found["steps"]][1] == ("renamed", "two")
    sees = '{name: four, type: command, command: [echo, "{{pipe.NAME}}"]}'
    named = CHAIN[: CHAIN.index("  - {name: four")] + "  - " + sees + "\n"
    desk.write("named.ai", named.replace("NAME", "two"))
    desk.good("run", "named.ai", "x", "--id", "named")
    desk.write("named.ai", named.replace("NAME", "second").replace("name: two", "name: second"))
    assert fates(desk.json("adopt", "named")) == {"one": "kept", "second": "kept", "three": "kept", "four": "again"}


LIST = """
name: Places
pipe:
  - name: line
    type: command
    each: [harbour, market, library]
    key: "{{item}}"
    command: [sh, -c, "echo {{item}} >> calls; echo {{item}}"]
  - {name: loud, type: command, over: line, command: [sh, -c, "echo loud >> calls; tr a-z A-Z"]}
  - {name: all, type: function, function: airesult, params: {file: all.json}}
"""


def test_an_item_that_is_still_in_a_changed_list_is_kept(desk: Desk) -> None:
    desk.write("list.ai", LIST)
    desk.good("run", "list.ai", "--id", "show")
    assert sorted(calls(desk)) == ["harbour", "library", "loud", "loud", "loud", "market"]
    desk.write("list.ai", LIST.replace("[harbour, market, library]", "[library, station, harbour]"))
    found = desk.json("adopt", "show", "--yes")
    assert fates(found) == {"line": "partly", "loud": "partly", "all": "again"}
    assert found["steps"][0]["items"] == 3
    desk.good("resume", "show.2")
    assert sorted(calls(desk)[6:]) == ["loud", "station"]
    made = {one["key"]: one["value"].strip() for one in json.loads(desk.read("all.json"))}
    assert made == {"library": "LIBRARY", "station": "STATION", "harbour": "HARBOUR"}


REVIEW = """
name: Review
pipe:
  - {name: first, type: command, command: [sh, -c, "echo first >> calls; cat"], review: true}
  - {name: second, type: command, command: [sh, -c, "echo second >> calls; cat"], review: true}
  - {name: third, type: command, command: [sh, -c, "echo third >> calls; cat"]}
"""


def test_what_was_approved_stays_approved_and_a_draft_goes_on_waiting(desk: Desk) -> None:
    desk.write("review.ai", REVIEW)
    desk.good("run", "review.ai", "x", "--id", "show", code=4)
    desk.write("better.txt", "better")
    desk.good("approve", "show", "--edit", "better.txt")
    desk.good("resume", "show", code=4)
    desk.write("review.ai", REVIEW.replace("echo third >> calls", "echo third >> calls; echo +"))
    found = desk.json("adopt", "show", "--yes")
    assert fates(found) == {"first": "kept", "second": "held", "third": "begins"}
    shown = desk.json("show", "show.2")
    assert shown["because"] == "review second" and shown["held"][0]["value"] == "better"
    assert desk.call("approve", "show", "--task", "second").code == 2
    desk.good("approve", "show.2")
    assert desk.good("resume", "show.2").out.split() == ["+", "better"]
    assert calls(desk) == ["first", "second", "third"]


MODELS = """
name: Models
model: offline
vars: {tone: warm}
pipe:
  - {name: gist, type: llm, cache: false, tmpl: "Summarise: {{input}}"}
  - {name: mail, type: llm, cache: false, tmpl: "Write a {{vars.tone}} mail: {{pipe.pipein-text}}"}
"""


def test_the_ledger_says_what_was_taken_over_and_that_it_cost_nothing(desk: Desk) -> None:
    desk.environment(CALLBOARD_OFFLINE_LEDGER="provider.jsonl")
    desk.write("models.ai", MODELS)
    desk.good("run", "models.ai", "A long letter. It has two sentences.", "--id", "show")
    desk.write("models.ai", MODELS.replace("warm", "cold"))
    found = desk.json("adopt", "show", "--yes")
    assert [(step["name"], step["fate"], step["why"]) for step in found["steps"]] == [
        ("gist", "kept", ""), ("mail", "again", "vars.tone changed"),
    ]  # fmt: skip
    totals = desk.json("show", "show.2")["totals"]
    assert (totals["calls"], totals["cached"], totals["cost"], totals["input_tokens"]) == (0, 1, 0, 0)
    desk.good("resume", "show.2")
    assert desk.json("show", "show.2")["totals"]["calls"] == 1
    assert len(desk.read("provider.jsonl").splitlines()) == 3


SCRIPT = """
from callboard import run
from callboard.battery.workloads import own_plan

run(own_plan(), id="own")
"""


def test_a_run_of_a_program_is_not_adopted(desk: Desk) -> None:
    desk.write("script.py", SCRIPT)
    subprocess.run([sys.executable, "script.py"], cwd=desk.here, check=True)
    said = desk.call("adopt", "own", "script.py")
    assert said.code == 2 and "begun by a program" in said.err


PLAYS = """
name: Cards
production: {name: cards, steps: [cards]}
pipe:
  - {name: card, type: command, command: [echo, card], document_type: card, suffix: md, step: cards}
  - {name: last, type: command, command: ["false"]}
"""


def test_a_run_in_a_production_goes_on_in_its_instance(desk: Desk) -> None:
    desk.write("cards.ai", PLAYS)
    desk.good("run", "cards.ai", "--id", "show", code=1)
    before = desk.json("show", "show")["instance"]
    desk.write("cards.ai", PLAYS.replace('["false"]', "[cat]"))
    assert desk.json("adopt", "show", "--yes")["kept"] == 1
    desk.good("resume", "show.2")
    shown = desk.json("show", "show.2")
    assert shown["instance"] == before and len(shown["documents"]) == 1
    assert "completed" in desk.read("project-home/productions/cards/settings/production_db.csv")
    desk.write("cards.ai", PLAYS.replace("name: cards,", "name: others,"))
    said = desk.call("adopt", "show.2", "--yes")
    assert said.code == 2 and "belongs to the production 'others'" in said.err


def test_a_run_that_a_living_process_carries_out_is_not_adopted(desk: Desk) -> None:
    slow = CHAIN.replace("test -e good && cat", "until test -e good; do sleep 0.05; done; cat")
    desk.write("chain.ai", slow)
    process = desk.start("run", "chain.ai", "x", "--id", "show")
    process.until(lambda: (desk.here / "calls").exists() and "three" in calls(desk), "the third step is at work")
    desk.write("chain.ai", slow.replace("cat; echo -four", "cat; echo -five"))
    said = desk.call("adopt", "show", "--yes")
    assert said.code == 9 and "is being carried out by process" in said.err
    assert fates(desk.json("adopt", "show"))["two"] == "kept", "a look is allowed"
    process.signal(signal.SIGINT)
    assert process.ended().code == 130
    desk.write("good", "")
    assert desk.json("adopt", "show", "--yes")["kept"] == 2
    assert desk.good("resume", "show.2").out == "x-one-two-five\n"
    assert calls(desk) == ["one", "two", "three", "three", "four"]


def test_an_effect_whose_end_is_unknown_is_decided_first(desk: Desk) -> None:
    once = CHAIN.replace("{name: three,", "{name: three, effect: once,").replace("test -e good", "sleep 60")
    desk.write("chain.ai", once)
    process = desk.start("run", "chain.ai", "x", "--id", "show")
    process.until(lambda: (desk.here / "calls").exists() and "three" in calls(desk), "the third step is at work")
    process.kill()
    desk.write("chain.ai", FIXED)
    said = desk.call("adopt", "show", "--yes")
    assert said.code == 2 and "three of run show waits for a decision" in said.err
    desk.good("approve", "show", "--failed")
    assert fates(desk.json("adopt", "show", "--yes"))["three"] == "again"


def test_what_a_person_made_of_a_document_stays_theirs(desk: Desk) -> None:
    desk.write("three.txt", "mine")
    desk.write("good", "")
    desk.write("chain.ai", CHAIN)
    desk.good("run", "chain.ai", "x", "--id", "show")
    assert desk.read("three.txt") == "mine" and desk.json("show", "show")["documents"][0]["status"] == "conflict"
    desk.write("chain.ai", CHAIN.replace("echo -four", "echo -five"))
    assert desk.json("adopt", "show", "--yes")["kept"] == 3
    desk.good("resume", "show.2")
    assert desk.read("three.txt") == "mine"
    (document,) = desk.json("show", "show.2")["documents"]
    assert document["status"] == "edited" and document["hash"] == sha256(b"mine").hexdigest()


FILES = """
name: List
pipe:
  - name: card
    type: command
    each: {glob: "in/*.txt"}
    stdin: "{{item.text}}"
    command: [sh, -c, "echo $0 >> calls; cat", "{{item.path}}"]
  - {name: end, type: command, command: [sh, -c, "echo end >> calls; false"]}
"""


def test_what_was_made_of_a_file_that_has_changed_since_runs_again(desk: Desk) -> None:
    desk.write("list.ai", FILES)
    desk.write("in/a.txt", "a")
    desk.write("in/b.txt", "b")
    desk.good("run", "list.ai", "--id", "show", code=1)
    assert sorted(calls(desk)) == ["end", "in/a.txt", "in/b.txt"]
    desk.write("in/b.txt", "another b")
    desk.write("list.ai", FILES.replace("; false", ""))
    assert fates(desk.json("adopt", "show"))["card"] == "partly"
    desk.good("adopt", "show", "--yes")
    desk.good("resume", "show.2")
    assert sorted(calls(desk)) == ["end", "end", "in/a.txt", "in/b.txt", "in/b.txt"]


def test_resume_says_that_the_file_has_changed_and_names_adopt(desk: Desk, failed: str) -> None:
    assert "changed" not in desk.good("resume", failed, "--retry", code=1).err
    desk.write("chain.ai", FIXED)
    said = desk.good("resume", failed, "--retry", code=1)
    assert "chain.ai has changed since; this run goes on with what it began with. " in said.err
    assert f"To let it go on with the changed file: callboard adopt {failed}\n" in said.err
    assert desk.json("show")["status"] == "failed"


def test_what_changes_nothing_that_is_asked_is_no_change(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", "# a remark\n" + CHAIN)
    assert "changed" not in desk.good("resume", failed, "--retry", code=1).err


@pytest.mark.parametrize("text", ["pipe: [", None])
def test_a_file_that_is_wrong_or_gone_by_now_is_no_reason_not_to_go_on(
    desk: Desk, failed: str, text: str | None
) -> None:
    if text is None:
        (desk.here / "chain.ai").unlink()
    else:
        desk.write("chain.ai", text)
    desk.write("good", "")
    assert desk.good("resume", failed, "--retry").out == "x-one-two-four\n"


def test_run_with_a_known_id_says_it_too(desk: Desk, failed: str) -> None:
    assert "changed" not in desk.good("run", "chain.ai", "--id", failed, code=1).err
    desk.write("chain.ai", FIXED)
    assert "callboard adopt show" in desk.good("run", "chain.ai", "--id", failed, code=1).err
    assert "changed" not in desk.good("run", "chain.ai", "--id", "other", "y").err


def test_a_beginning_that_only_successors_share_means_the_one_that_goes_on(desk: Desk, failed: str) -> None:
    desk.write("chain.ai", FIXED)
    desk.good("adopt", failed, "--yes")
    assert desk.json("show", "sho")["id"] == "show.2"
    assert desk.json("show", "show")["id"] == "show", "an id in full is that run"
    assert desk.good("ls").last == "next: callboard show show.2"
    desk.good("resume", "sh")
    assert desk.good("ls").last == "next: callboard show show.2", "one that goes on as another needs no look"
    desk.good("run", "chain.ai", "x", "--id", "shower")
    said = desk.call("show", "sho")
    assert (said.code, said.err) == (
        8, "error: no run 'sho', but several begin so: shower, show.2, show. Fix: name one of them in full\n"
    )  # fmt: skip


def test_of_a_mapping_only_what_changed_is_shown(desk: Desk) -> None:
    desk.write("look.ai", "pipe:\n  - {type: function, function: content, params: {format: text, extract: '(a)'}}\n")
    desk.good("run", "look.ai", "abc", "--id", "look")
    desk.write("look.ai", "pipe:\n  - {type: function, function: content, params: {extract: '(b)', format: text}}\n")
    assert "~ step1: params.extract: (a) → (b)\n" in desk.good("adopt", "look").out
    assert [one["key"] for one in desk.json("adopt", "look")["steps"][0]["changes"]] == ["params.extract"]
