"""A disk that fails: an attempt that came to nothing does no harm to what is there later."""

from __future__ import annotations

import gc
import shutil
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from callboard.battery.history import DATABASE
from callboard.battery.show import PLAN, as_if_new, start
from callboard.errors import StoreError
from callboard.store import whole
from callboard.store.content import Content
from callboard.store.publish import publish
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.disk.calls import watched
from callboard.testing.disk.faults import READ, SYNC, Faults
from callboard.testing.disk.image import images
from callboard.testing.disk.log import Log
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# a connection that is closed drops the errors of its files, and the driver says that it did
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def begun(root: Path) -> SQLiteStore:
    """A project with one run."""
    root.mkdir()
    store = SQLiteStore(root / DATABASE)
    store.create_run(id="one", name="", plan=PLAN, params="{}", face="", at=1.0)
    return store


def opened(root: Path, vfs: str) -> StoreError | None:
    """What is told when a project is opened on this disk."""
    try:
        SQLiteStore(root / DATABASE, vfs=vfs).close()
    except StoreError as error:
        return error
    return None


@pytest.mark.parametrize("n", [2, 5, 9])
def test_an_attempt_to_open_that_failed_leaves_the_log_of_the_next_database_alone(n: int, tmp_path: Path) -> None:
    root = tmp_path / "project"
    with as_if_new(40_000):
        begun(root).close()
        faults = Faults(n, kinds=frozenset((READ,)))
        vfs = DiskVfs(Log(root, faults), f"failing-{n}")
        told = opened(root, f"failing-{n}")  # an error holds on to all that the attempt has left
        assert told and faults.hits
        shutil.rmtree(root)
        with closing(begun(root)) as store:
            said, told = str(told), None
            gc.collect()
            assert (root / f"{DATABASE}-wal").exists(), said
            assert [row.id for row in store.runs()] == ["one"]
        vfs.unregister()


DATA = b"what is to be kept"
HASH = sha256(DATA).hexdigest()


def keep(root: Path) -> str:
    Content(root / "content").put(DATA)
    return f"content/{HASH[:2]}/{HASH[2:]}"


def place(root: Path) -> str:
    publish(root, "out/a.md", HASH, None, lambda hash: False, lambda hash: DATA)
    return "out/a.md"


def place_beside(root: Path) -> str:
    publish(root, "kept.md", HASH, None, lambda hash: False, lambda hash: DATA)
    return "kept (ours 1).md"


def undisturbed(act: Callable[[Path], str], root: Path) -> list[int]:
    """The numbers of the syncs among all that it asks of a disk."""
    log = Log(start(root))
    with watched(log), as_if_new():
        act(log.root)
    return [n for n, kind in enumerate(log.faults.seen, 1) if kind == SYNC]


@pytest.mark.parametrize("act", [keep, place, place_beside])
def test_a_name_that_could_not_be_synced_is_made_anew_by_the_next_process(
    act: Callable[[Path], str], tmp_path: Path
) -> None:
    syncs = undisturbed(act, tmp_path / "undisturbed")
    assert len(syncs) > 1
    for n in syncs:
        log = Log(start(tmp_path / f"disk{n}"), Faults(n))
        with watched(log):
            with as_if_new(), pytest.raises((OSError, StoreError)):
                act(log.root)
            with as_if_new():
                kept = act(log.root)
        for image in images(log, [len(log.ops)] * 12, seed=n):
            assert image.tree.get(kept) == DATA, f"sync {n}, image {image.seed}"


def test_a_folder_is_doubted_until_the_machine_starts_again(tmp_path: Path) -> None:
    (tmp_path / whole.MARK).write_text(whole.boot())
    assert whole.doubtful(tmp_path)
    (tmp_path / whole.MARK).write_text("the boot before")
    assert not whole.doubtful(tmp_path)
    assert not (tmp_path / whole.MARK).exists()
