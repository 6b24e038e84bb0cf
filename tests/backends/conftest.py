"""Fixtures of the backends' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from backends_stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    for children in stage.opened:
        await children.close()
