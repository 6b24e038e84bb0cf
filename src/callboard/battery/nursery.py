"""Real processes of ours that start at once: forked by one that has imported everything and opened nothing.

To start Python and import us takes a third of a second, as long as all the rest of a small show. The nursery is a
process with one thread and no database; each child gets a session, a directory, an environment and output of its own,
and then is an ordinary `callboard`, which may be killed like any other.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from callboard import crash
from callboard.battery.processes import Left
from callboard.battery.spawn import PATIENCE, TookTooLong, python
from callboard.battery.workloads import SAID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.battery.processes import Show

_PROGRAM = "from callboard.battery.nursery import serve; from callboard.cli.main import main; serve(main)"


class Nursery:
    """A context; `lived` is as that of a `Show`, of a command line of ours or the path of a script."""

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(python(_PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask({})  # until it is ready
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(PATIENCE)

    def lived(self, show: Show, argv: Sequence[str], **env: str) -> Left:
        """Have a child and wait for its end. Raises TookTooLong."""
        heard, began = len(show.said()), time.time()
        order = {"argv": list(argv), "cwd": str(show.root), "env": show.environment() | env}
        code = self._ask(order)["code"]
        left = Left(code, show.said()[heard:], began, time.time())
        if left.is_killed and crash.VARIABLE not in env:
            raise TookTooLong(f"{list(argv)} lasted longer than {PATIENCE} s:\n{left.out}")
        show.lives.append(left)
        return left

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"code": -1}')
        return answer


def serve(main: Callable[[], None]) -> None:
    """The nursery's own life: an order a line, an answer a line. `main` is the program that its children become."""
    for module in pkgutil.walk_packages([str(Path(crash.__file__).parent)], "callboard."):
        with suppress(ModuleNotFoundError):  # a tool of developers, or an extra, that this installation has not
            importlib.import_module(module.name)
    with suppress(ModuleNotFoundError):
        importlib.import_module("docx")
    for line in sys.stdin:
        order = json.loads(line)
        code = 0
        if order:
            pid = os.fork()
            if not pid:
                _become(order, main)
            code = _awaited(pid)
        sys.stdout.write(json.dumps({"code": code}) + "\n")
        sys.stdout.flush()


def _awaited(pid: int) -> int:
    """The exit code of a child, negative for a signal; one that lasts too long is killed."""
    living = os.pidfd_open(pid)
    try:
        if not select.select([living], [], [], PATIENCE)[0]:
            os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(living)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _become(order: Mapping[str, Any], main: Callable[[], None]) -> NoReturn:
    """In the child: everything that a process is given when it is started."""
    os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    said = os.open(SAID, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for number, file in enumerate((nothing, said, said)):
        os.dup2(file, number)
    if at := os.environ.get(crash.VARIABLE):
        crash.arm(at)
    program, *argv = order["argv"]
    sys.argv = [program, *argv]
    if Path(program).suffix == ".py":
        runpy.run_path(program, run_name="__main__")
    else:
        main()
    sys.exit(0)
