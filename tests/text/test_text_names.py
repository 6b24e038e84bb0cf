"""Names: what may become a path, and patterns that format and parse as each other's inverse."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from callboard.errors import InvalidName
from callboard.text.names import Pattern, close, component, identifier, safe, title

DIRECTORY = Pattern("{name}_{id:05d}", needs=("id",), among=("name", "id"), what="id_format")
DOCUMENT = Pattern("document_{id}_{type}.{suffix}", needs=("type", "suffix"), what="document_pattern")


@pytest.mark.parametrize("text", ["a", "0", "a.b_c-d", "x" * 64])
def test_an_id_is_narrow(text: str) -> None:
    assert identifier(text) == text


@pytest.mark.parametrize("text", ["", "A", "-a", ".a", "a b", "é", "x" * 65, "a/b", "a\n", "٣"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="is not an id"):
        identifier(text)


@pytest.mark.parametrize("text", ["Ärzte 2026", "日本語", "a'b", "x" * 200, "..hidden", "con fetti"])
def test_people_may_call_things_what_they_like(text: str) -> None:
    assert title(text) == component(text) == text


@pytest.mark.parametrize(
    "text",
    ["", " ", "a\x00b", "a\nb", "\x1b[31m", "x" * 201, "\ud800", "a\u2028b", "a\u202etxt.exe"],
    ids=lambda text: ascii(text)[:20],
)
def test_control_characters_are_no_part_of_a_name(text: str) -> None:
    for check in (title, component):
        with pytest.raises(InvalidName) as caught:
            check(text)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "..",
        "...",
        "/",
        "a/b",
        "../x",
        "a\\b",
        "C:",
        "a:b",
        "con",
        "NUL.txt",
        "com1",
        "LPT9.x",
        "a.",
        "a ",
        " a",
        "a?",
        "a*",
        "<x>",
        'a"b',
        "a|b",
        "é" * 130,
    ],
)
def test_what_could_leave_its_directory_is_no_component(text: str) -> None:
    with pytest.raises(InvalidName):
        component(text)


@given(st.text())
def test_any_text_can_be_made_safe(text: str) -> None:
    made = safe(text)
    assert component(made) == made
    assert safe(text) == made


def test_different_texts_are_made_different() -> None:
    texts = ["a/b", "a_b", "a:b", "a?b", "", "..", "x" * 500, "x" * 501, safe("a/b")]
    assert len({safe(text) for text in texts}) == len(texts)


def test_ids_are_padded_to_at_least_the_width() -> None:
    assert [DIRECTORY.format(name="profiles", id=i) for i in (1, "00001", 99_999, 123_456)] == [
        "profiles_00001", "profiles_00001", "profiles_99999", "profiles_123456",
    ]  # fmt: skip
    assert [DIRECTORY.pad(1), DIRECTORY.pad(123_456), Pattern("{name}-{id}").pad(7)] == ["00001", "123456", "7"]


def test_an_id_in_a_document_stands_as_it_is_given() -> None:
    assert DOCUMENT.format(id="00001", type="raw", suffix="txt") == "document_00001_raw.txt"
    assert Pattern("{id:05d}.{type}.{suffix}").format(id="00001", type="a", suffix="b") == "00001.a.b"


def test_braces_can_be_written_twice() -> None:
    assert Pattern("{{{id}}}").format(id=3) == "{3}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("profiles_00001", "00001"),
        ("profiles_123456", "123456"),
        ("profiles_000001", None),
        ("profiles_1", None),
        ("settings", None),
        ("profiles_", None),
        ("other_00001", None),
        ("profiles_00001x", None),
        ("profiles_٠٠٠٠١", None),
        ("profiles_-0001", None),
        ("profiles_" + "9" * 19, None),
        ("profiles_00001\n", None),
        ("x" * 5000, None),
    ],
)
def test_a_directory_is_parsed_back(text: str, found: str | None) -> None:
    made = DIRECTORY.parse(text, name="profiles")
    assert (made or {}).get("id") == found


def test_known_values_settle_what_a_pattern_leaves_open() -> None:
    name = "document_00001_report.v2.tar.gz"
    assert DOCUMENT.parse(name) == {"id": "00001", "type": "report.v2.tar", "suffix": "gz"}
    assert DOCUMENT.parse(name, type="report.v2") is None  # a suffix holds no dot unless it is known
    assert DOCUMENT.parse(name, suffix="tar.gz") == {"id": "00001", "type": "report.v2", "suffix": "tar.gz"}


PART = st.text("abcé_-. 1", min_size=1, max_size=8).filter(lambda text: _is_component(text))


def _is_component(text: str) -> bool:
    try:
        return component(text) == text
    except InvalidName:
        return False


@given(st.integers(0, 10**18 - 1), PART)
def test_directories_format_and_parse_as_inverses(id: int, name: str) -> None:
    made = DIRECTORY.parse(DIRECTORY.format(name=name, id=id), name=name)
    assert made == {"name": name, "id": DIRECTORY.pad(id)}


@given(st.integers(1, 10**7), PART, PART)
def test_documents_format_and_parse_as_inverses(id: int, type: str, suffix: str) -> None:
    values = {"id": f"{id:05d}", "type": type, "suffix": suffix}
    made = DOCUMENT.format(**values)
    assert DOCUMENT.parse(made, suffix=suffix) == values
    if "." not in suffix:
        assert DOCUMENT.parse(made) == values


@given(st.text("{}:0123456789dnameidtypesuffix_.!-%/", max_size=20), st.text(max_size=20))
def test_any_pattern_formats_safely_or_is_refused(text: str, name: str) -> None:
    try:
        pattern = Pattern(text)
        pattern.parse(name)
        made = pattern.format(name="n", id=7, type="t", suffix="s")
    except InvalidName:
        return
    assert "/" not in made and len(made) < 1000
    assume(set(pattern.tokens) == {"id"})
    assert pattern.parse(made) is not None


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("{name.__class__}", "unknown token"),
        ("{name!r}", "unknown token"),
        ("{0}", "unknown token"),
        ("{}", "unknown token"),
        ("{id[0]}", "unknown token"),
        ("{id:>1000000000}", "takes a form"),
        ("{name:05d}", "takes a form"),
        ("{id:099d}", "takes a form"),
        ("{id", "brace"),
        ("id}", "brace"),
        ("a/{id}", "single path component"),
        ("../{id}", "single"),
        ("", "1 to 200"),
        ("{name}", r"must contain \{id\}"),
        ("{type}{suffix}{id}", "put a character between"),
        ("{id}\x00", "single"),
        ("{{id}}", r"must contain \{id\}"),
    ],
)
def test_a_pattern_of_a_stranger_reaches_nothing(pattern: str, says: str) -> None:
    with pytest.raises(InvalidName, match=says):
        Pattern(pattern, needs=("id",))


def test_values_that_would_leave_the_directory_are_refused() -> None:
    for values in ({"type": "../x"}, {"suffix": "a/b"}, {"id": "1; rm"}, {"id": -1}, {"id": True}):
        with pytest.raises(InvalidName):
            DOCUMENT.format(**{"id": "1", "type": "t", "suffix": "s", **values})
    with pytest.raises(InvalidName, match=r"needs a value for \{type\}"):
        DOCUMENT.format(id="1", suffix="s")


def test_the_closest_name_is_offered_in_its_own_spelling() -> None:
    assert close("source-fil", ["source_file", "model"]) == "; did you mean 'source_file'?"
    assert close("zzz", ["source_file"]) == ""
