"""A disk that fails: an attempt that came to nothing does no harm to what is there later."""

from __future__ import annotations

import gc
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from callboard.battery.show import HOME, PLAN, as_if_new
from callboard.errors import StoreError
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.disk.faults import READ, Faults
from callboard.testing.disk.log import Log
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from pathlib import Path

# a connection that is closed drops the errors of its files, and the driver says that it did
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def begun(root: Path) -> SQLiteStore:
    """A project with one run."""
    root.mkdir()
    store = SQLiteStore(root / HOME)
    store.create_run(id="one", name="", plan=PLAN, params="{}", face="", at=1.0)
    return store


def opened(root: Path, vfs: str) -> StoreError | None:
    """What is told when a project is opened on this disk."""
    try:
        SQLiteStore(root / HOME, vfs=vfs).close()
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
            assert (root / f"{HOME}-wal").exists(), said
            assert [row.id for row in store.runs()] == ["one"]
        vfs.unregister()
