"""A production hears how a run ended, although the process that played in it is dead."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from callboard.battery.aftermath import asked, instances
from callboard.battery.kills import cards
from callboard.battery.processes import Show
from callboard.battery.spawn import PATIENCE, callboard

if TYPE_CHECKING:
    from pathlib import Path


def test_a_killed_run_that_is_cancelled_fails_its_instance(tmp_path: Path) -> None:
    show = Show(cards(notes=3).lay_out(tmp_path / "show"), latency=PATIENCE)
    process = show.begin(callboard("run", "show.ai", "text", "--id", "show"))
    while not asked(show.root):
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError("it ended before it asked for anything")
    assert instances(show.root) == {"00001": "active"}
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert show.lived(callboard("cancel", "show")).code == 0
    assert instances(show.root) == {"00001": "failed"}
    assert len(list(show.root.glob("project-home/productions/cards/settings/diagnostics/*-error-*"))) == 1
    assert show.lived(callboard("resume")).code == 8
    assert len(list(show.root.glob("project-home/productions/cards/settings/diagnostics/*"))) == 1, "it is told once"
