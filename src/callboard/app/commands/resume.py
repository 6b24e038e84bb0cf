"""Resume a run: the facts that lift whatever holds it, or reopen it; then somebody carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.app.commands.post import post
from callboard.app.views.run import in_memory
from callboard.core.facts import Continued, Reopened, Resumed
from callboard.core.status import ENDED
from callboard.errors import Refused

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.core.facts import Fact
    from callboard.ports import RunRow


def resume(house: House, row: RunRow, *, again: str | None = None, restart: str | None = None) -> RunRow:
    """Append what applies. Raises Refused: it has ended (and nothing asks to reopen it), or another carries it out."""
    run = in_memory(house.store, row)
    facts: list[Fact] = []
    if restart is not None:
        facts.append(Reopened("restart", restart))
    elif again is not None:
        facts.append(Reopened(again))
    elif run.status in ENDED:
        word = run.status.name.lower()
        raise Refused(f"run {row.id} has ended ({word}); --retry does again what failed, --restart TASK any task")
    else:
        if run.holds & {"paused", "budget"}:
            facts.append(Resumed())
        if "interrupted" in run.holds:
            facts.append(Continued())
    if facts:
        post(house, row, facts)
    return house.find_run(row.id)
