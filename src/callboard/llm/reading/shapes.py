"""JSON Schemas, made plain: references followed, combinations merged, so that filling sees one flat schema.

A schema offers choices (`anyOf`, `oneOf`, `if`, optional properties); a `Strategy` says which to take. Whoever fills
tries strategies until the whole value is accepted by a real validator; nothing here has to be right about every
corner of the standard, it has only to find one way through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

DEEPEST = 12  # levels of a value; beyond it only what is required is filled, and short ways out are taken
_JOINED = ("required",)
_LEAST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_MOST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


class Strategy(NamedTuple):
    branch: int = 0  # which of several alternatives, counted on from the most telling
    optional: bool = True  # whether optional properties are filled
    then: bool | None = None  # take `then` (True) or `else` (False) of a condition; None: neither


STRATEGIES = (
    Strategy(),
    Strategy(then=True),
    Strategy(then=False),
    Strategy(optional=False),
    *(Strategy(branch=n) for n in range(1, 6)),
    *(Strategy(branch=n, optional=False) for n in range(1, 4)),
    Strategy(optional=False, then=True),
    Strategy(optional=False, then=False),
)


def flatten(schema: Any, root: Any, strategy: Strategy, depth: int) -> dict[str, Any]:
    """One schema without references and combinations; {"not": {}} where nothing can satisfy it."""
    seen: set[str] = set()
    for _ in range(64):
        if schema is True or schema is None:
            return {}
        if not isinstance(schema, dict):
            return {"not": {}}
        reference = schema.get("$ref", schema.get("$dynamicRef"))
        if isinstance(reference, str):
            rest = {key: value for key, value in schema.items() if key not in ("$ref", "$dynamicRef")}
            if reference in seen:
                return {"not": {}}
            seen.add(reference)
            schema = _merged(_resolved(reference, root), rest)
        elif "allOf" in schema:
            parts = schema["allOf"] if isinstance(schema["allOf"], list) else []
            schema = {key: value for key, value in schema.items() if key != "allOf"}
            for part in parts:
                schema = _merged(schema, flatten(part, root, strategy, depth))
        elif "anyOf" in schema or "oneOf" in schema:
            schema = _chosen(schema, root, strategy, depth)
        elif "if" in schema:
            schema = _conditioned(schema, strategy)
        else:
            return schema
    return {"not": {}}


def kind_of(schema: Mapping[str, Any], strategy: Strategy) -> str:
    """The type a value of this schema shall have; a text when the schema leaves it open."""
    named = schema.get("type")
    if isinstance(named, list):
        telling = [one for one in named if one != "null"] or ["null"]
        return str(telling[strategy.branch % len(telling)])
    if isinstance(named, str):
        return named
    for kind, marks in (
        ("object", ("properties", "required", "additionalProperties", "minProperties")),
        ("array", ("items", "prefixItems", "minItems", "contains", "uniqueItems")),
        ("number", ("minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum")),
    ):
        if any(mark in schema for mark in marks):
            return kind
    return "string"


def is_nullable(schema: Mapping[str, Any]) -> bool:
    named = schema.get("type")
    return (isinstance(named, list) and "null" in named) or named == "null" or schema.get("nullable") is True


def has_dead_end(schema: Mapping[str, Any]) -> bool:
    return schema.get("not") in ({}, True)


def _chosen(schema: dict[str, Any], root: Any, strategy: Strategy, depth: int) -> dict[str, Any]:
    """The schema with one of its alternatives: the most telling first, a short one when it is deep already."""
    name = "anyOf" if "anyOf" in schema else "oneOf"
    rest = {key: value for key, value in schema.items() if key != name}
    options = schema[name] if isinstance(schema[name], list) and schema[name] else [{}]
    ranked = sorted(range(len(options)), key=lambda n: (_weight(options[n], root, depth), n))
    picked = options[ranked[strategy.branch % len(ranked)]]
    nulls = any(isinstance(one, dict) and one.get("type") == "null" for one in options)
    merged = _merged(rest, flatten(picked, root, strategy, depth) if isinstance(picked, dict) else picked)
    return merged | {"nullable": True} if nulls and isinstance(merged, dict) else merged


def _weight(option: Any, root: Any, depth: int) -> int:
    """How late an alternative is tried: null last, and when deep, what nests further after what does not."""
    if option is False:
        return 3
    if isinstance(option, dict) and option.get("type") == "null":
        return 0 if depth > DEEPEST else 2
    nests = isinstance(option, dict) and ("$ref" in option or option.get("type") in ("object", "array"))
    return 1 if nests and depth > DEEPEST // 2 else 0


def _conditioned(schema: dict[str, Any], strategy: Strategy) -> dict[str, Any]:
    rest: dict[str, Any] = {key: value for key, value in schema.items() if key not in ("if", "then", "else")}
    if strategy.then:
        rest = _merged(_merged(rest, schema["if"]), schema.get("then", {}))
    elif strategy.then is False:
        rest = _merged(rest, schema.get("else", {}))
    return rest


def _resolved(reference: str, root: Any) -> Any:
    """What a local reference points at; a remote one is never fetched."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return _anchored(reference.removeprefix("#"), root)
    place = root
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~").replace("%20", " ").replace("%25", "%")
        if isinstance(place, dict) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isdigit() and int(name) < len(place):
            place = place[int(name)]
        else:
            return False
    return place


def _anchored(name: str, root: Any) -> Any:
    definitions = root.get("$defs", root.get("definitions", {})) if isinstance(root, dict) else {}
    for one in definitions.values() if isinstance(definitions, dict) else ():
        if isinstance(one, dict) and name in (one.get("$anchor"), one.get("$dynamicAnchor"), one.get("$id")):
            return one
    return False


def _merged(one: Any, other: Any) -> Any:
    """A schema that asks what both ask, as far as two flat schemas can be put into one."""
    if one is False or other is False:
        return {"not": {}}
    if not isinstance(one, dict) or not one:
        return other if isinstance(other, dict) else one if isinstance(one, dict) else {}
    if not isinstance(other, dict):
        return one
    merged = dict(one)
    for key, value in other.items():
        merged[key] = _both(key, merged[key], value) if key in merged else value
    return merged


def _both(key: str, one: Any, other: Any) -> Any:
    if key == "properties" and isinstance(one, dict) and isinstance(other, dict):
        return one | {name: _merged(one[name], rule) if name in one else rule for name, rule in other.items()}
    if key in _JOINED and isinstance(one, list) and isinstance(other, list):
        return list(dict.fromkeys([*one, *other]))
    if key == "enum" and isinstance(one, list) and isinstance(other, list):
        return [value for value in one if value in other]
    if key == "type":
        return _types(one, other)
    if key in _LEAST and _is_number(one) and _is_number(other):
        return min(one, other)
    if key in _MOST and _is_number(one) and _is_number(other):
        return max(one, other)
    if key in ("items", "additionalProperties") and isinstance(one, dict) and isinstance(other, dict):
        return _merged(one, other)
    return one if other is True else other


def _types(one: Any, other: Any) -> Any:
    first = one if isinstance(one, list) else [one]
    second = other if isinstance(other, list) else [other]
    shared = [kind for kind in first if kind in second or (kind == "integer" and "number" in second)]
    shared += [kind for kind in second if kind == "integer" and "number" in first and kind not in shared]
    if not shared:
        return first[0] if first else "string"
    return shared if len(shared) > 1 else shared[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
