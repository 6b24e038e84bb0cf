"""`callboard resume`: lift what holds a run, and carry it out here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.playing import tell_rest
from callboard.app.commands.resume import resume
from callboard.app.commands.waiting import to_resume
from callboard.app.views.words import waits
from callboard.cli.carried import carry, tell_changed
from callboard.cli.context import Told, json_option
from callboard.cli.table import count

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.ports import RunRow


@click.command(
    help="Go on with a run that was paused, interrupted or left behind by a process that died. Without RUN: the newest "
    "that only needs somebody to carry it out, else the newest that is paused, else one that waits. No model call "
    "whose answer is recorded is made again."
)
@click.argument("run", required=False)
@click.option("--retry", "again", flag_value="retry", help="Reopen an ended run and do again what failed.")
@click.option("--stale", "again", flag_value="stale", help="Reopen it and do again what read an edited document.")
@click.option("--restart", metavar="TASK", help="Reopen it and do TASK again, and what depends on it.")
@click.option("--model", metavar="NAME", help="This model for every step from now on.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@json_option
@click.pass_obj
def command(
    obj: dict[str, Any],
    run: str | None,
    again: str | None,
    restart: str | None,
    model: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    told = Told(obj, as_json)
    house = told.house(model=model)
    try:
        tell_rest(house)
        meant, which = _meant(house, run, reopens=bool(again or restart))
        row, said = resume(house, meant, again=again, restart=restart)
        if said and house.is_owned(row):
            told.note(f"run {row.id} goes on in process {row.owner.pid if row.owner else '?'}")
            told.next(f"callboard show {row.id}")
            return 0
        house.keep_model(row)
        told.note(f"run {row.id}{which}")
        tell_changed(told, house, row)
        return carry(told, house, row, quiet=quiet)
    finally:
        house.close()


def _meant(house: House, run: str | None, *, reopens: bool) -> tuple[RunRow, str]:
    """The run, and what is said about the choice when nobody has named one and there were several."""
    if run is not None or reopens:
        return house.find_run(run), ""
    found = to_resume(house)
    also = f"; {count(found.others, 'other run')} not ended: callboard ls" if found.others else ""
    return found.row, f" ({waits(found.because) or 'goes on'}{also})" if also else ""
