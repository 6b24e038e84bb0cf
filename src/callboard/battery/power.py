"""Power cuts: whatever part of what was not synced is left, nothing that was acknowledged is lost.

A real store plays the show of `show.py` on a watched directory. Its power is cut, anywhere: each time the disk is
rebuilt as it may then be, opened by a real store, and read to the last row. A part of the images is taken after a
kill: the next process shows and goes on with what was left, and only then the power goes. Another part is of a
production's plain files. At the end the same is done with `synchronous=NORMAL`, where it must find what is lost, or
it would find nothing.
"""

from __future__ import annotations

import json
import shutil
from bisect import bisect_right
from contextlib import closing, suppress
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.proof import Found
from callboard.battery.show import (
    Step,
    as_if_new,
    dump,
    fast_folder,
    open_store,
    recover,
    start,
    steps,
    sure,
    verify,
    whole_or_not_at_all,
)
from callboard.productions.manager import create_production
from callboard.store import whole
from callboard.testing.disk.calls import watched
from callboard.testing.disk.image import Image, images, killed
from callboard.testing.disk.log import Log, Named, Renamed
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from callboard.battery.proof import Proving

MOST = 250  # images of one play
#: Pages after which the log is copied back, and bytes to which it is grown in advance (a smaller one makes smaller
#: images, and may be outgrown, too); plays take turns.
CHECKPOINTS = ((60, 200_000), (1000, None), (1, 200_000), (20, 200_000))
AFTER_KILL = 6  # images of a disk on which somebody has gone on after a kill
UNSYNCED = 40  # images of the play that is not synced


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


def prove_power(proving: Proving) -> Found:
    """So many images; an eighth of those of a play is taken after a kill, an eighth is of a production's files."""
    tried, failures = 0, list[str]()
    with fast_folder() as folder:
        for number in range(-(-proving.size // MOST)):
            seed, most = f"{proving.seed}-{number}", min(MOST, proving.size - number * MOST)
            kills, files = most // 8 // AFTER_KILL, most // 8
            pages, grown = CHECKPOINTS[(proving.seed + number) % len(CHECKPOINTS)]
            with as_if_new(grown):
                played = play(folder, f"power-{seed}", pages)
                failures += lost(played, folder, cuts(played, most - files - kills * AFTER_KILL, seed), seed)
                failures += lost_after_kills(played, folder, _kills(played, kills, seed), seed)
            failures += lost_files(folder, files, seed)
            for left in folder.iterdir():
                shutil.rmtree(left)
            tried += most
            proving.say(f"{tried} of {proving.size} images, {len(failures)} lost something")
        unsynced = lost_unsynced(folder)
    if not unsynced:
        failures.append(f"without syncs nothing was lost in {UNSYNCED} images: this proof does not see a loss")
    return Found(tried, failures, {f"images of {UNSYNCED} that lost something without syncs": len(unsynced)})


def play(folder: Path, name: str, checkpoint_pages: int = 1000) -> Played:
    """The whole show, on a new disk."""
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


def lost(played: Played, folder: Path, places: Sequence[int], seed: str) -> list[str]:
    """What is missing of what was acknowledged, or is worse, for each image of which something is."""
    random, missing = Random(seed), list[str]()
    for image in images(played.log, places, seed=seed):
        shutil.rmtree(folder / "image", ignore_errors=True)
        root = image.write(folder / "image")
        try:
            examine(played, image, root, random)
        except Exception as error:
            missing.append(f"image {image.seed}: {type(error).__name__}: {error}")
    return missing


def examine(played: Played, image: Image, root: Path, random: Random) -> None:
    """Open what is left and hold it against what was said. Raises Loss; anything else is worse."""
    begun, done = bisect_right(played.begun, image.cut), bisect_right(played.acknowledged, image.cut)
    whole_or_not_at_all(root)
    boot_again(root)
    if random.random() < 0.5 and (root / ".callboard").exists():
        (root / ".callboard" / "callboard.db-shm").write_bytes(random.randbytes(32768))
    with closing(open_store(root)) as store:
        verify(store)
        found = dump(store)
        sure(found in played.dumps[: begun + 1], "a content that never was")
        if found not in played.dumps[done : begun + 1]:
            raise Loss(f"{played.show[done - 1].name} was acknowledged")
        for step in played.show[:done]:
            if step.holds is not None and not step.holds(store, root):
                raise Loss(f"{step.name} was acknowledged")
        recover(store, root)


def boot_again(root: Path) -> None:
    """A cut ends the boot that a project's note tells of, and with it what is believed of files never synced, and what
    is doubted."""
    for mark in root.rglob(whole.MARK):
        mark.write_text("before the cut")
    for note in root.glob(".callboard/run/*.known"):
        with suppress(ValueError):
            note.write_text(json.dumps({**json.loads(note.read_text()), "boot": "before the cut"}))


# ── after a kill ────────────────────────────────────────────────────────────────────────────────────────


def places_of_names(played: Played) -> list[int]:
    """Where a file has just got a name, and nobody has made it durable."""
    ops = enumerate(played.log.ops, 1)
    return [place for place, op in ops if type(op) in (Named, Renamed) and place > played.log.begun]


def lost_after_kills(played: Played, folder: Path, kills: Sequence[int], seed: str) -> list[str]:
    """Kill -9 at each of these places; the next process opens what is there, shows it, goes on; then the power is cut.

    Whatever it has shown must be durable, although it was written by somebody else.
    """
    random, missing = Random(seed), list[str]()
    for number, kill in enumerate(kills):
        log = killed(played.log, kill, folder / "killed")
        try:
            again = play_on(log, f"power-{seed}-{number}", played, most=6)
            seen = again.acknowledged[0]
            places = [seen, seen, *(random.randint(seen, len(log.ops)) for _ in range(AFTER_KILL - 2))]
            missing += lost(again, folder, places, f"{seed}-{number}-{kill}")
        except Exception as error:
            missing.append(f"killed at {kill} of seed {seed}: {type(error).__name__}: {error}")
        shutil.rmtree(folder / "killed")
    return missing


def _kills(played: Played, count: int, seed: str) -> list[int]:
    random = Random(seed)
    named, ends = places_of_names(played), (played.begun[0], len(played.log.ops))
    return [random.choice(named) if number % 2 else random.randint(*ends) for number in range(count)]


# ── plain files, and the proof itself ───────────────────────────────────────────────────────────────────


def lost_files(folder: Path, count: int, seed: str) -> list[str]:
    """Instances made and documents saved, with no store at all: what was returned is there, and the index reads."""
    root = start(folder / "files")
    log, saved, missing = Log(root), list[tuple[int, str, set[bytes]]](), list[str]()
    settings = {"name": "p", "project_home": str(root), "steps": ["in", "out"]}
    with watched(log):
        manager = create_production(settings)
        for number in range(1, 5):
            id = manager.create_instance()
            for again in range(3):
                path = manager.save_document(id, "raw", f"text {number} {again}\n" * 300, step="in")
                later = {f"text {number} {one}\n".encode() * 300 for one in range(again, 3)}
                saved.append((len(log.ops), str(path.relative_to(root)), later))
    random = Random(f"files {seed}")
    places = [random.choice(saved)[0] for _ in range(count // 2)]
    places += [random.randint(0, len(log.ops)) for _ in range(count - count // 2)]
    for image in images(log, places, seed=f"files {seed}"):
        shutil.rmtree(folder / "image", ignore_errors=True)
        here = image.write(folder / "image")
        try:
            _examine_files(
                here, {**settings, "project_home": str(here)}, [one[1:] for one in saved if one[0] <= image.cut]
            )
        except Exception as error:
            missing.append(f"image {image.seed}: {type(error).__name__}: {error}")
    return missing


def _examine_files(here: Path, settings: dict[str, object], saved: Sequence[tuple[str, set[bytes]]]) -> None:
    there = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("document_*.txt")}
    ever = {f"text {n} {m}\n".encode() * 300 for n in range(1, 5) for m in range(3)}
    sure(set(there.values()) <= ever, "a document is there by halves")
    for path, later in saved:
        if there.get(path) not in later:
            raise Loss(f"{path} was saved")
    again = create_production(settings)
    again.update_productions()
    sure(len(again.find_documents()) == len(there), "the index does not know all documents")


def lost_unsynced(folder: Path) -> list[str]:
    """What the same images show when commits are not synced, as SQLite would have it by itself."""
    with as_if_new(200_000, "NORMAL"):
        played = play(folder, "power-unsynced", 60)
        return lost(played, folder, cuts(played, UNSYNCED, "unsynced"), "unsynced")
