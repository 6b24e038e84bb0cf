"""`llm`: one call of a model, made from a step's fields.

Which provider answers, how often it is asked again and what it costs are the gateway's; that a paid call is never
made twice is the ledger's. Here a step becomes a canonical request: whatever of it may change the answer stands
in the request and nothing else does, because equal requests may share a cached answer.
"""

from __future__ import annotations

import asyncio
import mimetypes
from typing import TYPE_CHECKING

from callboard.errors import InvalidOutput, Permanent
from callboard.executors.flow import field
from callboard.executors.values import text_of
from callboard.ports import Attachment, Message, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callboard.ports import Context, Json

_MOST_ATTACHED = 20 << 20  # bytes


class Llm:
    """Implements `ports.Executor`. Fields: `prompt` (or `tmpl`), `system`, `model`, `provider`, `temperature`,
    `max_tokens`, `schema`, `options`, `source_file`."""

    kind = "llm"
    version = "1"
    effect = "none"

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        request = await self._asked(ctx, inputs)
        answer = await ctx.model.complete(request, on_text=_counted(ctx))
        if request.schema is not None:
            return answer.data
        if not answer.text.strip():
            raise InvalidOutput(f"{answer.model or request.model} answered with nothing", evidence=answer.text)
        return answer.text

    async def request(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """What decides the answer, as plain JSON: the cache's key is made of it."""
        return (await self._asked(ctx, inputs)).asked()

    async def _asked(self, ctx: Context, inputs: Mapping[str, Json]) -> Request:
        prompt = text_of(field(inputs, "prompt", field(inputs, "tmpl", "")))
        if note := inputs.get("note"):
            prompt += f"\n\nA reviewer rejected an earlier answer and noted: {note}"
        if not prompt.strip():
            raise Permanent("the prompt is empty. Fix: give the step a `tmpl`")
        system = text_of(field(inputs, "system", ""))
        return Request(
            model=_model(inputs),
            messages=(*((Message("system", system),) if system else ()), Message("user", prompt)),
            temperature=_number(inputs, "temperature"),
            max_tokens=_whole(inputs, "max_tokens"),
            schema=field(inputs, "schema"),
            options=_options(inputs),
            attachments=await _source(ctx, field(inputs, "source_file")),
        )


def _model(inputs: Mapping[str, Json]) -> str:
    """The run's override, the step's own, the file's default."""
    named = (inputs.get("run") or {}).get("model") or field(inputs, "model")
    named = named or (inputs.get("settings") or {}).get("model")
    if not named:
        raise Permanent("no model is named. Fix: `model:` in the step or the file, or --model")
    return str(named)


def _options(inputs: Mapping[str, Json]) -> Json:
    """The provider's own, and which provider when the step names one; not that of a model the run has replaced."""
    options, provider = field(inputs, "options"), field(inputs, "provider")
    if not provider or (inputs.get("run") or {}).get("model"):
        return options
    return {**(options or {}), "provider": str(provider)}


def _number(inputs: Mapping[str, Json], name: str) -> float | None:
    value = field(inputs, name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise Permanent(f"`{name}` is {value!r}, which is not a number") from None


def _whole(inputs: Mapping[str, Json], name: str) -> int | None:
    value = _number(inputs, name)
    return None if value is None else int(value)


async def _source(ctx: Context, path: Json) -> tuple[Attachment, ...]:
    """A source file as an attachment; what the provider cannot take, the gateway refuses."""
    if not path:
        return ()
    data = await asyncio.to_thread(ctx.documents.read, str(path))
    if len(data) > _MOST_ATTACHED:
        raise Permanent(f"{path} has {len(data) >> 20} MiB; at most {_MOST_ATTACHED >> 20} MiB can be sent to a model")
    return (Attachment(str(path), _media_type(str(path), data), data),)


def _media_type(path: str, data: bytes) -> str:
    """By content for text, by name for anything else. Raises Permanent when neither tells."""
    try:
        if b"\0" not in data:
            data.decode()
            return "text/plain"
    except UnicodeDecodeError:
        pass
    known = mimetypes.guess_type(path, strict=False)[0]
    if known is None or known.startswith("text/"):
        raise Permanent(f"{path} is no text, and its name does not tell what it is; no model can be given it")
    return known


def _counted(ctx: Context) -> Callable[[str], None]:
    """Progress of a streamed answer: how many characters have come."""
    come = 0

    def on_text(piece: str) -> None:
        nonlocal come
        come += len(piece)
        ctx.progress(come, None, "characters")

    return on_text
