"""A run whose disk or process runs out of something, again and again, and that nobody may have to start a second time.

Real processes on a disk of their own (`disks.py`). While a run goes on something is taken away: the last byte, the
last inode, the right to write, the descriptors. It has to say so soon, in its own words and to whoever looks from
another process; it must cost next to nothing while it waits, refuse what would be new, and go on by itself when it
has back what it lacks. In the end every document is as if nothing had been, nothing was asked of the provider twice,
and no outcome that was there at a pause is another one or gone.

What the provider books and what our processes say lies on another disk: those are not what is proven.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from callboard.battery import crowd, history
from callboard.battery.aftermath import asked, repeated, unlike
from callboard.battery.census import below, seconds_of
from callboard.battery.crowd import Crowd, Member, Noise, let_pass, until
from callboard.battery.disks import mount, read_only
from callboard.battery.history import DATABASE, check
from callboard.battery.spawn import TookTooLong
from callboard.battery.workloads import FILE, ID, LEDGER, Workload, documents
from callboard.engine.room import OVER
from callboard.errors import StoreError
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLD, ON, CPU = 5.0, 10.0, 0.05  # seconds until it says so, seconds until it goes on, share of a processor meanwhile
STILL = 2.0  # seconds for which a pause is measured
OTHER = "other"  # a directory that is to be a project
SIZE, INODES = "20m", "3000"
AHEAD, EACH = 30, 30  # items that a run has anyway, and for each cycle
_EACH = 'each: {csv: rows.csv, key: "{{item.id}}"}\n    output_file: "out/{{item.id}}.md"'
_LINES = "harbour gate\\n" * 200

#: Each goes on for several seconds, and writes a document of its own content with every step.
SHOWS = {
    "models": f"""
name: Models
limits: {{run: 4}}
pipe:
  - name: line
    type: llm
    {_EACH}
    tmpl: "Summarise: The harbour {{{{item.id}}}} has four gates. People come to {{{{item.id}}}} every week for fish."
  - {{name: last, type: llm, tmpl: "One line", output_file: last.md}}
""",
    "functions": f"""
name: Functions
limits: {{run: 4}}
pipe:
  - name: line
    type: function
    function: slowly
    params: {{seconds: 0.15, text: "{_LINES}"}}
    {_EACH}
  - {{name: last, type: function, function: airesult, params: {{file: last.json}}}}
""",
    "commands": f"""
name: Commands
limits: {{run: 2}}
pipe:
  - name: line
    type: command
    command: [sh, -c, "sleep 0.1; cat"]
    stdin: "{{{{item.id}}}} {_LINES}"
    {_EACH}
  - {{name: last, type: function, function: airesult, params: {{file: last.json}}}}
""",
}
FUNCTIONS = """
import select

from callboard.executors.registry import register


@register
def slowly(pipe_data, params):
    select.select([], [], [], params["seconds"])
    return f"{pipe_data['pipein_text']} {params['text']}"
"""


def workload(name: str, cycles: int) -> Workload:
    rows = "id\n" + "".join(f"n{n:04}\n" for n in range(AHEAD + EACH * cycles))
    return Workload(name, {FILE: SHOWS[name], "rows.csv": rows, "function/slow.py": FUNCTIONS})


class Trial(NamedTuple):
    """One run through all its cycles; the longest of each kind of seconds, and the largest share of a processor."""

    cycles: int
    told: float
    on: float
    cpu: float
    noise: float
    wrong: list[str]
    histories: int = 0  # that the checker has read there


class Harm(Protocol):
    """Something is taken from a disk, or a process, and given back. `words` is what has to be said meanwhile; it is
    `seen` by other processes, and something new is `refused`, where it is the disk that lacks it."""

    words: str
    seen: bool
    refused: bool

    def take(self, disk: Path, pid: int) -> None: ...
    def give(self, disk: Path, pid: int) -> None: ...


class Bytes:
    """Somebody fills the disk; if `greedy` he goes on as long as he can, and has the reserve as well."""

    words, seen, refused = "the disk is full", True, True

    def __init__(self, *, greedy: bool) -> None:
        self._greedy, self._over = greedy, threading.Event()
        self._hand: threading.Thread | None = None

    def take(self, disk: Path, pid: int) -> None:
        self._over.clear()
        self._fill(disk)
        if self._greedy:
            self._hand = threading.Thread(target=self._go_on, args=(disk,))
            self._hand.start()

    def give(self, disk: Path, pid: int) -> None:
        self._over.set()
        if self._hand is not None:
            self._hand.join()
            self._hand = None
        (disk / "filler").unlink()

    def _go_on(self, disk: Path) -> None:
        while not self._over.wait(0.02):
            self._fill(disk)

    def _fill(self, disk: Path) -> None:
        with open(disk / "filler", "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass


class Inodes:
    """Somebody makes files until there can be no more."""

    words, seen, refused = "no inodes left", True, True

    def take(self, disk: Path, pid: int) -> None:
        (disk / "files").mkdir()
        with suppress(OSError):
            for n in range(1 << 20):
                (disk / f"files/{n}").touch()

    def give(self, disk: Path, pid: int) -> None:
        shutil.rmtree(disk / "files")


class Rights:
    """What a step writes can no longer be kept, though what is open already can be written to."""

    words, seen, refused = "read-only", False, False

    def take(self, disk: Path, pid: int) -> None:
        read_only(disk / ".callboard/content")

    def give(self, disk: Path, pid: int) -> None:
        read_only(disk / ".callboard/content", again=True)


class Descriptors:
    """The process may open nothing more."""

    words, seen, refused = "no file descriptors left", False, False
    _before = (0, 0)

    def take(self, disk: Path, pid: int) -> None:
        self._before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, self._before[1]))

    def give(self, disk: Path, pid: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, self._before)


def harm_of(kind: str) -> Harm:
    match kind:
        case "bytes" | "greedy":
            return Bytes(greedy=kind == "greedy")
        case "inodes":
            return Inodes()
        case "rights":
            return Rights()
    return Descriptors()


class Cycle(NamedTuple):
    """Seconds until it said that it paused, until it went on, the share of a processor in between; what was wrong."""

    told: float
    on: float
    cpu: float
    wrong: list[str]


def trial(folder: str, show: str, kind: str, cycles: int, seed: int, before: str = "") -> dict[str, Any]:
    """In a process with its own mounts: one run of a show, through so many cycles. The fields of a `Trial`."""
    crowd.BEFORE = before
    place, work = Path(folder), workload(show, cycles)
    expected = undisturbed(place, work)
    disk = work.lay_out(mount(place / "disk", size=SIZE, nr_inodes=INODES))
    (disk / OTHER).mkdir()
    found: list[Cycle] = []
    wrong: list[str] = []
    with Noise() as noise, _crowd(place) as all:
        try:
            run = all.callboard("run", FILE, "text", "--id", ID, at=disk, CALLBOARD_OFFLINE_LEDGER=str(place / LEDGER))
            until("the run has begun", lambda: _is_begun(disk) or run.is_gone)
            with closing(SQLiteStore(disk / DATABASE, readonly=True)) as store:
                found = Scene(all, disk, store, run, kind, seed).play(cycles)
            wrong = [f"cycle {n}: {what}" for n, one in enumerate(found, 1) for what in one.wrong]
            code = run.wait()
            wrong += [f"the run left with {code}: {run.said()[-1500:]}"] if code else []
            wrong += _differing(disk, place, work, expected)
        except TookTooLong as error:
            wrong.append(f"{error}; the run has said: {run.said()[-1500:]}")
    if wrong:
        shutil.copytree(disk, place / "evidence", ignore=shutil.ignore_patterns("*.bell"))
    told, on, cpu = (
        max(values) for values in zip(*(one[:3] for one in [*found, Cycle(0.0, 0.0, 0.0, [])]), strict=True)
    )
    return Trial(len(found), told, on, cpu, noise.worst, wrong, history.looked["runs"])._asdict()


class Scene:
    """A run on a disk, and what is done to them again and again."""

    def __init__(self, all: Crowd, disk: Path, store: SQLiteStore, run: Member, kind: str, seed: int) -> None:
        self._all, self._disk, self._store, self._run, self._kind = all, disk, store, run, kind
        self._chance = random.Random(seed)

    def play(self, cycles: int) -> list[Cycle]:
        found: list[Cycle] = []
        while len(found) < cycles and not self._run.is_gone:
            let_pass(self._chance.uniform(0.0, 0.4))
            found.append(self._cycle(harm_of(self._kind)))
        return found

    def _cycle(self, harm: Harm) -> Cycle:
        run, disk, wrong = self._run, self._disk, list[str]()
        heard, had = len(run.said()), self._outcomes()
        harm.take(disk, run.pid)
        try:
            told = until("it says that it pauses", lambda: "paused" in run.said()[heard:] or run.is_gone)
            if harm.words not in run.said()[heard:]:
                return Cycle(told, 0.0, 0.0, [f"it says {run.said()[heard:][-1500:]!r}, and not {harm.words!r}"])
            wrong += self._seen(harm.words) if harm.seen else []
            wrong += self._refused(harm.words) if harm.refused else []
            let_pass(0.5)  # what was at work ends
            begun = self._begun()
            cpu, paused = _share(run), self._outcomes()
            if self._begun() != begun:
                wrong.append(f"{self._begun() - begun} more steps began while it was paused")
        finally:
            harm.give(disk, run.pid)
        heard = run.said().rfind("paused")  # what was at work may be recorded before it is told that there is room
        if any(paused.get(id) != text for id, text in had.items()):
            wrong.append("an outcome that was there before is gone, or another one")
        on = until("it goes on", lambda: self._goes_on(heard, len(paused)) or run.is_gone)
        return Cycle(told, on, cpu, wrong)

    def _goes_on(self, heard: int, had: int) -> bool:
        return OVER in self._run.said()[heard:] and len(self._outcomes()) > had

    def _outcomes(self) -> dict[int, str]:
        return dict(self._store.rows("SELECT id, text FROM outcome"))

    def _begun(self) -> int:
        """How many executions were ever at work."""
        return int(self._store.rows("SELECT count(*) FROM execution WHERE attempt > 0")[0][0])

    def _seen(self, words: str) -> list[str]:
        """What another process is told of the run, as JSON and in words."""
        one, other = self._say("show", ID, "--json"), self._say("ls")
        codes = one.wait(), other.wait()
        because = json.loads(one.said())["because"] if codes == (0, 0) else ""
        if because.startswith("paused: ") and words in because and because in other.said():
            return []
        return [f"`show --json` says {one.said()[-500:]!r}, and `ls` {other.said()[-500:]!r}"]

    def _refused(self, words: str) -> list[str]:
        """What is new is refused with the fix, and nothing of it is there: a run, and a project."""
        wrong: list[str] = []
        for argv in ["run", FILE, "other", "--id", "new"], ["--project", OTHER, "run", FILE, "other"]:
            one = self._say(*argv)
            code = one.wait()
            if code != 9 or words not in one.said() or "fix:" not in one.said():
                wrong.append(f"{argv} left with {code}: {one.said()[-500:]!r}")
        runs = [row.id for row in self._store.runs()]
        left = [path.name for path in (self._disk / OTHER).iterdir()]
        return wrong + ([f"what was refused has left {runs}, {left}"] if runs != [ID] or left else [])

    def _say(self, *argv: str) -> Member:
        return self._all.callboard(*argv, at=self._disk)


def undisturbed(place: Path, work: Workload) -> dict[str, bytes]:
    """What the show's documents are when nothing is taken away. Raises AssertionError."""
    calm = work.lay_out(place / "calm")
    with _crowd(place / "calm-said") as all:
        code = all.callboard("run", FILE, "text", "--id", ID, at=calm, CALLBOARD_OFFLINE_LATENCY="0").wait()
    if code:
        raise AssertionError(f"undisturbed it left with {code}")
    return documents(calm, work)


def _crowd(place: Path) -> Crowd:
    return Crowd(place, CALLBOARD_OFFLINE_LATENCY="0.25")


def _is_begun(disk: Path) -> bool:
    """Whether there is a first outcome."""
    try:
        with closing(SQLiteStore(disk / DATABASE, readonly=True)) as store:
            return bool(store.rows("SELECT 1 FROM outcome LIMIT 1"))
    except StoreError:
        return False


def _share(run: Member) -> float:
    """Of a processor, what a process and all that it has started use while it is paused."""
    pids = [run.pid, *below(run.pid)]
    used, began = sum(map(seconds_of, pids)), time.monotonic()
    let_pass(STILL)
    return (sum(map(seconds_of, pids)) - used) / (time.monotonic() - began)


def _differing(disk: Path, place: Path, work: Workload, expected: Mapping[str, bytes]) -> list[str]:
    """What is not as if nothing had been."""
    other = unlike(documents(disk, work), expected)
    wrong = [f"{len(other)} documents are not as they should be: {', '.join(other[:5])}"] if other else []
    if twice := repeated(asked(place)) if work.name == "models" else 0:
        wrong.append(f"{twice} calls were made twice")
    return wrong + check(disk / DATABASE)
