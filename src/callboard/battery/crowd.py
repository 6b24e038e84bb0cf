"""Processes of ours side by side in a directory, and whoever they start: begun, signalled, waited for, all ended.

What a process says goes to a file of its own, for whoever has to find out. How late the machine itself is says `Noise`:
a limit of seconds is kept by our processes, not by a computer that others fill.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery import spawn
from callboard.battery.census import standing
from callboard.battery.spawn import MAIN, PATIENCE, TookTooLong
from callboard.battery.workloads import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

#: A line of Python that every command line of ours begins with: a test takes a mechanism away in it.
BEFORE = ""


class Member(NamedTuple):
    """A process of ours; `file` is what it says."""

    process: subprocess.Popen[bytes]
    file: Path
    begun: float  # epoch seconds

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_gone(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        return self.file.read_text("utf-8", "replace")

    def send(self, number: int) -> None:
        """A signal to the process alone; one that has ended hears none."""
        if not self.is_gone:
            os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, negative for a signal. Raises TookTooLong."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TookTooLong(
                f"{self.process.args!r:.300} took more than {seconds:g} s:\n{self.said()[-2000:]}"
            ) from None

    def amiss(self, *codes: int, seconds: float = PATIENCE) -> list[str]:
        """What was wrong with its end, which should have had one of these exit codes. Raises TookTooLong."""
        left = self.wait(seconds)
        if left in codes:
            return []
        return [f"a process ended with {left}, not {' or '.join(map(str, codes))}: {self.said()[-500:]}"]


class Crowd:
    """Processes in and below a directory. At the end of the block nobody stands there any more."""

    def __init__(self, root: Path, **env: str) -> None:
        self.root, self._env = root, env
        root.mkdir(parents=True, exist_ok=True)
        self.members: list[Member] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *error: object) -> None:
        for member in self.members:
            member.send(signal.SIGCONT)
            member.send(signal.SIGKILL)
        for member in self.members:
            member.process.wait()
        while left := standing(self.root):
            end(left)

    def callboard(self, *argv: str, at: Path | None = None, **env: str) -> Member:
        """A command line of ours, in `at` (the root)."""
        return self.python(MAIN, *argv, at=at, **env)

    def twins(self, *argv: str, at: Sequence[Path]) -> list[Member]:
        """The same command line of ours in several places, all of one session: Linux shares a processor out by session,
        so only then does each get as much of it as the other."""
        command = spawn.python(f"{BEFORE}\n{MAIN}", *argv)
        return [self._begun(command, one, {}, session=False) for one in at]

    def python(self, program: str, *argv: str, at: Path | None = None, **env: str) -> Member:
        """Lines of Python of ours."""
        return self._begun(spawn.python(f"{BEFORE}\n{program}", *argv), at or self.root, env)

    def _begun(self, command: Sequence[str], place: Path, env: dict[str, str], *, session: bool = True) -> Member:
        file = self.root / f"said-{len(self.members):04}.txt"
        environment = spawn.environment(place / LEDGER) | self._env | env
        process = spawn.begun(command, place, file, environment, session=session)
        self.members.append(Member(process, file, time.time()))
        return self.members[-1]


# ── ending and waiting ──────────────────────────────────────────────────────────────────────────────────────


def end(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            select.select([descriptor], [], [], 1.0)
            os.close(descriptor)


def until(what: str, is_so: Callable[[], object], *, seconds: float = PATIENCE, every: float = 0.02) -> float:
    """Look again and again until it is so; the seconds it took. Raises TookTooLong."""
    began = time.monotonic()
    while not is_so():
        waited = time.monotonic() - began
        if waited > seconds:
            raise TookTooLong(f"after {seconds:g} s still not: {what}")
        select.select([], [], [], every)
    return time.monotonic() - began


def passed(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def let_pass(seconds: float) -> None:
    until("a while has passed", passed(seconds))


def note(file: str | Path, text: str) -> None:
    """A line more in a file that several processes write to: whole, whoever else writes."""
    place = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(place, f"{text}\n".encode())
    os.close(place)


class Noise:
    """How late the machine is: a process of a step's rank wants the processor for 5 ms again and again.

    After the block `worst` is the longest it had to wait for it, in seconds.
    """

    _PROGRAM = (
        "import os, select, time\n"
        "os.nice(10)\n"
        "worst = 0.0\n"
        "while not select.select([0], [], [], 0.05)[0]:\n"
        "    began, burnt = time.monotonic(), time.process_time()\n"
        "    while time.process_time() - burnt < 0.005: pass\n"
        "    worst = max(worst, time.monotonic() - began - 0.005)\n"
        "print(worst)\n"
    )

    def __init__(self) -> None:
        self.worst = 0.0

    def __enter__(self) -> Noise:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", self._PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *error: object) -> None:
        told, _ = self._process.communicate()
        self.worst = float(told or 0)
