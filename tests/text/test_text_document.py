"""YAML with positions: what a value means, where it stands, and what a file may not do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidFile
from callboard.text import document
from callboard.text.document import load, plain


def fault(text: str | bytes) -> InvalidFile:
    with pytest.raises(InvalidFile) as caught:
        load(text, file="a.ai")
    return caught.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("NO", "NO"),
        ("12:30", "12:30"),
        ("1:30:00", "1:30:00"),
        ("2026-01-02", "2026-01-02"),
        ("010", "010"),
        ("00001", "00001"),
        ("00008", "00008"),
        ("-007", "-007"),
        ("0", 0),
        ("-0", 0),
        ("7", 7),
        ("+7", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("0.5", 0.5),
        ("01.5", "01.5"),
        ("1e999", "1e999"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nUll", "nUll"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        (".", "."),
        ("=", "="),
        ("٣", "٣"),
    ],
)
def test_only_plain_words_and_numbers_are_more_than_text(written: str, meant: Any) -> None:
    assert plain(written) == meant and type(plain(written)) is type(meant)


def test_ids_stay_text_and_keys_are_text() -> None:
    value = load("id: 00001\nold: 010\non: yes\n1: one\ncountry: no\nat: 12:30\n").value
    assert value == {"id": "00001", "old": "010", "on": "yes", "1": "one", "country": "no", "at": "12:30"}


def test_quoted_scalars_are_text() -> None:
    assert load('["1", \'2\', "true", \'null\', "<<"]').value == ["1", "2", "true", "null", "<<"]


def test_every_value_and_key_keeps_its_place() -> None:
    made = load("a: 1\nb:\n  - x\n  -   y: {z: [1, two]}\n", file="a.ai")
    assert (made.place(()).line, made.place(()).column) == (1, 1)
    assert made.place(("b", 1, "y", "z", 1))[:2] == (4, 18)
    assert made.key_place(("b", 1, "y", "z"))[:2] == (4, 11)
    assert made.place(("b", 1, "y", "not there", 7))[:2] == (4, 10)


def test_the_place_of_a_block_is_where_its_text_begins() -> None:
    made = load('a: |\n    one\n    two\nb: >-\n  folded\nc: "quoted"\nd: plain\n')
    assert made.value == {"a": "one\ntwo\n", "b": "folded", "c": "quoted", "d": "plain"}
    places = {key: (made.place((key,)).first_line, made.place((key,)).indent) for key in "abcd"}
    assert places == {"a": (2, 4), "b": (5, 2), "c": (6, 4), "d": (7, 3)}


def test_a_number_keeps_how_it_was_written() -> None:
    assert load("v: 1.10").place(("v",)).raw == "1.10"


def test_a_mark_at_the_beginning_and_windows_lines_are_read() -> None:
    assert load(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n").value == {"a": 1, "b": 2}


def test_an_empty_file_is_nothing() -> None:
    assert load("").value is None and load("# a comment\n").value is None


@pytest.mark.parametrize(
    ("text", "line", "column", "says", "fix"),
    [
        ("a: 1\n\tb: 2\n", 2, 1, "a tab", "spaces"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "not YAML", "indentation"),
        ("title: a: b\n", 1, 9, "mapping values", "quote"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "stands here twice, first on line 1", "remove"),
        ("a: {{x}}\n", 1, 4, "{{", 'quote the template: key: "{{…}}"'),
        ("output_file: {{production.instance_dir}}/a.txt\n", 1, 14, "{{", "quote the template"),
        ("a: {{ x | y('b') if z }}\n", 1, 4, "{{", "quote the template"),
        ("a: [1, {{x}}]\n", 1, 8, "{{", "quote the template"),
        ("- {{x}}/b: 1\n", 1, 3, "{{", "quote the template"),
        ("a: {% if x %}\n", 1, 4, "brace", "quote the template"),
        ("id_format: {name}_{id:05d}\n", 1, 12, "brace", "quote the value"),
        ("a: 'x\n", 1, 4, "never closed", "close it"),
        ("a: [1, 2\nb: 3\n", 1, 4, "never closed", "close it"),
        ("a: @x\n", 1, 4, "cannot start any token", "quote"),
        ("a: !!str 1\n", 1, 4, "tags", "remove the tag"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, 4, "tags", "remove the tag"),
        ("%TAG ! tag:x,2000:\n--- 1\n", 1, 1, "tags", "remove"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", 3, 3, "merge keys", "write the keys out"),
        ("a: *nope\n", 1, 4, "no anchor", "&nope"),
        ("a: &a [*a]\n", 1, 8, "holds itself", "write the value out"),
        ("? [1]\n: 2\n", 1, 3, "a key must be text", "text"),
        ("--- 1\n--- 2\n", 2, 1, "second document", "remove"),
        ("a: .nan\n", 1, 4, "no number that JSON has", "quote"),
        ("a: -.Inf\n", 1, 4, "no number that JSON has", "quote"),
        ("é: \x01\n", 1, 4, "U+0001", "remove"),
        ('a: "\\ud800"\n', 1, 7, "Unicode", "quote"),
    ],
)  # fmt: skip
def test_a_fault_names_line_column_and_fix(text: str, line: int, column: int, says: str, fix: str) -> None:
    error = fault(text)
    assert (error.file, error.line, error.column) == ("a.ai", line, column), str(error)
    assert says in error.what and fix in error.fix, str(error)


def test_bytes_that_are_no_text_are_refused() -> None:
    assert "UTF-8" in fault(b"a: \xff").what
    assert "UTF-8" in fault("a: \ud800").what


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)), "values"),
        ("a: &a 1\nb: [" + "*a," * 101 + "]", "100 aliases"),
        ("[" * 100_000, "40 levels"),
        ("{a: " * 100_000, "40 levels"),
        ("- " * 200_000, "40 levels"),
        ("? " * 100_000, "key must be text"),
        ("[" + "1," * 20_000 + "]", "10,000 values"),
        ("".join(f"k{i}: 1\n" for i in range(6_000)), "10,000 values"),
        ("a: " + "x" * (1 << 20), "1 MB"),
        ("a: " + "9" * 500_000, None),
        ("&a " * 100_000, None),
        ("a: '" + "''" * 200_000, None),
        ("#" * 900_000, None),
        ("a: " + "{" * 5_000, None),
        ("\n" * 900_000, None),
        ("a: |\n" + " x\n" * 300_000, None),
        ("'\"" * 300_000, None),
    ],
    ids=lambda value: str(value)[:12].replace("\n", "~"),
)  # fmt: skip
@pytest.mark.timeout(10)
def test_what_grows_is_stopped(text: str, says: str | None) -> None:
    """Each of these costs seconds, memory or the process when it is composed first and judged later."""
    try:
        load(text, file="a.ai")
    except InvalidFile as error:
        assert says is None or says in error.what
    else:
        assert says is None


def test_aliases_within_bounds_are_values() -> None:
    made = load("a: &a [1, 2]\nb: *a\nc: {d: *a}\n")
    assert made.value == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}
    assert made.place(("c", "d", 1))[:2] == (3, 8)


def test_the_pure_loader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a: 00001\nb: [1, no]\nc: |\n  x\nd: "q"\n'
    fast = load(text)
    monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)
    slow = load(text)
    assert (slow.value, slow.places, slow.keys) == (fast.value, fast.places, fast.keys)
    assert "half of a surrogate" in fault('a: "\\ud800"').what
    assert fault("é: \x01").column == 4
    assert "quote the template" in fault("a: {{x}}/b").fix


def test_callboard_can_be_imported_without_the_vendors() -> None:
    code = "import callboard, sys; print([m for m in ('yaml', 'jinja2', 'jsonschema') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


SOUP = st.text(st.sampled_from("ab01:-[]{},&*!|>%@`'\"#?~ \n\t.<é\u2028\x07"), max_size=60)


@given(st.one_of(SOUP, st.text(max_size=60), st.binary(max_size=60)))
def test_any_text_is_a_value_or_our_error(text: str | bytes) -> None:
    try:
        load(text, file="a.ai")
    except InvalidFile as error:
        assert error.file == "a.ai"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("abc:{}#'\"- \n0", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-_ ", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_what_is_dumped_is_read_back(value: Any) -> None:
    # A dumper writes strings that look like numbers in quotes, and so they stay text.
    assert load(yaml.safe_dump(value, width=10_000)).value == value
