"""An engine on a disk that fails or is full: it says so, keeps what was recorded, and goes on by itself.

Time is the test's own, so waits cost nothing; the store, its files and the full disk are real. What the test itself
wants to know it reads through another connection, which does not fail.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from engine_stage import Stage, passing, turn, until

from callboard.battery.history import DATABASE
from callboard.battery.show import as_if_new, fast_folder
from callboard.core.plan import Map, Retry, Task
from callboard.core.status import SUCCESS
from callboard.errors import StoreError, Transient
from callboard.ports import Done
from callboard.store.publish import publish
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.disk.calls import watched
from callboard.testing.disk.faults import GROWING, Faults
from callboard.testing.disk.log import Log
from callboard.testing.disk.vfs import DiskVfs
from callboard.testing.scripted import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TEXT = b"text\n" * 20
SHOW = (
    Task("a", retry=Retry(2, delay=0.1)),
    Task("b", needs=("a",)),
    Task("m", map=Map(), needs=("a",)),
    Task("n", map=Map(over="m")),
    Task("j", needs=("b", "n")),
)
TOLD_WITHIN, GOES_ON_WITHIN = 5.0, 10.0  # seconds, of the promise
CYCLES = 3
LARGE, INLINE = 160_000, 48_000  # characters of an outcome: kept as content; in the database


class Way(NamedTuple):
    name: str
    error: int
    lasting: bool
    half: bool = False


WAYS = (
    Way("broken once", errno.EIO, False),
    Way("broken", errno.EIO, True),
    Way("full", errno.ENOSPC, True),
    Way("half a write", errno.ENOSPC, False, True),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as folder, as_if_new(100_000):
        yield folder


@asynccontextmanager
async def played(store: SQLiteStore, root: Path, look: SQLiteStore, backend: ScriptedBackend) -> AsyncIterator[Stage]:
    """A stage whose engine carries runs out on `store`; the stage itself reads through `look`."""
    stage = Stage(look, backend)

    def put(run: int, path: str, hash: str, replaces: str | None) -> str:
        return publish(root, path, hash, replaces, lambda hash: bool(store.ours(hash, Path(path).name)), store.get)

    await stage.engine(store, put_document=put)
    try:
        yield stage
    finally:
        await stage.close()


async def submitted(stage: Stage, run: int, faults: Faults) -> None:
    """As a person does: again, when told that it could not be; the third time there is a new disk."""
    for _ in range(4):
        try:
            await stage.engines[0].submit(run)
        except StoreError as error:
            stage.said.append(("refused", str(error)))
            if len(stage.said) > 2:
                faults.heal()
        else:
            return
    raise AssertionError(stage.said)


# ── the n-th error ──────────────────────────────────────────────────────────────────────────────────────


def _backend(hash: str) -> ScriptedBackend:
    return ScriptedBackend(
        {
            "a": [Transient("busy"), 1],
            "b": Done('{"value":2}', documents=[("out/b.md", hash, None)]),
            "m": lambda work: work.item,
            "n": lambda work: work.upstream["m"]["value"] + 1,
            "j": lambda work: "j" * 70_000,
        },
        lists={"m": [[("x", 10), ("y", 20)], [("z", 30)]]},
    )


async def _play(root: Path, faults: Faults, vfs_name: str) -> list[tuple[str, str]]:
    """The show on a disk with these faults; everything is there in the end. What was reported meanwhile."""
    log = Log(root, faults)
    vfs = DiskVfs(log, vfs_name)
    with watched(log), faults.away():
        store = SQLiteStore(root / DATABASE, vfs=vfs_name)
        hash = store.put(TEXT)
        number = Stage(store).run(*SHOW)
        look = SQLiteStore(root / DATABASE, readonly=True)
    backend, heals = _backend(hash), [40]
    with watched(log), closing(look):
        async with played(store, root, look, backend) as stage:

            def ended() -> bool:
                heals[0] -= 1
                if not heals[0]:
                    faults.heal()
                return stage.status(number) is SUCCESS and not faults.lasts

            await submitted(stage, number, faults)
            await passing(stage.clock, ended)
            faults.heal()
        assert set(stage.statuses(number).values()) == {"SUCCESS"} and len(stage.statuses(number)) == 11
        assert json.loads(stage.value(number, 4) or "") == {"value": "j" * 70_000}
        assert [row[5] for row in look.documents(number)] == ["published"]
        assert (root / "out" / "b.md").read_bytes() == TEXT
        assert not look.waiting() and look.check() == [] and look.journal(number)
        names = [(one.name, one.number) for one in backend.begun if one.name != "a"]
        assert len(names) == len(set(names)), f"run again: {backend.begun}"
        store.close()
    vfs.unregister()
    return stage.said


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "-"))
async def test_whichever_operation_fails_an_engine_goes_on(folder: Path, way: Way) -> None:
    dry = Faults()
    await _play(Path(mkdtemp(dir=folder)), dry, f"engine-{way.name}")
    kinds = [n for n, kind in enumerate(dry.seen, 1) if way.error == errno.EIO or kind in GROWING]
    told = 0
    for n in kinds:
        faults = Faults(n, way.error, half=way.half, lasting=way.lasting)
        try:
            said = await _play(disk := Path(mkdtemp(dir=folder)), faults, f"engine-{way.name}-{n}")
        except Exception as error:
            raise AssertionError(f"operation {n} of {len(dry.seen)}: {way.name}") from error
        told += bool({"paused", "waiting", "refused"} & {state for state, _ in said})
        shutil.rmtree(disk)
    print(f"{way.name}: {len(kinds)} of {len(dry.seen)} operations failed, {told} were told of")
    assert told


async def going_on(stage: Stage, condition: Callable[[], Any]) -> float:
    """As `passing`; no time goes by while a commit is under way, so that seconds can be counted. How many went by."""
    began = stage.clock.now().elapsed
    while not condition():
        await turn()
        await until(lambda: not stage.engines[0]._parts.committer.flying)
        stage.clock.advance(0.1)
    return stage.clock.now().elapsed - began


# ── a full disk ─────────────────────────────────────────────────────────────────────────────────────────


class Space:
    """A disk that can be filled to the last byte, and freed."""

    def __init__(self, root: Path) -> None:
        self.root, self._filler = root, root / "filler"

    def fill(self) -> None:
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 512, 1):
                with suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Space]:
    """A file system of its own, of sixteen megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("a file system of its own takes root; the other test has a full database without one")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here; the other test has a full database without one")
    try:
        yield Space(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_pauses_work_and_space_lets_it_go_on(small_disk: Space) -> None:
    root = small_disk.root
    with closing(SQLiteStore(root / DATABASE)) as store, closing(SQLiteStore(root / DATABASE, readonly=True)) as look:
        await _fill_and_free(store, root, look, LARGE, small_disk.fill, small_disk.free)


async def test_a_full_database_pauses_work_and_space_lets_it_go_on(folder: Path) -> None:
    with (
        closing(SQLiteStore(folder / DATABASE)) as store,
        closing(SQLiteStore(folder / DATABASE, readonly=True)) as look,
    ):

        def limit(pages: int) -> None:
            with store.lock:
                store.writer.pragma("max_page_count", pages)

        await _fill_and_free(store, folder, look, INLINE, lambda: limit(1), lambda: limit(1 << 30))


async def _fill_and_free(
    store: SQLiteStore, root: Path, look: SQLiteStore, size: int, fill: Callable[[], Any], free: Callable[[], Any]
) -> None:
    """Several times: work is under way, the disk is full, answers come in; then there is space again."""
    backend = ScriptedBackend()
    hash = store.put(TEXT)
    async with played(store, root, look, backend) as stage:
        stage.store = store  # which makes runs
        for cycle in range(CYCLES):
            await _cycle(stage, backend, hash, cycle, look, size, fill, free)
        assert not look.waiting() and look.check() == []
    for cycle in range(CYCLES):
        assert (root / f"out/{cycle}.md").read_bytes() == TEXT


async def _cycle(
    stage: Stage, backend: ScriptedBackend, hash: str, cycle: int, look: SQLiteStore, size: int,
    fill: Callable[[], Any], free: Callable[[], Any],
) -> None:  # fmt: skip
    names = [f"t{n}" for n in range(12)]
    text = {name: f"{name} of {cycle} ".ljust(16) * (size // 16) for name in names}  # which has to go somewhere
    backend.script = dict(text)
    backend.script["last"] = Done('{"value":"last"}', documents=[(f"out/{cycle}.md", hash, None)])
    backend.begun.clear()
    release = [backend.hold(name) for name in names]
    run = stage.run("first", *(Task(name, needs=("first",)) for name in names), Task("last", needs=tuple(names)),
                    id=f"cycle-{cycle}")  # fmt: skip
    engine = stage.engines[0]
    await engine.submit(run)
    await until(lambda: len(backend.begun) == 13)
    fill()
    stage.said.clear()
    for one in release:
        one()
    assert await going_on(stage, lambda: "paused" in {state for state, _ in stage.said}) <= TOLD_WITHIN
    commits = engine._parts.turns.commits
    kept = {key: value for key in range(1, 13) if (value := look.outcome(run, key, 1)) is not None}
    for _ in range(60):  # a minute goes by
        await turn()
        stage.clock.advance(1.0)
    assert engine._parts.turns.commits == commits and stage.status(run) is not SUCCESS
    assert len(backend.begun) == 13, "nothing is begun meanwhile"
    assert {key: look.outcome(run, key, 1) for key in kept} == kept
    free()
    assert await going_on(stage, lambda: stage.status(run) is SUCCESS) <= GOES_ON_WITHIN
    assert stage.said[-1] == ("running", "")
    assert sorted(one.name for one in backend.begun) == sorted(["first", *names, "last"]), "each once"
    assert all(json.loads(look.outcome(run, n, 1) or "")["value"] == text[f"t{n - 1}"] for n in range(1, 13))
