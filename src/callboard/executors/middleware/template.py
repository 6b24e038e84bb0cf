"""Inputs in: templates are filled with what flows into the step, and `when` is judged.

Rule: only what the step's file wrote is a template; values never are, so text with braces in it arrives as it
is. A shell's line is no template either, whatever the file says, because a shell would read the values as code.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidFile, Permanent
from callboard.executors.flow import is_file, namespace
from callboard.ports import Done
from callboard.text import template as engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Handler, Json, Work

_MARKS = ("{{", "{%", "{#")
_FALSE = frozenset({"", "false", "no", "off", "none", "null", "0", "[]", "{}"})
_TRUE = frozenset({"true", "yes", "on", "1"})

_compiled = lru_cache(maxsize=1024)(lambda text, name: engine.compile(text, name=name))


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
            name: rendered(inputs[name], values, f"{work.attempt.task}.{name}")
            for name in names or ()
            if name in inputs and name != "when" and not (name == "command" and inputs.get("shell"))
        }
    except InvalidFile as error:
        raise Permanent(str(error)) from error
    return await handler(work._replace(inputs={**inputs, **filled}), ctx)


def rendered(value: Json, values: Mapping[str, Any], name: str) -> Json:
    """`value` with every text in it rendered; `name` says in errors where it stands. Raises InvalidFile."""
    if isinstance(value, str):
        return _compiled(value, name).render(values) if any(mark in value for mark in _MARKS) else value
    if isinstance(value, list):
        return [rendered(one, values, f"{name}[{at}]") for at, one in enumerate(value)]
    if isinstance(value, dict):
        return {key: rendered(one, values, f"{name}.{key}") for key, one in value.items()}
    return value


def _unmet(when: Json, values: Mapping[str, Any]) -> str:
    """Why a step is skipped, empty when its condition holds. A text without braces is one expression."""
    if not isinstance(when, str):
        return "" if when else f"when: {str(when).lower()}"
    word = when.strip().lower()
    if word in _TRUE or word in _FALSE:
        return "" if word in _TRUE else f"when: {when.strip()}"
    text = when if any(mark in when for mark in _MARKS) else f"{{{{ {when} }}}}"
    found = _compiled(text, "when").render(values).strip()
    return f"when: {when.strip()} is {found.lower() or 'empty'}" if found.lower() in _FALSE else ""


async def _read(item: dict[str, Json], ctx: Context) -> dict[str, Json]:
    """The item of a file with its text, None when it is no text."""
    data = await asyncio.to_thread(ctx.documents.read, item["path"])
    try:
        return {**item, "text": data.decode("utf-8-sig")}
    except UnicodeDecodeError:
        return item
