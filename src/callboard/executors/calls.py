"""Paid calls of one attempt: asked once, recorded at once, and answered from the ledger ever after.

Each call of a number has an effect index in the order it was asked, and from it a key that does not depend on the
attempt. Before a call is made the ledger is asked whether this number has paid for it already. The recorded call
must ask the same thing: a function may ask other questions in its second attempt, and an answer to another
question is worse than a call; such a call takes the next index that is free or asks the same.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Protocol

from callboard.crash import point
from callboard.errors import BudgetRefused, InvalidOutput, Permanent
from callboard.executors.values import decode, encode
from callboard.ports import Answer, Call, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.ports import Json, Model, Request, Work


class Ledger(Protocol):
    """What wiring passes: the engine's side of the ledger."""

    async def recorded(self, work: Work, index: int) -> Call | None:
        """The row with this effect index of the work's (run, node, number), of any attempt."""
        ...

    async def reserve(self, work: Work, call: Call) -> None:
        """Called before the model is; `call` has status "reserved". Returns once that is committed where a purse
        asks for it. Raises BudgetRefused."""
        ...

    def paid(self, work: Work, call: Call) -> None:
        """Called as soon as a call has ended, so that it is recorded even if the attempt fails later."""
        ...


class RecordedModel:
    """Implements `ports.Model` for one work; `calls` are the rows its answers were paid with, for its outcome."""

    def __init__(
        self, model: Model, work: Work, ledger: Ledger, *, project: str, now: Callable[[], float] = time.time
    ) -> None:
        self._model, self._work, self._ledger, self._project, self._now = model, work, ledger, project, now
        self._next = 0
        self.calls: list[Call] = []

    def price(self, model: str) -> tuple[int, int] | None:
        return self._model.price(model)

    async def complete(self, request: Request, *, on_text: Callable[[str], None] | None = None) -> Answer:
        """As `ports.Model`; an answer this number has paid for comes back with `cached` set. Raises BudgetRefused."""
        hash = request.hash()
        index, had = await self._place(hash)
        if had is not None and had.status in ("settled", "cached") and had.answer is not None:
            self.calls.append(had)
            return _answer(had.answer)
        call = self._row(request, hash, index)
        await self._ledger.reserve(self._work, call)
        point("call.ask")
        try:
            answer = await self._model.complete(request._replace(key=call.key), on_text=on_text)
        except BudgetRefused:
            raise
        except BaseException as error:
            self._report(call._replace(status=_ended(error), at=self._now()))
            raise
        self._report(_settled(call, answer, self._now()))
        return answer

    async def _place(self, hash: str) -> tuple[int, Call | None]:
        """The effect index of a call, and its row when this number has one that asked the same."""
        while True:
            index, self._next = self._next, self._next + 1
            had = await self._ledger.recorded(self._work, index)
            if had is None or had.prompt_hash == hash:
                return index, had

    def _row(self, request: Request, hash: str, index: int) -> Call:
        work = self._work
        return Call(
            run=work.run,
            node=work.node,
            number=work.number,
            attempt=work.attempt_number,
            index=index,
            key=call_key(self._project, work, index),
            provider="",
            model=request.model,
            prompt_hash=hash,
            input_tokens=0,
            output_tokens=0,
            cost=None,
            latency=0.0,
            at=self._now(),
            status="reserved",
        )

    def _report(self, call: Call) -> None:
        self.calls.append(call)
        point("call.paid")
        self._ledger.paid(self._work, call)


def call_key(project: str, work: Work, index: int) -> str:
    """Idempotency key of a call: of project, run, task, item, number and effect index; never of the attempt."""
    attempt = work.attempt
    parts: Json = [project, attempt.run, attempt.task, attempt.item, work.number, index]
    return hashlib.sha256(encode(parts, "key").encode()).hexdigest()


def _settled(call: Call, answer: Answer, at: float) -> Call:
    usage = answer.usage
    return call._replace(
        provider=answer.provider,
        model=answer.model or call.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=answer.cost,
        latency=answer.latency,
        at=at,
        answer=encode(answer._asdict() | {"usage": usage._asdict()}, "answer"),
        status="settled",
    )


def _answer(text: str) -> Answer:
    data = decode(text)
    return Answer(**(data | {"usage": Usage(**data["usage"]), "cached": True}))


def _ended(error: BaseException) -> str:
    """Of a call without an answer: failed when it was surely refused, else unknown (it may have been charged).

    An answer that does not fit what was asked for was charged like any other.
    """
    return "failed" if isinstance(error, Permanent) and not isinstance(error, InvalidOutput) else "unknown"
