"""The table that `list_instances()` returns: a pandas DataFrame where pandas is installed, else one of our own.

The only module that knows pandas, and it loads it when a table is asked for, never before (half a second). The small
`Table` has the everyday surface of a DataFrame, so that a script need not ask which of the two it got: `len`,
`columns`, `shape`, `empty`, `t["status"]`, `t[["name", "status"]]`, `t[t["status"] == "active"]` (with `&`, `|`,
`~`), `iloc`, `head`, `tail`, `iterrows`, `to_dict("records")`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, overload

from callboard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """A DataFrame when pandas can be imported, else a `Table`. Text stays text: `00001` keeps its zeros."""
    try:
        import pandas  # noqa: PLC0415  heavy: loaded when a table is asked for
    except ImportError:
        return Table(columns, rows)
    found = list(rows)
    cells = {name: [row[n] for row in found] for n, name in enumerate(columns)}
    series = {name: pandas.Series(values, dtype=_dtype(values)) for name, values in cells.items()}
    return pandas.DataFrame(series, columns=list(columns))


def _dtype(values: list[Any]) -> str:
    """Text unless something is not: an empty column would otherwise count as numbers."""
    return "str" if all(isinstance(value, str) for value in values) else "object"


class Column:
    """One column, and the answers to a comparison with it (a column of bools)."""

    __slots__ = ("name", "values")
    __hash__ = None  # type: ignore[assignment]  # `==` gives a column

    def __init__(self, values: Iterable[Any], name: str = "") -> None:
        self.values, self.name = list(values), name

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, place: int) -> Any:
        return self.values[place]

    def tolist(self) -> list[Any]:
        return list(self.values)

    def isin(self, values: Iterable[Any]) -> Column:
        wanted = list(values)
        return Column((value in wanted for value in self.values), self.name)

    def __eq__(self, other: object) -> Column:  # type: ignore[override]
        return self._each(operator.eq, other)

    def __ne__(self, other: object) -> Column:  # type: ignore[override]
        return self._each(operator.ne, other)

    def __and__(self, other: Column) -> Column:
        return self._each(operator.and_, other)

    def __or__(self, other: Column) -> Column:
        return self._each(operator.or_, other)

    def __invert__(self) -> Column:
        return Column((not value for value in self.values), self.name)

    def _each(self, compare: Callable[[Any, Any], Any], other: object) -> Column:
        others = other.values if isinstance(other, Column) else [other] * len(self.values)
        if len(others) != len(self.values):
            raise UsageError(f"columns of {len(self.values)} and {len(others)} rows cannot be compared")
        return Column(map(compare, self.values, others), self.name)

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.values), f"Name: {self.name}, Length: {len(self.values)}"])


class Table:
    """Rows under named columns, of mixed types, for reading."""

    __slots__ = ("_rows", "columns")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Any]] = ()) -> None:
        self.columns = list(columns)
        self._rows = [tuple(row) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and (self.columns, self._rows) == (other.columns, other._rows)

    @property
    def empty(self) -> bool:
        return not self._rows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._rows), len(self.columns)

    @property
    def iloc(self) -> Rows:
        return Rows(self)

    @overload
    def __getitem__(self, key: str) -> Column: ...
    @overload
    def __getitem__(self, key: Column | list[str] | list[bool]) -> Table: ...
    def __getitem__(self, key: str | Column | list[str] | list[bool]) -> Column | Table:
        """A column by name (KeyError when there is none), columns by names, or the rows that bools keep."""
        if isinstance(key, str):
            return Column((row[self._place(key)] for row in self._rows), key)
        wanted = list(key)
        if wanted and all(isinstance(one, str) for one in wanted):
            places = [self._place(str(one)) for one in wanted]
            return Table([str(one) for one in wanted], ([row[place] for place in places] for row in self._rows))
        if len(wanted) != len(self._rows):
            raise UsageError(f"{len(wanted)} marks cannot pick from {len(self._rows)} rows")
        return Table(self.columns, (row for row, keep in zip(self._rows, wanted, strict=True) if keep))

    def _place(self, column: str) -> int:
        if column not in self.columns:
            raise KeyError(column)
        return self.columns.index(column)

    def records(self, part: slice = slice(None)) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self._rows[part]]

    def to_dict(self, orient: str = "dict") -> Any:
        """`records`: a mapping for each row; `list`: a list for each column; `dict`: {column: {row: cell}}."""
        match orient:
            case "records":
                return self.records()
            case "list":
                return {name: self[name].tolist() for name in self.columns}
            case "dict":
                return {name: dict(enumerate(self[name])) for name in self.columns}
        raise UsageError(f"to_dict knows dict, list and records, not {orient!r}")

    def iterrows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return iter(enumerate(self.records()))

    def head(self, n: int = 5) -> Table:
        return Table(self.columns, self._rows[:n])

    def tail(self, n: int = 5) -> Table:
        return Table(self.columns, self._rows[-n:] if n else ())

    def __repr__(self) -> str:
        if self.empty:
            return f"Empty table\nColumns: {self.columns}"
        lines = [self.columns, *([str(cell) for cell in row] for row in self._rows)]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )


class Rows:
    """`table.iloc[3]` is a row as a mapping, `table.iloc[1:4]` a table."""

    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        self._table = table

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Table: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | Table:
        if isinstance(place, slice):
            return Table(self._table.columns, (tuple(row.values()) for row in self._table.records(place)))
        return self._table.records()[place]
