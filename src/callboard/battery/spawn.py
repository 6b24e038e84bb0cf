"""How a process of ours is begun: which command line it is, what it knows of our environment, where its words go.

Whatever a proof kills, freezes or starves is begun here, so all of it is the real program, with the offline model,
and with warnings that are errors. What it says goes to the end of a file: a pipe that nobody reads would hold it up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Seconds that no process of ours may need, whatever it does here and however busy the machine is.
PATIENCE = 60.0
#: The program, as lines of Python.
MAIN = "from callboard.cli.main import main; main()"
_KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH")


class TookTooLong(Exception):
    """A process that nobody meant to end did not end."""


def python(program: str, *argv: str) -> list[str]:
    """A command line of lines of Python, with this interpreter."""
    return [sys.executable, "-c", program, *argv]


def callboard(*argv: str) -> list[str]:
    """A command line of ours."""
    return python(MAIN, *argv)


def environment(ledger: Path) -> dict[str, str]:
    """What a process needs to run here, and the offline model, which books in `ledger` what it was asked."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"CALLBOARD_MODEL": "offline", "CALLBOARD_OFFLINE_LEDGER": str(ledger), "PYTHONWARNINGS": "error"}


def begun(
    command: Sequence[str], at: Path, said: Path, env: Mapping[str, str], *, session: bool = True
) -> subprocess.Popen[bytes]:
    """A process that stands in `at`, in a session of its own unless told otherwise."""
    with open(said, "ab") as words:
        return subprocess.Popen(
            command,
            cwd=at,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=session,
        )
