"""Processes of ours side by side in a directory, and whoever they start: begun, signalled, waited for, all ended.

What a process says goes to a file of its own, for whoever has to find out. Who stands in a directory is found by the
working directory of every process of the machine, so a daemon that left its group, its session and its parent is seen
all the same. How late the machine itself is says `Noise`: a limit of seconds is kept by our processes, not by a
computer that others fill.
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

from callboard.battery.workloads import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

#: A line of Python that every command line of ours begins with: a test takes a mechanism away in it.
BEFORE = ""
_MAIN = "from callboard.cli.main import main; main()"
#: Seconds that no process of ours may need, whatever it does here and however busy the machine is.
PATIENCE = 60.0


class TookTooLong(Exception):
    """A process that nobody meant to end did not end."""


class Member(NamedTuple):
    """A process of ours; `file` is what it says."""

    process: subprocess.Popen[bytes]
    file: Path
    begun: float  # epoch seconds

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.file.read_text("utf-8", "replace")

    def send(self, number: int) -> None:
        """A signal to the process alone; one that has ended hears none."""
        if self.process.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, negative for a signal. Raises TookTooLong."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TookTooLong(
                f"{self.process.args!r:.300} took more than {seconds:g} s:\n{self.said()[-2000:]}"
            ) from None


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
        return self.python(_MAIN, *argv, at=at, **env)

    def twins(self, *argv: str, at: Sequence[Path]) -> list[Member]:
        """The same command line of ours in several places, all of one session: Linux shares a processor out by session,
        so only then does each get as much of it as the other."""
        command = [sys.executable, "-c", f"{BEFORE}\n{_MAIN}", *argv]
        return [self._begun(command, one, {}, session=False) for one in at]

    def python(self, program: str, *argv: str, at: Path | None = None, **env: str) -> Member:
        """Lines of Python of ours."""
        return self.begin([sys.executable, "-c", f"{BEFORE}\n{program}", *argv], at=at, **env)

    def begin(self, command: Sequence[str], *, at: Path | None = None, **env: str) -> Member:
        return self._begun(command, at or self.root, env)

    def _begun(self, command: Sequence[str], place: Path, env: dict[str, str], *, session: bool = True) -> Member:
        file = self.root / f"said-{len(self.members):04}.txt"
        with open(file, "wb") as said:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=self.environment() | {"CALLBOARD_OFFLINE_LEDGER": str(place / LEDGER)} | env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=session,
            )
        self.members.append(Member(process, file, time.time()))
        return self.members[-1]

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        return kept | {"CALLBOARD_MODEL": "offline", "PYTHONWARNINGS": "error"} | self._env


# ── who is there ────────────────────────────────────────────────────────────────────────────────────────────


def standing(place: Path) -> dict[int, str]:
    """Living processes whose working directory is this one or below it; where each of them stands, seen from here."""
    where = os.path.realpath(place)
    found: dict[int, str] = {}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit():
                at = os.readlink(f"/proc/{name}/cwd")
                if at == where or at.startswith(where + os.sep):
                    found[int(name)] = at[len(where) + 1 :]
    return found


def program_of(pid: int) -> list[str]:
    """Its arguments; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def below(pid: int) -> list[int]:
    """Living processes that a process has started, and those that they have started."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in map(int, file.read().split()):
                    found += [child, *below(child)]
    return found


def is_supervisor(pid: int) -> bool:
    return any(word.endswith("supervisor.py") for word in program_of(pid))


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
