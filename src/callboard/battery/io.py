"""The n-th I/O error, for every n: it is told as an error of the store, nothing is there by halves, work goes on.

A part of the show of `show.py` is played on a disk whose n-th operation fails: a broken disk (EIO), a full one
(ENOSPC), a write of which half is done; once, or from then on until somebody looks. Whoever was told of an error
tries again, as an engine does, on the same store. In the end everything is there that should be, exactly once; and
where a sync has failed the power is cut as well: what was acknowledged *after* it is as durable as before. The same
with a process that ends with its first error: the next one has to doubt the log that it finds.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.history import DATABASE
from callboard.battery.power import Played, boot_again, lost, play_on
from callboard.battery.proof import Found
from callboard.battery.show import (
    Step,
    Wrong,
    as_if_new,
    dump,
    fast_folder,
    open_store,
    recover,
    start,
    steps,
    sure,
    verify,
)
from callboard.errors import CallboardError, NoRoom, StoreError
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.disk.calls import watched
from callboard.testing.disk.faults import DELETE, GROWING, NAME, READ, RESIZE, SYNC, WRITE, Faults
from callboard.testing.disk.image import images, killed
from callboard.testing.disk.log import Log
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.battery.proof import Proving

TRIES = 3  # that fail while an error lasts, until the disk is well again


class Way(NamedTuple):
    """A way to fail."""

    name: str
    error: int
    lasting: bool
    half: bool = False
    kinds: frozenset[str] = frozenset((READ, WRITE, SYNC, RESIZE, NAME, DELETE))


WAYS = (
    Way("broken once", errno.EIO, False),
    Way("broken", errno.EIO, True),
    Way("full once", errno.ENOSPC, False, kinds=GROWING),
    Way("full", errno.ENOSPC, True, kinds=GROWING),
    Way("half a write", errno.ENOSPC, True, True, frozenset((WRITE,))),
)

#: Workloads: of a show of so many links the steps from … to …. The first makes a project, the others go on with one.
WORKLOADS = ((9, 0, 14), (9, 14, 25), (18, 25, 36), (18, 36, 46), (30, 46, 55), (30, 55, 64), (30, 64, 72), (9, 3, 12))


class Show(NamedTuple):
    """What is played, and where: `before` is a project that exists already, `dumps` what is recorded at each step."""

    steps: Sequence[Step]
    before: Path
    dumps: Sequence[str]
    kinds: Sequence[str]  # of its operations: there are so many n


def prove_io_errors(proving: Proving) -> Found:
    """So many workloads, each with every way to fail at every operation."""
    failures, operations = list[str](), 0
    workloads = min(proving.size, len(WORKLOADS))
    for workload in range(workloads):
        for way in WAYS:
            found = fail_each(workload, way)
            failures += found.failures
            operations += found.tried
            proving.say(f"workload {workload + 1} of {workloads}, {way.name}: {found.tried} operations")
        for lasting in (False, True):
            failures += end_in_doubt(workload, lasting)
    return Found(workloads, failures, {"operations that failed": operations})


def fail_each(workload: int, way: Way, part: int = 0, parts: int = 1) -> Found:
    """Every operation of a workload fails in this way, one at a time; of each `parts` only the one numbered `part`."""
    failures = list[str]()
    with fast_folder() as folder, as_if_new(40_000):
        name = f"io-{workload}-{way.name}-{part}"
        show = prepare(folder, name, workload)
        numbers = [n for n, kind in enumerate(show.kinds, 1) if kind in way.kinds][part::parts]
        for n in numbers:
            faults = Faults(n, way.error, half=way.half, lasting=way.lasting)
            root = folder / "disk"
            shutil.copytree(show.before, root)
            attempt = Attempt(show, root, faults, name)
            kind = show.kinds[n - 1]
            try:
                attempt.play()
                sure(faults.hits, "the fault was never met")
                check(attempt, folder, f"{name} {kind} {n}")
            except Exception as error:
                where = f"workload {workload}, operation {n} ({kind}) {way.name}"
                failures.append(f"{where}: {type(error).__name__}: {error}; told: {attempt.failures}")
            shutil.rmtree(root)
    return Found(len(numbers), failures)


def end_in_doubt(workload: int, lasting: bool, every: int = 1) -> list[str]:
    """A sync fails, its process is killed; the next one finds the commit in the log, and nothing of it on the disk."""
    failures = list[str]()
    with fast_folder() as folder, as_if_new(40_000):
        show = prepare(folder, f"doubt-{workload}-{lasting}", workload)
        for n in [n for n, kind in enumerate(show.kinds, 1) if kind == SYNC][::every]:
            try:
                failures += _end_in_doubt(show, folder, n, lasting)
            except Exception as error:
                failures.append(f"workload {workload}, ended in doubt at sync {n}: {type(error).__name__}: {error}")
            for left in ("disk", "later"):
                shutil.rmtree(folder / left, ignore_errors=True)
    return failures


def _end_in_doubt(show: Show, folder: Path, n: int, lasting: bool) -> list[str]:
    root = folder / "disk"
    shutil.copytree(show.before, root)
    faults = Faults(n, lasting=lasting, kinds=frozenset((SYNC,)))
    attempt = Attempt(show, root, faults, f"doubt-{lasting}-{n}", ends=True)
    vfs = DiskVfs(attempt.log, attempt.vfs)
    with watched(attempt.log), suppress(Ended):
        attempt.play_steps()
    log = killed(attempt.log, len(attempt.log.ops), folder / "later")
    for index in (folder / "later").glob(".callboard/*-shm"):
        index.unlink()  # SQLite maps it, so it is not in the log of the disk: this one is from before
    faults.heal()
    if attempt.store is not None:
        attempt.store.close()
    vfs.unregister()
    with as_if_new():
        missing = _lost_as_shown(log, folder, f"doubt-{lasting}-{n}-shown")
        again = play_on(log, f"doubt-{lasting}-{n}-again", Played(log, show.steps, [], [], show.dumps))
        sure(again.dumps[-1] == show.dumps[-1], "another content than without a fault")
        return missing + lost(again, folder, [*again.acknowledged, len(log.ops)], f"doubt {lasting} {n}")


def _lost_as_shown(log: Log, folder: Path, name: str) -> list[str]:
    """A command that only shows comes first: what it has shown is there after a power cut."""
    vfs, missing = DiskVfs(log, name), list[str]()
    try:
        with watched(log), closing(SQLiteStore(log.root / DATABASE, vfs=name, readonly=True)) as store:
            shown = dump(store)
    except CallboardError:
        return []  # there was nothing to be shown yet
    finally:
        vfs.unregister()
    for image in images(log, [len(log.ops)] * 2, seed=name):
        shutil.rmtree(folder / "image", ignore_errors=True)
        root = image.write(folder / "image")
        boot_again(root)
        with closing(SQLiteStore(root / DATABASE, readonly=True)) as store:
            if dump(store) != shown:
                missing.append(f"image {image.seed}: what was shown is not there")
    return missing


def prepare(folder: Path, name: str, workload: int) -> Show:
    """The steps of a workload, and the operations of an attempt at it without a fault."""
    links, first, end = WORKLOADS[workload]
    all_steps = steps(links)
    before = start(folder / "before")
    if first:
        log = Log(before)
        with_all = play_on(log, f"{name}-before", Played(log, all_steps[:first], [], [], []))
        sure(len(with_all.dumps) == first + 1, "the steps before it were played")
    shutil.copytree(before, folder / "dry")
    log = Log(folder / "dry")
    played = play_on(log, f"{name}-dry", Played(log, all_steps[first:end], [], [], []))
    show = Show(all_steps[first:end], before, played.dumps, ())
    root = Path(shutil.copytree(before, folder / "undisturbed"))
    attempt = Attempt(show, root, Faults(), f"{name}-undisturbed")  # which looks at other moments than `play_on` does
    attempt.play()
    return show._replace(kinds=attempt.faults.seen)


class Ended(Exception):
    """The process has ended, with its first error."""


class Attempt:
    """One play of a show with one fault. With `ends` its process ends with the first error."""

    def __init__(self, show: Show, root: Path, faults: Faults, vfs: str, *, ends: bool = False) -> None:
        self.show, self.faults, self.vfs, self.ends = show, faults, vfs, ends
        self.store: SQLiteStore | None = None
        self.log = Log(root, faults)
        self.acknowledged: list[int] = []
        self.begun: list[int] = []
        self.failures: list[str] = []

    def play(self) -> None:
        vfs = DiskVfs(self.log, self.vfs)
        try:
            with watched(self.log):
                self.play_steps().close()
        finally:
            vfs.unregister()

    def play_steps(self) -> SQLiteStore:
        self.store = store = self._open()
        for number, step in enumerate(self.show.steps):
            self._carry_out(store, number, step)
        return store

    def _open(self) -> SQLiteStore:
        while True:
            try:
                return open_store(self.log.root, self.vfs)
            except StoreError as error:
                self._failed("open", error)

    def _carry_out(self, store: SQLiteStore, number: int, step: Step) -> None:
        before, after = self.show.dumps[number : number + 2]
        self.begun.append(len(self.log.ops))
        while True:
            try:
                step.act(store, self.log.root)
                with self.faults.away():
                    sure(dump(store) == after, f"{step.name} was acknowledged, and is not there")
                break
            except StoreError as error:
                self._failed(step.name, error)
                with self.faults.away():
                    found = dump(store)
                sure(found in (before, after), f"{step.name} is there by halves")
                if found == after != before:
                    break  # it was told as failed, and is there: whole
        self.acknowledged.append(len(self.log.ops))

    def _failed(self, what: str, error: StoreError) -> None:
        if type(error) not in (StoreError, NoRoom):  # damaged, refused: a disk that fails is neither
            raise Wrong(f"{what}: {type(error).__name__}: {error}")
        self.failures.append(f"{what}: {error}")
        if self.ends:
            raise Ended
        sure(len(self.failures) <= TRIES + 1, "it goes on failing on a disk that is well again")
        if len(self.failures) >= TRIES:
            self.faults.heal()


def check(attempt: Attempt, folder: Path, name: str) -> None:
    """Afterwards everything is there, for the next process and, where a sync has failed, after a power cut."""
    show, root = attempt.show, attempt.log.root
    if "sync" in name:
        played = Played(attempt.log, show.steps, attempt.begun, attempt.acknowledged, show.dumps)
        places = [attempt.acknowledged[-1], *attempt.acknowledged[-3:], len(attempt.log.ops)]
        missing = lost(played, folder, places, name)
        sure(not missing, "; ".join(missing))
    with closing(open_store(root)) as store:
        verify(store)
        sure(dump(store) == show.dumps[-1], "another content than without a fault")
        for step in show.steps:
            sure(step.holds is None or step.holds(store, root), f"{step.name} was acknowledged")
        recover(store, root)
    litter = [path for path in (root / DATABASE).parent.rglob("*") if path.name.endswith(("-journal", ".tmp"))]
    sure(not litter, f"left behind: {litter}")
