"""A script of a user's own in a process of its own, which tells where it is and may be interrupted there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30.0

#: What every script begins with: `did` notes what was done, `say` tells the test where the script is.
HEAD = """
import asyncio, os, signal, sys, threading
import callboard

def did(what):
    with open("did.txt", "a") as file:
        file.write(what + "\\n")

def say(what):
    os.write(1, (what + "\\n").encode())

def forever():
    threading.Event().wait()
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Script:
    """A running script. `until` waits for what it says, `interrupt` is Ctrl-C in its terminal."""

    def __init__(self, here: Path, text: str, *flags: str) -> None:
        file = here / "script.py"
        file.write_text(HEAD + text)
        flags = flags or ("-W", "error", "-X", "dev")
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(file)],
            cwd=here,
            env=os.environ | {"PYTHONASYNCIODEBUG": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._said = b""

    def until(self, what: str) -> None:
        """Wait until the script has said this."""
        assert self.process.stdout is not None
        while f"{what}\n".encode() not in self._said:
            ready = select.select([self.process.stdout], [], [], PATIENCE)[0]
            data = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not data:
                self.process.kill()
                raise AssertionError(f"it never said {what!r}: {self._said!r} {self.process.communicate()[1].decode()}")
            self._said += data

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> Ended:
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it does not end: {self.process.communicate()[1].decode()}") from None
        assert not _in_session(self.process.pid), "a process is left"
        return Ended(self.process.returncode, (self._said + out).decode(), err.decode())


def ran(here: Path, text: str, *flags: str) -> Ended:
    return Script(here, text, *flags).ended()


def done(here: Path) -> list[str]:
    """What scripts have noted in this directory."""
    file = here / "did.txt"
    return file.read_text().split() if file.exists() else []


def _in_session(session: int) -> list[int]:
    """Living processes of a session, but for the one that `multiprocessing` leaves to clean up."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == session:
                command = Path(f"/proc/{name}/cmdline").read_bytes()  # empty when it has ended
                if command and b"resource_tracker" not in command:
                    found.append(int(name))
        except OSError:
            continue
    return found
