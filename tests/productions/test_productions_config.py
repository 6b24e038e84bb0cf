"""A production's configuration: what is taken, what is refused, and where the fault stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from callboard.errors import InvalidFile, NotFound, UsageError
from callboard.productions import config
from callboard.productions.manager import ProductionManager, create_production, load_production


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settled(text: str) -> config.ProductionConfig:
    return config.settle(config.parse(text.encode(), "p.yml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [a]", "p.yml:1:1: a production needs the key 'name'"),
        ('name: ""', "p.yml:1:7: a production needs the key 'name'"),
        ("name:", "needs the key 'name'"),
        ("name: 2024", "p.yml:1:7: 'name' must be text, not 2024\n  fix: quote the value"),
        ("- name", "a production's configuration is a mapping"),
        ("name: ../up", "p.yml:1:7: name: .*'/'"),
        ("name: .hidden", "must not begin with a dot"),
        ("name: CON", "device on Windows"),
        ("name: a\nproduction_dir: /etc", "production_dir: "),
        ("name: a\nsettings_dir: ..", "settings_dir: "),
        ("name: a\nsteps: []", "p.yml:2:8: 'steps' must be a list of at least one name"),
        ("name: a\nsteps: input", "'steps' must be a list"),
        ("name: a\nsteps: [x, 1]", "'steps' must be a list"),
        ("name: a\nsteps: [x, ../y]", "'/'"),
        ("name: a\nsteps: [Input, input]", "differ by more than upper and lower case"),
        ("name: a\nid_format: plain", r"p.yml:2:12: .*must contain \{id\}"),
        ('name: a\nid_format: "{name.__class__}_{id}"', "unknown token"),
        ('name: a\nid_format: "{id:0999999999d}"', "only {id} takes a form"),
        ('name: a\nid_format: ".{id}"', "must not begin with a dot"),
        ('name: a\nid_format: "x/{id}"', "'/'"),
        ('name: a\ndocument_pattern: "{type}"', r"must contain \{suffix\}"),
        ('name: a\ndocument_pattern: "../{type}.{suffix}"', "'/'"),
        ('name: a\nid_format: "s{id}"\nsettings_dir: s12', "could be the name of an instance"),
        ("name: a\nmetadata: note", "'metadata' must be a mapping"),
        ("name: a\nhome: x\nproject_home: y", "'project_home' and 'home' mean the same and differ"),
        ("name: a\nproject_home: ' '", "project_home: a directory must be named"),
        ("name: a\nname: b", "stands here twice"),
        ("name: !!python/object:os.system x", "tags"),
        ("name: {name}_x", "unquoted value begins with a brace"),
    ],
)
def test_a_faulty_configuration_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidFile, match=message.replace("{id}", r"\{id\}") if r"\{" not in message else message):
        settled(text)


def test_home_is_another_word_for_project_home() -> None:
    assert settled("name: a\nhome: there").project_home == "there"


def test_an_empty_value_is_a_default() -> None:
    assert settled("name: a\nmetadata:\nsteps:\n").steps == ("input", "process", "output")


def test_an_unknown_key_is_a_warning_with_the_key_that_was_probably_meant() -> None:
    Path("p.yml").write_text("name: a\nstep: [x]\n")
    with pytest.warns(UserWarning, match=r"p\.yml:2:1: unknown key 'step' .*; did you mean 'steps'\?"):
        pm = ProductionManager("p.yml")
    assert len(pm.warnings) == 1


def test_keys_of_a_mapping_stand_above_those_of_a_file() -> None:
    Path("p.yml").write_text("name: a\nhome: there\nsteps: [x]\n")
    pm = ProductionManager(Path("p.yml"), config_dict={"steps": ["y"], "project_home": "here"})
    assert (pm.config.name, pm.config.steps, pm.config.project_home) == ("a", ("y",), "here")


@pytest.mark.parametrize(("given", "error"), [({}, InvalidFile), ({"name": "a/b"}, InvalidFile), (None, UsageError)])
def test_a_faulty_mapping_is_refused(given: dict[str, object] | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        ProductionManager(config_dict=given)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/p\.yml"):
        ProductionManager("nowhere/p.yml")


def test_relative_paths_are_seen_from_where_the_manager_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pm = ProductionManager(config_dict={"name": "a", "project_home": "home"})
    monkeypatch.chdir("/")
    assert pm.initialize_structure() == tmp_path / "home/productions/a"


# ── the production's own copy ───────────────────────────────────────────────────────────────────────────


def test_a_production_can_be_opened_from_its_own_directory() -> None:
    given = {"name": "a", "steps": ["x", "y"], "metadata": {"note": "no: really"}, "settings_dir": "about"}
    made = create_production(given)
    loaded = load_production(made.dir)
    assert loaded.config == made.config
    assert loaded.dir == made.dir


def test_a_production_that_was_moved_is_itself_in_its_new_place(tmp_path: Path) -> None:
    made = create_production({"name": "a", "steps": ["x"]})
    id = made.create_instance({"n": 1})
    made.save_document(id, "raw", "text")
    shutil.move(made.dir, tmp_path / "elsewhere")
    moved = load_production("elsewhere")
    assert moved.update_productions() == {"added": 0, "updated": 1, "missing": 0}
    assert moved.load_document(id, "raw") == "text"
    assert moved.get_instance(id).path == "elsewhere/a_00001"
    assert moved.get_instance(id).metadata == {"n": 1}


def test_a_directory_without_a_configuration_is_no_production(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no production"):
        load_production(tmp_path)


def test_a_mapping_without_steps_takes_those_of_the_production_that_stands() -> None:
    create_production({"name": "a", "steps": ["x", "y"], "metadata": {"owner": "me"}})
    again = ProductionManager(config_dict={"name": "a"})
    assert (again.config.steps, again.config.metadata, again.warnings) == (("x", "y"), {"owner": "me"}, [])


def test_a_users_file_stands_above_the_copy_with_a_warning() -> None:
    create_production({"name": "a", "steps": ["x", "y"]})
    Path("p.yml").write_text("name: a\nsteps: [x, z]\n")
    with pytest.warns(UserWarning, match="set up with other values of steps; yours are used"):
        pm = ProductionManager("p.yml")
    assert pm.config.steps == ("x", "z")
    pm.initialize_structure()
    assert ProductionManager("p.yml").warnings == []


def test_comments_in_the_copy_survive_a_second_setup() -> None:
    pm = create_production({"name": "a"})
    copy = pm.settings_dir / config.FILE
    copy.write_text(copy.read_text() + "# a note\n")
    pm.initialize_structure()
    assert copy.read_text().endswith("# a note\n")


def test_a_damaged_copy_is_written_again() -> None:
    pm = create_production({"name": "a"})
    (pm.settings_dir / config.FILE).write_text("name: [")
    create_production({"name": "a"})
    assert load_production(pm.dir).config == pm.config
