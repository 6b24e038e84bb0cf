"""Money: every call of a model goes through the ledger, and the outcome carries what it cost.

What a number has paid for already is answered from the ledger; the rest is reserved before and reported at once
after (see `calls`), so that a later failure of the attempt loses no record. The rows also travel with the outcome,
or with the error, because the transaction that records the end is the one that must hold them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.errors import StepError
from callboard.executors.calls import Ledger, RecordedModel
from callboard.executors.values import with_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.ports import Call, Context, Done, Handler, Json, Work


class Budgeted:
    """The middleware; `project` names the project in the keys of calls."""

    def __init__(self, ledger: Ledger, *, project: str) -> None:
        self._ledger, self._project = ledger, project

    async def __call__(self, work: Work, ctx: Context, handler: Handler) -> Done:
        model = RecordedModel(ctx.model, work, self._ledger, project=self._project)
        ctx.model = model
        try:
            done = await handler(work, ctx)
        except StepError as error:
            error.__dict__["calls"] = tuple(model.calls)
            raise
        if not model.calls:
            return done
        return done._replace(calls=tuple(model.calls), outcome=with_field(done.outcome, "usage", usage(model.calls)))


def usage(calls: Sequence[Call]) -> Json:
    """The sum of some calls: calls, input_tokens, output_tokens, cost (nano-USD, null when unknown)."""
    known = [call.cost for call in calls if call.cost is not None]
    return {
        "calls": len(calls),
        "input_tokens": sum(call.input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens for call in calls),
        "cost": sum(known) if known else None,
    }
