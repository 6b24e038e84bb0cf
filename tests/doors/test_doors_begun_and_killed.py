"""Killed while a run begins in a production: what is there afterwards belongs to a run, and `resume` finishes it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from callboard.productions.manager import load_production

if TYPE_CHECKING:
    from doors_desk import Desk

SHOW = """
    name: Card
    production: {name: cards, steps: [cards]}
    pipe:
      - name: card
        type: llm
        tmpl: "Repeat: {{input}}"
        output_file: "{{production.instance_dir}}/cards/card.md"
"""


@pytest.mark.parametrize(
    "at",
    ["submit.recorded", "submit.instance", "instance.taken", "instance.steps", "index.written:2", "index.written:3"],
)
def test_a_kill_while_a_run_begins_leaves_no_empty_instance(desk: Desk, at: str) -> None:
    desk.write("card.ai", SHOW)
    desk.environment(CRASH_AT=at)
    killed = desk.spawn("run", "card.ai", "good evening")
    assert killed.code == -signal.SIGKILL, killed
    desk.environment(CRASH_AT="")
    desk.good("resume")
    production = load_production("project-home/productions/cards")
    assert [(one.instance_id, one.status, one.metadata) for one in production.instances()] == [
        ("00001", "completed", {"pipeline": "card.ai"})
    ]
    assert [path.name for path in production.dir.glob("cards_*/cards/*")] == ["card.md"]


def test_a_kill_before_the_run_is_recorded_leaves_nothing_but_an_id(desk: Desk) -> None:
    desk.write("card.ai", SHOW)
    desk.environment(CRASH_AT="run.create")
    assert desk.spawn("run", "card.ai", "good evening").code == -signal.SIGKILL
    desk.environment(CRASH_AT="")
    production = load_production("project-home/productions/cards")
    assert production.instances() == [] and list(production.dir.glob("cards_*")) == []
    desk.good("run", "card.ai", "good evening")
    assert [(one.instance_id, one.status) for one in production.instances()] == [("00002", "completed")]


def test_a_run_that_was_killed_before_its_instance_was_made_may_be_cancelled(desk: Desk) -> None:
    desk.write("card.ai", SHOW)
    desk.environment(CRASH_AT="submit.recorded")
    assert desk.spawn("run", "card.ai", "good evening").code == -signal.SIGKILL
    desk.environment(CRASH_AT="")
    desk.good("cancel", desk.run_id())
    assert load_production("project-home/productions/cards").instances() == []
