"""JSON of the offline model satisfies the schema it was asked for, whatever the schema and the text."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_texts import ALL, MARKDOWN, MINUTES

from callboard.errors import UsageError
from callboard.llm.reading.filling import Impossible, fill
from callboard.llm.reading.sentences import stands_in

NAMES = st.sampled_from(
    ["title", "summary", "keywords", "due_date", "isUrgent", "word_count", "score", "people", "quote", "id", "x", "日"]
)


def _strings() -> st.SearchStrategy[dict[str, Any]]:
    def build(low: int, more: int | None, said: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", **said, "minLength": low, **({} if more is None else {"maxLength": low + more})}

    said = st.sampled_from(
        [{}, {"description": "A short name"}, {"format": "date"}, {"format": "email"}, {"format": "uri"}]
    )
    return st.builds(build, st.integers(0, 60), st.none() | st.integers(0, 80), said)


def _numbers() -> st.SearchStrategy[dict[str, Any]]:
    def build(kind: str, low: int, room: int, step: int | None, form: str) -> dict[str, Any]:
        room = max(room, 3 * (step or 1))
        bounds = {
            "both": {"minimum": low, "maximum": low + room},
            "open": {"exclusiveMinimum": low, "exclusiveMaximum": low + room},
            "low": {"minimum": low},
            "high": {"maximum": low},
            "none": {},
        }[form]
        return {"type": kind, **bounds, **({"multipleOf": step} if step else {})}

    return st.builds(
        build,
        st.sampled_from(["integer", "number"]),
        st.integers(-1_000, 1_000),
        st.integers(2, 50),
        st.none() | st.integers(1, 7),
        st.sampled_from(["both", "open", "low", "high", "none"]),
    )


LEAVES = st.one_of(
    _strings(),
    _numbers(),
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {}, True, {"const": {"a": [1, None]}}, {"type": ["string", "null"]}]
    ),
    st.lists(st.text(max_size=8) | st.integers() | st.booleans() | st.none(), min_size=1, max_size=5).map(
        lambda v: {"enum": v}
    ),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, Any], required: list[str], closed: bool) -> dict[str, Any]:
        needed = sorted(set(required) & set(properties) if closed else set(required))
        rest = {"additionalProperties": False} if closed else {}
        return {"type": "object", "properties": properties, "required": needed, **rest}

    return st.builds(build, st.dictionaries(NAMES, inner, max_size=4), st.lists(NAMES, max_size=3), st.booleans())


def _lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def build(items: Any, low: int, more: int | None) -> dict[str, Any]:
        return {"type": "array", "items": items, "minItems": low, **({} if more is None else {"maxItems": low + more})}

    return st.builds(build, inner, st.integers(0, 4), st.none() | st.integers(0, 4))


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        _objects(inner),
        _lists(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        inner.map(lambda one: {"allOf": [one, {"description": "the same"}]}),
        inner.map(lambda one: {"$defs": {"part": one}, "anyOf": [{"type": "null"}, one]}),
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.one_of(st.sampled_from([*ALL, ""]), st.text(max_size=120)))
def test_json_satisfies_any_schema_that_can_be_satisfied(schema: Any, text: str) -> None:
    value = fill(schema, text.encode("utf-8", "replace").decode())
    jsonschema.Draft202012Validator(schema).validate(value)
    assert json.loads(json.dumps(value, allow_nan=False)) == value


HARD: dict[str, Any] = {
    "doubles": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 9},
        "minItems": 10,
        "uniqueItems": True,
    },
    "texts without doubles": {
        "type": "array",
        "items": {"type": "string", "maxLength": 2},
        "minItems": 12,
        "uniqueItems": True,
    },
    "all labels": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    "objects without doubles": {
        "type": "array",
        "items": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "minItems": 5,
        "uniqueItems": True,
    },
    "a tuple": {"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
    "contains": {"type": "array", "contains": {"const": "x"}, "minContains": 2, "items": {"type": "string"}},
    "one of two objects": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}},
                "required": ["kind", "n"],
            },
            {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]},
        ]
    },
    "one of overlapping numbers": {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]},
    "not a word": {"type": "string", "enum": ["a", "b"], "not": {"const": "a"}},
    "if then": {
        "type": "object",
        "properties": {"kind": {"enum": ["x", "y"]}, "why": {"type": "string"}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "x"}}},
        "then": {"required": ["why"]},
        "else": {"not": {"required": ["why"]}},
    },
    "many properties": {"type": "object", "minProperties": 6, "additionalProperties": {"type": "integer"}},
    "few properties": {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["c"],
        "maxProperties": 2,
    },
    "dependents": {"type": "object", "properties": {"a": {"type": "string"}}, "dependentRequired": {"a": ["b"]}},
    "tenths": {"type": "number", "multipleOf": 0.1, "minimum": 0.25, "maximum": 0.95},
    "a tiny gap": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-9},
    "a tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name", "children"],
            }
        },
        "$ref": "#/$defs/node",
    },
    "a chain": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    },
    "an anchor": {"$defs": {"a": {"$anchor": "here", "type": "integer"}}, "$ref": "#here"},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 3}, "b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "types": {"type": ["null", "integer", "string"]},
    "a long text": {"type": "string", "minLength": 5_000},
    "nothing said": {},
    "anything": True,
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("text", [MARKDOWN, "", "One word"])
def test_schemas_with_traps_are_satisfied_too(name: str, text: str) -> None:
    value = fill(HARD[name], text)
    jsonschema.Draft202012Validator(HARD[name]).validate(value)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"type": "array", "items": {"enum": ["a"]}, "minItems": 2, "uniqueItems": True},
        {"not": {}},
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
    ],
)
def test_what_nothing_satisfies_is_said_to_be_impossible(schema: Any) -> None:
    with pytest.raises((Impossible, UsageError)):
        fill(schema, MARKDOWN)


def test_fields_are_filled_by_their_names() -> None:
    text = {"type": "string"}
    texts = {"type": "array", "items": text}
    schema = {
        "type": "object",
        "properties": {
            "title": text, "summary": {"type": "string", "description": "Two sentences"}, "keywords": texts,
            "contact_email": text, "dueDate": {"type": "string", "format": "date"}, "word_count": {"type": "integer"},
            "language": text, "website": {"type": ["string", "null"]}, "has_permit": {"type": "boolean"},
            "mentions_refund": {"type": "boolean"}, "cost": {"type": "number"}, "people": texts,
            "topic": {"enum": ["sport", "stage", "spam"]}, "rating": {"type": "integer", "minimum": 1, "maximum": 5},
            "quotes": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {"quote": text}}},
        },
    }  # fmt: skip
    value = fill(schema, MARKDOWN)
    assert value["title"] == "Moving the theatre"
    assert len(value["keywords"]) == 6
    assert (value["contact_email"], value["dueDate"]) == ("okafor@example.org", "2025-02-14")
    assert (value["language"], value["website"], value["topic"]) == ("en", "https://example.org/plan.pdf", "stage")
    assert (value["has_permit"], value["mentions_refund"]) == (True, False)
    assert value["cost"] == 48_500
    assert value["word_count"] == len(MARKDOWN.split())
    assert 1 <= value["rating"] <= 5
    assert all(stands_in(one["quote"], MARKDOWN) for one in value["quotes"])
    assert fill(schema, MINUTES)["people"][:2] == ["Ada Byron", "Ben Okri"]


def test_what_the_text_does_not_have_is_null_or_left_out_where_it_may_be() -> None:
    maybe = {"type": ["string", "null"]}
    schema = {
        "type": "object",
        "properties": {
            "email": maybe,
            "phone": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "links": {"type": "array"},
        },
    }
    assert fill(schema, "There is nothing of the kind here.") == {"email": None, "phone": None, "links": []}
