"""Those who wait for something to be on disk: people with a command, attempts with a ledger row, callers for an end.

Each of them hears something, whatever becomes of the run: a future that nobody resolves any more is a caller who
hangs for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.orders import Refuse
from callboard.errors import FenceLost, Refused

if TYPE_CHECKING:
    import asyncio

    from callboard.core.status import Status
    from callboard.engine.batch import Stepped
    from callboard.engine.held import Held


def answer(future: asyncio.Future[None] | asyncio.Future[Status], value: Exception | Status | None) -> None:
    """Resolve a future that may have been given up."""
    if future.done():
        return
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)  # type: ignore[arg-type]


def give(stepped: Stepped, *, gone: bool) -> None:
    """It is on disk: people hear yes or no. Whose fact waits for a later step goes on waiting, unless the run is
    `gone` from this engine and no step of it comes any more."""
    for future in stepped.paid:
        answer(future, None)
    if not stepped.answers:
        return
    refused = {id(order.fact): order.why for order in stepped.orders if type(order) is Refuse}
    taken = {id(fact) for fact in stepped.facts}
    for fact, future in stepped.answers:
        if id(fact) in taken:
            answer(future, Refused(refused[id(fact)]) if id(fact) in refused else None)
        elif gone:
            answer(future, FenceLost((stepped.held.number,)))
        else:
            stepped.held.answers.append((fact, future))


def dismiss(stage: Held | Stepped, error: Exception) -> None:
    """Nothing that somebody waits for here will be recorded by this engine any more."""
    for future in (*(one for _, one in stage.answers), *stage.paid):
        answer(future, error)
