"""An empty directory with the seed's own files in it, the offline model, and no keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from stories_seed import CONFIG, PIPELINE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CALLBOARD_") or name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("CALLBOARD_MODEL", "offline")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "production_config.yml").write_text(CONFIG)
    (tmp_path / "analyze.ai").write_text(PIPELINE)
