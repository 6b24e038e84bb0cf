"""The same question is asked once: answers are kept by what was asked, not by which plan asked.

The key is made of the executor's kind and version and of what it says its request is; never of the plan, the
run or the time, so an edited file keeps the answers of the steps it did not touch. Only effects `none` are
cached, only executors that can say what their request is, and only successes. `cache: false` turns it off.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from callboard.executors.chain import seen
from callboard.executors.values import canonical, decode, outcome, with_field
from callboard.ports import Call, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Executor, Handler, Json, Work


@runtime_checkable
class Cacheable(Protocol):
    """An executor whose value depends on a request it can name beforehand."""

    kind: str
    version: str

    async def request(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """Plain JSON: whatever decides the value, files by their hash."""
        ...


class Cached:
    """The middleware; `executors` by kind."""

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._executors = {kind: one for kind, one in executors.items() if isinstance(one, Cacheable)}

    async def __call__(self, work: Work, ctx: Context, handler: Handler) -> Done:
        executor = self._executors.get(work.executor)
        if executor is None or work.effect != "none" or work.inputs.get("cache") is False:
            return await handler(work, ctx)
        key = cache_key(executor, await executor.request(ctx, seen(work)))
        had = ctx.cache.get(key)
        if had is not None:
            return Done(with_field(had, "cached", True), calls=(_row(work, key, time.time()),))
        done = await handler(work, ctx)
        if not done.skipped:
            ctx.cache.put(key, outcome(decode(done.outcome)["value"], work.attempt.task))
        return done


def cache_key(executor: Cacheable, request: Json) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(canonical([executor.kind, executor.version, request]).encode()).hexdigest()


def _row(work: Work, key: str, at: float) -> Call:
    """The ledger's row of an answer that cost nothing; its key is the attempt's own, so no paid row is touched."""
    return Call(
        run=work.run,
        node=work.node,
        number=work.number,
        attempt=work.attempt_number,
        index=0,
        key=hashlib.sha256(f"{work.key} cached {work.attempt_number}".encode()).hexdigest(),
        provider="cache",
        model="",
        prompt_hash=key,
        input_tokens=0,
        output_tokens=0,
        cost=0,
        latency=0.0,
        at=at,
        status="cached",
    )
