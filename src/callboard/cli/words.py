"""The verbs that say one thing to a run: their facts, and how it is told that they were heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app.commands.post import post
from callboard.app.commands.waiting import meant
from callboard.app.views import run as views
from callboard.app.views.words import waits
from callboard.cli.context import Told
from callboard.cli.table import symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.facts import Fact
    from callboard.core.run import Run


def say(
    obj: dict[str, Any], run: str | None, as_json: bool, facts: Callable[[Run], Sequence[Fact]], hold: str = ""
) -> None:
    """Post what `facts` makes of the run as it stands, then tell how it stands. Raises Refused, NotFound.

    Without a name the newest run is meant that has not ended and, with `hold`, waits for that.
    """
    told = Told(obj, as_json)
    house = told.house()
    try:
        row = meant(house, run, hold)
        post(house, row, facts(views.in_memory(house.store, row)))
        shown = views.show(house.store, house.store.find_run(row.id), alive=house.is_alive)
        because = f" ({symbols(waits(shown['because']))})" if shown["because"] else ""
        told.out(shown, lambda: f"{shown['id']}  {shown['status']}{because}")
        told.next(shown["next"] or f"callboard show {row.id}")
    finally:
        house.close()
