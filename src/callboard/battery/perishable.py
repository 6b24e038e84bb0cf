"""A disk under several simulated processes that die at crash points, all at once, or with its power.

Each process opens the database itself, through the watched disk of `testing/disk`. One that dies is unwound by an
exception, which a kill is not (decision 11); so the disk's log is looked at, and if anything was written on that way,
everybody dies and the disk is rebuilt as it was at the point. It always is when all die at once, and after a power cut,
when of what was not synced any part may be left. The store of a dead process is never used again, and closed when its
disk goes: closing it would write.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.history import DATABASE
from callboard.battery.power import boot_again
from callboard.battery.show import as_if_new
from callboard.crash import listening
from callboard.store import whole
from callboard.store.sql import doubt
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.disk.calls import watched
from callboard.testing.disk.faults import GROWING, SYNC, Faults
from callboard.testing.disk.image import images, killed
from callboard.testing.disk.log import Log
from callboard.testing.disk.vfs import DiskVfs
from callboard.testing.loop import Halt

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.testing.virtual import Host, Process

_GROWN = 30_000  # bytes to which the write-ahead log is grown in advance: what is small is soon rebuilt


class Death(NamedTuple):
    """Somebody is to die at the `left`-th point passed from now on; with `all` of them, or with the power (a seed)."""

    left: int
    all: bool = False
    power: int | None = None


class Perishable:
    """From its making to `close`. `folder` is in memory, `template` a project that has just been made."""

    def __init__(self, folder: Path, template: Path, host: Host) -> None:
        self._folder, self._host, self._world = folder, host, host.world
        self._around, self._mounted = ExitStack(), ExitStack()
        self._around.enter_context(as_if_new(_GROWN))
        self._around.enter_context(listening(self._passed))
        self._world.died = self._unwound
        self._stores: list[SQLiteStore] = []
        self._disks = 0
        self.deaths = Counter[str]()
        self.death: Death | None = None  # that is to come
        self._fallen: Death | None = None  # of all, that has come
        self._cut = self._unwinding = -1
        root = folder / "disk"
        shutil.copytree(template, root)
        self._mount(Log(root))

    @property
    def root(self) -> Path:
        return self.log.root

    def open(self) -> SQLiteStore:
        """What a process does first. Raises StoreError."""
        store = SQLiteStore(self.root / DATABASE, vfs=self._vfs)
        self._stores.append(store)
        return store

    def look(self) -> SQLiteStore:
        """For an eye that only reads, as any command that shows does; no fault of the disk meets it."""
        with self.log.faults.away():
            store = SQLiteStore(self.root / DATABASE, readonly=True, vfs=self._vfs)
        self._stores.append(store)
        return store

    def close(self) -> None:
        self.death = None
        self._unmount()
        shutil.rmtree(self.root)
        self._around.close()

    # ── how it fails ────────────────────────────────────────────────────────────────────────────────────

    def fill(self) -> None:
        """There is no room, until it is well."""
        self.log.faults = Faults(1, errno.ENOSPC, lasting=True, kinds=GROWING)

    def fail(self) -> None:
        """Nothing can be synced, until it is well."""
        self.log.faults = Faults(1, errno.EIO, lasting=True, kinds=frozenset((SYNC,)))

    def heal(self) -> None:
        self.log.faults = Faults()

    # ── who dies ────────────────────────────────────────────────────────────────────────────────────────

    def fall(self, death: Death) -> None:
        """All die, now."""
        self._cut, self._fallen = len(self.log.ops), death
        self.deaths["deaths of all" if death.power is None else "power cuts"] += 1
        for process in self._host.processes:
            process.kill()

    @property
    def has_fallen(self) -> bool:
        """Everybody has died, and the disk waits to be rebuilt."""
        return self._fallen is not None

    def settle(self) -> bool:
        """Between two events of the world: rebuild the disk if everybody has died. Whether it is another one now."""
        if self._fallen is None:
            return False
        death, self._fallen = self._fallen, None
        self._rebuild(death.power)
        return True

    def _passed(self, name: str) -> None:
        process = self._world.acting
        if process is not None and process.dead:
            raise Halt  # it was unwound, and somebody on the way took that for an error of his own
        if self.death is None or process is None:
            return
        self.death = self.death._replace(left=self.death.left - 1)
        if self.death.left > 0:
            return
        death, self.death = self.death, None
        self._world.note(f"{process.name} dies at {name}")
        if death.all or death.power is not None:
            self.fall(death)
        else:
            self._cut, self._unwinding = len(self.log.ops), process.pid
            self.deaths["deaths of one"] += 1
            process.kill()
        raise Halt

    def _unwound(self, process: Process) -> None:
        if process.pid == self._unwinding:
            self._unwinding = -1
            if len(self.log.ops) > self._cut and self._fallen is None:
                cut = self._cut
                self.fall(Death(0, all=True))
                self._cut = cut

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

    def _mount(self, log: Log) -> None:
        self.log, self._disks = log, self._disks + 1
        self._vfs = f"perishable-{id(self)}-{self._disks}"
        vfs = DiskVfs(log, self._vfs)
        self._mounted.callback(vfs.unregister)
        self._mounted.enter_context(watched(log))

    def _unmount(self) -> None:
        with self.log.faults.away():
            for store in self._stores:
                store.close()
        self._stores.clear()
        self._mounted.close()

    def _rebuild(self, power: int | None) -> None:
        old, root = self.log, self._folder / f"disk{self._disks}"
        self._unmount()
        whole.doubtful_folders.clear()  # nobody lives who could remember
        doubt.logs_here.clear()
        if power is None:
            log = killed(old, self._cut, root)
            shutil.copy(f"{old.root / DATABASE}-shm", f"{root / DATABASE}-shm")  # SQLite maps it: it is not in the log
        else:
            self._host.reboot()
            log = Log(next(images(old, [self._cut], seed=power)).write(root))
            boot_again(root)
        shutil.rmtree(old.root)
        self._mount(log)
