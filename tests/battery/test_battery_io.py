"""The n-th I/O error, for every n: it is told as an error of the store, nothing is there by halves, work goes on.

The show of `battery_show` is played on a disk whose n-th operation fails: a broken disk (EIO), a full one (ENOSPC),
a write of which half is done; once, or from then on until somebody looks. Whoever was told of an error tries again,
as an engine does, on the same store. In the end everything is there that should be, exactly once, and as long as
a sync has failed somewhere the power is cut as well: what was acknowledged *after* a failed sync is as durable
as before.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
from battery_show import HOME, Step, dump, fast_folder, open_store, recover, start, steps, verify
from test_battery_power import Played, lost, play_on

from callboard.errors import StoreError
from callboard.store import whole
from callboard.store.sql import database, doubt
from callboard.testing.disk.calls import watched
from callboard.testing.disk.faults import DELETE, GROWING, NAME, READ, RESIZE, SYNC, WRITE, Faults
from callboard.testing.disk.image import killed
from callboard.testing.disk.log import Log
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from callboard.store.sql.sqlite import SQLiteStore

# a connection that is closed drops the errors of its files, and the driver says that it did
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PARTS = 2  # of the numbers n, each a test, for as many processes
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


class Show(NamedTuple):
    """What is played, and where: `before` is a project that exists already, `dumps` what is recorded at each step."""

    steps: Sequence[Step]
    before: Path
    dumps: Sequence[str]
    kinds: Sequence[str]  # of its operations: there are so many n


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(database, "GROWN", 40_000)
    monkeypatch.setattr(whole, "_doubtful", set())
    monkeypatch.setattr(doubt, "_here", set())
    with fast_folder() as folder:
        yield folder


def prepare(folder: Path, name: str, first: int, end: int) -> Show:
    """The show's steps from `first` to `end`, once without a fault."""
    all_steps = steps(9)
    before = start(folder / "before")
    if first:
        with_all = play_on(Log(before), f"{name}-before", Played(Log(before), all_steps[:first], [], [], []))
        assert len(with_all.dumps) == first + 1
    shutil.copytree(before, folder / "dry")
    log = Log(folder / "dry")
    played = play_on(log, f"{name}-dry", Played(log, all_steps[first:end], [], [], []))
    return Show(all_steps[first:end], before, played.dumps, log.faults.seen)


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
                    assert dump(store) == after, f"{step.name} was acknowledged"
                break
            except StoreError as error:
                self._failed(step.name, error)
                with self.faults.away():
                    found = dump(store)
                assert found in (before, after), f"{step.name} is there by halves"
                if found == after != before:
                    break  # it was told as failed, and is there: whole
        self.acknowledged.append(len(self.log.ops))

    def _failed(self, what: str, error: StoreError) -> None:
        assert type(error) is StoreError, error  # not: damaged, refused
        self.failures.append(f"{what}: {error}")
        if self.ends:
            raise Ended
        assert len(self.failures) <= TRIES + 1, self.failures
        if len(self.failures) >= TRIES:
            self.faults.heal()


def check(attempt: Attempt, folder: Path, name: str) -> None:
    """Afterwards everything is there, for the next process and, where a sync has failed, after a power cut."""
    show, root = attempt.show, attempt.log.root
    if "sync" in name:
        played = Played(attempt.log, show.steps, attempt.begun, attempt.acknowledged, show.dumps)
        places = [attempt.acknowledged[-1], *attempt.acknowledged[-3:], len(attempt.log.ops)]
        assert lost(played, folder, places, name) == []
    store = open_store(root)
    try:
        verify(store)
        assert dump(store) == show.dumps[-1]
        assert all(step.holds(store, root) for step in show.steps if step.holds is not None)
        recover(store, root)
    finally:
        store.close()
    litter = [path for path in (root / HOME).parent.rglob("*") if path.name.endswith(("-journal", ".tmp"))]
    assert not litter, litter


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "-"))
@pytest.mark.parametrize(("first", "end"), [(0, 14), (14, 25)], ids=["a-new-project", "one-that-goes-on"])
def test_whichever_operation_fails_nothing_is_lost(folder: Path, first: int, end: int, way: Way, part: int) -> None:
    name = f"io-{first}-{way.name}-{part}"
    show = prepare(folder, name, first, end)
    numbers = [n for n, kind in enumerate(show.kinds, 1) if kind in way.kinds][part::PARTS]
    print(f"{name}: {len(numbers)} of {len(show.kinds)} operations fail")
    for n in numbers:
        faults = Faults(n, way.error, half=way.half, lasting=way.lasting)
        root = folder / "disk"
        shutil.copytree(show.before, root)
        attempt = Attempt(show, root, faults, name)
        kind = show.kinds[n - 1]
        try:
            attempt.play()
            assert faults.hits
            check(attempt, folder, f"{name} {kind} {n}")
        except Exception as error:
            raise AssertionError(f"operation {n} ({kind}) {way.name}: {attempt.failures}") from error
        shutil.rmtree(root)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until-it-ends"])
def test_the_log_of_a_process_that_ended_in_doubt_is_written_anew(
    folder: Path, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync fails, its process is killed; the next one finds the commit in the log, and nothing of it on the disk."""
    show = prepare(folder, f"doubt-{lasting}", 14, 25)
    syncs = [n for n, kind in enumerate(show.kinds, 1) if kind == SYNC]
    for n in syncs:
        root = folder / "disk"
        shutil.copytree(show.before, root)
        faults = Faults(n, lasting=lasting, kinds=frozenset((SYNC,)))
        attempt = Attempt(show, root, faults, f"doubt-{lasting}-{n}", ends=True)
        vfs = DiskVfs(attempt.log, attempt.vfs)
        with watched(attempt.log), suppress(Ended):
            attempt.play_steps()
        log = killed(attempt.log, len(attempt.log.ops), folder / "later")
        faults.heal()
        if attempt.store is not None:
            attempt.store.close()
        vfs.unregister()
        doubt._here.clear()
        whole._doubtful.clear()
        again = play_on(log, f"doubt-{lasting}-{n}-again", Played(log, show.steps, [], [], show.dumps))
        assert again.dumps[-1] == show.dumps[-1]
        places = [*again.acknowledged, len(log.ops)]
        assert lost(again, folder, places, f"doubt {lasting} {n}") == []
        shutil.rmtree(root)
        shutil.rmtree(folder / "later")
