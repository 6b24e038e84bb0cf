"""Real processes of ours in a directory of their own: started, killed, and compared with what a provider has booked.

Nothing of the program is replaced. The offline model's ledger is what a provider would have charged; what the project
knows is read from a *copy* of its database, so that looking after a kill repairs nothing that the next process should.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.battery.workloads import LEDGER
from callboard.productions.manager import ProductionManager, load_production
from callboard.productions.shelf import IDENTITY
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: Seconds that no process of ours may need, whatever it does here and however busy the machine is.
PATIENCE = 60.0


class Left(NamedTuple):
    """A process that has ended. `code` is negative for a signal; times are epoch seconds."""

    code: int
    out: str
    began: float
    ended: float

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Known(NamedTuple):
    """What the project knows of its first run: its status (a number), the keys of calls whose answer is recorded, how
    many executions have an answer (the provider's, or one that was kept in the cache), and how many calls the provider
    had been asked for when this was read."""

    status: int | None = None
    settled: frozenset[str] = frozenset()
    answered: int = 0
    asked: int = 0


class TookTooLong(Exception):
    """A process that nobody meant to kill did not end."""


class Show:
    """A directory, and the processes that play in it. `latency` is the seconds an answer of the model takes."""

    def __init__(self, root: Path, *, latency: float = 0.0) -> None:
        self.root, self.ledger, self.home, self._latency = root, root / LEDGER, root / ".callboard", latency
        root.mkdir(parents=True, exist_ok=True)
        self.ledger.touch()
        self.lives: list[Left] = []

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────

    def start(self, *argv: str, program: str = "callboard.cli.main", **env: str) -> subprocess.Popen[bytes]:
        """A process of ours in a group of its own; what it says goes to a file."""
        return self.begin([sys.executable, "-c", f"from {program} import main; main()", *argv], **env)

    def begin(self, command: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
        """As `start`, of a whole command line."""
        with open(self.root / "said.txt", "ab") as said:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment() | env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lived(self, *argv: str, kill_after: float | None = None, program: str = "callboard.cli.main") -> Left:
        """Start a process and wait for its end; if it still lives after so many seconds, `kill -9` its group.

        Raises TookTooLong.
        """
        return self.outlived([sys.executable, "-c", f"from {program} import main; main()", *argv], kill_after)

    def outlived(self, command: Sequence[str], kill_after: float | None = None, **env: str) -> Left:
        """As `lived`, of a whole command line."""
        heard, began = len(self.said()), time.time()
        process = self.begin(command, **env)
        is_late = False
        try:
            process.wait(PATIENCE if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            is_late = kill_after is None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        left = Left(process.returncode, self.said()[heard:], began, time.time())
        if is_late:
            raise TookTooLong(f"{list(command)} lasted longer than {PATIENCE} s:\n{left.out}")
        self.lives.append(left)
        return left

    @property
    def kills(self) -> int:
        return sum(left.is_killed for left in self.lives)

    def said(self) -> str:
        file = self.root / "said.txt"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        return kept | {
            "CALLBOARD_MODEL": "offline",
            "CALLBOARD_OFFLINE_LATENCY": str(self._latency),
            "CALLBOARD_OFFLINE_LEDGER": str(self.ledger),
            "PYTHONWARNINGS": "error",
        }

    # ── what there is ───────────────────────────────────────────────────────────────────────────────────

    def asked(self) -> list[dict[str, Any]]:
        return asked(self.root)

    def store(self, to: Path) -> SQLiteStore | None:
        return copied(self.root, to)

    def known(self) -> Known:
        return known(self.root)

    def documents(self) -> dict[str, bytes]:
        """The documents of all instances of the production `cards`, by their path."""
        place = self.root / "project-home/productions/cards"
        found = (file for file in place.glob("cards_*/**/*") if file.is_file())
        return {file.relative_to(place).as_posix(): file.read_bytes() for file in found}

    def began_again(self, left: Left) -> float | None:
        """Seconds from the start of a process until the first step of the run it recorded; None when it did none."""
        store = copied(self.root, _beside(self.root))
        if store is None:
            return None
        try:
            steps = [at for _, at, _, _ in store.journal(store.runs()[0].number) if at >= left.began]
        finally:
            store.close()
        return steps[0] - left.began if steps else None

    def instances(self) -> dict[str, str]:
        return instances(self.root)


# ── looking, without touching ───────────────────────────────────────────────────────────────────────────────


def asked(root: Path) -> list[dict[str, Any]]:
    """The provider's books: what it was asked, in the order it was asked. A line that was torn was never asked."""
    file = root / LEDGER
    lines = file.read_bytes().split(b"\n") if file.exists() else [b""]
    return [json.loads(line) for line in lines[:-1]]


def repeated(calls: Sequence[Mapping[str, Any]]) -> int:
    """How many calls were made more than once: those that were under way when somebody was killed."""
    return len(calls) - len({call["key"] for call in calls})


def copied(root: Path, to: Path) -> SQLiteStore | None:
    """A copy of the database as it lies in `root`, opened; None when there is none yet."""
    if not (root / ".callboard/callboard.db").exists():
        return None
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for file in ("callboard.db", "callboard.db-wal"):
        if (root / ".callboard" / file).exists():
            shutil.copyfile(root / ".callboard" / file, to / file)
    return SQLiteStore(to / "callboard.db")


def known(root: Path) -> Known:
    """What is recorded of the first run just now. Raises StoreDamaged when the file or the journal is not whole."""
    calls_until_now = len(asked(root))
    store = copied(root, _beside(root))
    if store is None:
        return Known(asked=calls_until_now)
    try:
        wrong = store.check()
        if wrong:
            raise AssertionError(f"the database is damaged: {wrong}")
        runs = sorted(store.runs(), key=lambda row: row.number)
        if not runs:
            return Known(asked=calls_until_now)
        store.journal(runs[0].number)
        calls = store.calls(runs[0].number)
        answered = {(call.node, call.number) for call in calls if call.status in ("settled", "cached")}
        settled = frozenset(call.key for call in calls if call.status == "settled")
        return Known(runs[0].status, settled, len(answered), calls_until_now)
    finally:
        store.close()
        shutil.rmtree(_beside(root))


def recorded_hashes(root: Path) -> set[str] | None:
    """The hashes of all versions of documents that were ever recorded; None when there is no database."""
    store = copied(root, _beside(root))
    if store is None:
        return None
    try:
        return {hash for (hash,) in store.rows("SELECT hash FROM document_history")}
    finally:
        store.close()


def asked_again(root: Path, before: Known) -> list[str]:
    """Keys of calls that were recorded as answered then, and were made again since."""
    return sorted(before.settled.intersection(call["key"] for call in asked(root)[before.asked :]))


def half_written(root: Path) -> list[str]:
    """Files that only a writer who was not done leaves behind."""
    places = [place for place in root.iterdir() if place.name != "said.txt"]
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


def copy_if_due(root: Path) -> None:
    """What the next engine does that leaves in good order: a copy that was not finished is cleared, and made."""
    database = root / ".callboard/callboard.db"
    if database.exists():
        with closing(SQLiteStore(database)) as store:
            store.backup_if_due(time.time())


def scan_productions(root: Path) -> None:
    """What `update_productions` does two hours later: temporary files belong to no living writer by then."""
    for settings in root.glob("*/productions/*/settings"):
        ProductionManager(settings.parent, clock=lambda: time.time() + 7200).update_productions()


def differing(root: Path) -> list[str]:
    """Documents whose bytes are not those that the index has, and content that does not fit its name."""
    home = root / ".callboard"
    wrong = [file.as_posix() for file in _files(home / "content") if _digest(file) != file.parent.name + file.name]
    store = copied(root, _beside(root))
    if store is None:
        return wrong
    try:
        for run, path, hash, _, _, status in store.documents():
            if status not in ("published", "conflict") or not _lies_there(root, path, hash):
                wrong.append(f"{path} of run {run} ({status})")
    finally:
        store.close()
        shutil.rmtree(_beside(root))
    return wrong


def _lies_there(root: Path, path: str, hash: str) -> bool:
    """Here, or beside a user's file that has the name."""
    place = (root / path).parent
    name = (root / path).stem
    return any(_digest(file) == hash for file in place.iterdir() if file.is_file() and file.name.startswith(name))


def _beside(root: Path) -> Path:
    return root.with_name(f"{root.name}-copy")


def _files(place: Path) -> Iterator[Path]:
    return (file for file in place.rglob("*") if file.is_file())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
