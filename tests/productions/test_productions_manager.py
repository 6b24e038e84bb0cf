"""The manager: instances, documents, and an index that follows the disk whatever people do to either."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import Conflict, InvalidFile, InvalidName, NotFound, NotJson, Refused, UsageError
from callboard.productions.manager import ProductionManager, create_production, load_production

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self, wall: float) -> None:
        self.wall = wall

    def __call__(self) -> float:
        return self.wall


@pytest.fixture
def clock() -> Clock:
    return Clock(4_000_000_000.0)  # later than the times of any file here


@pytest.fixture
def pm(tmp_path: Path, clock: Clock) -> ProductionManager:
    return ProductionManager(
        config_dict={"name": "p", "project_home": str(tmp_path), "steps": ["in", "out"]}, clock=clock
    )


def index_of(pm: ProductionManager) -> Path:
    return pm.settings_dir / "production_db.csv"


def ids(pm: ProductionManager) -> list[str]:
    return [found.instance_id for found in pm.instances()]


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "suffix", "raw", "loaded"),
    [
        ("Grüße\r\n", None, "Grüße\r\n".encode(), "Grüße\r\n"),
        (b"%PDF\xff", "pdf", b"%PDF\xff", b"%PDF\xff"),
        (bytearray(b"x"), ".bin", b"x", "x"),
        ({"a": [1, "é"]}, "json", b'{\n  "a": [\n    1,\n    "\xc3\xa9"\n  ]\n}\n', {"a": [1, "é"]}),
        ({"a": "no"}, "yml", b'a: "no"\n', {"a": "no"}),
        (["x", None], ".yaml", b"- x\n- null\n", ["x", None]),
        ([], None, b"[]\n", []),
        ("", "txt", b"", ""),
        ('{"a": 1}', "json", b'{"a": 1}', {"a": 1}),
    ],
)
def test_content_is_written_as_its_suffix_says(
    pm: ProductionManager, content: Any, suffix: str | None, raw: bytes, loaded: object
) -> None:
    id = pm.create_instance()
    path = pm.save_document(id, "raw", content, suffix)
    assert path.read_bytes() == raw
    assert path.parent.name == "out"  # the last step, when none is named
    assert pm.load_document(id, "raw") == loaded
    assert pm.load_document(id, "raw", raw=True) == raw


@pytest.mark.parametrize(
    ("content", "suffix", "error"),
    [
        ({"a": 1}, "txt", UsageError),
        (5, None, UsageError),
        (None, None, UsageError),
        ({1: 2}, "json", NotJson),
        ([float("inf")], "yml", NotJson),
        ("\ud800", None, NotJson),
    ],
)
def test_content_that_does_not_fit_is_refused_and_nothing_is_written(
    pm: ProductionManager, content: Any, suffix: str | None, error: type[Exception]
) -> None:
    id = pm.create_instance()
    with pytest.raises(error):
        pm.save_document(id, "raw", content, suffix)
    assert pm.find_documents() == []
    assert pm.get_instance(id).status == "created"


def test_an_unknown_step_is_refused_with_the_steps_there_are(pm: ProductionManager) -> None:
    id = pm.create_instance()
    for step in ("inn", "..", "/tmp", "settings"):
        with pytest.raises(InvalidName, match="its steps are in, out"):
            pm.save_document(id, "raw", "x", step=step)
        with pytest.raises(InvalidName, match="its steps are in, out"):
            pm.find_documents(step=step)


@pytest.mark.parametrize("id", ["00009", 9, "p_00009"])
def test_an_unknown_instance_is_not_found(pm: ProductionManager, id: str | int) -> None:
    with pytest.raises(NotFound):
        pm.save_document(id, "raw", "x")
    pm.create_instance()
    for call in (
        pm.get_instance,
        pm.delete_instance,
        lambda id: pm.save_document(id, "raw", "x"),
        lambda id: pm.set_status(id, "done"),
        lambda id: pm.load_document(id, "raw"),
    ):
        with pytest.raises(NotFound):
            call(id)
    assert pm.find_documents(instance_id=id) == []


@pytest.mark.parametrize("id", ["00001", 1, "1", "p_00001"])
def test_an_id_may_be_given_in_four_ways(pm: ProductionManager, id: str | int) -> None:
    pm.create_instance()
    assert pm.save_document(id, "raw", "x").name == "document_00001_raw.txt"
    assert pm.get_instance(id).instance_id == "00001"


def test_a_document_is_replaced_unless_it_must_not_be(pm: ProductionManager) -> None:
    id = pm.create_instance()
    path = pm.save_document(id, "raw", "one")
    assert pm.save_document(id, "raw", "two") == path
    with pytest.raises(Conflict, match="overwrite"):
        pm.save_document(id, "raw", "three", overwrite=False)
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == [path.name]


def test_documents_come_by_id_then_step_then_name_and_are_paths(pm: ProductionManager) -> None:
    for id in (pm.create_instance(), pm.create_instance()):
        for step in ("out", "in"):
            for kind in ("b", "a"):
                pm.save_document(id, kind, f"{id} {step} {kind}", step=step)
    (pm.dir / "p_00001/in/notes.txt").write_text("not a document")
    (pm.dir / "p_00001/in/document_00002_a.txt").write_text("another's")
    found = pm.find_documents()
    assert [(one.instance_id, one.step, one.document_type, one.suffix) for one in found] == [
        (id, step, kind, "txt") for id in ("00001", "00002") for step in ("in", "out") for kind in ("a", "b")
    ]
    with open(found[0]) as file:
        assert file.read() == found[0].read_text() == "00001 in a"
    assert os.fspath(found[0]) == str(found[0]) == str(found[0].path)
    assert len(pm.find_documents("a", step="out", suffix=".txt")) == 2
    assert len(pm.find_documents(instance_id=2)) == 4
    assert pm.find_documents(suffix="json") == []


def test_one_of_several_documents_must_be_named(pm: ProductionManager) -> None:
    id = pm.create_instance()
    pm.save_document(id, "raw", "x", step="in")
    pm.save_document(id, "raw", "y", step="out")
    with pytest.raises(Conflict, match=r"in/document_00001_raw\.txt, out/document_00001_raw\.txt"):
        pm.load_document(id, "raw")
    assert pm.load_document(id, "raw", step="in") == "x"


def test_data_that_is_broken_is_named(pm: ProductionManager) -> None:
    id = pm.create_instance()
    pm.save_document(id, "raw", '{"a": NaN}', "json")
    with pytest.raises(InvalidFile, match=r"document_00001_raw\.json"):
        pm.load_document(id, "raw")


def test_an_archived_instance_takes_no_documents(pm: ProductionManager) -> None:
    id = pm.create_instance()
    assert pm.archive_instance(id).status == "archived"
    with pytest.raises(Refused, match="archived"):
        pm.save_document(id, "raw", "x")
    pm.set_status(id, "active")
    pm.save_document(id, "raw", "x")


# ── instances ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_index_tells_what_happened_when(pm: ProductionManager, clock: Clock) -> None:
    id = pm.create_instance({"source": "API"})
    clock.wall += 60
    pm.save_document(id, "raw", "x")
    found = pm.get_instance(id)
    assert (found.created_at, found.updated_at) == ("2096-10-02T07:06:40+00:00", "2096-10-02T07:07:40+00:00")
    assert (found.status, found.metadata, found.dir) == ("active", {"source": "API"}, pm.dir / "p_00001")
    clock.wall += 60
    assert pm.set_status(id, " on tour ").status == "on tour"
    assert pm.set_metadata(id, {"n": 1}).metadata == {"n": 1}
    assert pm.get_instance(id).updated_at == "2096-10-02T07:08:40+00:00"


@pytest.mark.parametrize("status", ["", " ", "a\nb", "x" * 300, "\x1b[0m"])
def test_a_status_is_a_text_that_people_can_read(pm: ProductionManager, status: str) -> None:
    id = pm.create_instance()
    with pytest.raises(InvalidName):
        pm.set_status(id, status)


def test_nothing_can_be_changed_where_nothing_stands(pm: ProductionManager, tmp_path: Path) -> None:
    for call in (pm.get_instance, pm.delete_instance, lambda id: pm.set_status(id, "done")):
        with pytest.raises(NotFound):
            call(1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_listed_and_nothing_made_where_nothing_stands(pm: ProductionManager, tmp_path: Path) -> None:
    table = pm.list_instances()
    assert (len(table), table.shape) == (0, (0, 7))
    assert (pm.instances(), pm.find_documents()) == ([], [])
    with pytest.raises(NotFound, match="create_production"):
        pm.update_productions()
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_instance_is_gone_and_its_id_never_comes_again(pm: ProductionManager) -> None:
    for _ in range(3):
        pm.create_instance()
    pm.save_document(3, "raw", "x")
    pm.delete_instance(3)
    assert ids(pm) == ["00001", "00002"]
    assert sorted(path.name for path in pm.dir.iterdir()) == ["p_00001", "p_00002", "settings"]
    assert not [path for path in pm.settings_dir.iterdir() if path.name.startswith(".")]
    index_of(pm).unlink()
    assert load_production(pm.dir).create_instance() == "00004"


def test_an_id_that_was_deleted_by_hand_does_not_come_again_either(pm: ProductionManager) -> None:
    pm.create_instance()
    pm.create_instance()
    shutil.rmtree(pm.dir / "p_00002")
    index_of(pm).unlink()
    assert pm.create_instance() == "00003"


def test_vanished_instances_are_missing_until_they_come_back(pm: ProductionManager, tmp_path: Path) -> None:
    pm.create_instance()
    pm.create_instance({"n": 2})
    pm.save_document(2, "raw", "x")
    shutil.move(pm.dir / "p_00002", tmp_path / "away")
    assert pm.update_productions() == {"added": 0, "updated": 0, "missing": 1}
    assert pm.update_productions() == {"added": 0, "updated": 0, "missing": 0}
    assert ids(pm) == ["00001"]
    assert list(pm.list_instances(include_missing=True)["status"]) == ["created", "missing"]
    assert [found.instance_id for found in pm.instances(status="missing")] == ["00002"]
    assert pm.create_instance() == "00003"
    shutil.move(tmp_path / "away", pm.dir / "p_00002")
    assert pm.update_productions() == {"added": 0, "updated": 1, "missing": 0}
    assert (pm.get_instance(2).status, pm.get_instance(2).metadata) == ("active", {"n": 2})
    shutil.rmtree(pm.dir / "p_00001")
    pm.update_productions()
    pm.delete_instance(1)
    assert len(pm.instances(include_missing=True)) == 2


def test_a_scan_sees_what_was_changed_by_hand(pm: ProductionManager, clock: Clock) -> None:
    pm.create_instance()
    (pm.dir / "p_00002").mkdir()
    (pm.dir / "not an instance").mkdir()
    (pm.dir / "p_00003").write_text("a file")
    assert pm.update_productions() == {"added": 1, "updated": 0, "missing": 0}
    assert pm.get_instance(2).status == "created"
    later = clock.wall + 3600
    file = pm.dir / "p_00001/in/document_00001_raw.txt"
    file.write_text("by hand")
    os.utime(file, (later, later))
    assert pm.update_productions() == {"added": 0, "updated": 1, "missing": 0}
    assert pm.get_instance(1).updated_at == "2096-10-02T08:06:40+00:00"
    assert pm.update_productions()["updated"] == 0


def test_an_instance_made_by_hand_can_be_used_before_any_scan(pm: ProductionManager) -> None:
    pm.initialize_structure()
    (pm.dir / "p_00005").mkdir()
    pm.save_document("00005", "raw", "x", step="in")
    assert [(found.instance_id, found.status) for found in pm.instances()] == [("00005", "active")]


def test_a_renamed_instance_keeps_its_id_even_without_the_index(pm: ProductionManager) -> None:
    id = pm.create_instance()
    pm.save_document(id, "raw", "x")
    assert pm.rename_instance(id, "the opening night").dir == pm.dir / "the opening night"
    index_of(pm).unlink()
    again = load_production(pm.dir)
    assert [(found.instance_id, found.name) for found in again.instances()] == [("00001", "the opening night")]
    assert again.load_document("the opening night", "raw") == "x"
    assert again.save_document(1, "other", "y").parent.parent.name == "the opening night"
    assert again.create_instance() == "00002"
    again.rename_instance(1, "p_00001")
    assert pm.update_productions() == {"added": 0, "updated": 0, "missing": 0}


@pytest.mark.parametrize("name", ["settings", "SETTINGS", "p_00002", "p_00007", "..", "a/b", ".hidden", "con", ""])
def test_an_instance_cannot_take_a_name_that_means_something_else(pm: ProductionManager, name: str) -> None:
    pm.create_instance()
    pm.create_instance()
    with pytest.raises(InvalidName):
        pm.rename_instance(1, name)
    assert pm.get_instance(1).name == "p_00001"


def test_an_instance_cannot_take_a_name_that_is_taken(pm: ProductionManager) -> None:
    pm.create_instance()
    (pm.dir / "taken").mkdir()
    with pytest.raises(Conflict):
        pm.rename_instance(1, "taken")


# ── an index that was lost, edited or damaged ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\0garbage", b'instance_id,name\n"00001', b"a,b,c\n1,2,3\n"])
def test_a_damaged_index_is_kept_and_built_anew(pm: ProductionManager, damage: bytes) -> None:
    pm.create_instance()
    pm.save_document(pm.create_instance(), "raw", "x")
    index_of(pm).write_bytes(damage)
    assert [(found.instance_id, found.status) for found in pm.instances()] == [
        ("00001", "created"),
        ("00002", "active"),
    ]
    (kept,) = pm.settings_dir.glob("production_db.csv.damaged-*")
    assert kept.read_bytes() == damage
    assert len(list((pm.settings_dir / "diagnostics").glob("*-index-*.json"))) == 1
    index_of(pm).write_bytes(damage)
    assert pm.create_instance() == "00003"
    assert len(list(pm.settings_dir.glob("production_db.csv.damaged-*"))) == 2


def test_what_can_be_read_of_a_damaged_index_is_kept(pm: ProductionManager) -> None:
    pm.create_instance({"source": "API"})
    pm.set_status(1, "on tour")
    index_of(pm).write_bytes(index_of(pm).read_bytes() + b'00002,"torn')
    assert pm.update_productions() == {"added": 0, "updated": 0, "missing": 0}
    assert (pm.get_instance(1).status, pm.get_instance(1).metadata) == ("on tour", {"source": "API"})


def test_a_lost_index_is_built_anew(pm: ProductionManager) -> None:
    pm.create_instance()
    shutil.rmtree(pm.settings_dir)
    assert ids(
        ProductionManager(config_dict={"name": "p", "project_home": str(pm.project_home), "steps": ["in", "out"]})
    ) == ["00001"]
    assert (pm.settings_dir / "production_config.yml").is_file()


def test_what_people_typed_into_the_index_stays(pm: ProductionManager) -> None:
    pm.create_instance()
    lines = index_of(pm).read_text().splitlines()
    lines = [f"{lines[0]},mood", f"{lines[1].replace('created', 'on tour').replace('00001,', '1,', 1)},good"]
    index_of(pm).write_text("\ufeff" + "\n".join(lines))
    assert pm.create_instance() == "00002"
    pm.update_productions()
    first, second, third = index_of(pm).read_text().splitlines()
    assert first.endswith(",path,mood")
    assert second.startswith("00001,p_00001,") and ",on tour," in second and second.endswith(",good")
    assert third.endswith("p_00002,")


def test_a_time_that_a_person_made_unreadable_is_put_right(pm: ProductionManager) -> None:
    pm.create_instance()
    text = index_of(pm).read_text()
    index_of(pm).write_text(text.replace(pm.get_instance(1).updated_at, "21.11.2026"))
    assert pm.update_productions()["updated"] == 1
    assert pm.get_instance(1).created_at == "21.11.2026"
    assert pm.get_instance(1).updated_at.endswith("+00:00")


@pytest.mark.parametrize("name", ["../../outside", "/etc", "settings", "..", "a\0b"])
def test_a_name_in_the_index_leads_nowhere(pm: ProductionManager, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    pm.create_instance()
    index_of(pm).write_text(index_of(pm).read_text() + f"00002,{name},,,active,{{}},x\n")
    with pytest.raises(NotFound):
        pm.save_document(2, "raw", "x")
    assert pm.find_documents(instance_id=2) == []
    pm.delete_instance(2)
    assert ids(pm) == ["00001"]
    assert outside.is_dir() and pm.settings_dir.is_dir()


# ── for templates ───────────────────────────────────────────────────────────────────────────────────────


def test_templates_get_the_words_of_one_instance(tmp_path: Path) -> None:
    pm = create_production(
        {"name": "p", "project_home": str(tmp_path), "metadata": {"owner": "me", "source": "config"}}
    )
    id = pm.create_instance({"source": "API"})
    assert pm.variables(id, step="input", document_type="raw") == {
        "name": "p",
        "instance_id": "00001",
        "instance_name": "p_00001",
        "instance_dir": str(tmp_path / "productions/p/p_00001"),
        "project_home": str(tmp_path),
        "production_dir": "productions",
        "dir": str(tmp_path / "productions/p"),
        "settings_dir": "settings",
        "step": "input",
        "document_type": "raw",
        "metadata": {"owner": "me", "source": "API"},
    }
    assert pm.variables(1)["step"] == "output"


def test_an_id_may_be_reserved_and_its_instance_made_later_as_often_as_one_likes(tmp_path: Path) -> None:
    production = ProductionManager(config_dict={"name": "cards", "project_home": str(tmp_path), "steps": ["a", "b"]})
    reserved, made = production.reserve_instance(), production.create_instance()
    assert (reserved, made) == ("00001", "00002")
    assert [one.instance_id for one in production.instances()] == ["00002"]
    planned = production.variables(reserved, planned={"by": "us"})
    assert planned["instance_name"] == "cards_00001" and not (production.dir / "cards_00001").exists()
    for _ in range(2):
        assert production.create_instance({"by": "us"}, instance_id=reserved) == reserved
    assert production.variables(reserved) == planned
    (production.dir / "cards_00001" / "b" / "note.txt").write_text("mine")
    (production.dir / "cards_00001" / "a").rmdir()
    production.set_status(reserved, "paused")
    production.create_instance({"by": "them"}, instance_id=reserved)
    found = production.get_instance(reserved)
    assert (found.status, found.metadata) == ("paused", {"by": "us"}), "what is there stays as it is"
    assert sorted(path.name for path in found.dir.iterdir()) == ["a", "b"]
