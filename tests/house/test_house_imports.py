"""The floors hold, and the contract that says so can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from house_source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=CACHE, no_logo=True))"


def _lint(folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Lint the package under `path` with the contract in `folder`, in a process of its own (it keeps state)."""
    command = [sys.executable, "-c", LINT.replace("CACHE", repr(str(folder / ".lint")))]
    environment = {**os.environ, "PYTHONPATH": str(path), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the house that a test may spoil."""
    shutil.copytree(ROOT / "src" / "callboard", tmp_path / "callboard", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_imports_go_down_only(house: Path) -> None:
    result = _lint(house, house)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_new_room_needs_a_floor(house: Path) -> None:
    (house / "callboard" / "attic").mkdir()
    (house / "callboard" / "attic" / "__init__.py").write_text('"""A room nobody planned."""\n')
    result = _lint(house, house)
    assert result.returncode == 1
    assert "callboard.attic" in result.stdout


def test_an_import_upwards_is_found(house: Path) -> None:
    (house / "callboard" / "core" / "peek.py").write_text('"""Looks up."""\n\nimport callboard.ports\n')
    result = _lint(house, house)
    assert result.returncode == 1
    assert "callboard.core.peek -> callboard.ports" in result.stdout


def test_the_core_may_not_look_at_the_clock(house: Path) -> None:
    (house / "callboard" / "core" / "peek.py").write_text('"""Looks at the clock."""\n\nimport time\n')
    result = _lint(house, house)
    assert result.returncode == 1
    assert "callboard.core.peek -> time" in result.stdout
