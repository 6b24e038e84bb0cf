"""Links that lead elsewhere, writers that are killed, processes that race: the disk stays whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from callboard.errors import CallboardError, Conflict, InvalidName, NotFound
from callboard.productions import folder
from callboard.productions.manager import ProductionManager, create_production, load_production

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def pm(tmp_path: Path) -> ProductionManager:
    return create_production({"name": "p", "project_home": str(tmp_path / "home"), "steps": ["in", "out"]})


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of somebody else."""
    (tmp_path / "outside/in").mkdir(parents=True)
    (tmp_path / "outside/in/document_00001_raw.txt").write_text("secret")
    return tmp_path / "outside"


def tree(path: Path) -> dict[str, str]:
    return {str(file): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


# ── links ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_that_is_a_link_is_none(pm: ProductionManager, outside: Path) -> None:
    before = tree(outside)
    (pm.dir / "p_00001").symlink_to(outside)
    assert pm.update_productions() == {"added": 0, "updated": 0, "missing": 0}
    assert pm.find_documents() == []
    with pytest.raises(NotFound):
        pm.save_document(1, "raw", "x", step="in")
    with pytest.raises(NotFound):
        pm.delete_instance(1)
    assert pm.create_instance() == "00002"
    assert tree(outside) == before


def test_a_step_that_is_a_link_is_not_entered(pm: ProductionManager, outside: Path) -> None:
    before = tree(outside)
    id = pm.create_instance()
    (pm.dir / "p_00001/in").rmdir()
    (pm.dir / "p_00001/in").symlink_to(outside / "in")
    with pytest.raises(InvalidName, match="links are not followed"):
        pm.save_document(id, "raw", "x", step="in")
    assert pm.find_documents() == []
    assert pm.update_productions()["missing"] == 0
    pm.delete_instance(id)
    assert tree(outside) == before


def test_a_document_that_is_a_link_is_not_read_and_is_replaced_itself(pm: ProductionManager, outside: Path) -> None:
    before = tree(outside)
    id = pm.create_instance()
    link = pm.dir / "p_00001/in/document_00001_raw.txt"
    link.symlink_to(outside / "in/document_00001_raw.txt")
    assert pm.find_documents() == []
    with pytest.raises(Conflict):
        pm.save_document(id, "raw", "x", step="in", overwrite=False)
    assert pm.save_document(id, "raw", "ours", step="in") == link
    assert not link.is_symlink()
    assert tree(outside) == before


@pytest.mark.parametrize("name", ["production_db.csv", "production_db.csv.lock", "production_config.yml", "last_id"])
def test_a_file_of_the_settings_that_is_a_link_is_not_followed(pm: ProductionManager, outside: Path, name: str) -> None:
    before = tree(outside)
    (pm.settings_dir / name).unlink(missing_ok=True)
    (pm.settings_dir / name).symlink_to(outside / "in/document_00001_raw.txt")
    for call in (pm.create_instance, pm.list_instances, pm.initialize_structure, pm.update_productions):
        try:
            call()
        except CallboardError as error:
            assert "link" in str(error)
    assert tree(outside) == before


def test_settings_that_are_a_link_are_refused(tmp_path: Path, outside: Path) -> None:
    before = tree(outside)
    (tmp_path / "home/productions/p").mkdir(parents=True)
    (tmp_path / "home/productions/p/settings").symlink_to(outside)
    pm = ProductionManager(config_dict={"name": "p", "project_home": str(tmp_path / "home")})
    for call in (pm.initialize_structure, pm.create_instance, pm.update_productions):
        with pytest.raises(InvalidName, match="links are not followed"):
            call()
    assert tree(outside) == before


def test_deleting_removes_links_and_not_what_they_lead_to(pm: ProductionManager, outside: Path) -> None:
    before = tree(outside)
    id = pm.create_instance()
    (pm.dir / "p_00001/in/link").symlink_to(outside)
    pm.delete_instance(id)
    assert tree(outside) == before


def test_a_pipe_is_no_document_and_holds_nobody_up(pm: ProductionManager) -> None:
    pm.create_instance()
    os.mkfifo(pm.dir / "p_00001/in/document_00001_raw.txt")
    assert pm.find_documents() == []
    with folder.opened(pm.dir, "p_00001", "in") as place, pytest.raises(InvalidName, match="no regular file"):
        folder.read(place, "document_00001_raw.txt")


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "a/b", "../x", "a\0b"])
def test_only_single_names_reach_the_disk(tmp_path: Path, name: str) -> None:
    calls: list[Callable[[int], object]] = [
        lambda place: folder.read(place, name),
        lambda place: folder.write(place, name, b""),
        lambda place: folder.make_directory(place, name),
        lambda place: folder.remove_tree(place, name),
        lambda place: folder.remove(place, name),
        lambda place: folder.move_directory(place, "x", place, name),
    ]
    with folder.opened(tmp_path) as place:
        for call in calls:
            with pytest.raises(InvalidName):
                call(place)
        assert not folder.holds_directory(place, name)
    with pytest.raises(InvalidName), folder.opened(tmp_path, name):
        pass


# ── whole or not at all ─────────────────────────────────────────────────────────────────────────────────


def test_what_a_killed_writer_left_is_no_document_and_is_cleared_away(pm: ProductionManager) -> None:
    id = pm.create_instance()
    old, new = (pm.dir / f"p_00001/in/.callboard-{letter * 16}.tmp" for letter in "ab")
    for file in (old, new, pm.settings_dir / old.name):
        file.write_text("half")
    for file in (old, pm.settings_dir / old.name):
        os.utime(file, (1, 1))
    assert pm.find_documents(instance_id=id) == []
    pm.update_productions()
    assert (old.exists(), new.exists(), (pm.settings_dir / old.name).exists()) == (False, True, False)


def test_a_failed_write_leaves_the_old_document_and_nothing_else(pm: ProductionManager) -> None:
    id = pm.create_instance()
    path = pm.save_document(id, "raw", "old")
    path.unlink()
    path.mkdir()  # a directory cannot be replaced by a file
    with pytest.raises(IsADirectoryError):
        pm.save_document(id, "raw", "new")
    assert os.listdir(path.parent) == [path.name]


WRITER = """
import sys
from callboard.productions.manager import create_production
pm = create_production({"name": "p", "project_home": sys.argv[1], "steps": ["in"]})
shared = pm.create_instance()
for n in range(10_000):
    id = pm.create_instance({"n": n})
    pm.save_document(id, "raw", {"n": n}, "json")
    pm.save_document(shared, "big", chr(97 + n % 26) * 300_000)
    print(id, n, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 5, 11])
def test_a_kill_leaves_whole_documents_and_an_index_that_can_be_rebuilt(tmp_path: Path, lines: int) -> None:
    with running(WRITER, str(tmp_path)) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().split() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        told += [line.split() for line in writer.stdout.read().splitlines()]
    acknowledged = {id: int(n) for id, n in told}
    a_day_later = time.time() + 86_400
    pm = ProductionManager(tmp_path / "productions/p", clock=lambda: a_day_later)
    assert {"00001", *acknowledged} <= {found.instance_id for found in pm.instances()}
    for lost in (False, True):
        if lost:
            (pm.settings_dir / "production_db.csv").unlink()
        pm.update_productions()
        assert {path.name for path in pm.dir.iterdir()} == {"settings", *(found.name for found in pm.instances())}
        assert not list(pm.dir.rglob(".callboard-*"))
        big = pm.load_document("00001", "big")
        assert len(big) == 300_000 and len(set(big)) == 1
        found = {one.instance_id: json.loads(one.read_text())["n"] for one in pm.find_documents("raw")}
        assert acknowledged.items() <= found.items()
    assert pm.create_instance() > max(acknowledged)


# ── at the same time ────────────────────────────────────────────────────────────────────────────────────

MAKER = """
import sys
from callboard.productions.manager import ProductionManager
pm = ProductionManager(config_dict={"name": "p", "project_home": sys.argv[1], "steps": ["in"]})
for n in range(100):
    print(pm.create_instance({"by": sys.argv[2]}), flush=True)
"""


class running(subprocess.Popen[str]):
    """A Python process of our own; killed when the test is done with it."""

    def __init__(self, source: str, *arguments: str) -> None:
        super().__init__([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, text=True)

    def __exit__(self, *error: object) -> None:
        self.kill()
        super().__exit__(*error)  # type: ignore[arg-type]


def test_two_processes_never_get_the_same_id(tmp_path: Path) -> None:
    makers = [running(MAKER, str(tmp_path), name) for name in ("one", "two")]
    given = [maker.communicate()[0].split() for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert sorted(given[0] + given[1]) == [f"{n:05d}" for n in range(1, 201)]
    pm = load_production(tmp_path / "productions/p")
    assert [found.instance_id for found in pm.instances(include_missing=True)] == [f"{n:05d}" for n in range(1, 201)]
    assert {found.metadata["by"] for found in pm.instances()} == {"one", "two"}
    assert pm.update_productions() == {"added": 0, "updated": 0, "missing": 0}


def test_threads_share_a_manager(pm: ProductionManager) -> None:
    def work() -> None:
        for n in range(5):
            id = pm.create_instance()
            pm.save_document(id, "raw", f"{n}")
            pm.set_status(id, "completed")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.status for found in pm.instances()] == ["completed"] * 20
    assert len({found.instance_id for found in pm.instances()}) == len(pm.find_documents("raw")) == 20


def test_an_id_taken_by_hand_in_between_is_passed_over(pm: ProductionManager) -> None:
    pm.create_instance()
    (pm.dir / "p_00002").write_text("somebody's file")
    assert pm.create_instance() == "00003"


# ── many ────────────────────────────────────────────────────────────────────────────────────────────────

_opened: list[str] | None = None


def _note(event: str, args: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.scandir", "os.listdir"):
        _opened.append(str(args[0]))


sys.addaudithook(_note)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    global _opened
    _opened = []
    yield _opened
    _opened = None


def test_listing_ten_thousand_instances_opens_no_more_files_than_listing_one(
    pm: ProductionManager, opened: list[str]
) -> None:
    pm.create_instance()
    opened.clear()
    pm.instances()
    for_one = len(opened)
    line = (pm.settings_dir / "production_db.csv").read_text().splitlines()[1]
    with (pm.settings_dir / "production_db.csv").open("a") as file:
        file.writelines(line.replace("00001", f"{n:05d}") + "\n" for n in range(2, 10_001))
    opened.clear()
    found = pm.instances()
    assert (len(found), found[-1].instance_id) == (10_000, "10000")
    assert len(opened) == for_one <= 4


def test_what_a_killed_writer_of_the_index_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    production = create_production({"name": "show", "project_home": str(tmp_path)})
    settings = production.dir / "settings"
    (settings / ".callboard-5f1c0a2be4d37a91.tmp").write_bytes(b"instance_id,na")
    production.create_instance()
    assert not [file.name for file in settings.iterdir() if file.name.startswith(".callboard-")]


def test_a_directory_whose_maker_was_killed_before_its_row_gets_one_with_the_next_instance(
    pm: ProductionManager,
) -> None:
    pm.create_instance()
    (pm.dir / "p_00002").mkdir()
    assert pm.create_instance() == "00003"
    assert [(one.instance_id, one.status) for one in pm.instances()] == [
        ("00001", "created"),
        ("00002", "created"),
        ("00003", "created"),
    ]
