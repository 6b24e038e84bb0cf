"""The index of a production as text: `production_db.csv`, read with tolerance and written strictly. Pure.

People open this file in spreadsheets and editors. So a byte-order mark, a missing last newline, CRLF, semicolons,
columns in another order and columns of their own are all read; columns of their own are kept. Ids are text: what a
spreadsheet has made of `00001` is put right from the name beside it. Cells get no leading apostrophes: this is an
index and no export.

Cells are quoted here and not by `csv.writer`, which leaves a bare carriage return unquoted and then cannot read
its own line; and so that the lines of rows which did not change can be kept (10,000 rows: 2 ms instead of 40).
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.errors import InvalidFile, NotJson
from callboard.text import strict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

COLUMNS = ("instance_id", "name", "created_at", "updated_at", "status", "metadata", "path")
MOST_METADATA = 64 * 1024  # characters of JSON text in one cell; what is longer is a document

_SPECIAL = re.compile(r'[",\r\n]')


class Row(NamedTuple):
    """One instance as the index tells it, every cell as text; `extra` are the cells of columns that people added."""

    instance_id: str
    name: str
    created_at: str
    updated_at: str
    status: str
    metadata: str
    path: str
    extra: tuple[str, ...] = ()


class Sheet:
    """The rows by instance id, in the order of the file, and the names of further columns."""

    __slots__ = ("_lines", "columns", "rows")

    def __init__(self, rows: Iterable[Row] = (), columns: tuple[str, ...] = ()) -> None:
        self.columns = columns
        self.rows = {row.instance_id: row for row in rows}
        self._lines: dict[str, str] = {}

    def copy(self) -> Sheet:
        """One that can be changed without changing this one; it knows the lines that this one knows."""
        new = Sheet(columns=self.columns)
        new.rows, new._lines = self.rows.copy(), self._lines.copy()
        return new

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its id."""
        self.rows[row.instance_id] = row
        self._lines.pop(row.instance_id, None)

    def drop(self, instance_id: str) -> None:
        self.rows.pop(instance_id, None)
        self._lines.pop(instance_id, None)

    def encode(self) -> bytes:
        """The file: header, then one record for each row, UTF-8, quoted as RFC 4180 says, lines end with LF."""
        width, lines = len(self.columns), self._lines
        for key, row in self.rows.items():
            if key not in lines:
                lines[key] = _line((*row[:7], *row.extra, *("",) * (width - len(row.extra))))
        return "".join((_line((*COLUMNS, *self.columns)), *map(lines.__getitem__, self.rows))).encode()


def _line(cells: Iterable[str]) -> str:
    return ",".join(_quoted(cell) if _SPECIAL.search(cell) else cell for cell in cells) + "\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def parse(raw: bytes, identify: Callable[[str, str], str], *, file: str = "") -> Sheet:
    """Read the file. `identify(instance_id, name)` gives the id as text, as the production writes it.

    Raises InvalidFile when it is damaged: not UTF-8, no header with our columns, broken quotes, a record longer
    than the header, an id twice.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(f"the index is not UTF-8: {error.reason} at byte {error.start}", file=file) from error
    records = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        layout = _header(next(records, []), file)
        sheet = Sheet(columns=layout.extra)
        for record in records:
            if record:
                _add(sheet, _row(record, layout, identify), too_long=len(record) > layout.width)
    except (csv.Error, ValueError) as error:
        raise InvalidFile(f"the index is damaged: {error}", file=file, line=records.line_num) from error
    return sheet


def _delimiter(text: str) -> str:
    """What stands between the columns: a spreadsheet may have chosen another one than the comma."""
    found = re.match(r'"?\w+"?([,;\t])', text)
    return found[1] if found else ","


class _Layout(NamedTuple):
    """Where the cells stand in a record: ours, then those of other columns, with their names."""

    ours: list[int]
    others: list[int]
    extra: tuple[str, ...]
    width: int


def _header(cells: list[str], file: str) -> _Layout:
    names = [cell.strip() for cell in cells]
    missing = [name for name in COLUMNS if name not in names]
    if missing or len(set(names)) < len(names):
        raise InvalidFile(f"the index has no good header: missing {', '.join(missing) or 'nothing'}", file=file, line=1)
    others = [place for place, name in enumerate(names) if name not in COLUMNS]
    return _Layout([names.index(name) for name in COLUMNS], others, tuple(names[place] for place in others), len(names))


def _row(record: list[str], layout: _Layout, identify: Callable[[str, str], str]) -> Row:
    record = record + [""] * (layout.width - len(record))
    id, name, created, updated, status, metadata, path = (record[place] for place in layout.ours)
    extra = tuple(record[place] for place in layout.others)
    return Row(identify(id.strip(), name), name, created, updated, status, metadata, path, extra)


def _add(sheet: Sheet, row: Row, *, too_long: bool) -> None:
    if too_long:
        raise ValueError(f"the record of {row.name!r} is longer than the header")
    if row.instance_id in sheet.rows:
        raise ValueError(f"the id {row.instance_id!r} stands twice")
    sheet.rows[row.instance_id] = row


_OURS = _Layout(list(range(len(COLUMNS))), [], (), len(COLUMNS))


def salvage(raw: bytes, identify: Callable[[str, str], str]) -> Sheet:
    """What can still be read of a damaged file: each line that is a whole record and names an id not seen before."""
    sheet = Sheet()
    for line in raw.decode("utf-8-sig", "replace").replace("\0", "").splitlines():
        try:
            record = next(csv.reader([line], strict=True), [])
        except csv.Error:
            continue
        if len(record) >= len(COLUMNS) and record[0] != COLUMNS[0]:
            row = _row(record[: len(COLUMNS)], _OURS, identify)
            sheet.rows.setdefault(row.instance_id, row)
    return sheet


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """The cell for a mapping: compact JSON. Raises NotJson."""
    text = strict.encode(dict(metadata))
    if len(text) > MOST_METADATA:
        raise NotJson(f"metadata of an instance is at most {MOST_METADATA:,} characters; save more as a document")
    return text


def metadata_of(cell: str) -> dict[str, Any]:
    """The mapping in a cell; what is no JSON object (someone typed a note there) comes back as {"text": cell}."""
    if not cell.strip():
        return {}
    try:
        value = strict.decode(cell)
    except NotJson:
        return {"text": cell}
    return value if isinstance(value, dict) else {"text": cell}
