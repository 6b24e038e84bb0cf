"""Who an engine is, whether another one still lives, and the thread that keeps its leases.

A process is told from every other by host, boot, pid and the time it started; a pid alone is soon someone
else's. Processes of another pid namespace cannot be seen, so the namespace belongs to the host: their owners
are believed until the lease is over. So are those of this host that are stopped (SIGSTOP, Ctrl-Z): they live, but
nobody knows for what. The keeper is a thread, because user code may block the loop for longer than a lease; it ends
with the process, and a frozen process renews nothing. When it wakes, it is not *sure* of its runs until it has.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from callboard.core.deadline import after, holds
from callboard.engine.clock import boot_id
from callboard.errors import CallboardError
from callboard.ports import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.deadline import Deadline, Now
    from callboard.engine.threads import Threads
    from callboard.ports import Clock, Store

LEASE = 30.0  # seconds an owner elsewhere is believed without a sign of life

_living: set[str] = set()  # tokens of the engines of this process


def host_id() -> str:
    """This machine (and pid namespace), the same for all processes that can see each other's pids."""
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        machine = ""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{machine or socket.gethostname()} {space}".strip()


def started(pid: int) -> float | None:
    """When the process began, in clock ticks since the boot; None when there is none, 0 where nobody can tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _seen(pid)
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else float(fields[19])


def _seen(pid: int) -> float | None:
    """Where there is no /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0.0
    return 0.0


def new_owner() -> Owner:
    """An owner for one more engine of this process; `retire` it when the engine ends."""
    token = uuid4().hex[:12]
    _living.add(token)
    return Owner(host_id(), boot_id(), os.getpid(), started(os.getpid()) or 0.0, token)


def retire(owner: Owner) -> None:
    """The engine behind this owner has ended: what it still owns may be taken."""
    _living.discard(owner.token)


def alive(owner: Owner) -> bool | None:
    """Whether an owner of this host still lives; None when it is stopped, so that its lease has to tell."""
    if owner.boot != boot_id() or started(owner.pid) != owner.started:
        return False
    if owner.pid == os.getpid():
        return owner.token in _living
    return None if _is_stopped(owner.pid) else True


def keeps(owner: Owner, lease: Deadline | None, now: Now) -> bool:
    """Whether an owner of any host keeps what it owns: it lives, or it is to be believed until its lease is over."""
    lives = alive(owner) if owner.host == host_id() else None
    return lease is not None and holds(lease, now) if lives is None else lives


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in "Tt"


class Keeper:
    """Renews the leases of an engine's runs every third of a lease; `lost` hears of runs another engine has taken."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        threads: Threads,
        *,
        lost: Callable[[Sequence[int]], None],
        fault: Callable[[str, Exception], None],
        lease: float,
    ) -> None:
        self._store, self._clock, self._lost, self._fault, self.lease = store, clock, lost, fault, lease
        self._fences: dict[int, int] = {}
        self._lock = threading.Lock()
        self._threads = threads
        self._renewed = clock.now().elapsed

    def start(self) -> None:
        self._end = self._threads.beat(self.lease / 3, self._beat, "callboard-keeper")

    def stop(self) -> None:
        self._end()

    def hold(self, run: int, fence: int) -> None:
        with self._lock:
            self._fences[run] = fence

    def drop(self, run: int) -> None:
        with self._lock:
            self._fences.pop(run, None)

    def is_sure(self, run: int) -> bool:
        """Whether nobody can have taken this run: its lease was renewed so late that it is not over."""
        return run in self._fences and self._clock.now().elapsed - self._renewed < self.lease

    def _beat(self) -> None:
        """Whatever fails is told and tried again: who keeps no leases any more seems to live and loses everything."""
        try:
            self.renew()
        except Exception as error:
            self._fault("leases cannot be renewed", error)

    def renew(self) -> None:
        """Once, now. A store that fails is asked again next time: the lease has time for that."""
        with self._lock:
            fences = tuple(self._fences.items())
        now = self._clock.now()
        lost: Sequence[int] = ()
        if fences:
            try:
                lost = self._store.renew(fences, after(now, self.lease))
            except CallboardError:
                return
        for run in lost:
            self.drop(run)  # before anybody is sure again: those who are told hear of it a moment later
        self._renewed = now.elapsed
        if lost:
            self._lost(tuple(lost))
