"""`callboard reject`: send a draft back with a note that its next round reads; say no where no round is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.answer import rejection
from callboard.cli.context import json_option
from callboard.cli.words import say

if TYPE_CHECKING:
    from callboard.core.facts import Fact
    from callboard.core.run import Run


@click.command(
    help="Reject the draft a run waits with. While its review has rounds left the step is carried out again, your note "
    "among its inputs; then, and where there are none (a human step), the step fails."
)
@click.argument("run", required=False)
@click.option("--task", metavar="TASK", help="The task or task/item, when several wait.")
@click.option("--note", metavar="TEXT", default="", help="What should be different.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str | None, task: str | None, note: str, as_json: bool) -> None:
    def facts(state: Run) -> list[Fact]:
        return rejection(state, task, note)

    say(obj, run, as_json, facts, "review")
