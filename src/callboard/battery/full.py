"""T5: a full disk. Runs go on through cycles of fill and free, on small disks of their own (`scarcity.py`).

Each show has its own disk, and some fillers are greedy: they take what the reserve gives up as well, so that nothing
can be recorded for a while and all of it has to wait in memory. `size` counts cycles.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from callboard.battery import crowd, history
from callboard.battery.disks import NoDisk, own_mounts, within
from callboard.battery.proof import Found
from callboard.battery.scarcity import CPU, ON, SHOWS, TOLD, Trial

if TYPE_CHECKING:
    from callboard.battery.proof import Proving

SIDE_BY_SIDE = 3
AT_ONCE = 4  # cycles of one run
_MODULE = "callboard.battery.scarcity"
#: Seconds for one trial, and for each cycle of it, however busy the machine is.
_LONG, _LONGER = 120.0, 60.0


def prove_full(proving: Proving) -> Found:
    """Cycles are dealt out to the shows in turn."""
    return prove_scarcity(proving, ["greedy", "bytes"], proving.size)


def prove_scarcity(proving: Proving, kinds: list[str], size: int) -> Found:
    """So many cycles, each of the shows meeting each of the kinds in turn."""
    try:
        own_mounts()
    except NoDisk as error:
        return Found(0, skipped=str(error))
    pairs = [(show, kinds[(at + turn) % len(kinds)]) for turn in range(len(kinds)) for at, show in enumerate(SHOWS)]
    most = 1 if size <= len(pairs) else AT_ONCE
    sizes = [min(most, size - at) for at in range(0, size, most)]

    def carry_out(n: int) -> Trial:
        show, kind = pairs[n % len(pairs)]
        folder, seed = proving.folder / f"{n}", proving.seed * 1_000 + n
        folder.mkdir()
        told = within(
            _MODULE, "trial", str(folder), show, kind, sizes[n], seed, crowd.BEFORE, timeout=_LONG + _LONGER * sizes[n]
        )
        return Trial(**told)

    trials: list[Trial] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        for one in hands.map(carry_out, range(len(sizes))):
            trials.append(one)
            history.looked["runs"] += one.histories
            proving.say(f"{sum(one.cycles for one in trials)} of {size} cycles")
    return _found(proving, pairs, trials)


def _found(proving: Proving, pairs: list[tuple[str, str]], trials: list[Trial]) -> Found:
    failures = list[str]()
    for n, one in enumerate(trials):
        name = f"{', '.join(pairs[n % len(pairs)])} (folder {n}, seed {proving.seed})"
        failures += [f"{name}: {what}" for what in (*one.wrong, *_too_much(one))]
    cycles = sum(one.cycles for one in trials)
    if not cycles:
        failures.append("nothing was ever taken away, which proves nothing")
    figures = {
        "pause shown s": max(one.told for one in trials),
        "goes on s": max(one.on for one in trials),
        "processor while paused %": 100 * max(one.cpu for one in trials),
        "noise s": max(one.noise for one in trials),
    }
    return Found(cycles, failures, {name: round(value, 3) for name, value in figures.items()})


def _too_much(one: Trial) -> list[str]:
    """Limits that were not kept, on a machine that may itself be late."""
    late = 2 * one.noise
    found = [f"it paused after {one.told:.1f} s"] if one.told > TOLD + late else []
    found += [f"it went on after {one.on:.1f} s"] if one.on > ON + late else []
    return found + ([f"it used {one.cpu:.0%} of a processor while it was paused"] if one.cpu > CPU else [])
