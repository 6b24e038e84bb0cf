"""A person in the middle: drafts shown, approved, edited and sent back, from the command line."""

from __future__ import annotations

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
    assert f"callboard reject {run} --note TEXT" in said.err
    assert said.last == f"next: callboard approve {run}"


def test_a_long_draft_is_cut_where_it_is_not_asked_for(desk: Desk) -> None:
    desk.write("approval.ai", APPROVAL)
    said = desk.good("run", "approval.ai", "\n".join(f"line {n}." for n in range(100)), code=4)
    assert "line 5." in said.err and "line 99." not in said.err and "more lines" in said.err
    assert "line 99." in desk.good("show").out


def test_the_draft_is_in_the_json(desk: Desk, waiting: str) -> None:
    found = desk.json("show", waiting)
    assert found["because"] == "review release" and found["next"] == f"callboard approve {waiting}"
    assert [one["task"] for one in found["held"]] == ["release"]
    draft = found["held"][0]
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
    assert said.last == f"next: callboard approve {waiting}"


def test_another_text_may_be_approved(desk: Desk, waiting: str) -> None:
    desk.write("better.txt", "Dear Ada, come again.")
    desk.good("approve", "--edit", "better.txt")
    assert desk.good("resume").out == "Dear Ada, come again.\n"
    assert desk.read("answer.txt") == "Dear Ada, come again."


def test_an_edit_that_is_no_file_or_no_text_is_wrong_usage(desk: Desk, waiting: str) -> None:
    assert desk.call("approve", "--edit", "nowhere.txt").code == 2
    desk.write("latin.txt", b"caf\xe9")
    said = desk.call("approve", "--edit", "latin.txt")
    assert said.code == 2 and "UTF-8" in said.err


def test_only_the_version_that_was_looked_at_is_approved(desk: Desk, waiting: str) -> None:
    said = desk.call("approve", "--hash", "0" * 12)
    assert said.code == 2 and "changed" in said.err
    version = desk.json("show")["held"][0]["hash"]
    desk.good("approve", "--hash", version[:12])


def test_approving_twice_is_refused(desk: Desk, waiting: str) -> None:
    desk.good("approve", waiting)
    said = desk.call("approve", waiting)
    assert said.code == 2 and waiting in said.err


def test_a_rejection_without_rounds_ends_the_run(desk: Desk, waiting: str) -> None:
    desk.good("reject", "--note", "warmer")
    shown = desk.json("show", waiting)
    assert shown["status"] == "failed"
    assert desk.call("resume", waiting).code == 2


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
