"""`callboard check`: is this pipeline file right? Nothing is run, and nothing is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callboard.app.commands.submit import check
from callboard.cli.context import Told, json_option
from callboard.cli.table import symbols, table


@click.command(help="Check a pipeline FILE and show what it would do. Nothing is run.")
@click.argument("file")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], file: str, as_json: bool) -> None:
    told = Told(obj, as_json)
    found = check(Path(file))
    rows = [(task["name"], task["executor"], ", ".join(task["needs"]), task["each"]) for task in found["tasks"]]
    told.out(found, lambda: f"{symbols(found['name'])}: good\n" + table(("step", "kind", "needs", "each"), rows))
