"""YAML that we write is read back the same: by our own reader and by the library everybody uses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from callboard.productions.yamltext import emit
from callboard.text import document

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "no", "On", "~", "null", "1", "010", "1e3", "1_000", "12:30", "2026-11-21", "a: b", "# x", "- x",
        "a #b", "? x", "|", "&a", "*a", "!t", "%x", "@x", "`x`", "{a}", "[a]", "a\nb", "a\nb\n", "a\nb\n\n",
        "\na", " a\nb", "a\n  b\n\nc\n", "a\r\nb", "a\n\tb", "a \nb ", "---\nx", "...\n", "a\u2028b\nc",
        "\ufeff", "\x85\n\x07", "<<", "=", "'", '"', "a\n#b\n", "x" * 600, "\u007f", "\u007f\n0",
    ]
)  # fmt: skip
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_our_reader_reads_what_was_written(value: Any) -> None:
    assert document.load(emit(value)).value == value


@given(values)
def test_any_reader_reads_what_was_written(value: Any) -> None:
    assert yaml.safe_load(emit(value)) == value


def test_it_reads_well() -> None:
    value = {"title": "Act two", "notes": "long\nlines\n", "cues": [{"at": 1.5, "say": "no"}, []], "empty": {}}
    assert emit(value) == (
        'title: Act two\nnotes: |\n  long\n  lines\ncues:\n  - at: 1.5\n    say: "no"\n  - []\nempty: {}\n'
    )


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        emit({"a": float("nan")})
