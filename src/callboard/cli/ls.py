"""`callboard ls`: which runs there are, the newest first."""

from __future__ import annotations

from typing import Any

import click

from callboard.app.views.runs import runs
from callboard.cli.context import Told, json_option
from callboard.cli.table import clock, money, table
from callboard.core.status import Status

WORDS = ["init", "running", "success", "failed", "stopped"]


@click.command(help="List runs, the newest first.")
@click.option("--status", type=click.Choice(WORDS), help="Only runs with this status.")
@click.option("-n", "most", default=20, show_default=True, help="At most this many.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], status: str | None, most: int, as_json: bool) -> None:
    told = Told(obj, as_json)
    house = told.house(readonly=True)
    try:
        found = runs(house.store, status=Status[status.upper()] if status else None, most=most)
    finally:
        house.close()
    told.out(found, lambda: _table(found))
    told.next(f"callboard show {found[0]['id']}" if found else "callboard run FILE")


def _table(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no runs"
    rows = [
        (run["id"], run["status"], run["name"], clock(run["created"]), run["calls"], money(run["cost"]))
        for run in found
    ]
    return table(("id", "status", "name", "created (UTC)", "calls", "cost"), rows, status=1)
