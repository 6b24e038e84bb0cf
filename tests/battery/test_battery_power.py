"""Power cuts: whatever part of what was not synced is left, nothing that was acknowledged is lost.

A real store plays the show of `battery_show` on a watched directory. Its power is cut a thousand times, anywhere:
each time the disk is rebuilt as it may then be, opened by a real store, and read to the last row. The same is
done with `synchronous=NORMAL`, where it must find what is lost, or the test finds nothing.
"""

from __future__ import annotations

import shutil
from bisect import bisect_right
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from battery_show import (
    Step,
    dump,
    fast_folder,
    open_store,
    recover,
    start,
    steps,
    verify,
    whole_or_not_at_all,
)

from callboard.productions.manager import create_production
from callboard.store.sql import database
from callboard.testing.disk.calls import watched
from callboard.testing.disk.image import Image, images, killed, whole
from callboard.testing.disk.log import Log, Named, Renamed
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

IMAGES = 250  # for each of four seeds
KILLS = 10  # for each of two, and at every place where a file gets a name; with six images of each


class Played(NamedTuple):
    """A show that was played: where in the log each step began and was acknowledged, and what was recorded then.

    `dumps[n]` is the content after the first n steps. What is there when it begins counts as acknowledged: it can be
    seen by anyone.
    """

    log: Log
    show: Sequence[Step]
    begun: Sequence[int]
    acknowledged: Sequence[int]
    dumps: Sequence[str]


class Loss(Exception):
    """Something that was acknowledged is not there."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


def play(folder: Path, name: str, checkpoint_pages: int = 1000) -> Played:
    log = Log(start(folder / "disk"))
    return play_on(log, name, Played(log, steps(), [], [], []), checkpoint_pages=checkpoint_pages)


def play_on(log: Log, name: str, before: Played, most: int = 1000, checkpoint_pages: int = 1000) -> Played:
    """Open a store and play on from where it stands, `most` steps. What is there already was seen: acknowledged."""
    vfs = DiskVfs(log, name)
    with watched(log):
        store = open_store(log.root, name)
        store.writer.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        with log.faults.away():
            dumps = [dump(store)]
        first = before.dumps.index(dumps[0]) if before.dumps else 0
        begun, acknowledged = [len(log.ops)] * first, [len(log.ops)] * first
        dumps = [*before.dumps[:first], *dumps]
        for step in before.show[first : first + most]:
            begun.append(len(log.ops))
            step.act(store, log.root)
            acknowledged.append(len(log.ops))
            with log.faults.away():
                dumps.append(dump(store))
        store.close()
    vfs.unregister()
    return Played(log, before.show[: first + most], begun, acknowledged, dumps)


def cuts(played: Played, count: int, seed: str) -> list[int]:
    """Half of them right behind an acknowledgement, where most is to be lost; the others anywhere."""
    random = Random(seed)
    places = [random.choice(played.acknowledged) for _ in range(count // 2)]
    return places + [random.randint(played.log.begun, len(played.log.ops)) for _ in range(count - count // 2)]


def examine(played: Played, image: Image, root: Path, random: Random) -> None:
    """Open what is left and hold it against what was said. Raises Loss; anything else is worse."""
    begun, done = bisect_right(played.begun, image.cut), bisect_right(played.acknowledged, image.cut)
    whole_or_not_at_all(root)
    if random.random() < 0.5 and (root / ".callboard").exists():
        (root / ".callboard" / "callboard.db-shm").write_bytes(random.randbytes(32768))
    try:
        store = open_store(root)
    except OSError as error:
        raise AssertionError(f"{image.seed} cannot be opened") from error
    try:
        verify(store)
        found = dump(store)
        assert found in played.dumps[: begun + 1], f"{image.seed}: a content that never was"
        if found not in played.dumps[done : begun + 1]:
            raise Loss(f"{image.seed}: {played.show[done - 1].name} was acknowledged")
        for step in played.show[:done]:
            if step.holds is not None and not step.holds(store, root):
                raise Loss(f"{image.seed}: {step.name} was acknowledged")
        recover(store, root)
    finally:
        store.close()


def lost(played: Played, folder: Path, places: Sequence[int], seed: str) -> list[str]:
    """What is missing of what was acknowledged, for each image of which something is."""
    random, missing = Random(seed), list[str]()
    for image in images(played.log, places, seed=seed):
        shutil.rmtree(folder / "image", ignore_errors=True)
        root = image.write(folder / "image")
        try:
            examine(played, image, root, random)
        except Loss as loss:
            missing.append(str(loss))
        except Exception as error:
            raise AssertionError(f"image {image.seed}") from error
    return missing


def test_the_log_misses_nothing(folder: Path) -> None:
    played = play(folder, "power-whole")
    root = played.log.root
    there = {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if not path.name.endswith("-shm")
    }
    assert whole(played.log) == there


@pytest.mark.parametrize("seed", ["one", "two", "three", "four"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(
    folder: Path, seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed != "one":
        monkeypatch.setattr(database, "GROWN", 200_000)  # smaller images; the log may outgrow it, too
    played = play(folder, f"power-{seed}", {"one": 1000, "two": 1, "three": 20, "four": 60}[seed])
    print(f"seed {seed}: {IMAGES} images of {len(played.log.ops)} operations")
    assert lost(played, folder, cuts(played, IMAGES, seed), seed) == []


@pytest.mark.parametrize("seed", ["five", "six"])
def test_what_a_killed_process_left_is_durable_before_it_is_shown(folder: Path, seed: str) -> None:
    """Kill -9, anywhere; the next process opens what is there, shows it, goes on; then the power is cut."""
    played, random = play(folder, f"power-{seed}"), Random(seed)
    ops, begun = played.log.ops, played.log.begun
    named = [place for place, op in enumerate(ops, 1) if type(op) in (Named, Renamed) and place > begun]
    kills = named[seed == "six" :: 2]  # where a file has a name, and nobody has made it durable
    kills += [random.randint(played.begun[0], len(ops)) for _ in range(KILLS)]
    for kill, cut in enumerate(kills):
        log = killed(played.log, cut, folder / "killed")
        again = play_on(log, f"power-{seed}-{kill}", played, most=6)
        seen = again.acknowledged[0]
        places = [seen, seen, *(random.randint(seen, len(log.ops)) for _ in range(4))]
        assert lost(again, folder, places, f"{seed}-{kill}-{cut}") == []
        shutil.rmtree(folder / "killed")


def test_it_would_be_found_if_commits_were_not_synced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_SETTINGS", database._SETTINGS.replace("FULL", "NORMAL"))
    played = play(folder, "power-normal", 60)
    missing = lost(played, folder, cuts(played, IMAGES, "normal"), "normal")
    print(f"with NORMAL {len(missing)} of {IMAGES} images had lost something")
    assert len(missing) > IMAGES // 10


def test_a_power_cut_leaves_a_productions_files_whole(folder: Path) -> None:
    """Instances made and documents saved, with no store at all: what was returned is there, and the index reads."""
    root = start(folder / "disk")
    log, saved = Log(root), list[tuple[int, str, set[bytes]]]()
    settings = {"name": "p", "project_home": str(root), "steps": ["in", "out"]}
    with watched(log):
        manager = create_production(settings)
        for number in range(1, 5):
            id = manager.create_instance()
            for again in range(3):
                path = manager.save_document(id, "raw", f"text {number} {again}\n" * 300, step="in")
                later = {f"text {number} {one}\n".encode() * 300 for one in range(again, 3)}
                saved.append((len(log.ops), str(path.relative_to(root)), later))
    random = Random("production")
    cuts = [random.choice(saved)[0] for _ in range(50)] + [random.randint(0, len(log.ops)) for _ in range(50)]
    for image in images(log, cuts, seed="production"):
        shutil.rmtree(folder / "image", ignore_errors=True)
        here = image.write(folder / "image")
        there = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("document_*.txt")}
        assert set(there.values()) <= {f"text {n} {m}\n".encode() * 300 for n in range(1, 5) for m in range(3)}
        missing = [path for at, path, later in saved if at <= image.cut and there.get(path) not in later]
        assert not missing, image.seed
        again = create_production({**settings, "project_home": str(here)})
        again.update_productions()
        assert len(again.find_documents()) == len(there)
