"""From a `Work` to a `Done`: the middleware in order around the executor of the work's kind.

The order itself is not here: wiring lists it, once, where everybody can see it. The innermost handler also
decides what executors see: their own inputs, and beside them what flows in. A task's own field wins over a name
of ours (a function step has `params` of its own), so what the run began with is under `run` as well.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from callboard.errors import Permanent, WorkerLost
from callboard.executors.failures import step_error
from callboard.executors.flow import incoming, value_of
from callboard.executors.values import outcome, text_of
from callboard.ports import Done

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.ports import Context, Executor, Handler, Middleware, Work


def chain(middleware: Sequence[Middleware], last: Handler) -> Handler:
    """`last` inside all of `middleware`, the first of them outermost."""
    for one in reversed(middleware):
        last = _around(one, last)
    return last


def _around(one: Middleware, inner: Handler) -> Handler:
    async def handle(work: Work, ctx: Context) -> Done:
        return await one(work, ctx, inner)

    return handle


def perform(executors: Mapping[str, Executor]) -> Handler:
    """The innermost handler: finds the executor of the work's kind and makes an outcome of its value."""

    async def handle(work: Work, ctx: Context) -> Done:
        executor = executors.get(work.executor)
        if executor is None:
            raise Permanent(f"no executor of kind {work.executor!r}; there are {', '.join(sorted(executors))}")
        try:
            return Done(outcome(await executor.carry_out(ctx, seen(work)), work.attempt.task))
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Permanent("it cancelled itself, which is not an answer") from error
        except (Exception, SystemExit) as error:
            if isinstance(error, WorkerLost) and work.executor != "function":
                raise
            raise step_error(error, of_user=work.executor == "function") from error

    return handle


def seen(work: Work) -> dict[str, Any]:
    """What an executor sees of a work, as `ports.Executor` says, and `pipe` (text), `run`, `settings`, `item_key`."""
    return {
        "params": work.params,
        **work.inputs,
        "upstream": {name: value_of(had) for name, had in work.upstream.items()},
        "item": work.item,
        "item_key": work.attempt.item,
        "pipe": text_of(incoming(work)),
        "run": work.params,
        "settings": work.settings,
    }


def seen_by_function(work: Work) -> dict[str, Any]:
    """The same for a user's function in a child: only what a function can ask for, since all of it is sent."""
    inputs, params = work.inputs, work.params
    sent: dict[str, Any] = {"function": inputs.get("function", ""), "pipe": text_of(incoming(work))}
    for name in ("params", "args", "bind", "secrets"):
        if inputs.get(name):
            sent[name] = inputs[name]
    if work.upstream:
        sent["upstream"] = {name: value_of(had) for name, had in work.upstream.items()}
    if work.item is not None:
        sent["item"] = work.item
    if run := {name: params[name] for name in ("input", "id", "production") if params.get(name) is not None}:
        sent["run"] = run
    return sent
