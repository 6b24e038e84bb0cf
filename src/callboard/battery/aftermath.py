"""What is there after a kill: looked at without touching, and what of it is not as it has to be.

What a project knows is read from a *copy* of its database, so that looking after a kill repairs nothing that the next
process should. The provider's books are what a provider would have charged: the offline model's ledger.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.battery import history
from callboard.battery.history import DATABASE
from callboard.battery.workloads import LEDGER, SAID
from callboard.errors import StoreDamaged
from callboard.productions.manager import ProductionManager, load_production
from callboard.productions.shelf import IDENTITY
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class Known(NamedTuple):
    """What the project knows of its first run: its status (a number), the keys of calls whose answer is recorded, how
    many executions have an answer (the provider's, or one that was kept in the cache), and how many calls the provider
    had been asked for when this was read."""

    status: int | None = None
    settled: frozenset[str] = frozenset()
    answered: int = 0
    asked: int = 0


def asked(root: Path) -> list[dict[str, Any]]:
    """The provider's books: what it was asked, in the order it was asked. A line that was torn was never asked."""
    file = root / LEDGER
    lines = file.read_bytes().split(b"\n") if file.exists() else [b""]
    return [json.loads(line) for line in lines[:-1]]


def repeated(calls: Sequence[Mapping[str, Any]]) -> int:
    """How many calls were made more than once: those that were under way when somebody was killed."""
    return len(calls) - len({call["key"] for call in calls})


@contextmanager
def copied(root: Path) -> Iterator[SQLiteStore | None]:
    """A copy of the database as it lies in `root`, opened; None when there is none yet."""
    if not (root / DATABASE).exists():
        yield None
        return
    beside = root.with_name(f"{root.name}-copy")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    for file in ("callboard.db", "callboard.db-wal"):
        if (root / ".callboard" / file).exists():
            shutil.copyfile(root / ".callboard" / file, beside / file)
    try:
        with closing(SQLiteStore(beside / "callboard.db")) as store:
            yield store
    finally:
        shutil.rmtree(beside)


def known(root: Path) -> Known:
    """What is recorded of the first run just now. Raises StoreDamaged when the file or the journal is not whole."""
    calls_until_now = len(asked(root))
    with copied(root) as store:
        runs = [] if store is None else sorted(store.runs(), key=lambda row: row.number)
        if store is None or not runs:
            return Known(asked=calls_until_now)
        if wrong := store.check():
            raise StoreDamaged(f"the database is damaged: {wrong}")
        store.journal(runs[0].number)
        calls = store.calls(runs[0].number)
    answered = {(call.node, call.number) for call in calls if call.status in ("settled", "cached")}
    settled = frozenset(call.key for call in calls if call.status == "settled")
    return Known(runs[0].status, settled, len(answered), calls_until_now)


def recorded_hashes(root: Path) -> set[str] | None:
    """The hashes of all versions of documents that were ever recorded; None when there is no database."""
    with copied(root) as store:
        return None if store is None else {hash for (hash,) in store.rows("SELECT hash FROM document_history")}


def began_again(root: Path, since: float) -> float | None:
    """Seconds from then until the first step of the run that was recorded; None when there was none."""
    with copied(root) as store:
        journal = store.journal(store.runs()[0].number) if store is not None else ()
    return next((at - since for _, at, _, _ in journal if at >= since), None)


def asked_again(root: Path, before: Known) -> list[str]:
    """Keys of calls that were recorded as answered then, and were made again since."""
    return sorted(before.settled.intersection(call["key"] for call in asked(root)[before.asked :]))


def half_written(root: Path) -> list[str]:
    """Files that only a writer who was not done leaves behind."""
    places = [place for place in root.iterdir() if place.name != SAID]
    return sorted(
        file.relative_to(root).as_posix()
        for place in places
        for file in (_files(place) if place.is_dir() else [place])
        if (file.name.startswith(".") and file.name != IDENTITY) or file.suffix == ".tmp"
    )


def instances(root: Path) -> dict[str, str]:
    """Status by instance of all productions, as their own indexes have it."""
    managers = [load_production(settings.parent) for settings in root.glob("*/productions/*/settings")]
    return {one.instance_id: one.status for manager in managers for one in manager.instances()}


def unfinished(root: Path) -> list[str]:
    """Productions of which not exactly one instance was completed: who is killed before a run is recorded makes
    another one."""
    found = list(instances(root).values())
    return [f"the instances are {', '.join(found)}"] if found and found.count("completed") != 1 else []


def differing(root: Path) -> list[str]:
    """Documents whose bytes are not those that the index has, and content that does not fit its name."""
    home = root / ".callboard"
    wrong = [file.as_posix() for file in _files(home / "content") if _digest(file) != file.parent.name + file.name]
    with copied(root) as store:
        wrong += [
            f"{path} of run {run} ({status})"
            for run, path, hash, _, _, status in (store.documents() if store is not None else ())
            if status not in ("published", "conflict") or not _lies_there(root, path, hash)
        ]
    return wrong


def _lies_there(root: Path, path: str, hash: str) -> bool:
    """Here, or beside a user's file that has the name."""
    place = (root / path).parent
    name = (root / path).stem
    return any(_digest(file) == hash for file in place.iterdir() if file.is_file() and file.name.startswith(name))


def unlike(found: Mapping[str, bytes], meant: Mapping[str, bytes]) -> list[str]:
    """Documents that are not as they should be, too many or missing."""
    return sorted(path for path in found.keys() | meant.keys() if found.get(path) != meant.get(path))


# ── what has to be so in the end ────────────────────────────────────────────────────────────────────────────


def tidied(root: Path) -> list[str]:
    """What is left and not as it should be when whoever comes later has done what he does: see `litter`."""
    scan_productions(root)
    copy_if_due(root)
    return litter(root)


def litter(root: Path) -> list[str]:
    """What was left half written, and what is not as it is recorded."""
    wrong = [f"{path} was left behind" for path in half_written(root)]
    return wrong + [f"{path} differs from what is recorded" for path in differing(root)]


def unsound(root: Path) -> list[str]:
    """What cannot be true of runs that have ended: by the productions they played in, and by their own past."""
    return unfinished(root) + history.check(root / DATABASE)


def copy_if_due(root: Path) -> None:
    """What the next engine does that leaves in good order: a copy that was not finished is cleared, and made."""
    if (root / DATABASE).exists():
        with closing(SQLiteStore(root / DATABASE)) as store:
            store.backup_if_due(time.time())


def scan_productions(root: Path) -> None:
    """What `update_productions` does two hours later: temporary files belong to no living writer by then."""
    for settings in root.glob("*/productions/*/settings"):
        ProductionManager(settings.parent, clock=lambda: time.time() + 7200).update_productions()


def _files(place: Path) -> Iterator[Path]:
    return (file for file in place.rglob("*") if file.is_file())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
