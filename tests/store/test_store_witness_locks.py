"""SQLite's locks belong to the process: to close any descriptor of a file gives away all of them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

_ANOTHER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    try: fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)  # what says that nobody has the index mapped
    except OSError: sys.exit(0)
sys.exit("the index could be cut under those who have it mapped")
"""


def _is_held(database: Path) -> bool:
    return subprocess.run([sys.executable, "-I", "-c", _ANOTHER, f"{database}-shm"], check=False).returncode == 0


def test_nothing_that_is_done_beside_sqlite_gives_its_locks_away(tmp_path: Path) -> None:
    database = tmp_path / "callboard.db"
    first = SQLiteStore(database)
    assert _is_held(database)
    second = SQLiteStore(database)
    third = SQLiteStore(database, readonly=True)
    assert _is_held(database)
    for store in (second, third):
        store.close()
        store.close()
        assert _is_held(database)
    first.append(first.create_run(id="a", name="", plan="{}", params="{}", face="t", at=1.0).number, [], 2.0)
    first.close()
    assert not _is_held(database)
