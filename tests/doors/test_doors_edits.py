"""A person edits what a run has written or read: it is noticed, kept, said in words, and redone when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doors_desk import Desk

SHOW = """
pipe:
  - {name: gist, type: command, command: [cat], output_file: gist.md}
  - {name: note, type: function, function: aisource, params: {file: x, content: "note of {{pipe.pipein-text}}"}, output_file: note.md}
  - {name: page, type: function, function: aisource, needs: [], each: {glob: "pages/*.md"}, params: {file: x, content: "<{{item.text}}>"}}
"""  # noqa: E501


def begun(desk: Desk) -> str:
    desk.write("show.ai", SHOW)
    for name in ("a", "b"):
        desk.write(f"pages/{name}.md", f"page {name}")
    desk.good("run", "show.ai", "the first gist")
    return desk.run_id()


def test_what_is_made_from_an_older_version_is_said_and_redone_when_asked(desk: Desk) -> None:
    run = begun(desk)
    desk.write("gist.md", "my own gist")
    shown = desk.good("show", run)
    assert "gist.md was edited since" in shown.out and "made from an older gist.md" in shown.out
    assert shown.err.rstrip().endswith(f"callboard resume {run} --stale")
    said = desk.call("resume", run)
    assert said.code == 2 and "gist.md was edited since: note is made from an older version" in said.err
    assert f"callboard resume {run} --stale" in said.err
    assert desk.json("ls")[0]["because"] == "stale gist.md"
    desk.good("resume", run, "--stale")
    assert (desk.read("gist.md"), desk.read("note.md")) == ("my own gist", "note of my own gist")
    tasks = {task["name"]: task for task in desk.json("show", run)["tasks"]}
    assert [tasks[name]["number"] for name in ("gist", "note", "page")] == [1, 2, 1]
    assert list(tasks["note"]["read"]) == ["gist.md"] and not tasks["note"]["reason"]
    assert "nothing to redo" in desk.call("resume", run, "--stale").err


def test_only_the_items_that_read_an_edited_file_are_stale(desk: Desk) -> None:
    run = begun(desk)
    desk.write("pages/b.md", "another b")
    shown = desk.json("show", run)
    page = next(task for task in shown["tasks"] if task["name"] == "page")
    assert page["items"]["stale"] == [{"key": "pages/b.md", "reason": "stale pages/b.md"}]
    assert shown["next"] == f"callboard resume {run} --stale"
    again = desk.json("resume", run, "--stale")
    assert [one["value"] for one in again["result"]["page"]] == ["<page a>", "<another b>"]


def test_a_document_that_is_deleted_is_missing_and_nothing_is_stale(desk: Desk) -> None:
    run = begun(desk)
    (desk.here / "gist.md").unlink()
    shown = desk.json("show", run)
    assert [one["status"] for one in shown["documents"] if one["path"] == "gist.md"] == ["missing"]
    assert shown["because"] == "" and shown["next"] is None
    desk.good("resume", run, "--restart", "note")
    assert desk.read("note.md") == "note of the first gist", "the last version that there was"
    assert not (desk.here / "gist.md").exists()


def test_a_version_that_cannot_be_read_fails_the_step_that_needs_it(desk: Desk) -> None:
    run = begun(desk)
    desk.write("gist.md", b"\xff\xfe no text")
    said = desk.call("resume", run, "--stale")
    assert said.code == 1 and "gist.md was edited, and is no UTF-8 text any more (byte 0)" in said.err
    desk.write("gist.md", "text again")
    desk.good("resume", run, "--retry")
    assert desk.read("note.md") == "note of text again"


def test_what_another_run_has_written_since_is_no_edit(desk: Desk) -> None:
    run = begun(desk)
    desk.good("run", "show.ai", "the second gist")
    assert desk.json("show", run)["because"] == ""


def test_showing_a_run_records_nothing(desk: Desk) -> None:
    run = begun(desk)
    desk.write("gist.md", "my own gist")
    desk.good("show", run)
    assert not any(fact["fact"] == "DocumentEdited" for fact in desk.json("show", run, "--story"))
