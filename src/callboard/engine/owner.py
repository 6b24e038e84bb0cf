"""Who an engine is, whether another one still lives, and the thread that keeps its leases.

A process is told from every other by host, boot, pid and the time it started; a pid alone is soon someone
else's. Processes of another pid namespace cannot be seen, so the namespace belongs to the host: their owners
are believed until the lease is over. The keeper is a thread, because user code may block the loop for longer
than a lease; it ends with the process, and a frozen process renews nothing.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from callboard.engine.clock import boot_id
from callboard.errors import CallboardError
from callboard.ports import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def alive(owner: Owner) -> bool:
    """Whether an owner of this host still lives."""
    if owner.boot != boot_id() or started(owner.pid) != owner.started:
        return False
    return owner.pid != os.getpid() or owner.token in _living


class Keeper:
    """Renews the leases of an engine's runs every third of a lease; `lost` hears of runs another engine has taken."""

    def __init__(
        self, store: Store, clock: Clock, threads: Threads, *, lost: Callable[[Sequence[int]], None], lease: float
    ) -> None:
        self._store, self._clock, self._lost, self.lease = store, clock, lost, lease
        self._fences: dict[int, int] = {}
        self._lock = threading.Lock()
        self._threads = threads

    def start(self) -> None:
        self._end = self._threads.beat(self.lease / 3, self.renew, "callboard-keeper")

    def stop(self) -> None:
        self._end()

    def hold(self, run: int, fence: int) -> None:
        with self._lock:
            self._fences[run] = fence

    def drop(self, run: int) -> None:
        with self._lock:
            self._fences.pop(run, None)

    def renew(self) -> None:
        """Once, now. A store that fails is asked again next time: the lease has time for that."""
        with self._lock:
            fences = tuple(self._fences.items())
        if not fences:
            return
        try:
            lost = self._store.renew(fences, self._clock.now().wall + self.lease)
        except CallboardError:
            return
        if lost:
            self._lost(tuple(lost))
