"""JSON Schema of strangers: checked, and never a way out, a way to hang, or a mystery."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.errors import InvalidOutput, UsageError
from callboard.text.schema import check, validate

BOOK = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "pattern": {"type": "string"},
        "pages": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["title"],
}


def test_a_value_that_fits_passes() -> None:
    validate({"title": "Faust", "pattern": "(a+)+", "pages": [1, 2]}, BOOK)


def test_a_value_that_does_not_fit_is_named_with_its_place() -> None:
    with pytest.raises(InvalidOutput, match=r"\$\.pages\[1\]: 'a' is not of type 'integer'") as caught:
        validate({"pages": [1, "a"]}, BOOK, name="the answer of step 'x'")
    assert len(caught.value.evidence["faults"]) == 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (3, "is a mapping"),
        ({"type": "foo"}, r"\$\.type"),
        ({"properties": {"a": {"pattern": "(a+)+$"}}}, r"\$\.properties\.a\.pattern: regular expressions"),
        ({"patternProperties": {"(a+)+$": {}}}, "regular expressions"),
        ({"$ref": "http://127.0.0.1/x"}, "can refer to itself only"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "can refer to itself only"),
        ({"$dynamicRef": "other.json"}, "can refer to itself only"),
        ({"description": "x" * 300_000}, "larger than 256 KB"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_schema_we_do_not_check_by_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(schema)


BOMB: dict[str, Any] = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$defs": BOMB | {"d40": {"type": "integer"}}, "$ref": "#/$defs/d0"}, 1),
        ({"$ref": "#"}, 1),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1),
        ({"$ref": "#/$defs/nowhere"}, 1),
    ],
    ids=["bomb", "circle", "two circles", "nowhere"],
)
def test_a_schema_that_never_ends_is_stopped(schema: Any, value: Any) -> None:
    with pytest.raises(UsageError):
        validate(value, schema)


def test_many_equal_items_are_found_quickly() -> None:
    validate([{"a": i} for i in range(20_000)], {"uniqueItems": True})
    with pytest.raises(InvalidOutput, match="two items are equal"):
        validate([{"a": 1}, {"b": 2}, {"a": 1}], {"uniqueItems": True})


def test_numbers_beyond_a_float_are_a_misfit_not_a_crash() -> None:
    with pytest.raises(InvalidOutput):
        validate(10**400, {"multipleOf": 0.1})
