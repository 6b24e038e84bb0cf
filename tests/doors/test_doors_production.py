"""`callboard production …`: containers of instances, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

HOME = "project-home/productions/profiles"


@pytest.fixture(autouse=True)
def _config(desk: Desk) -> None:
    desk.write("profiles.yml", "name: profiles\nsteps: [input, analysis]\n")


def test_setup_may_be_said_again(desk: Desk) -> None:
    for _ in range(2):
        assert desk.good("production", "setup", "profiles.yml").out.strip().endswith(HOME)
    assert (desk.here / HOME / "settings/production_db.csv").is_file()


def test_new_prints_the_id_alone(desk: Desk) -> None:
    assert desk.good("production", "new", "profiles.yml").out == "00001\n"
    assert desk.json("production", "new", "profiles.yml") == {"instance_id": "00002"}


def test_list_shows_a_line_for_each(desk: Desk) -> None:
    desk.good("production", "new", "profiles.yml")
    said = desk.good("production", "list", "profiles.yml")
    assert "profiles_00001" in said.out and "\u241b" not in said.out
    assert [one["status"] for one in desk.json("production", "list", "profiles.yml")] == ["created"]
    assert desk.json("production", "list", "profiles.yml", "--status", "failed") == []


def test_update_finds_what_was_made_by_hand(desk: Desk) -> None:
    desk.good("production", "setup", "profiles.yml")
    desk.write(f"{HOME}/profiles_00007/input/document_00007_raw.txt", "x")
    assert desk.json("production", "update", "profiles.yml")["added"] == 1
    assert desk.good("production", "new", "profiles.yml").out == "00008\n"


def test_find_finds_documents(desk: Desk) -> None:
    desk.good("production", "setup", "profiles.yml")
    desk.write(f"{HOME}/profiles_00007/input/document_00007_raw.txt", "x")
    desk.good("production", "update", "profiles.yml")
    found = desk.json("production", "find", "profiles.yml", "--document-type", "raw")
    assert [(one["instance_id"], one["step"]) for one in found] == [("00007", "input")]
    assert desk.good("production", "find", "profiles.yml", "--step", "analysis").out.strip() == ""


def test_a_production_that_is_not_there_says_how_to_make_it(desk: Desk) -> None:
    said = desk.call("production", "list", "profiles.yml")
    assert said.code == 8
    assert desk.call("production", "setup", "nowhere.yml").code == 8
    assert not (desk.here / "project-home").exists()


@pytest.mark.parametrize("text", ["steps: [a]\n", "name: ../up\n", "name: [\n", "name: a\nid_format: x\n"])
def test_a_wrong_configuration_is_told_with_its_file(desk: Desk, text: str) -> None:
    desk.write("wrong.yml", text)
    said = desk.call("production", "setup", "wrong.yml")
    assert said.code == 2 and "wrong.yml" in said.err
    assert not (desk.here / "project-home").exists()


def test_an_unknown_key_of_a_configuration_is_a_warning_a_person_can_read(desk: Desk) -> None:
    desk.write("odd.yml", "name: x\nstpes: [a]\n")
    said = desk.spawn("production", "setup", "odd.yml")
    assert said.code == 0
    assert "warning: odd.yml:2:1: unknown key 'stpes'" in said.err and "did you mean 'steps'?" in said.err
    assert ".py" not in said.err and "UserWarning" not in said.err


def test_a_verb_that_needs_another_shows_them(desk: Desk) -> None:
    said = desk.call("production")
    assert said.code == 2 and said.err.startswith("Usage: ") and said.err.count("Usage") == 1
    assert "error" not in said.err and "update" in said.err
