"""A directory of its own for every test, and no engine thread left behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from callboard.app.stage import thread as engine_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, where a project is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLBOARD_MODEL", "offline")
    yield tmp_path
    engine_thread.close_all()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("callboard engine")]
