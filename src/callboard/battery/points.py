"""Every named crash point: wherever a process is killed, the next one ends with what an unkilled one ends with.

A scene is played once on a watched disk, and at each point it is noted how much of the disk's log had happened. What a
kill there leaves is then rebuilt from the log (no more and no less: nothing of ours runs after a kill), opened by a new
store and played to its end: the documents are the same, nothing recorded is asked for again, nothing is half written.
Each point is tried as it is passed and once the next operation behind it has reached the disk, at its first and at its
last passing; with more tries than that takes, all states that the disk was ever in are tried.
"""

from __future__ import annotations

import shutil
from bisect import bisect_right
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.battery.aftermath import asked_again, known, recorded_hashes, tidied, unsound
from callboard.battery.proof import Found
from callboard.battery.scenes import SCENES, Scene
from callboard.battery.show import Wrong, as_if_new, fast_folder
from callboard.battery.workloads import Ending
from callboard.crash import POINTS, listening
from callboard.testing.disk.calls import watched
from callboard.testing.disk.image import kills, whole
from callboard.testing.disk.log import Log, NotSynced, Synced
from callboard.testing.disk.vfs import DiskVfs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from callboard.battery.proof import Proving
    from callboard.testing.disk.image import Image

_GROWN = 250_000  # bytes to which logs are grown in advance: images are smaller so


class Play(NamedTuple):
    """A scene that was played undisturbed: its disk's log, the points it passed (name, operations until then), and
    what it ended with. `states` are the lengths of the log at which the disk differs from what it was before; `there`
    are the paths of what lay there at first."""

    scene: Scene
    log: Log
    passed: Sequence[tuple[str, int]]
    ending: Any
    states: Sequence[int]
    there: frozenset[str]


class Try(NamedTuple):
    """A place to be killed at: behind so many operations of a play; `name` says which point led there."""

    scene: str
    cut: int
    name: str


#: Points that are passed only when the disk is full; the tests of the store kill there.
BY_HAND = {"reserve.give_up"}


def prove_points(proving: Proving) -> Found:
    """Kill a scene at every point; `size` counts kills."""
    failures, tried, passed = list[str](), 0, set[str]()
    with fast_folder() as folder, as_if_new(_GROWN):
        plays = {scene.name: play(scene, folder) for scene in SCENES}
        for one in plays.values():
            passed |= {name for name, _ in one.passed}
        failures += [f"no scene passes the point {name}" for name in sorted(POINTS.keys() - passed - BY_HAND)]
        wanted = chosen(plays, proving.size, proving.seed)
        for scene, tries in wanted.items():
            for image, name in zip(kills(plays[scene].log, [one.cut for one in tries]), tries, strict=True):
                failures += tried_at(plays[scene], image, folder, name)
                tried += 1
                proving.say(f"{tried} kills, {len(failures)} failures")
    return Found(tried, failures, {"points passed": float(len(passed & POINTS.keys())), "scenes": float(len(plays))})


def play(scene: Scene, folder: Path) -> Play:
    """Play a scene to its end, in `folder/disk`, which is gone afterwards. Raises Wrong when a write escaped."""
    root = folder / "disk"
    shutil.rmtree(root, ignore_errors=True)
    scene.lay_out(root)
    log, passed = Log(root), list[tuple[str, int]]()
    there = frozenset(whole(log))

    def note(name: str) -> None:
        with log.lock:
            passed.append((name, len(log.ops)))

    vfs = DiskVfs(log, f"points-{scene.name}")
    try:
        with scene.world(), watched(log), listening(note):
            ending = scene.act(root, f"points-{scene.name}")
    finally:
        vfs.unregister()
    escaped = _differ(whole(log), root)
    if escaped:
        raise Wrong(f"{scene.name}: these were written unseen: {escaped}")
    shutil.rmtree(root)
    changes = (n for n, op in enumerate(log.ops, 1) if type(op) not in (Synced, NotSynced))
    return Play(scene, log, passed, ending, [log.begun, *(n for n in changes if n > log.begun)], there)


def _differ(tree: Mapping[str, bytes | None], root: Path) -> list[str]:
    there = {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if not path.is_socket() and not path.name.endswith("-shm") and "__pycache__" not in path.parts
    }
    return sorted(path for path in there.keys() | tree.keys() if there.get(path, b"") != tree.get(path, b""))


def chosen(plays: Mapping[str, Play], size: int, seed: object) -> dict[str, list[Try]]:
    """Which places of which scenes to be killed at, in the order of the log, `size` in all.

    First each point in one scene (another one with another seed), then in more and more of them, then everywhere.
    """
    chance = Random(f"points-{seed}")
    rounds = [_of_points(plays, chance), _of_points(plays, chance, every=True), _of_states(plays, chance)]
    taken = dict[tuple[str, int], Try]()
    for wanted in rounds:
        for one in wanted:
            if len(taken) < size:
                taken.setdefault((one.scene, one.cut), one)
    return {
        scene: sorted((one for one in taken.values() if one.scene == scene), key=lambda one: one.cut)
        for scene in plays
        if any(one.scene == scene for one in taken.values())
    }


def _of_points(plays: Mapping[str, Play], chance: Random, *, every: bool = False) -> list[Try]:
    """Each point, before and after what happens next, at the first and at the last of its passings."""
    wanted = list[Try]()
    passings = [(one, _passings(one)) for one in plays.values()]
    for name in POINTS:
        scenes = [(one, passed[name]) for one, passed in passings if name in passed]
        for one, cuts in scenes if every else chance.sample(scenes, min(1, len(scenes))):
            for number, cut in {1: cuts[0], len(cuts): cuts[-1]}.items():
                at = [_state(one, cut), _state(one, cut, after=True)]
                wanted += [Try(one.scene.name, state, f"{name}:{number}") for state in at]
    chance.shuffle(wanted)
    return wanted


def _passings(play: Play) -> dict[str, list[int]]:
    """By point, behind how many operations it was passed."""
    found = dict[str, list[int]]()
    for name, cut in play.passed:
        found.setdefault(name, []).append(cut)
    return found


def _of_states(plays: Mapping[str, Play], chance: Random) -> list[Try]:
    wanted = [Try(one.scene.name, state, "between two points") for one in plays.values() for state in one.states]
    chance.shuffle(wanted)
    return wanted


def _state(play: Play, cut: int, *, after: bool = False) -> int:
    """The state of the disk behind `cut` operations, told by the length of the log that first led to it."""
    index = max(0, bisect_right(play.states, cut) - 1)
    return play.states[min(index + after, len(play.states) - 1)]


def tried_at(play: Play, image: Image, folder: Path, at: Try) -> list[str]:
    """What is wrong after a kill that left this image, once the scene was played on to its end."""
    root = folder / "disk"
    shutil.rmtree(root, ignore_errors=True)
    image.write(root)
    where = f"{at.scene}, killed at {at.name} (behind operation {at.cut})"
    with play.scene.world():
        try:
            before = known(root)
            wrong = [f"{path} was in place, and not recorded" for path in _unrecorded(play, image, root)]
            ending = play.scene.act(root, None)
            if ending != play.ending:
                wrong.append(f"it ended with {ending!r:.300}, not with {play.ending!r:.300}")
            wrong += [f"the call {key} was made again" for key in asked_again(root, before)]
            wrong += tidied(root)
            if isinstance(play.ending, Ending):  # a machine has played
                wrong += unsound(root)
        except Exception as error:
            wrong = [f"it broke with {type(error).__name__}: {error}"]
    return [f"{where}: {one}" for one in wrong]


def _unrecorded(play: Play, image: Image, root: Path) -> list[str]:
    """Documents that lie there although no run knows of them (yet). A production on its own has none to know."""
    made = {
        path: sha256(data).hexdigest()
        for path, data in image.tree.items()
        if data is not None
        and data not in play.scene.theirs
        and path not in play.there
        and not _is_aside(path.split("/"))
    }
    hashes = recorded_hashes(root) if made else None
    return [path for path, hash in made.items() if hashes is not None and hash not in hashes]


def _is_aside(parts: list[str]) -> bool:
    """What belongs to us, or to a production and not to a run, or to a writer who was not done."""
    return parts[0] == ".callboard" or "settings" in parts or parts[-1].startswith(".")
