"""Say something to a run: pause, cancel, approve … A fact in its inbox, synced, taken by whoever owns it.

The machine is pure, so whether a fact would be refused is tried on a copy first: nothing is written that cannot
be taken. Without a living owner the run is claimed, stepped once without starting anything, and released.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from callboard.app.commands.playing import make_instance, tell_rest
from callboard.app.views.run import in_memory
from callboard.core import machine
from callboard.core.facts import Cancelled
from callboard.core.orders import Refuse
from callboard.errors import Busy, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.app.wiring import House
    from callboard.core.facts import Fact
    from callboard.ports import RunRow

#: Seconds to wait until a living owner has taken the letter.
PATIENCE = 10.0
_POLL = 0.02


def post(house: House, row: RunRow, facts: Sequence[Fact]) -> None:
    """Put facts into a run's inbox and return when they have had their effect.

    Raises Refused with the machine's reason; Busy when the process that owns the run does not answer.
    """
    try_out(house, row, facts)
    if not any(isinstance(fact, Cancelled) for fact in facts):
        make_instance(house, row)  # it is judged to have begun
    if not house.apply(row.number, facts).judged:
        _wait(house, row)
    tell_rest(house)


def try_out(house: House, row: RunRow, facts: Sequence[Fact]) -> None:
    """Whether the machine would take these facts, tried on a copy. Raises Refused with its reason."""
    trial = in_memory(house.store, row)
    for order in machine.step(trial, list(facts), house.clock.now(), drained=False).orders:
        if isinstance(order, Refuse):
            raise Refused(f"run {row.id}: {order.why}")


def _wait(house: House, row: RunRow) -> None:
    """Until the living owner has taken every letter. One that goes meanwhile leaves them to us."""
    until = time.monotonic() + PATIENCE
    while any(run == row.number for run, _ in house.store.waiting()):
        if time.monotonic() > until:
            raise Busy(f"the process that carries out run {row.id} does not answer; what you said is recorded")
        if not house.is_owned(house.find_run(row.id)):
            house.apply(row.number, ())
        time.sleep(_POLL)
