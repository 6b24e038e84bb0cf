"""Resume a run: the facts that lift whatever holds it, or reopen it; then somebody carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.app.commands.noticing import notice
from callboard.app.commands.post import post
from callboard.app.views.run import in_memory
from callboard.app.views.standing import stale
from callboard.core.facts import Continued, Reopened, Resumed
from callboard.core.status import ENDED
from callboard.errors import Refused

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.core.facts import Fact
    from callboard.core.run import Run
    from callboard.ports import RunRow


def resume(house: House, row: RunRow, *, again: str | None = None, restart: str | None = None) -> tuple[RunRow, bool]:
    """Append what applies: the run as it stands then, and whether there was anything to say.

    Raises Refused: it has ended, and nothing asks to reopen it, or the machine says no.
    """
    notice(house, row)
    facts = _facts(in_memory(house.store, row), row, again, restart)
    if facts:
        post(house, row, facts)
    return house.find_run(row.id), bool(facts)


def _facts(run: Run, row: RunRow, again: str | None, restart: str | None) -> list[Fact]:
    if run.replaced:
        raise Refused(f"run {row.id} goes on as {run.replaced}: callboard resume {run.replaced}")
    if restart is not None:
        return [Reopened("restart", restart)]
    if again is not None:
        return [Reopened(again)]
    if run.status in ENDED:
        word = run.status.name.lower()
        if older := stale(run):
            name, path = next(iter(older.items()))
            more = f", and so are {len(older) - 1} more" if len(older) > 1 else ""
            raise Refused(
                f"run {row.id} has ended ({word}). {path} was edited since: {name} is made from an older version{more}."
                f" Fix: callboard resume {row.id} --stale"
            )
        raise Refused(f"run {row.id} has ended ({word}); --retry does again what failed, --restart TASK any task")
    facts: list[Fact] = [Resumed()] if run.holds & {"paused", "budget"} else []
    if "interrupted" in run.holds:
        facts.append(Continued())
    return facts
