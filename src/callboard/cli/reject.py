"""`callboard reject`: send a draft back, with a note that its next round reads."""

from __future__ import annotations

from typing import Any

import click

from callboard.app.commands.waiting import waiting
from callboard.cli.context import json_option
from callboard.cli.words import say
from callboard.core.facts import Rejected


@click.command(help="Reject the draft a run waits with. With rounds left it is made again, your note among its inputs.")
@click.argument("run", required=False)
@click.option("--task", help="The task or task/item, when several wait.")
@click.option("--note", default="", help="What should be different.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str | None, task: str | None, note: str, as_json: bool) -> None:
    def facts(state: Any) -> list[Rejected]:
        row = waiting(state, "review", task)
        return [Rejected(state.name_of(row.id), row.number, note)]

    say(obj, run, as_json, facts, "review")
