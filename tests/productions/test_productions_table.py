"""The table of instances: the same everyday surface, with pandas and without."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from callboard.errors import UsageError
from callboard.productions.table import Table, table

COLUMNS = ("id", "status", "metadata")
ROWS = [("00001", "active", {"a": 1}), ("00002", "created", {}), ("00003", "active", {})]


@pytest.fixture(params=["pandas", "ours"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "ours":
        monkeypatch.setitem(sys.modules, "pandas", None)
    else:
        pytest.importorskip("pandas")
    return table


def test_what_scripts_do_every_day_works_with_both(found: Any) -> None:
    t = found(COLUMNS, ROWS)
    assert (len(t), t.shape, t.empty, list(t.columns)) == (3, (3, 3), False, list(COLUMNS))
    assert list(t["id"]) == t["id"].tolist() == ["00001", "00002", "00003"]
    assert t.to_dict("records") == [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
    assert t.to_dict("list")["status"] == ["active", "created", "active"]
    assert t.to_dict()["id"] == {0: "00001", 1: "00002", 2: "00003"}
    assert [(n, row["id"]) for n, row in t.iterrows()] == [(0, "00001"), (1, "00002"), (2, "00003")]
    assert (t.iloc[0]["metadata"], t.iloc[-1]["id"], len(t.iloc[1:])) == ({"a": 1}, "00003", 2)
    assert (len(t.head(2)), len(t.head()), len(t.tail(1)), len(t.tail(0))) == (2, 3, 1, 0)
    assert list(t[["status", "id"]].columns) == ["status", "id"]
    assert "status" in t and "other" not in t
    assert "00002" in repr(t)
    with pytest.raises(KeyError):
        t["other"]


def test_rows_are_picked_by_comparing(found: Any) -> None:
    t = found(COLUMNS, ROWS)
    assert list(t[t["status"] == "active"]["id"]) == ["00001", "00003"]
    assert list(t[t["status"] != "active"]["id"]) == ["00002"]
    assert list(t[(t["status"] == "active") & ~(t["id"] == "00001")]["id"]) == ["00003"]
    assert list(t[(t["id"] == "00001") | t["id"].isin(["00002"])]["id"]) == ["00001", "00002"]
    assert len(t[t["status"] == "gone"]) == 0


def test_text_stays_text(found: Any) -> None:
    t = found(COLUMNS, ROWS)
    assert all(type(cell) is str for cell in t["id"])
    assert str(t.iloc[0]["id"]) == "00001"


def test_an_empty_table_has_its_columns(found: Any) -> None:
    t = found(COLUMNS, [])
    assert (len(t), t.empty, t.shape, list(t.columns)) == (0, True, (0, 3), list(COLUMNS))
    assert (t.to_dict("records"), list(t["id"]), len(t[t["id"] == "x"])) == ([], [], 0)


def test_our_table_says_what_it_cannot_do() -> None:
    t = Table(COLUMNS, ROWS)
    with pytest.raises(UsageError):
        t.to_dict("series")
    with pytest.raises(UsageError):
        t[[True]]
    with pytest.raises(UsageError):
        t["id"] == t.head(1)["id"]  # noqa: B015
    assert t == Table(COLUMNS, ROWS) != Table(COLUMNS)
    assert repr(Table(COLUMNS)).startswith("Empty table")
    assert list(t) == list(COLUMNS)
    assert repr(t["id"]).endswith("Name: id, Length: 3")
    assert t["id"][1] == "00002"
