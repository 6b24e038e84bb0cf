"""What dead engines of a project have left behind on this machine is found, and ended.

A tree of processes is ended by its supervisor when its engine dies, and by its engine when the supervisor is killed.
When both are killed in the same moment, what left the tree's session stays, and would be at work beside the next
attempt. It carries a mark, and in the mark stands whose it is: a project, and the engine's process. So whoever takes
a run from a dead engine, or starts one of the project, looks through /proc. Ended is what carries a mark of this very
project (a copy of it is another one) whose engine is dead, what lives below that, and nothing of another user: politely
at first, but a take-over is promised within two seconds, so not for long. A supervisor that is patient with a tree yet
is overtaken: two attempts of one step side by side would be worse.

Roads that failed: a list of a step's processes is old when it is written; a signal to a number alone may meet whoever
was given it again; a look at every start costs 10 ms where a thousand processes are, and beside a busy thread far more,
because it lets go of the interpreter at each of them: so it is taken only when there is a dead engine. What has wiped
its own environment and left its parent cannot be found without control groups, which are root's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from callboard.backends import supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from callboard.ports import Owner

POLITE = 0.5  # seconds between the polite signal and the hard one
_GIVEN_UP = 5.0  # seconds after which whatever not even SIGKILL has ended (it hangs in the kernel) holds nobody up
_REST = 0.01


class _Process(NamedTuple):
    """A process for good: a number is given again, but not with the same beginning."""

    pid: int
    began: int


class Leavings:
    """Of one project, named by `project` on this machine, by whatever tells it from every other that is seen here."""

    def __init__(self, project: str) -> None:
        self._project = sha256(project.encode()).hexdigest()[:16]
        self._cleared: set[tuple[int, float]] = set()  # engines that are dead and of which nothing is left

    @property
    def whose(self) -> str:
        """What the marks begin with of all that this process starts."""
        return f"{self._project}.{os.getpid()}.{supervisor.ticks(os.getpid())}."

    def clear(self, had: Owner | None) -> None:
        """End all that dead engines of this project have left; of `had`, if that is told, it is done once. Blocks."""
        engine = None if had is None else (had.pid, had.started)
        if engine in self._cleared:
            return
        self._end()
        if engine is not None and supervisor.ticks(engine[0]) != engine[1]:
            self._cleared.add(engine)

    def _end(self) -> None:
        """One look may miss a process that is another one by now, two in a row hardly."""
        began, asked, looked = time.monotonic(), set[_Process](), _Looked(self._is_left)
        empty = 0
        while empty < 2 and time.monotonic() - began < _GIVEN_UP:
            found = looked.again()
            empty = 0 if found else empty + 1
            by_force = time.monotonic() - began >= POLITE
            for process in found:
                if by_force or process not in asked:
                    _signal(process, signal.SIGKILL if by_force else signal.SIGTERM)
            asked |= found
            if found:
                time.sleep(_REST)

    def _is_left(self, mark: str) -> bool:
        """Whether a mark is of this project, and of an engine that is dead."""
        project, pid, began, *_ = (*mark.split("."), "", "", "")
        if project != self._project or not (pid.isdigit() and began.isdigit()):
            return False
        return supervisor.ticks(int(pid)) != int(began)


class _Looked:
    """Looks through /proc again and again; what a process carries is read once."""

    def __init__(self, is_left: Callable[[str], bool]) -> None:
        self._is_left = is_left
        self._marks: dict[int, str] = {}

    def again(self) -> set[_Process]:
        """What is left now, and lives."""
        self._marks = {pid: self._mark(pid) for pid in supervisor.pids()}
        left = [pid for pid, mark in self._marks.items() if mark and self._is_left(mark)]
        if not left:
            return set()
        children = supervisor.children()
        others = {pid for pid, mark in self._marks.items() if mark} - set(left)
        spared = {os.getpid(), *supervisor.below(children, os.getpid())}
        found = {below for pid in left for below in (pid, *supervisor.below(children, pid, others | spared))} - spared
        return {_Process(pid, began) for pid in found if (began := supervisor.ticks(pid)) is not None and _is_ours(pid)}

    def _mark(self, pid: int) -> str:
        known = self._marks.get(pid)
        return supervisor.mark_of(pid) if known is None else known


def _is_ours(pid: int) -> bool:
    """Whether a process is this user's; the superuser could read and end what is another's."""
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _signal(process: _Process, number: int) -> None:
    """To this process, or to nobody. A stopped one does not hear SIGTERM."""
    with contextlib.suppress(OSError), _held(process.pid) as send:
        if supervisor.ticks(process.pid) == process.began:
            send(number)
            send(signal.SIGCONT)


@contextlib.contextmanager
def _held(pid: int) -> Iterator[Callable[[int], None]]:
    """What sends signals to whoever has this number now, and to nobody who is given it later; a kernel before 5.3 knows
    nothing better than the number."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        yield lambda number: os.kill(pid, number)
        return
    try:
        yield lambda number: signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
