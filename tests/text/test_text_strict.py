"""Strict JSON: what goes in comes out the same, and nothing else goes in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import NotJson
from callboard.text.strict import DEPTH, decode, encode, pipe_text


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


loop: list[Any] = []
loop.append(loop)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), r"\$ is nan"),
        ({"a": [1, {"b-c": float("inf")}]}, r"\$\.a\[1\]\['b-c'\] is inf"),
        ({1: 2}, r"\$ has the key 1 of type int"),
        ({"a": {None: 1}}, r"\$\.a has the key None"),
        (["x", "\ud800"], r"\$\[1\] holds a lone surrogate at character 0"),
        ({"\udfff": 1}, r"\$ holds a lone surrogate"),
        ({"f": object()}, r"\$\.f is a object"),
        ({"s": {1, 2}}, r"\$\.s is a set"),
        (b"x", r"\$ is a bytes"),
        (deep(DEPTH + 1), "nests deeper than 100 levels"),
        (deep(5000), "nests deeper"),
        (loop, "nests deeper"),
    ],
    ids=lambda value: repr(type(value)),
)
def test_what_is_not_json_is_named_with_its_place(value: Any, says: str) -> None:
    with pytest.raises(NotJson, match=says):
        encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e999",
        '"\\ud800"',
        '{"a": "\\uDFFF"}',
        "",
        "{",
        "[1,]",
        "'a'",
        b"\xff",
        "[" * 100_000,
        "[" * 150 + "]" * 150,
        "9" * 5000,
    ],
    ids=lambda value: repr(value)[:14],
)
def test_what_we_would_not_write_is_not_read(text: str | bytes) -> None:
    with pytest.raises(NotJson):
        decode(text)


def test_pairs_of_surrogates_are_one_character() -> None:
    assert decode('"\\ud83d\\ude00"') == "😀" and decode(encode("😀")) == "😀"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_json_comes_back_the_same(value: Any) -> None:
    assert decode(encode(value)) == value
    assert decode(encode(value).encode()) == value


@given(st.text() | st.binary())
def test_any_text_is_a_value_or_our_error(text: str | bytes) -> None:
    try:
        decode(text)
    except NotJson:
        pass


def test_a_text_flows_as_it_is_and_data_as_compact_json() -> None:
    assert [pipe_text(value) for value in ("é\n", {"a": [1, None]}, True)] == ["é\n", '{"a":[1,null]}', "true"]
