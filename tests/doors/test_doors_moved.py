"""A project that is moved finishes its runs: the same documents, no recorded call asked again."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from callboard.app.settings import from_environment
from callboard.app.wiring import open_house
from callboard.productions.manager import load_production

if TYPE_CHECKING:
    from pathlib import Path

    from doors_desk import Desk

SHOW = """
    name: Cards
    production:
      name: cards
      steps: [cards, book]
    pipe:
      - name: gist
        type: llm
        each: {glob: "notes/*.md"}
        tmpl: "Summarise: {{item.text}}"
        output_file: "{{production.instance_dir}}/cards/{{item.stem}}.md"
      - name: look
        type: human
        question: "Good?"
      - name: guide
        type: function
        function: aisource
        params:
          file: guide.md
          content: "{% for one in pipe.gist %}{{one}}{% endfor %}"
        output_file: "{{production.instance_dir}}/book/guide.md"
      - name: book
        type: function
        function: convert_to_docx
        params:
          source: "{{production.instance_dir}}/book/guide.md"
          result: "{{production.instance_dir}}/book/guide.docx"
      - name: words
        type: command
        command: [wc, -l, "{{production.instance_dir}}/book/guide.md"]
      - name: last
        type: llm
        cache: false
        tmpl: "Title: {{pipe.guide}}"
        output_file: last.md
"""


def _show(desk: Desk) -> None:
    desk.write("show.ai", SHOW)
    for n in range(4):
        desk.write(f"notes/{n}.md", f"The lamp number {n} was lit. The curtain rose at {n}.")
    desk.environment(CALLBOARD_OFFLINE_LEDGER=str(desk.here.parent / "provider.jsonl"))


def _asked(desk: Desk) -> list[str]:
    return [json.loads(line)["key"] for line in (desk.here.parent / "provider.jsonl").read_text().splitlines()]


def _documents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".callboard" not in path.parts and "settings" not in path.parts
    }


@pytest.mark.parametrize("below", [".", "scenes/first"])
def test_a_project_that_is_moved_finishes_its_runs(desk: Desk, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _show(desk)
    old, new = desk.here, desk.here.parent / "elsewhere" / "theatre"
    (old / ".callboard").mkdir(mode=0o700)
    (old / below).mkdir(parents=True, exist_ok=True)
    for name in ("show.ai", "notes") if below != "." else ():
        shutil.move(old / name, old / below / name)
    monkeypatch.chdir(old / below)
    desk.good("run", "show.ai", "text", "--id", "stays", code=4)
    desk.good("run", "show.ai", "text", "--id", "moves", code=4)
    desk.good("approve", "stays")
    desk.good("resume", "stays")
    before = _asked(desk)
    new.parent.mkdir()
    old.rename(new)
    monkeypatch.chdir(new.parent)
    desk.good("--project", "theatre", "approve", "moves")
    said = desk.good("--project", "theatre", "resume", "moves", "--json").json
    assert said["result"] and str(old) not in json.dumps(said)
    assert len(set(_asked(desk))) == len(_asked(desk)) == len(before) + 1, "only the last step was asked"
    assert {one["status"] for one in said["documents"]} == {"published"}
    assert not old.exists()
    found = _documents(new / below)
    place = "project-home/productions/cards/cards_"
    for path, data in found.items():
        if path.startswith(f"{place}00001"):
            assert found[path.replace("00001", "00002")] == data
    assert f"{place}00002/book/guide.docx" in found and "last.md" in found
    production = load_production(new / below / "project-home/productions/cards")
    assert {one.status for one in production.instances()} == {"completed"}


def test_a_production_beside_the_runs_directory_moves_with_the_project(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    _show(desk)
    old, new = desk.here, desk.here.parent / "theatre"
    (old / ".callboard").mkdir(mode=0o700)
    desk.write("house/cards.yml", f"name: cards\nsteps: [cards, book]\nproject_home: {old}/house/home\n")
    (old / "scene").mkdir()
    for name in ("show.ai", "notes"):
        shutil.move(old / name, old / "scene" / name)
    monkeypatch.chdir(old / "scene")
    desk.good("run", "show.ai", "text", "--production", "../house/cards.yml", "--id", "moves", code=4)
    old.rename(new)
    monkeypatch.chdir("/")
    desk.environment(CALLBOARD_PROJECT=str(new))
    desk.good("approve", "moves")
    said = desk.good("resume", "moves", "--json").json
    assert {one["status"] for one in said["documents"]} == {"published"}
    assert "../house/home/productions/cards/cards_00001/cards/0.md" in {one["path"] for one in said["documents"]}
    book = new / "house/home/productions/cards/cards_00001/book"
    assert sorted(os.listdir(book)) == ["guide.docx", "guide.md"] and not old.exists()


def test_a_run_whose_directory_is_gone_says_so_and_asks_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    _show(desk)
    (desk.here.parent / "project" / ".callboard").mkdir(parents=True)
    desk.environment(CALLBOARD_PROJECT=str(desk.here.parent / "project"))
    desk.good("run", "show.ai", "text", "--id", "far", code=4)
    desk.good("approve", "far")
    asked = _asked(desk)
    monkeypatch.chdir(desk.here.parent)
    desk.here.rename(desk.here.parent / "away")
    said = desk.call("resume", "far")
    assert said.code == 2 and str(desk.here) in said.err and "put it back" in said.err
    assert _asked(desk) == asked and not desk.here.exists()
    (desk.here.parent / "away").rename(desk.here)
    desk.good("resume", "far")


def test_a_run_whose_instance_is_gone_says_so(desk: Desk) -> None:
    _show(desk)
    desk.good("run", "show.ai", "text", "--id", "kept", code=4)
    desk.good("approve", "kept")
    shutil.rmtree("project-home/productions/cards/cards_00001")
    said = desk.call("resume", "kept")
    assert said.code == 2 and "cards_00001, which is not there" in said.err


def test_a_project_has_a_name_of_its_own_that_it_keeps(tmp_path: Path) -> None:
    def name(root: Path) -> str:
        house = open_house(from_environment({}, project=str(root)), here=root, make=True)
        try:
            return house.name
        finally:
            house.close()

    first = name(tmp_path / "one")
    assert len(first) == 32 and name(tmp_path / "two") != first == name(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    assert name(tmp_path / "moved") == first
