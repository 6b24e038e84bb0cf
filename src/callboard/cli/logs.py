"""`callboard logs`: what a run or one of its tasks has said. How far answers had come is left out unless asked for."""

from __future__ import annotations

from typing import Any

import click

from callboard.app.views import run as views
from callboard.app.views.logs import logs
from callboard.cli.context import Told, json_option
from callboard.cli.table import clock, symbols


@click.command(help="Show what a run has said, or one task of it.")
@click.argument("run", required=False)
@click.argument("task", required=False)
@click.option("-n", "most", default=1000, show_default=True, help="At most this many lines.")
@click.option("--all", "everything", is_flag=True, help="Also how far each answer had come, as it came.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str | None, task: str | None, most: int, everything: bool, as_json: bool) -> None:
    told = Told(obj, as_json)
    house = told.house(readonly=True)
    try:
        row = house.find_run(run)
        found = logs(house.store, row, views.in_memory(house.store, row), task, most, progress=everything)
    finally:
        house.close()
    told.out(found, lambda: "\n".join(_line(line) for line in found) or "nothing was said")


def _line(line: dict[str, Any]) -> str:
    return symbols(f"{clock(line['at'])}  {line['level']:<7} {line['task']}  {line['text']}")
