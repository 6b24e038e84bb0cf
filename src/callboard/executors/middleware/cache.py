"""The same question is asked once: answers are kept by what was asked, not by which plan asked.

The key is made of the executor's kind and version and of what it says its request is; never of the plan, the
run or the time, so an edited file keeps the answers of the steps it did not touch. Only effects `none` are
cached, only executors that can say what their request is, and only successes. `cache: false` turns it off.

An answer is kept with the calls it was paid with, and before its outcome is recorded. If everything is killed in
between, the same number finds its own answer here: that one was paid for, so its calls are handed to the ledger as they
were, by the same keys, and only an answer that somebody else has paid for is *cached* and costs nothing.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from callboard.executors.calls import call_key
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
    """The middleware; `executors` by kind, `project` names the project in the keys of calls."""

    def __init__(self, executors: Mapping[str, Executor], *, project: str) -> None:
        self._executors = {kind: one for kind, one in executors.items() if isinstance(one, Cacheable)}
        self._project = project

    async def __call__(self, work: Work, ctx: Context, handler: Handler) -> Done:
        executor = self._executors.get(work.executor)
        if executor is None or work.effect != "none" or work.inputs.get("cache") is False:
            return await handler(work, ctx)
        key = cache_key(executor, await executor.request(ctx, seen(work)))
        had = ctx.cache.get(key)
        if had is not None:
            return self._answered(work, key, decode(had))
        done = await handler(work, ctx)
        if not done.skipped:
            ctx.cache.put(key, with_field(done.outcome, "calls", [call._asdict() for call in done.calls]))
        return done

    def _answered(self, work: Work, key: str, had: Mapping[str, Json]) -> Done:
        found = outcome(had["value"], work.attempt.task)
        calls = [Call(**call) for call in had.get("calls", ())]
        if calls and all(call.key == call_key(self._project, work, call.index) for call in calls):
            ours = tuple(call._replace(run=work.run, node=work.node, number=work.number) for call in calls)
            return Done(with_field(found, "usage", had.get("usage")), calls=ours)
        return Done(with_field(found, "cached", True), calls=(_row(work, key, time.time()),))


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
