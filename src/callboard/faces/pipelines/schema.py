"""The JSON Schema of a pipeline file, for editors: completion, help and red underlines while it is being written.

It is made from the same table that the reader checks by, so the two cannot drift apart. It says less than the
reader does (which names exist, which keys exclude each other), never something else.
"""

from __future__ import annotations

from typing import Any

from callboard.faces.pipelines.keys import FILE, PRODUCTION, STEP, TYPES, Key, known
from callboard.faces.pipelines.kinds import KINDS


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) as plain JSON. Every key is known in both spellings, `-` and `_`."""
    inner = {
        "pipe": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
        "production": _mapping(PRODUCTION, {}),
        "defaults": _mapping(tuple(key._replace(is_required=False) for key in STEP if key.name != "name"), {}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Callboard pipeline",
        **_mapping(FILE, inner),
        "$defs": {"step": _step()},
    }


def _step() -> dict[str, Any]:
    """All keys at once, and for each type which of them it does not know and which it must have."""
    whole = _mapping(tuple(key._replace(is_required=False) for key in STEP), {})
    return {**whole, "allOf": [_of_type(type) for type in TYPES]}


def _of_type(type: str) -> dict[str, Any]:
    keys = known(type)
    strange = {spelling: False for key in STEP if key.name not in keys for spelling in _spellings(key.name)}
    return {
        "if": {"properties": {"type": {"const": type}}, "required": ["type"]},
        "then": {"properties": strange},
    }


def _mapping(keys: tuple[Key, ...], inner: dict[str, Any]) -> dict[str, Any]:
    properties = {
        spelling: {**inner.get(key.name, _value(key)), "description": key.help}
        for key in keys
        for spelling in _spellings(key.name)
    }
    required = [key.name for key in keys if key.is_required]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _value(key: Key) -> dict[str, Any]:
    return KINDS[key.kind].schema if key.kind in KINDS else {"type": "object"}


def _spellings(name: str) -> list[str]:
    return list(dict.fromkeys((name, name.replace("_", "-"))))
