"""`callboard ls`: which runs there are, the newest first."""

from __future__ import annotations

import os
from typing import Any

import click

from callboard.app.views.runs import runs
from callboard.app.views.words import waits
from callboard.cli.context import Told, json_option
from callboard.cli.table import clock, fits, money, table
from callboard.cli.written import from_here
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
        wanted = Status[status.upper()] if status else None
        found = runs(
            house.store, is_owned=house.is_owned, status=wanted, most=most, base=house.base, room=house.short_of_room()
        )
    finally:
        house.close()
    told.out(found, lambda: _table(found))
    told.next(f"callboard show {_first(found)}" if found else "callboard run FILE")


def _first(found: list[dict[str, Any]]) -> str:
    """The run a person may want to look at: the newest that does not move, else the newest. One that goes on as another
    is over."""
    still = (run["id"] for run in found if run["because"] and not run["because"].startswith("adopted "))
    return str(next(still, found[0]["id"]))


#: Columns that are left out where a terminal has no room for them, the first one first; an id is never cut.
_DROPPED = ("calls", "name", "begun (UTC)")
_CUT = ("reason", "name", "in")


def _table(found: list[dict[str, Any]]) -> str:
    """A reason stands there when any run has one, a directory when any was begun elsewhere."""
    if not found:
        return "no runs"
    columns: dict[str, list[object]] = {
        "id": [run["id"] for run in found],
        "status": [run["status"] for run in found],
        "reason": [waits(run["because"]) for run in found],
        "name": [run["name"] for run in found],
        "begun (UTC)": [clock(run["created"])[:16] for run in found],
        "calls": [run["calls"] for run in found],
        "cost": [money(run["cost"], run["unpriced"]) for run in found],
        "in": ["" if run["dir"] == os.getcwd() else from_here(run["dir"]) for run in found],
    }
    shown = {name: cells for name, cells in columns.items() if name not in ("reason", "in") or any(cells)}
    for name in _DROPPED:
        if not fits(list(shown), _rows(shown), whole=_whole(shown, "reason")):
            del shown[name]
    return table(list(shown), _rows(shown), status=1, whole=_whole(shown))


def _rows(shown: dict[str, list[object]]) -> list[tuple[object, ...]]:
    return list(zip(*shown.values(), strict=True))


def _whole(shown: dict[str, list[object]], *more: str) -> set[int]:
    return {at for at, name in enumerate(shown) if name in more or name not in _CUT}
