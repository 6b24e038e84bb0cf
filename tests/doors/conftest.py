"""A desk for every test: an empty directory, a home of its own, the offline model, and the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from doors_desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    for name in [name for name in os.environ if name.startswith("CALLBOARD_") or name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    for name in ("OPENAI_BASE_URL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CALLBOARD_MODEL", "offline")
    here = tmp_path / "desk"
    here.mkdir()
    monkeypatch.chdir(here)
    desk = Desk(here, monkeypatch, capsys)
    yield desk
    desk.clear()
