"""Inputs in: templates are filled with what flows into the step, and `when` is judged.

Rule: only what the step's file wrote is a template; values never are, so text with braces in it arrives as it
is. A shell's line is no template either, whatever the file says, because a shell would read the values as code.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidFile, Permanent
from callboard.executors.flow import is_file, namespace
from callboard.ports import Done
from callboard.text.template import compile as compiled
from callboard.text.template import condition, fill, truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Handler, Json, Work

_WORDS = {"yes": True, "on": True, "no": False, "off": False}  # what YAML calls true, and templates do not


async def template(work: Work, ctx: Context, handler: Handler) -> Done:
    """Renders the inputs named in `templates`, at any depth. Raises Permanent for a template that cannot be filled."""
    inputs = work.inputs
    names, when = inputs.get("templates"), inputs.get("when")
    if is_file(work.item):
        work = work._replace(item=await _read(work.item, ctx))
    if not names and when is None:
        return await handler(work, ctx)
    try:
        values = namespace(work)
        if when is not None and (why := _unmet(when, values)):
            return Done('{"value":null}', skipped=why)
        filled = {
            name: fill(inputs[name], values, name=f"{work.attempt.task}.{name}")
            for name in names or ()
            if name in inputs and name != "when" and not (name == "command" and inputs.get("shell"))
        }
    except InvalidFile as error:
        raise Permanent(str(error)) from error
    return await handler(work._replace(inputs={**inputs, **filled}), ctx)


def _unmet(when: Json, values: Mapping[str, Any]) -> str:
    """Why a step is skipped, empty when its condition holds. A text without braces is one expression."""
    if not isinstance(when, str):
        return "" if when else f"when: {str(when).lower()}"
    word = when.strip().lower()
    if word in _WORDS:
        return "" if _WORDS[word] else f"when: {word}"
    found = compiled(condition(when), name="when").render(values)
    if truth(found):
        return ""
    return f"when: {when.strip()} is {found.strip().lower() or 'empty'}"


async def _read(item: dict[str, Json], ctx: Context) -> dict[str, Json]:
    """The item of a file with its text; one that is no text has none, so that a template that uses it says so."""
    data = await asyncio.to_thread(ctx.documents.read, item["path"])
    try:
        return {**item, "text": data.decode("utf-8-sig")}
    except UnicodeDecodeError as error:
        ctx.log(f"{item['path']} is not UTF-8 text (byte {error.start}); only its path and name can be used", "warning")
        return item
