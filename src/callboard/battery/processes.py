"""Processes of ours one after the other in a directory of their own: begun, killed, begun again.

Nothing of the program is replaced. Of each it is kept how it ended, what it said and how long it lived; what they have
left is looked at by `aftermath.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery import spawn
from callboard.battery.spawn import PATIENCE, TookTooLong
from callboard.battery.workloads import LEDGER, SAID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Left(NamedTuple):
    """A process that has ended. `code` is negative for a signal; times are epoch seconds."""

    code: int
    out: str
    began: float
    ended: float

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Show:
    """A directory, and the processes that play in it. `latency` is the seconds an answer of the model takes."""

    def __init__(self, root: Path, *, latency: float = 0.0) -> None:
        self.root, self._latency = root, latency
        root.mkdir(parents=True, exist_ok=True)
        (root / LEDGER).touch()
        self.lives: list[Left] = []

    def begin(self, command: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
        """A process in a session of its own."""
        return spawn.begun(command, self.root, self.root / SAID, self.environment() | env)

    def lived(self, command: Sequence[str], kill_after: float | None = None, **env: str) -> Left:
        """Begin a process and wait for its end; if it still lives after so many seconds, `kill -9` its group.

        Raises TookTooLong.
        """
        heard, began = len(self.said()), time.time()
        process = self.begin(command, **env)
        is_late = False
        try:
            process.wait(PATIENCE if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            is_late = kill_after is None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        left = Left(process.returncode, self.said()[heard:], began, time.time())
        if is_late:
            raise TookTooLong(f"{list(command)} lasted longer than {PATIENCE} s:\n{left.out}")
        self.lives.append(left)
        return left

    @property
    def kills(self) -> int:
        return sum(left.is_killed for left in self.lives)

    def said(self) -> str:
        """By all of them."""
        file = self.root / SAID
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def environment(self) -> dict[str, str]:
        return spawn.environment(self.root / LEDGER) | {"CALLBOARD_OFFLINE_LATENCY": str(self._latency)}
