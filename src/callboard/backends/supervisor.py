"""Starts one process, and ends all of its descendants: those that left its group or its session too.

Run as a program of its own, `python -I -S supervisor.py … -- argv`, between us and what we start. It is the
*subreaper* of its descendants: a daemon that forked twice and called `setsid` comes back to it as a child, so a
walk over /proc from here finds everybody. When the engine dies, even by SIGKILL, the kernel tells the supervisor
(parent-death signal), and it ends the tree: politely, and after the grace period by force. SIGTERM asks it for the
same; SIGINT for the same in a hurry, from whoever has been patient with the tree already. When memory runs out, the
kernel takes a tree before it takes an engine.

Roads that failed: killing the process group misses whoever left it; a parent-death signal on the process alone
misses its children; `preexec_fn` is not safe in a process with threads; waiting for the grace period in the
engine costs its loop. The program imports nothing of Callboard, so that it starts in about 20 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

GRACE = 5.0  # seconds between the polite signal and the hard one
NICE = 10
HURRY = signal.SIGINT  # to a supervisor: end the tree, and be soon done with politeness
MARK = "CALLBOARD_TREE"  # environment variable all processes of a tree inherit
_LONGEST = 4 << 20  # bytes of an environment: more than Linux gives room for
_AFTERLIFE = 1.0  # seconds that what a process leaves behind has to end politely
_PDEATHSIG, _SUBREAPER = 1, 36  # prctl
_TAKEN_FIRST = 500  # of 1000, for the kernel when memory has run out
_TOLD = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


# ── for those who start something ───────────────────────────────────────────────────────────────────────────


def argv(command: list[str], *, status: int, grace: float = GRACE, nice: int = NICE) -> list[str]:
    """What to start instead of `command`; its end is written to the descriptor `status` as one JSON object.

    `{"exit": code}` or `{"signal": number}`, or `{"cannot": why}` when it could not be started; nothing when the
    supervisor itself was killed. Start it from a thread that lives as long as the process may: the parent-death
    signal is sent when that *thread* ends.
    """
    head = [sys.executable, "-I", "-S", __file__, str(status), str(os.getpid()), str(grace), str(nice), "--"]
    return [*head, *command]


def mark(whose: str = "") -> str:
    """A new value for the environment variable `MARK`; `whose` tells who starts the tree, see `leavings.py`."""
    return whose + secrets.token_hex(16)


def mark_of(pid: int) -> str:
    """The mark that a process carries; empty when it has none, is gone, or is another user's."""
    try:
        file = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
        try:
            environ = os.read(file, _LONGEST)  # three calls, not the seven of a file object: there are many processes
        finally:
            os.close(file)
    except OSError:
        return ""
    return (b"\0" + environ).partition(f"\0{MARK}=".encode())[2].partition(b"\0")[0].decode(errors="replace")


def sweep(marked: str) -> int:
    """Kill what still carries this mark, for the case that somebody killed the supervisor; how many there were.

    One look may miss a process that is another one by now, two in a row hardly.
    """
    found = empty = 0
    while empty < 2:
        killed = _sweep_once(marked)
        empty = 0 if killed else empty + 1
        found += killed
    return found


def _sweep_once(marked: str) -> int:
    found = 0
    for pid in pids():
        if mark_of(pid) == marked and pid != os.getpid():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                found += 1
    return found


def offspring(pid: int, since: float) -> list[int]:
    """Living processes below this one that began after `since` (as `CLOCK_BOOTTIME` counts)."""
    return [one for one in _descendants(pid) if (began := _began(one)) is not None and began >= since]


def told(status: bytes) -> dict[str, Any]:
    """What a supervisor has written to `status`; empty when it was killed before it could."""
    try:
        how = json.loads(status or b"{}")
    except ValueError:
        return {}
    return how if isinstance(how, dict) else {}


def words(how: Mapping[str, Any]) -> str:
    """How a process ended, of which nobody wanted that: the rest of a sentence."""
    if "cannot" in how:
        return f"could not be started: {how['cannot']}"
    if "exit" in how:
        return f"left with exit code {how['exit']} and without an answer"
    if "signal" not in how:
        return "was killed with its supervisor"
    number = how["signal"]
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"was ended by {name}{_HINTS.get(number, '')}"


_HINTS = {
    signal.SIGSEGV: ": it has crashed",
    signal.SIGBUS: ": it has crashed",
    signal.SIGILL: ": it has crashed",
    signal.SIGFPE: ": it has crashed",
    signal.SIGABRT: ": it gave up",
    signal.SIGKILL: ": by somebody, or because memory had run out",
    signal.SIGXCPU: ": it had used up its processor time",
    signal.SIGXFSZ: ": it wrote a file that was too large",
}


# ── the program ─────────────────────────────────────────────────────────────────────────────────────────────


def main() -> NoReturn:
    status, engine, grace, nice = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    command = sys.argv[sys.argv.index("--") + 1 :]
    signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD)
    _prctl(_SUBREAPER, 1)
    _prctl(_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != engine:
        os._exit(1)  # it died before the kernel knew whom to tell
    os.set_inheritable(status, False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(nice)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _become(command, write)
    os.close(write)
    _let_go(status, read)
    cannot = _heard(read)
    ended = _watch(child, grace)
    _tell(status, {"cannot": cannot} if cannot else ended)
    os._exit(0)


def _become(command: list[str], failed: int) -> NoReturn:
    """In the forked child: a group of its own, the parent-death signal, then the program itself."""
    try:
        os.setpgid(0, 0)
        _prctl(_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(_TAKEN_FIRST))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)
        os.execvpe(command[0], command, dict(os.environ))
    except OSError as error:
        os.write(failed, f"{command[0]}: {error.strerror}"[:1000].encode(errors="replace"))
    except BaseException as error:
        os.write(failed, repr(error)[:1000].encode(errors="replace"))
    os._exit(127)


def _let_go(*keep: int) -> None:
    """Hold none of the child's pipes: who reads them must see their end when the child ends."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    low = 3
    for number in [*sorted(keep), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(low, number)
        low = number + 1


def _heard(read: int) -> str:
    """What the child said about a failed start; empty once it has become the program."""
    with os.fdopen(read, "rb") as file:
        return file.read(4096).decode(errors="replace")


def _watch(child: int, grace: float) -> dict[str, int]:
    """Wait for the child, or for a signal to end it; then end what is left. How the child ended."""
    ended: dict[str, int] = {}
    while not ended:
        told = signal.sigwait(_TOLD)
        _reap(child, ended)
        if told != signal.SIGCHLD:
            _end(child, ended, grace if told != HURRY else min(grace, _AFTERLIFE))
    _end(child, ended, min(grace, _AFTERLIFE))
    return ended


def _end(child: int, ended: dict[str, int], grace: float) -> None:
    """End every descendant: SIGTERM, and SIGKILL to whoever is still there after `grace` seconds.

    The walk over /proc says whom to signal, and may miss one who forks and exits meanwhile. That nobody is left says
    only the kernel: whose parent has died is our own child.
    """
    until = time.monotonic() + grace
    asked: set[int] = set()
    while _reap(child, ended):
        force = time.monotonic() >= until
        for pid in _descendants(os.getpid()):
            if force or pid not in asked:
                _signal(pid, signal.SIGKILL if force else signal.SIGTERM)
                asked.add(pid)
        signal.sigtimedwait({signal.SIGCHLD}, 0.005 if force else 0.02)


def _reap(child: int, ended: dict[str, int]) -> bool:
    """Take leave of the dead; whether anybody is left."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            if pid == child:
                signalled = os.WIFSIGNALED(status)
                ended["signal" if signalled else "exit"] = os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
    except ChildProcessError:
        return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # a stopped process does not hear SIGTERM


def _descendants(of: int) -> list[int]:
    """All living processes below one; the dead that wait to be reaped do not count."""
    return below(children(), of)


def children() -> dict[int, list[int]]:
    """The living children of every process that has any."""
    found: dict[int, list[int]] = {}
    for pid in pids():
        if (parent := _parent(pid)) is not None:
            found.setdefault(parent, []).append(pid)
    return found


def below(children: Mapping[int, list[int]], of: int, without: Container[int] = ()) -> list[int]:
    """All processes below one, but for those in `without` and what is below these."""
    found: list[int] = []
    todo = list(children.get(of, ()))
    while todo:
        pid = todo.pop()
        if pid not in without:
            found.append(pid)
            todo += children.get(pid, ())
    return found


def _parent(pid: int) -> int | None:
    """The parent of a living process; None for a zombie and for what is gone."""
    fields = _stat(pid)
    if fields is None or (fields[0] in (b"Z", b"X") and int(fields[17]) < 2):  # others may outlive its main thread
        return None
    return int(fields[1])


def ticks(pid: int) -> int | None:
    """When a living process began, in clock ticks since boot: with its number it names a process for good."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def _began(pid: int) -> float | None:
    """When a process began, in seconds since boot and rounded up; None when it is gone."""
    fields = _stat(pid)
    return None if fields is None else (int(fields[19]) + 1) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[bytes] | None:
    """What the kernel says of a process, from its state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields if len(fields) > 19 else None


def pids() -> list[int]:
    """The numbers of all processes that can be seen."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _tell(status: int, ended: dict[str, int] | dict[str, str]) -> None:
    with contextlib.suppress(OSError):
        os.write(status, json.dumps(ended).encode())


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
