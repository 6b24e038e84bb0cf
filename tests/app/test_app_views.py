"""Words, money and columns: how values are said to people."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from callboard.app.views.summary import summary
from callboard.app.views.words import brief, iso, usd, waits
from callboard.cli.table import count, cut, money, pad, span, symbols, table, width
from callboard.cli.written import below
from callboard.ports import Write
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.kits.bench import FACT, Bench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("review release", "waiting for approval of release"),
        ("decision send/ada", "waiting for a decision about send/ada"),
        ("listening a,b", "listening for a, b"),
        ("budget", "stopped by its budget"),
        ("paused", "paused"),
        ("", ""),
    ],
)
def test_reasons_are_said_as_people_say_them(reason: str, said: str) -> None:
    assert waits(reason) == said


def test_times_and_money_have_one_form() -> None:
    assert iso(0.25) == "1970-01-01T00:00:00.250Z" and iso(None) is None
    assert usd(1_234_567_890) == 1.234568 and usd(None) is None
    dollars = [money(one) for one in (None, 0.0, 9e-6, 0.0123, 12.5)]
    assert dollars == ["price unknown", "$0.00", "under $0.0001", "$0.0123", "$12.50"]
    assert [money(None, 2), money(0.0123, 2)] == ["price unknown", "at least $0.0123"]
    assert [count(n, "item") for n in (0, 1, 1200)] == ["0 items", "1 item", "1,200 items"]
    assert [span(n) for n in (0.4, 61, 3723)] == ["0:00", "1:01", "1:02:03"]


def test_control_characters_are_shown_and_text_stays() -> None:
    assert symbols("a\x1b[2J\x00\x7f\u202eb\nü 火") == "a␛[2J␀␡\\u202eb\nü 火"


def test_width_counts_columns() -> None:
    assert [width(text) for text in ("abc", "火", "e\u0301")] == [3, 2, 1]
    assert pad("火", 4) == "火  "
    assert [cut("abcdef", 4), cut("火火火", 4), cut("abc", 3)] == ["abc…", "火…", "abc"]


def test_tables_are_columns_of_what_is_there() -> None:
    assert table(("a", "b"), [("x", None), ("long", 3)]).splitlines()[1:] == ["x", "long  3"]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a/x", "a/y"], ("", ["a/x", "a/y"])),
        (["a/b/x", "a/b/y", "a/c/z", "a/w"], ("a", ["b/x", "b/y", "c/z", "w"])),
        (["/a/x", "b/y", "b/z", "b/w"], ("", ["/a/x", "b/y", "b/z", "b/w"])),
        (["x", "y", "z", "w"], ("", ["x", "y", "z", "w"])),
    ],
)
def test_what_many_paths_share_is_said_once(paths: list[str], found: tuple[str, list[str]]) -> None:
    assert below(paths) == found


def test_a_run_ends_no_sooner_than_it_began_whatever_the_clock_did(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "callboard.db")) as store:
        bench = Bench(lambda: store)
        number, fence = bench.owned(at=3.0e9)
        store.commit([Write(number, fence, -6.0e8, [FACT], status=5)])
        told = summary(store, store.find_run(number))
    assert (told["created"], told["ended"]) == ("2065-01-24T05:20:00.000Z",) * 2
    assert told["updated"] == told["created"]


def test_a_task_that_is_tried_again_says_when() -> None:
    assert brief(f"retry at {1_796_060_208.25:.16g}") == "retry at 2026-11-30T17:36:48.250Z"
    assert brief(f"retry at {-363_939_791.5:.16g}") == "retry at 1958-06-20T17:36:48.500Z"
