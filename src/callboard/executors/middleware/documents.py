"""Outputs out: the value is written where the step says, as staged files that appear after the outcome is recorded.

It stands outside the cache, so that a cached answer is written like a fresh one. With overwriting off a file that
is there already is kept, nothing is asked, and its text is the outcome.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from callboard.core.documents import content
from callboard.errors import NotFound
from callboard.executors.flow import field
from callboard.executors.values import decode, outcome, with_field
from callboard.ports import Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Handler, Json, Work


class Place(Protocol):
    """Where a document of a production lies: its path, from the values templates see and the parts of its name."""

    def __call__(self, production: Mapping[str, Json], *, document_type: str, step: str | None, suffix: str) -> str: ...


class Outputs:
    """The middleware; `place` is the production's naming, passed by wiring. Raises InvalidName for a bad path."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def __call__(self, work: Work, ctx: Context, handler: Handler) -> Done:
        inputs = work.inputs
        files = [str(path) for name in ("output_file", "result_file") if (path := field(inputs, name))]
        typed = field(inputs, "document_type")
        if not files and not typed:
            return await handler(work, ctx)
        if inputs.get("overwrite", work.params.get("overwrite")) is False:
            kept = await asyncio.to_thread(self._kept, work, ctx, files)
            if kept is not None:
                return kept
        done = await handler(work, ctx)
        if not done.skipped:
            await asyncio.to_thread(self._write, work, ctx, files, decode(done.outcome)["value"])
        return done

    def _kept(self, work: Work, ctx: Context, files: list[str]) -> Done | None:
        """The outcome that lies on disk already, when all outputs do."""
        paths = [*files, *self._document(work, "txt")]
        try:
            first, *_ = [ctx.documents.read(path) for path in paths]
        except NotFound:
            return None
        try:
            value = first.decode("utf-8-sig")
        except UnicodeDecodeError:
            value = paths[0]
        ctx.log(f"kept {paths[0]}, which was there already")
        return Done(with_field(outcome(value, work.attempt.task), "kept", paths[0]))

    def _write(self, work: Work, ctx: Context, files: list[str], value: Json) -> None:
        data = content(value)
        for path in (*files, *self._document(work, "txt" if isinstance(value, str) else "json")):
            ctx.documents.write(path, data)

    def _document(self, work: Work, suffix: str) -> list[str]:
        """The path of the production's document this step makes, if it makes one."""
        typed = field(work.inputs, "document_type")
        production = work.params.get("production")
        if not typed or not production:
            return []
        step = field(work.inputs, "step")
        suffix = str(field(work.inputs, "suffix", suffix))
        return [self._place(production, document_type=str(typed), step=step, suffix=suffix)]
