"""A person in the middle: drafts shown, approved, edited and sent back, from the command line."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

APPROVAL = """
    name: Approval
    pipe:
      - {name: draft, type: command, command: [cat]}
      - {name: release, type: human, question: May this go out?}
      - {name: send, type: function, function: airesult, params: {file: answer.txt}}
"""
REVIEWED = """
    name: Reviewed
    pipe:
      - name: draft
        type: command
        command: [sh, -c, "echo x >> rounds; wc -l < rounds"]
        review: {again: 1}
        cache: false
"""


@pytest.fixture
def waiting(desk: Desk) -> str:
    """The id of a run that waits for approval."""
    desk.write("approval.ai", APPROVAL)
    desk.good("run", "approval.ai", "Dear Ada,\nthank you.", code=4)
    return desk.run_id()


def test_a_run_that_waits_for_a_person_ends_with_4_and_shows_the_draft(desk: Desk) -> None:
    desk.write("approval.ai", APPROVAL)
    said = desk.good("run", "approval.ai", "Dear Ada,\nthank you.", code=4)
    run = desk.run_id()
    assert not said.out
    assert f"waiting for approval of release: run {run}" in said.err
    assert "May this go out?" in said.err and "thank you." in said.err
    assert f"callboard approve {run} --edit FILE" in said.err
    assert f"say no (it fails):  callboard reject {run} --note TEXT" in said.err
    version = desk.json("show")["held"][0]["hash"]
    assert said.last == f"next: callboard approve {run} --hash {version[:12]}"


def test_a_long_draft_is_cut_where_it_is_not_asked_for(desk: Desk) -> None:
    desk.write("approval.ai", APPROVAL)
    said = desk.good("run", "approval.ai", "\n".join(f"line {n}." for n in range(100)), code=4)
    assert "line 5." in said.err and "line 99." not in said.err and "more lines" in said.err
    assert "line 99." in desk.good("show").out


def test_the_draft_is_in_the_json(desk: Desk, waiting: str) -> None:
    found = desk.json("show", waiting)
    draft = found["held"][0]
    assert found["because"] == "review release"
    assert found["next"] == f"callboard approve {waiting} --hash {draft['hash'][:12]}"
    assert [one["task"] for one in found["held"]] == ["release"]
    assert (draft["choices"], draft["rounds_left"]) == ([], 0)
    assert draft["question"] == "May this go out?"
    assert draft["value"] == "Dear Ada,\nthank you." and len(draft["hash"]) == 64


def test_approve_then_resume_goes_on(desk: Desk, waiting: str) -> None:
    approved = desk.good("approve")
    assert approved.last == f"next: callboard resume {waiting}"
    assert not (desk.here / "answer.txt").exists()
    assert desk.good("resume").code == 0
    assert desk.read("answer.txt") == "Dear Ada,\nthank you."  # what was asked is no part of it


def test_resume_does_not_approve(desk: Desk, waiting: str) -> None:
    said = desk.good("resume", code=4)
    assert said.last.startswith(f"next: callboard approve {waiting} --hash ")


def test_another_text_may_be_approved(desk: Desk, waiting: str) -> None:
    desk.write("better.txt", "Dear Ada, come again.")
    desk.good("approve", "--edit", "better.txt")
    assert desk.good("resume").out == "Dear Ada, come again.\n"
    assert desk.read("answer.txt") == "Dear Ada, come again."


def test_a_reviewed_output_is_written_once_it_is_approved_and_as_it_was_approved(desk: Desk) -> None:
    desk.write("out.ai", DOCUMENT.replace("review: true", "review: {again: 1}"))
    desk.good("run", "out.ai", "Dear Ada.", code=4)
    assert not (desk.here / "draft.txt").exists() and not desk.json("show")["documents"]
    desk.good("reject", "--note", "again")
    desk.good("resume", code=4)
    assert not (desk.here / "draft.txt").exists()
    desk.write("better.txt", "Dear Ada, come again.")
    desk.good("approve", "--edit", "better.txt")
    desk.good("resume")
    assert desk.read("draft.txt") == "Dear Ada, come again."
    (written,) = desk.json("show")["documents"]
    assert written["status"] == "published" and written["hash"] == sha256(b"Dear Ada, come again.").hexdigest()


def test_an_edit_that_is_no_file_or_no_text_is_wrong_usage(desk: Desk, waiting: str) -> None:
    assert desk.call("approve", "--edit", "nowhere.txt").code == 2
    desk.write("latin.txt", b"caf\xe9")
    said = desk.call("approve", "--edit", "latin.txt")
    assert said.code == 2 and "UTF-8" in said.err


def test_only_the_version_that_was_looked_at_is_approved(desk: Desk, waiting: str) -> None:
    said = desk.call("approve", "--hash", "0" * 12)
    version = desk.json("show")["held"][0]["hash"]
    assert said.code == 2 and f"waits with version {version[:12]}, not 000000000000" in said.err
    assert "thank you." in desk.good("approve", "--hash", version[:12]).err  # what was approved is shown


def test_the_last_line_is_a_command_that_approves_what_was_read(desk: Desk, waiting: str) -> None:
    command = desk.good("show").last.removeprefix("next: callboard ")
    desk.good(*command.split())
    assert desk.json("show")["held"] == []


def test_approving_twice_is_refused(desk: Desk, waiting: str) -> None:
    desk.good("approve", waiting)
    said = desk.call("approve", waiting)
    assert said.code == 2 and waiting in said.err


def test_a_rejection_without_rounds_ends_the_run(desk: Desk, waiting: str) -> None:
    desk.good("reject", "--note", "warmer")
    shown = desk.json("show", waiting)
    assert shown["status"] == "failed"
    assert desk.call("resume", waiting).code == 2


def test_a_step_that_makes_something_can_be_sent_back_without_saying_how_often(desk: Desk) -> None:
    desk.write("reviewed.ai", REVIEWED.replace("{again: 1}", "true"))
    said = desk.good("run", "reviewed.ai", "x", code=4)
    assert "send it back (3 left)" in said.err
    assert "2 left after this" in desk.good("reject").err
    assert "send it back (2 left)" in desk.good("resume", code=4).err


def test_a_rejection_with_rounds_left_makes_it_again(desk: Desk) -> None:
    desk.write("reviewed.ai", REVIEWED)
    desk.good("run", "reviewed.ai", "x", code=4)
    desk.good("reject", "--note", "another one")
    desk.good("resume", code=4)
    shown = desk.json("show")
    assert shown["tasks"][0]["number"] == 2 and shown["held"][0]["value"].strip() == "2"
    desk.good("approve")  # it was the last step: the run has ended
    assert desk.good("show", "--result").out.strip() == "2"


def test_the_last_rejection_is_final(desk: Desk) -> None:
    desk.write("reviewed.ai", REVIEWED)
    desk.good("run", "reviewed.ai", "x", code=4)
    desk.good("reject")
    desk.good("resume", code=4)
    desk.good("reject")
    assert desk.json("show")["status"] == "failed"


def test_the_run_that_waits_is_meant_even_if_a_newer_one_does_not(desk: Desk, waiting: str) -> None:
    desk.write("echo.ai", "pipe:\n  - {type: command, command: [cat]}\n")
    desk.good("run", "echo.ai", "newer")
    assert desk.json("approve")["id"] == waiting


def test_without_anything_that_waits_there_is_nothing_to_approve(desk: Desk) -> None:
    desk.write("echo.ai", "pipe:\n  - {type: command, command: [cat]}\n")
    desk.good("run", "echo.ai", "x")
    assert desk.call("approve").code == 8
    assert desk.call("approve", desk.run_id()).code == 2


def test_several_that_wait_are_named(desk: Desk) -> None:
    desk.write(
        "two.ai",
        """
        pipe:
          - {name: a, type: human, question: one?, needs: []}
          - {name: b, type: human, question: two?, needs: []}
        """,
    )
    said = desk.good("run", "two.ai", "x", code=4)
    assert "--task a" in said.last
    refused = desk.call("approve")
    assert refused.code == 2 and "a, b" in refused.err
    desk.good("approve", "--task", "b")
    assert desk.call("approve", "--task", "nobody").code == 8
    desk.good("approve")
    assert desk.json("show")["status"] == "success"


def test_a_person_may_be_slow_and_the_machine_may_have_gone(desk: Desk) -> None:
    """The commands run in processes of their own, none of which lives when the next one begins."""
    desk.write("approval.ai", APPROVAL)
    assert desk.spawn("run", "approval.ai", "Dear Ada").code == 4
    assert desk.spawn("approve").code == 0
    said = desk.spawn("resume")
    assert said.code == 0 and "Dear Ada" in said.out


# ── choices ─────────────────────────────────────────────────────────────────────────────────────────────

CHOICE = """
    name: Choice
    pipe:
      - {name: draft, type: command, command: [cat]}
      - {name: pick, type: human, question: What now?, choices: [Send, burn]}
      - {name: burnt, type: command, when: "pipe.pick == 'burn'", command: [echo, ashes]}
      - {name: last, type: command, stdin: "{{pipe.pick}} of {{pipe.draft}}", command: [cat]}
"""


def test_a_choice_is_made_on_the_command_line_and_is_the_output_of_its_step(desk: Desk) -> None:
    desk.write("choice.ai", CHOICE)
    said = desk.good("run", "choice.ai", "a letter", code=4)
    run = desk.run_id()
    assert f"callboard approve {run} --choose Send\n" in said.err and "--edit" not in said.err
    assert said.last.endswith(" --choose CHOICE")
    assert "chosen for pick: Send" in desk.good("approve", "--choose", "send").err
    assert desk.good("resume").out == "Send of a letter\n"
    assert [task["status"] for task in desk.json("show")["tasks"]] == ["success", "success", "skipped", "success"]


def test_a_step_with_choices_takes_nothing_else(desk: Desk) -> None:
    desk.write("choice.ai", CHOICE)
    desk.good("run", "choice.ai", "a letter", code=4)
    desk.write("other.txt", "something else")
    for words, part in (
        (("approve",), "one of Send, burn"),
        (("approve", "--choose", "sned"), "did you mean 'Send'?"),
        (("approve", "--edit", "other.txt"), "no choice of pick"),
    ):
        said = desk.call(*words)
        assert said.code == 2 and part in said.err
    assert desk.json("show")["because"] == "review pick"


def test_there_is_no_choice_where_the_file_offers_none(desk: Desk, waiting: str) -> None:
    said = desk.call("approve", "--choose", "yes")
    assert said.code == 2 and "no choices" in said.err
    said = desk.call("approve", "--choose", "yes", "--done")
    assert said.code == 2 and "exclude" in said.err


# ── drafts that are files, and drafts that are data ─────────────────────────────────────────────────────

DOCUMENT = """
    pipe:
      - {name: draft, type: command, command: [cat], output_file: draft.txt, review: true}
"""


def test_a_file_that_a_person_has_written_meanwhile_is_not_replaced_by_an_approval(desk: Desk) -> None:
    desk.write("document.ai", DOCUMENT)
    desk.good("run", "document.ai", "first", code=4)
    desk.write("draft.txt", "by hand")
    desk.write("better.txt", "second")
    desk.good("approve", "--edit", "better.txt")
    said = desk.good("resume").err
    assert "draft.txt: yours is kept, ours is draft (ours 1).txt" in said and "wrote" not in said
    assert (desk.read("draft.txt"), desk.read("draft (ours 1).txt")) == ("by hand", "second")
    assert "yours is kept, ours is draft (ours 1).txt" in desk.good("show").out
    (document,) = desk.json("show")["documents"]
    assert document == {
        "path": "draft.txt", "hash": sha256(b"by hand").hexdigest(), "status": "conflict", "task": "draft",
        "file": str(desk.here / "draft.txt"), "beside": "draft (ours 1).txt",
    }  # fmt: skip


def test_another_draft_of_data_is_data(desk: Desk) -> None:
    desk.write("data.ai", "pipe:\n  - {type: command, command: [cat], format: json, review: true}\n")
    desk.good("run", "data.ai", '{"n": 1}', code=4)
    desk.write("words.txt", "no data")
    said = desk.call("approve", "--edit", "words.txt")
    assert said.code == 2 and "JSON" in said.err
    desk.write("better.json", '{"n": 2}')
    desk.good("approve", "--edit", "better.json")
    assert desk.json("show", "--result") == {"n": 2}
