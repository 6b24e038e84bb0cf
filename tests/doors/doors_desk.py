"""What a person has in front of them: a directory, and the command line in it.

`call` runs a command in this process, which is quick; `start` runs the program that users have, for what only a
process of its own shows: signals, pipes, terminals, two at once. Nothing waits for time: `until` asks for a
condition of the real thing, again and again, and gives up after a while.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.cli.aitask import ai_partitur, aitask
from callboard.cli.main import cli, guarded

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    import click
    import pytest

PATIENCE = 40.0  # seconds for a condition that holds in a moment on an idle machine
PROGRAM = str(Path(sys.executable).with_name("callboard"))


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def last(self) -> str:
        """The last line on stderr."""
        return self.err.rstrip("\n").rpartition("\n")[2]


class Started:
    """A program that runs beside the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until `condition` holds. Fails when the program ends before."""
        until(lambda: condition() or self.process.poll() is not None, what)
        assert condition(), f"ended before {what}: {self.ended()}"

    def signal(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    def ended(self) -> Said:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return Said(self.process.returncode, out, err)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)


def until(condition: Callable[[], object], what: str) -> None:
    """Ask for a condition until it holds."""
    end = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        pause.wait(0.02)


class Desk:
    """`here` is the directory. Commands see the environment of the test."""

    def __init__(self, here: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.here, self._patch, self._capsys = here, patch, capsys
        self._started: list[Started] = []

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    def read(self, name: str) -> str:
        return (self.here / name).read_text()

    def environment(self, **values: str) -> None:
        for name, value in values.items():
            self._patch.setenv(name, value)

    # ── in this process ─────────────────────────────────────────────────────────────────────────────────

    def call(self, *words: str, stdin: bytes | None = None) -> Said:
        """`callboard …` in this process."""
        return self._guarded(cli, words, stdin)

    def aitask(self, *words: str, stdin: bytes | None = None) -> Said:
        return self._guarded(aitask, words, stdin)

    def partitur(self, *words: str) -> Said:
        return self._guarded(ai_partitur, words, None)

    def good(self, *words: str, code: int = 0) -> Said:
        """As `call`; fails unless it ends with `code`."""
        said = self.call(*words)
        assert said.code == code, said
        return said

    def json(self, *words: str) -> Any:
        """What `callboard … --json` prints."""
        return self.call(*words, "--json").json

    def run_id(self) -> str:
        """The newest run."""
        id: str = self.json("ls")[0]["id"]
        return id

    def _guarded(self, command: click.Command, words: tuple[str, ...], stdin: bytes | None) -> Said:
        self._capsys.readouterr()
        with self._patch.context() as patch:
            if stdin is None:
                return Said(guarded(command, list(words)), *self._capsys.readouterr())
            file = self.here.parent / "stdin"
            file.write_bytes(stdin)
            with file.open("rb") as raw:
                patch.setattr(sys, "stdin", io.TextIOWrapper(raw))
                return Said(guarded(command, list(words)), *self._capsys.readouterr())

    # ── in processes of their own ───────────────────────────────────────────────────────────────────────

    def start(self, *words: str, program: str = PROGRAM, stdin: Any = subprocess.DEVNULL) -> Started:
        process = subprocess.Popen(
            [program, *words], cwd=self.here, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started = Started(process)
        self._started.append(started)
        return started

    def spawn(self, *words: str) -> Said:
        """`callboard …` in a process of its own, to its end."""
        return self.start(*words).ended()

    def terminal(self, *words: str, columns: int = 80) -> Said:
        """`callboard …` on a terminal; everything it shows is in `out`."""
        pid, screen = pty.fork()
        if pid == 0:  # and not from the other side: it might have looked already
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execv(PROGRAM, [PROGRAM, *words])
        shown = b"".join(_read(screen))
        os.close(screen)
        _, status = os.waitpid(pid, 0)
        return Said(os.waitstatus_to_exitcode(status), shown.decode().replace("\r\n", "\n"), "")

    def clear(self) -> None:
        for started in self._started:
            started.kill()


def _read(screen: int) -> Iterator[bytes]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not select.select([screen], [], [], 1.0)[0]:
            continue
        try:
            data = os.read(screen, 65536)
        except OSError:  # the other side is closed
            return
        if not data:
            return
        yield data
    raise AssertionError("the program did not end")
