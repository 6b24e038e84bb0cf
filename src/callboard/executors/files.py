"""The file functions of pipelines: `aisource` reads, `airesult` writes, `content` reshapes the pipe's text.

They touch files only through `ctx.documents`, so a path can lead nowhere else and a file appears only after its
outcome is recorded.
"""

from __future__ import annotations

import asyncio
import posixpath
from typing import TYPE_CHECKING

from callboard.errors import InvalidOutput, NotJson, Permanent
from callboard.executors.extract import extract
from callboard.executors.flow import field
from callboard.executors.values import decode, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Json


class AiSource:
    """Implements `ports.Executor`. Fields: `file`, `dir`; `content` is used instead of reading."""

    kind = "aisource"
    version = "1"
    effect = "none"

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        content = field(inputs, "content")
        if content is not None:
            return text_of(content)
        path = named(inputs, "file")
        try:
            return (await asyncio.to_thread(ctx.documents.read, path)).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Permanent(f"{path} is not UTF-8 text (byte {error.start})") from None


class AiResult:
    """Implements `ports.Executor`. Fields: `file`, `dir`. The pipe's text is written and flows on."""

    kind = "airesult"
    version = "1"
    effect = "keyed"

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        text: str = inputs.get("pipe", "")
        await asyncio.to_thread(ctx.documents.write, named(inputs, "file"), text.encode())
        return text


class Content:
    """Implements `ports.Executor`. Fields: `format` (text, json, lines), `extract` (a regular expression)."""

    kind = "content"
    version = "1"
    effect = "none"

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        text = str(inputs.get("pipe", ""))
        pattern = field(inputs, "extract")
        if pattern:
            text = await extract(str(pattern), text)
        return _shaped(text, str(field(inputs, "format", "text")))


def named(inputs: Mapping[str, Json], name: str) -> str:
    """A path from a field, below `dir` when there is one. Raises Permanent when it is missing."""
    path = field(inputs, name)
    if not path:
        raise Permanent(f"`{name}` is missing. Fix: name the file")
    return posixpath.join(str(field(inputs, "dir", "")), str(path))


def _shaped(text: str, format: str) -> Json:
    """The text in another shape. Raises InvalidOutput when it has not that shape, Permanent for one we do not know."""
    if format == "text":
        return text
    if format == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if format == "json":
        try:
            return decode(text)
        except NotJson as error:
            raise InvalidOutput(f"the text is not JSON: {error}", evidence={"text": text[:500]}) from None
    raise Permanent(f"`format` is {format!r}; there are text, json and lines")
