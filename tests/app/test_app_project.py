"""Projects and settings: where a project is found, who may read it, and what the environment says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.app import project as projects
from callboard.app.settings import Settings, from_environment
from callboard.app.wiring import open_house
from callboard.errors import NotFound, StoreRefused, UsageError
from callboard.store.sql import schema

if TYPE_CHECKING:
    from pathlib import Path


def test_a_project_is_found_upwards(tmp_path: Path) -> None:
    made = projects.find_or_make(None, tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert made.made and projects.find(None, deep) == projects.Project(tmp_path, tmp_path / ".callboard")
    assert projects.find_or_make(None, deep).root == tmp_path


def test_a_named_project_is_made_there_and_nowhere_else(tmp_path: Path) -> None:
    projects.find_or_make(None, tmp_path)
    inner = projects.find_or_make(str(tmp_path / "inner"), tmp_path)
    assert inner.root == tmp_path / "inner"


def test_only_its_owner_may_look_into_a_project(tmp_path: Path) -> None:
    home = projects.find_or_make(None, tmp_path).home
    assert {path.stat().st_mode & 0o777 for path in (home, *home.iterdir())} == {0o700}


def test_looking_for_a_project_makes_none(tmp_path: Path) -> None:
    assert projects.find(None, tmp_path) is None
    with pytest.raises(NotFound, match="callboard run FILE"):
        projects.need(None, tmp_path)
    with pytest.raises(NotFound, match="is no project"):
        projects.find(str(tmp_path), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_place_where_no_project_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / ".callboard").touch()
    with pytest.raises(UsageError, match="no project can be made at"):
        projects.find_or_make(None, tmp_path)


def test_what_is_given_beats_the_environment() -> None:
    environ = {"CALLBOARD_MODEL": "a", "CALLBOARD_PROJECT": "p", "CALLBOARD_OFFLINE_LATENCY": "0.5"}
    assert from_environment(environ, model="b").model == "b"
    assert from_environment(environ)[:2] == ("p", "a")
    assert from_environment(environ).offline_latency == 0.5


def test_an_environment_that_makes_no_sense_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="CALLBOARD_OFFLINE_LATENCY"):
        from_environment({"CALLBOARD_OFFLINE_LATENCY": "soon"})


def test_keys_are_taken_by_name_and_templates_see_only_what_is_meant_for_them() -> None:
    environ = {"OPENAI_API_KEY": "sk", "AWS_SECRET": "no", "LANG": "C", "CALLBOARD_VAR_X": "1", "HOME": "/h"}
    settings = from_environment(environ)
    assert settings.keys == {"OPENAI_API_KEY": "sk"}
    assert settings.shown == {"LANG": "C", "CALLBOARD_VAR_X": "1"}


def server(tmp_path: Path, **settings: object) -> tuple[str, str]:
    """Where a model that nobody knows by name is asked, and with which key."""
    house = open_house(Settings(**settings), here=tmp_path, memory=True)  # type: ignore[arg-type]
    provider = house.gateway.choose("some-model").provider
    return provider.base_url, provider.key


def test_a_server_of_ones_own_gets_the_key_that_was_given_for_it_and_no_other(tmp_path: Path) -> None:
    url, openai = "http://127.0.0.1:9/v1", {"OPENAI_API_KEY": "sk"}
    assert server(tmp_path, base_url=url, keys=openai) == (url, "")
    assert server(tmp_path, base_url=url, keys=openai | {"CALLBOARD_API_KEY": "k"}) == (url, "CALLBOARD_API_KEY")


def test_another_address_of_openai_is_for_its_models_only(tmp_path: Path) -> None:
    house = open_house(Settings(openai_url="https://proxy.example.org/v1"), here=tmp_path, memory=True)
    assert house.gateway.choose("gpt-4o").provider.base_url == "https://proxy.example.org/v1"
    assert "proxy" not in house.gateway.choose("gemini-2.0-flash").provider.base_url


def test_whoever_looks_brings_an_older_project_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_house(Settings(), here=tmp_path, make=True).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (a INTEGER) STRICT"))
    house = open_house(Settings(), here=tmp_path, readonly=True)
    assert house.store.runs() == []
    house.close()


def test_a_project_of_a_newer_version_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (a INTEGER) STRICT"))
        open_house(Settings(), here=tmp_path, make=True).close()
    with pytest.raises(StoreRefused, match="newer"):
        open_house(Settings(), here=tmp_path, readonly=True)
