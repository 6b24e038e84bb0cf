"""A project that is full, at the command line: exit code 9, when to come again, and a person who gets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.core.facts import Heard, encode
from callboard.errors import Busy
from callboard.ports import Bounds
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from doors_desk import Desk

WAITS = """
    name: Waits
    pipe:
      - {name: release, type: human, question: May this go out?}
"""


@pytest.fixture
def full(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A project with two runs that wait, and room for no other."""
    desk.write("waits.ai", WAITS)
    monkeypatch.setenv("CALLBOARD_MOST_RUNS", "2")
    for id in ("one", "two"):
        desk.good("run", "waits.ai", "--id", id, code=4)
    return desk


def test_another_run_is_refused_with_9_and_the_time_to_try_again(full: Desk) -> None:
    said = full.good("run", "waits.ai", "--id", "three", code=9)
    assert "2 that have not ended are as many as a project may have" in said.err
    assert "try again in 5 s" in said.err and "CALLBOARD_MOST_RUNS" in said.err and not said.out
    told = full.call("run", "waits.ai", "--json")
    assert told.code == told.json["exit_code"] == 9
    assert (told.json["error"], told.json["retry_after"]) == ("Busy", 5.0)
    assert [run["id"] for run in full.json("ls")] == ["two", "one"]


def test_when_one_has_ended_there_is_room(full: Desk) -> None:
    full.good("run", "waits.ai", "--id", "three", code=9)
    full.good("cancel", "one")
    full.good("run", "waits.ai", "--id", "three", code=4)
    full.good("run", "waits.ai", "--id", "two", code=4)  # it is known


def test_who_is_refused_leaves_no_instance_behind(full: Desk) -> None:
    full.write("cards.yml", "name: cards\nsteps: [cards]\n")
    full.good("run", "waits.ai", "--production", "cards.yml", code=9)
    assert not [path for path in full.here.rglob("cards_*")]


def test_a_person_is_heard_by_a_run_whose_inbox_is_full_of_events(full: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteStore(full.here / ".callboard/callboard.db", bounds=Bounds(letters=3))
    store.append(1, [(str(n), encode(Heard("news", n))) for n in range(3)], 1.0)
    with pytest.raises(Busy):
        store.append(1, [("more", encode(Heard("news", 3)))], 1.0)
    store.close()
    monkeypatch.setenv("CALLBOARD_MOST_RUN_LETTERS", "3")
    monkeypatch.setenv("CALLBOARD_MOST_LETTERS", "3")
    full.good("pause", "one")
    full.good("cancel", "one")
    assert full.json("show", "one")["status"] == "stopped"


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "²"])
def test_a_bound_that_is_no_number_is_a_wrong_setting(desk: Desk, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("waits.ai", WAITS)
    monkeypatch.setenv("CALLBOARD_MOST_RUNS", value)
    said = desk.good("run", "waits.ai", code=2)
    assert "CALLBOARD_MOST_RUNS" in said.err and "no number from 1 up" in said.err
