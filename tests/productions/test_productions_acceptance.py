"""Snippets A-1 … A-11 and A-19 of the specification, in the seed's words, run in an empty directory."""

from __future__ import annotations

import csv
import importlib.util
import warnings
from pathlib import Path

import pytest

from callboard import ProductionManager, create_production, load_production
from callboard.errors import NotFound
from callboard.productions import config

CONFIG = """\
# Example production configuration
name: "profiles"
project_home: "./project-home"
production_dir: "productions"
id_format: "{name}_{id:05d}"
document_pattern: "document_{id}_{type}.{suffix}"
settings_dir: "settings"
# Define the steps (processing stages) for this production
steps:
  - "input"      # Initial data
  - "analysis"   # Analysis results
  - "summary"    # Final summaries
  - "export"     # Exportable content
# Additional production-specific settings
metadata:
  description: "Customer profile analysis production"
  version: "1.0"
  owner: "Marketing Team"
"""
COLUMNS = ["instance_id", "name", "created_at", "updated_at", "status", "metadata", "path"]
HOME = Path("project-home/productions/profiles")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("production_config.yml").write_text(CONFIG)


def records() -> list[dict[str, str]]:
    with (HOME / "settings/production_db.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def everything() -> dict[str, bytes | None]:
    paths = sorted(Path().rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def test_a_1_the_example_configuration_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pm = ProductionManager("production_config.yml")
    values = pm.config.as_dict()
    assert len(values) == 8
    assert values["steps"] == ["input", "analysis", "summary", "export"]
    assert values["metadata"] == {
        "description": "Customer profile analysis production",
        "version": "1.0",
        "owner": "Marketing Team",
    }
    assert pm.warnings == []


def test_a_2_a_configuration_with_only_a_name_has_the_defaults() -> None:
    Path("small.yml").write_text("name: profiles\n")
    assert config.settle(config.read("small.yml")).as_dict() == {
        "name": "profiles",
        "project_home": "./project-home",
        "production_dir": "productions",
        "id_format": "{name}_{id:05d}",
        "document_pattern": "document_{id}_{type}.{suffix}",
        "settings_dir": "settings",
        "steps": ["input", "process", "output"],
        "metadata": {},
    }


def test_a_3_making_a_manager_creates_nothing() -> None:
    before = everything()
    # Create from configuration file
    pm = ProductionManager("production_config.yml")
    assert pm.config.name == "profiles"
    assert everything() == before


def test_a_4_a_manager_from_a_mapping_has_its_steps_and_the_other_defaults() -> None:
    # Or create with dictionary
    pm = ProductionManager(config_dict={
        "name": "profiles",
        "project_home": "./project-home",
        "steps": ["input", "analysis", "output"]
    })  # fmt: skip
    assert pm.config.steps == ("input", "analysis", "output")
    assert (pm.config.production_dir, pm.config.settings_dir) == ("productions", "settings")
    assert (pm.config.id_format, pm.config.metadata) == ("{name}_{id:05d}", {})


def test_a_5_the_structure_is_made_once() -> None:
    pm = ProductionManager("production_config.yml")
    # Initialize directory structure
    path = pm.initialize_structure()
    assert path == HOME.resolve()
    assert (HOME / "settings/production_db.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert (HOME / "settings/production_config.yml").is_file()
    before = everything()
    assert pm.initialize_structure() == path
    assert everything() == before


def test_a_6_an_instance_has_an_id_a_directory_for_each_step_and_a_row() -> None:
    pm = ProductionManager("production_config.yml")
    # Create a new instance
    instance_id = pm.create_instance(metadata={"source": "API"})
    assert instance_id == "00001"
    assert {path.name for path in (HOME / "profiles_00001").iterdir()} == {"input", "analysis", "summary", "export"}
    (row,) = records()
    assert (row["instance_id"], row["name"], row["status"]) == ("00001", "profiles_00001", "created")
    assert row["metadata"] == '{"source":"API"}'
    assert row["path"] == "./project-home/productions/profiles/profiles_00001"
    assert row["created_at"].endswith("+00:00")
    assert pm.create_instance() == "00002"


def saved(pm: ProductionManager) -> Path:
    instance_id = pm.create_instance(metadata={"source": "API"})
    # Save a document
    return pm.save_document(
        instance_id=instance_id,
        document_type="raw",
        content="Sample content",
        suffix="txt",
        step="input"
    )  # fmt: skip


def test_a_7_a_document_is_saved_under_its_name() -> None:
    path = saved(ProductionManager("production_config.yml"))
    assert path == (HOME / "profiles_00001/input/document_00001_raw.txt").resolve()
    assert path.read_text() == "Sample content"


def test_a_8_documents_are_found_by_type() -> None:
    pm = ProductionManager("production_config.yml")
    path = saved(pm)
    # Find documents by type
    documents = pm.find_documents(document_type="summary")
    assert documents == []
    (found,) = pm.find_documents(document_type="raw")
    assert found.path == path


def test_a_9_what_was_made_by_hand_is_taken_up() -> None:
    pm = create_production("production_config.yml")
    by_hand = HOME / "profiles_00007/input"
    by_hand.mkdir(parents=True)
    (by_hand / "document_00007_raw.txt").write_text("by hand")
    # Update database from filesystem
    assert pm.update_productions() == {"added": 1, "updated": 0, "missing": 0}
    assert [row["instance_id"] for row in records()] == ["00007"]
    assert pm.create_instance() == "00008"


@pytest.mark.parametrize("with_pandas", [True, False])
def test_a_10_instances_are_listed_as_a_table(with_pandas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_pandas:
        monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    elif importlib.util.find_spec("pandas") is None:
        pytest.skip("pandas is not installed")
    pm = ProductionManager("production_config.yml")
    saved(pm)
    # List all instances
    instances_df = pm.list_instances()
    assert list(instances_df.columns) == COLUMNS
    assert list(instances_df["instance_id"]) == ["00001"]
    assert list(instances_df["metadata"]) == [{"source": "API"}]
    assert (type(instances_df).__name__ == "DataFrame") is with_pandas


def test_a_11_a_production_is_created_and_loaded() -> None:
    with pytest.raises(NotFound, match="create_production") as missing:
        load_production("production_config.yml")
    assert isinstance(missing.value, FileNotFoundError)
    # Create a new production
    pm = create_production("production_config.yml")
    # Load existing production
    loaded = load_production("production_config.yml")
    assert pm.dir == loaded.dir == HOME.resolve()


def test_a_19_ids_may_have_more_than_five_digits() -> None:
    pm = create_production("production_config.yml")
    assert [pm.names.instance(number) for number in (1, 123456)] == ["profiles_00001", "profiles_123456"]
    for number in (1, 123456):
        (HOME / pm.names.instance(number)).mkdir()
    assert pm.update_productions()["added"] == 2
    assert [found.instance_id for found in pm.instances()] == ["00001", "123456"]
