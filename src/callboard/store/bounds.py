"""What is refused because too much waits already, and what whoever brought it is told.

Both stores count what waits as it comes and goes, so a refusal looks at one number and costs the same however long the
queue is. A full queue of events must not keep a person from saying *cancel*: beyond the bounds of letters there is room
for some more, which are a person's.
"""

from __future__ import annotations

from callboard.errors import Busy
from callboard.ports import Bounds

#: Where nobody has set others.
USUAL = Bounds()
#: Seconds after which it is worth coming again: runs end, letters are read four times a second.
RUNS_AGAIN, LETTERS_AGAIN = 5.0, 1.0


def too_many_runs(bound: int, brought: int = 1) -> Busy:
    """A project has as many open runs as it may have, or would have more with what was brought."""
    if brought > bound:
        what = f"{brought:,} runs at once are more than a project may have open ({bound:,}): begin fewer at once"
    else:
        what = f"there is no room for another run: {bound:,} that have not ended are as many as a project may have"
    return Busy(
        f"{what}. Nothing was recorded; try again in {RUNS_AGAIN:g} s. `callboard ls` lists them, `callboard cancel` "
        "ends one, CALLBOARD_MOST_RUNS sets another bound",
        retry_after=RUNS_AGAIN,
    )


def too_many_letters(bound: int, run: int | None, *, urgent: bool) -> Busy:
    """A run (None: all together) has not consumed as many letters as may wait."""
    whose, variable = (
        ("", "CALLBOARD_MOST_LETTERS") if run is None else (f" of run {run}", "CALLBOARD_MOST_RUN_LETTERS")
    )
    what = "command" if urgent else "event"
    return Busy(
        f"there is no room for another {what}: {bound:,} letters{whose} have not been read. Nothing was recorded; try "
        f"again in {LETTERS_AGAIN:g} s. `callboard resume` carries out a run that nobody reads the letters of, "
        f"{variable} sets another bound",
        retry_after=LETTERS_AGAIN,
    )
