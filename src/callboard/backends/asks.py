"""The ports of a context over the wire: what a child asks for, and how it is answered.

Each port is one small function on our side and one stand-in on the child's, next to each other, so that neither
can be changed without the other. Bytes travel as base64 inside strict JSON.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from callboard.errors import Permanent
from callboard.ports import Answer, Attachment, Message, Request, Usage

if TYPE_CHECKING:
    from callboard.ports import Context, Json

_MOST_WRITTEN = 5 << 20  # bytes of a document that a child can hand over in one line

Answering: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


# ── our side ────────────────────────────────────────────────────────────────────────────────────────────────


async def _complete(ctx: Context, asked: Json) -> Json:
    answer = await ctx.model.complete(_request_in(asked))
    return [*answer[:4], list(answer.usage), *answer[5:]]


async def _price(ctx: Context, model: str) -> Json:
    return ctx.model.price(str(model))


async def _read(ctx: Context, path: str) -> Json:
    return base64.b64encode(await asyncio.to_thread(ctx.documents.read, str(path))).decode()


async def _write(ctx: Context, path: str, data: str) -> Json:
    return await asyncio.to_thread(ctx.documents.write, str(path), base64.b64decode(data, validate=True))


async def _cached(ctx: Context, key: str) -> Json:
    return ctx.cache.get(str(key))


async def _cache(ctx: Context, key: str, value: str) -> Json:
    ctx.cache.put(str(key), str(value))


ANSWERS: dict[str, Answering] = {
    "complete": _complete,
    "price": _price,
    "read": _read,
    "write": _write,
    "cached": _cached,
    "cache": _cache,
}


def _request_in(asked: Json) -> Request:
    model, messages, temperature, max_tokens, schema, options, attachments = asked
    return Request(
        model=str(model),
        messages=tuple(Message(str(role), str(text)) for role, text in messages),
        temperature=temperature,
        max_tokens=max_tokens,
        schema=schema,
        options=options,
        attachments=tuple(Attachment(path, kind, base64.b64decode(data)) for path, kind, data in attachments),
    )


# ── the child's side ────────────────────────────────────────────────────────────────────────────────────────


class Asking(Protocol):
    """How a child asks: `now` blocks its thread until the answer is there, `later` awaits it."""

    def now(self, what: str, *arguments: Json) -> Json: ...
    def later(self, what: str, *arguments: Json) -> Awaitable[Json]: ...


class FarModel:
    """`ports.Model` in a child. Text is not streamed over the wire."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask

    async def complete(self, request: Request, *, on_text: Callable[[str], None] | None = None) -> Answer:
        attachments = [[one.path, one.media_type, base64.b64encode(one.data).decode()] for one in request.attachments]
        told = await self._ask.later("complete", [*request[:6], attachments])
        text, data, provider, model, usage, cost, latency, cached = told
        return Answer(text, data, provider, model, Usage(*usage), cost, latency, cached)

    def price(self, model: str) -> tuple[int, int] | None:
        told = self._ask.now("price", model)
        return None if told is None else (told[0], told[1])


class FarDocuments:
    """`ports.Documents` in a child."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask

    def read(self, path: str) -> bytes:
        return base64.b64decode(self._ask.now("read", path))

    def write(self, path: str, data: bytes) -> str:
        if len(data) > _MOST_WRITTEN:
            raise Permanent(f"{path} has {len(data)} bytes; a function can stage at most {_MOST_WRITTEN}")
        return str(self._ask.now("write", path, base64.b64encode(data).decode()))


class FarCache:
    """`ports.Cache` in a child."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask

    def get(self, key: str) -> str | None:
        told = self._ask.now("cached", key)
        return None if told is None else str(told)

    def put(self, key: str, value: str) -> None:
        self._ask.now("cache", key, value)
