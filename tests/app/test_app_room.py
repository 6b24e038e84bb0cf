"""A step whose document finds no room has not failed: its run pauses, and goes on with the answer it has."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from callboard.app.commands import playing
from callboard.app.commands.carry import carry_out
from callboard.app.commands.submit import submit_pipeline
from callboard.app.settings import Settings
from callboard.app.views import run as views
from callboard.app.views.runs import runs
from callboard.app.wiring import open_house
from callboard.battery.workloads import FILE, workload
from callboard.core.status import SUCCESS
from callboard.errors import NoRoom
from callboard.store import room, whole

if TYPE_CHECKING:
    from pathlib import Path

SHOW = """
name: Show
pipe:
  - {name: gist, type: llm, tmpl: "Summarise: {{input}}", output_file: gist.md}
  - {name: last, type: llm, tmpl: "One line", output_file: last.md}
"""
SETTINGS = Settings(model="offline", offline_ledger="provider.jsonl")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "show.ai").write_text(SHOW)
    return tmp_path


def test_a_document_without_room_pauses_the_run_and_nothing_is_asked_twice(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = open_house(SETTINGS, here=here, make=True)
    said: list[str] = []
    create = whole.create

    def full(directory: Path, name: str, data: bytes, *, synced: bool = True) -> bool:
        if synced and not any(state == "paused" for state in said):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(directory, name, data, synced=synced)

    try:
        row = submit_pipeline(house, here / "show.ai", "a text")
        monkeypatch.setattr(whole, "create", full)
        left = asyncio.run(carry_out(house, [row.number], report=lambda state, why: said.append(state)))
    finally:
        house.close()
    assert left[row.number].status is SUCCESS
    assert said[:2] == ["paused", "running"]
    assert (here / "gist.md").exists() and (here / "last.md").exists()
    assert len((here / "provider.jsonl").read_text().splitlines()) == 2
    assert (here / ".callboard/run/reserve").stat().st_size == room.SIZE


def test_on_a_full_disk_nothing_new_is_recorded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = open_house(SETTINGS, here=here, make=True)

    def full(file: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(room, "allocate", full)
    try:
        with pytest.raises(NoRoom, match=r"nothing new is begun in .*: the disk is full"):
            submit_pipeline(house, here / "show.ai", "a text")
        assert list(house.store.runs()) == []
    finally:
        house.close()


def test_a_project_without_room_is_not_made(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(room, "allocate", full)
    with pytest.raises(NoRoom, match="which takes 14 MB to begin with: the disk is full"):
        open_house(SETTINGS, here=here, make=True)
    assert sorted(os.listdir(here)) == ["show.ai"]


def test_who_looks_is_told_why_a_run_has_paused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = open_house(SETTINGS, here=here, make=True)
    try:
        row = submit_pipeline(house, here / "show.ai", "a text")
        for owned, because in (True, "paused: the disk is full"), (False, "no engine"):
            told = runs(house.store, is_owned=lambda row, owned=owned: owned, room="the disk is full")  # type: ignore[misc]
            assert [one["because"] for one in told] == [because]
        shown = views.show(house.store, row, alive=house.is_alive, room="the disk is full")
        assert json.dumps(shown["because"]) == '"no engine"'
    finally:
        house.close()


def test_a_production_that_cannot_be_told_hears_of_it_later(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = workload("production")
    show.lay_out(here)
    house = open_house(SETTINGS, here=here, make=True)
    said: list[str] = []
    tell = playing._tell

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    try:
        row = submit_pipeline(house, here / FILE, show.text)
        monkeypatch.setattr(playing, "_tell", full)
        left = asyncio.run(carry_out(house, [row.number], report=lambda state, why: said.append(why)))
        assert left[row.number].status is SUCCESS
        assert said == ["the production is told later how it ended: No space left on device"]
        assert [one.id for one in house.store.list(playing.PROMISE)] == [str(row.number)]
        monkeypatch.setattr(playing, "_tell", tell)
        playing.tell_rest(house)
        assert list(house.store.list(playing.PROMISE)) == []
    finally:
        house.close()
