"""Names of instances and documents: written and read back, and whatever a stranger proposes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidName
from callboard.productions.names import Names

NAMES = Names("profiles", "{name}_{id:05d}", "document_{id}_{type}.{suffix}")

HOSTILE = [
    "", ".", "..", "...", "/", "a/b", "../../etc/passwd", "/etc/passwd", "a\\b", "..\\x", "C:x", "a\0b", "a\nb", "a\rb",
    "\x1b[31m", "\x7f", "a\u2028b", "\u202egnp", "con", "CON", "nul.txt", "COM1", "lpt9", "aux", " a", "a ", "a.",
    "a" * 300, "é" * 150, "a*", "a?", 'a"', "<a>", "a|b", "\ud800",
]  # fmt: skip


@given(st.integers(1, 10**17))
def test_a_number_comes_back_from_the_name_of_its_instance(number: int) -> None:
    assert NAMES.number_of(NAMES.instance(number)) == number
    assert int(NAMES.pad(number)) == number
    assert all(
        NAMES.number(form) == number for form in (number, str(number), NAMES.pad(number), NAMES.instance(number))
    )


@given(st.text(max_size=20), st.text(max_size=8))
def test_a_type_and_suffix_come_back_from_the_name_of_their_document(kind: str, suffix: str) -> None:
    try:
        file = NAMES.document(7, kind, suffix)
    except InvalidName:
        return
    told = unicodedata.normalize("NFC", kind), unicodedata.normalize("NFC", suffix).removeprefix(".")
    assert NAMES.told_by(7, file) == told
    assert NAMES.told_by(8, file) is None
    assert "/" not in file and "\0" not in file and file not in ("", ".", "..")


@given(st.text(max_size=40))
def test_any_name_on_disk_is_read_or_left_alone(name: str) -> None:
    assert NAMES.number_of(name) is None or NAMES.instance(NAMES.number_of(name) or 0) == name
    NAMES.told_by(1, name)


@pytest.mark.parametrize(
    "name",
    [
        "profiles_0001",
        "profiles_000001",
        "profiles_00000",
        "profiles_",
        "profile_00001",
        "profiles_00001 ",
        "profiles_-0001",
        "profiles_٠٠٠٠١",
        "profiles_" + "9" * 60,
    ],
)
def test_a_name_that_no_id_makes_is_no_instance(name: str) -> None:
    assert NAMES.number_of(name) is None


@pytest.mark.parametrize("id", ["", "0", 0, -1, True, "x", "profiles_1", "1.0", " 1", "١", 10**18, "9" * 50, None, 1.0])
def test_what_is_no_id_is_refused(id: object) -> None:
    with pytest.raises(InvalidName):
        NAMES.number(id)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_type_or_suffix_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        NAMES.document(1, text, "txt")
    with pytest.raises(InvalidName):
        NAMES.document(1, "raw", text)


@pytest.mark.parametrize(("kind", "suffix"), [("raw", "tar.gz"), ("raw.", "txt"), ("raw", "..")])
def test_a_type_and_suffix_that_cannot_be_told_apart_are_refused(kind: str, suffix: str) -> None:
    with pytest.raises(InvalidName):
        NAMES.document(1, kind, suffix)


def test_unicode_and_spaces_are_welcome_and_composed() -> None:
    assert NAMES.document(1, "Übersicht für 東京", "txt") == "document_00001_Übersicht für 東京.txt"
    assert NAMES.document(1, unicodedata.normalize("NFD", "é"), "txt") == "document_00001_é.txt"


def test_the_id_in_a_document_is_the_padded_text_or_has_a_width_of_its_own() -> None:
    assert NAMES.document(1, "raw", ".txt") == "document_00001_raw.txt"
    wide = Names("p", "{name}-{id:03d}", "{id:05d}-{type}.{suffix}")
    assert (wide.pad(7), wide.document(7, "raw", "txt")) == ("007", "00007-raw.txt")
    assert wide.told_by(7, "00007-raw.txt") == ("raw", "txt")


def test_a_document_pattern_needs_no_id_and_may_put_it_beside_the_type() -> None:
    plain = Names("p", "{id}", "{type}.{suffix}")
    assert plain.told_by(3, plain.document(3, "raw", "txt")) == ("raw", "txt")
    tight = Names("p", "{id}", "{type}{id}.{suffix}")
    assert tight.told_by(3, tight.document(3, "raw7", "txt")) == ("raw7", "txt")


@pytest.mark.parametrize(
    ("id", "name", "expected"),
    [
        ("1", "profiles_00001", "00001"),
        ("00001", "acme", "00001"),
        ("", "profiles_00002", "00002"),
        ("note", "x", "note"),
        ("0", "profiles_00003", "0"),
    ],
)
def test_the_id_of_a_row_is_put_right(id: str, name: str, expected: str) -> None:
    assert NAMES.identify(id, name) == expected
