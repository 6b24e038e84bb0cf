"""The index as text: strict when written, tolerant when read, and nothing lost on the way."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidFile, NotJson
from callboard.productions import sheet
from callboard.productions.names import Names
from callboard.productions.sheet import COLUMNS, Row, Sheet

NAMES = Names("p", "{name}_{id:05d}", "document_{id}_{type}.{suffix}")
ROW = Row("00001", "p_00001", "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00", "active", "{}", "./h/p_00001")
HEADER = ",".join(COLUMNS)

cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
payloads = st.sampled_from(
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n", '"', '""', ",", "a,b", 'say "x"', "\n", "\r", "\0"]
)
anything = cells | payloads


def parse(text: str | bytes) -> Sheet:
    return sheet.parse(text if isinstance(text, bytes) else text.encode(), NAMES.identify, file="db.csv")


@given(
    st.lists(st.tuples(*[anything] * 7), max_size=5),
    st.lists(cells.map(str.strip).filter(bool), unique=True, max_size=2),
)
def test_what_is_written_is_read_back_cell_for_cell(found: list[tuple[str, ...]], columns: list[str]) -> None:
    columns = [column for column in columns if column not in COLUMNS]
    rows = [Row(NAMES.pad(n), *row[:6], extra=row[6:] * len(columns)) for n, row in enumerate(found, 1)]  # type: ignore[arg-type]
    again = parse(Sheet(rows, tuple(columns)).encode())
    assert list(again.rows.values()) == rows
    assert again.columns == tuple(columns)
    assert again.encode() == Sheet(rows, tuple(columns)).encode()


@given(st.lists(st.tuples(*[anything.filter(lambda text: "\0" not in text)] * 6), max_size=5))
def test_any_reader_of_csv_reads_the_same(found: list[tuple[str, ...]]) -> None:
    rows = [Row(NAMES.pad(n), *row) for n, row in enumerate(found, 1)]  # type: ignore[arg-type]
    text = Sheet(rows).encode().decode()
    assert [tuple(record) for record in csv.reader(io.StringIO(text, newline=""))] == [
        COLUMNS,
        *(row[:7] for row in rows),
    ]


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_called_damaged(raw: bytes) -> None:
    try:
        parse(raw)
    except InvalidFile:
        sheet.salvage(raw, NAMES.identify)


LINE = "00001,p_00001,2026-01-01T00:00:00+00:00,2026-01-02T00:00:00+00:00,active,{},./h/p_00001"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{LINE}\n",
        f"{HEADER}\n{LINE}",
        f"\ufeff{HEADER}\r\n{LINE}\r\n",
        f"{HEADER}\n\n{LINE}\n\n",
        f"{HEADER}\n{LINE}\n".replace(",", ";"),
        f"{HEADER}\n{LINE}\n".replace(",", "\t"),
        f"{HEADER}\n{LINE[4:]}\n",  # a spreadsheet made 1 of 00001
        "\n".join(f'"{cell}"' for cell in [HEADER.replace(",", '","'), LINE.replace(",", '","')]),
    ],
    ids=["as written", "no last newline", "a mark and CRLF", "empty lines", "semicolons", "tabs", "a number", "quotes"],
)
def test_what_people_and_spreadsheets_make_of_it_is_read(text: str) -> None:
    assert list(parse(text).rows.values()) == [ROW]


def test_columns_in_another_order_and_of_peoples_own_are_kept() -> None:
    names = ["mood", *reversed(COLUMNS), "note"]
    cells = ["good", *reversed(ROW[:7]), "see, below"]
    found = parse(f"{','.join(names)}\n" + ",".join(f'"{cell}"' for cell in cells))
    assert found.rows == {"00001": ROW._replace(extra=("good", "see, below"))}
    assert found.encode().decode().splitlines()[0] == f"{HEADER},mood,note"
    found.put(ROW._replace(instance_id="00002"))  # a new row has empty cells there
    assert parse(found.encode()).rows["00002"].extra == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "nonsense",
        f"{HEADER},status\n",
        HEADER.replace("status,", ""),
        f'{HEADER}\n"00001,p',
        f"{HEADER}\n{LINE},x\n",
        f"{HEADER}\n{LINE}\n{LINE}\n",
        f"{HEADER}\n\xff".encode("latin-1"),
        f'{HEADER}\n"a"b,c\n',
    ],
)
def test_a_damaged_index_is_called_so(text: str | bytes) -> None:
    with pytest.raises(InvalidFile, match=r"db\.csv"):
        parse(text)


def test_what_is_left_of_a_damaged_index_is_read() -> None:
    raw = f'{HEADER}\n{LINE}\n\0\xff\xfe"torn\n00002,p_00002,a,b,paused,"{{""n"":1}}",x\n00003,p_0'.encode("latin-1")
    found = sheet.salvage(raw, NAMES.identify)
    assert [(row.instance_id, row.status) for row in found.rows.values()] == [("00001", "active"), ("00002", "paused")]
    assert sheet.metadata_of(found.rows["00002"].metadata) == {"n": 1}


def test_a_copy_can_be_changed_without_changing_what_it_was_copied_from() -> None:
    first = Sheet([ROW])
    before = first.encode()
    second = first.copy()
    second.put(ROW._replace(status="done"))
    second.drop("nobody")
    assert first.encode() == before
    assert b"done" in second.encode()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", {}),
        (" ", {}),
        ("{}", {}),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("called twice", {"text": "called twice"}),
        ("[1]", {"text": "[1]"}),
        ('{"a": NaN}', {"text": '{"a": NaN}'}),
        ("[" * 5000, {"text": "[" * 5000}),
    ],
)
def test_metadata_comes_back_as_a_mapping_whatever_was_typed(cell: str, expected: dict[str, object]) -> None:
    assert sheet.metadata_of(cell) == expected


@pytest.mark.parametrize("value", [{"a": float("nan")}, {1: 2}, {"a": {1}}, {"a": "\ud800"}, {"a": "x" * 70_000}])
def test_metadata_that_is_no_strict_json_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(NotJson):
        sheet.metadata_text(value)
