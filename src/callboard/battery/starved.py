"""T6: no inodes, no right to write, no descriptors, no memory: a clear word and a pause, nothing lost, no crash loop.

The first three are taken from a run that is under way, as in `full`. Memory is different: whoever has none left cannot
promise to say so. A run is begun with so little that it fails somewhere; it has to end or wait, in few words, and who
goes on with enough finds all that was recorded and changes none of it. `size` counts cycles.
"""

from __future__ import annotations

import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from callboard.battery.crowd import Crowd, Member
from callboard.battery.full import SIDE_BY_SIDE, prove_scarcity
from callboard.battery.history import DATABASE, check
from callboard.battery.scarcity import SHOWS, undisturbed, workload
from callboard.battery.spawn import MAIN, TookTooLong
from callboard.battery.workloads import FILE, ID, documents
from callboard.errors import StoreError
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.battery.proof import Found, Proving

KINDS = ["inodes", "rights", "descriptors"]
LEAST, MOST = 30, 160  # MB of addresses: too little to begin, and nearly enough
FEW = 200_000  # bytes that a process says at most, its result among them
#: Seconds after which one that waits for memory is asked to end.
_WAITS = 10.0
_WITH = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({{0}}, {{0}}))\n{MAIN}"


def prove_starved(proving: Proving) -> Found:
    """A quarter of the cycles, at least one, are about memory."""
    memory = max(1, proving.size // 4)
    found = prove_scarcity(proving, KINDS, proving.size - memory)
    chance = random.Random(proving.seed)
    trials = [(n, list(SHOWS)[n % len(SHOWS)], chance.randint(LEAST, MOST)) for n in range(memory)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        wrong = [*hands.map(lambda one: with_memory(proving.folder / f"memory-{one[0]}", *one[1:]), trials)]
    failures = [
        f"{show} with {mb} MB: {what}" for (_, show, mb), told in zip(trials, wrong, strict=True) for what in told
    ]
    return found._replace(tried=found.tried + memory, failures=[*found.failures, *failures])


def with_memory(folder: Path, show: str, mb: int) -> list[str]:
    """Begin a show with so many MB, go on with enough; what was wrong."""
    work = workload(show, 0)
    expected = undisturbed(folder, work)
    disk = work.lay_out(folder / "disk")
    with Crowd(folder, CALLBOARD_OFFLINE_LATENCY="0.05") as all:
        poor = all.python(_WITH.format(mb << 20), "run", FILE, "text", "--id", ID, at=disk)
        wrong = _ended(poor)
        had = _outcomes(disk)
        rich = all.callboard("run", FILE, "text", "--id", ID, at=disk)
        if rich.wait() == 1:  # a step has failed for want of memory, and was recorded so
            rich = all.callboard("resume", ID, "--retry", at=disk)
        code = rich.wait()
    wrong += [f"with enough memory it left with {code}: {rich.said()[-1500:]}"] if code else []
    now = _outcomes(disk)
    wrong += ["a recorded outcome is gone, or another one"] if any(now.get(id) != had[id] for id in had) else []
    wrong += ["the documents are not as they should be"] if documents(disk, work) != expected else []
    return wrong + check(disk / DATABASE)


def _ended(poor: Member) -> list[str]:
    """It ends by itself, or it waits and can be ended; it never says the same for ever."""
    try:
        poor.wait(_WAITS)
    except TookTooLong:
        poor.send(signal.SIGTERM)
        poor.wait()
    said = poor.said()
    wrong = [f"it said {len(said)} bytes"] if len(said) > FEW else []
    return wrong + (["it showed its own inside: " + said[-800:]] if "Traceback" in said else [])


def _outcomes(disk: Path) -> dict[int, str]:
    try:
        with closing(SQLiteStore(disk / DATABASE, readonly=True)) as store:
            return {
                id: text for id, revision, text in store.rows("SELECT id, revision, text FROM outcome") if not revision
            }
    except StoreError:
        return {}  # nothing was begun
