"""Who is killed takes along what it started: no process of a step outlives the process that carries it out."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

import pytest

from callboard.battery.census import standing
from callboard.battery.processes import Show
from callboard.battery.spawn import PATIENCE, callboard

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = """
name: Sleepers
pipe:
  - name: sleep
    type: command
    command: [sh, -c, "setsid sleep 600 & sleep 600 & echo up > up; wait"]
"""

FUNCTION = """
name: Sleepers
pipe:
  - name: sleep
    type: function
    function: sleep_long
"""

MODULE = """
import subprocess
import threading

from callboard.executors.registry import register


@register
def sleep_long(pipe_data, params):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open("up", "w") as up:
        up.write("up")
    threading.Event().wait(600)
"""


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("show", [COMMAND, FUNCTION], ids=["command", "function"])
def test_a_killed_run_leaves_no_process_behind(show: str, tmp_path: Path) -> None:
    stage = Show(tmp_path / "show")
    (stage.root / "show.ai").write_text(show)
    (stage.root / "function").mkdir()
    (stage.root / "function/sleepers.py").write_text(MODULE)
    os.mkfifo(stage.root / "up")
    up = os.open(stage.root / "up", os.O_RDONLY | os.O_NONBLOCK)
    process = stage.begin(callboard("run", "show.ai"))
    try:
        assert select.select([up], [], [], PATIENCE)[0], "the step has not begun"
        living = [os.pidfd_open(pid) for pid in standing(stage.root) if pid != process.pid]
        assert len(living) >= 3
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        while living:
            ended = select.select(living, [], [], PATIENCE)[0]
            assert ended, f"these live on: {standing(stage.root)}"
            for one in ended:
                os.close(one)
                living.remove(one)
        assert not standing(stage.root)
    finally:
        os.close(up)
        for pid in standing(stage.root):
            os.kill(pid, signal.SIGKILL)
