"""The lock of an index: one holder, whoever else wants it; a pipe or a link in its place holds nobody up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from callboard.errors import Busy, InvalidName
from callboard.productions import folder, lock

if TYPE_CHECKING:
    from pathlib import Path

_HOLDER = """
import sys, time
from pathlib import Path
from callboard.productions import folder, lock
with folder.opened(Path(sys.argv[1])) as place, lock.held(place, "lock", 5):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_waits_and_is_refused_in_words(tmp_path: Path) -> None:
    with folder.opened(tmp_path) as place:
        with (
            lock.held(place, "lock", 1),
            pytest.raises(Busy, match="has held lock") as refused,
            lock.held(place, "lock", 0),
        ):
            pass
        assert refused.value.retry_after > 0
        with lock.held(place, "lock", 0):
            assert [entry.name for entry in folder.entries(place)] == ["lock"]


def test_a_killed_holder_gives_it_back_and_leaves_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with folder.opened(tmp_path) as place:
            with pytest.raises(Busy), lock.held(place, "lock", 0):
                pass
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            with lock.held(place, "lock", 0):
                pass
    assert os.listdir(tmp_path) == ["lock"]


def test_what_is_no_regular_file_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with folder.opened(tmp_path) as place:
        for name in ("pipe", "folder", "link"):
            with pytest.raises(InvalidName, match="no regular file"), lock.held(place, name, 0):
                pass
    assert not (tmp_path / "elsewhere").exists()
