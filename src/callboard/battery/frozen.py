"""T8: the owner of a run is frozen (SIGSTOP) for 0.1 to 3 leases, another process takes the run over, and it wakes up.

Frozen is the engine alone: its child goes on, ends the step and leaves answer, log lines and a document in the pipe for
an engine that will find them much too late. What it then tries to write is heard by `eavesdrop`, which sits between the
engine and its store in that process: outcome, log, document and the renewal of its leases must each be refused. That
none of it has arrived all the same is said by the rows, by the files and by the history checker.

Where the freeze meets the program cannot be repeated exactly; a seed repeats the durations. One that is shorter than
the lease must cost nothing: nobody may take the run over, and its owner goes on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app import project as projects
from callboard.battery.census import below, program_of
from callboard.battery.crowd import Crowd, Member, Noise, let_pass, note, passed, until
from callboard.battery.history import DATABASE, check, watch
from callboard.battery.proof import Found, Proving
from callboard.battery.spawn import MAIN, TookTooLong
from callboard.battery.workloads import FILE, lay_out
from callboard.core.status import SUCCESS
from callboard.errors import FenceLost
from callboard.store.logs import LogFiles
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from callboard.core.deadline import Deadline
    from callboard.ports import Write

LEASE = 1.0  # seconds
SOON = 1.0  # seconds after it woke up that nothing of it is left
SIDE_BY_SIDE = 4
KINDS = ("outcome", "log", "document", "heartbeat")
_EARS, _LATE = "CALLBOARD_BATTERY_EARS", "CALLBOARD_BATTERY_LATE"
_OWNERS = "SELECT owner FROM battery_history WHERE what = 'claimed'"
_EAVESDROP = f"from callboard.battery.frozen import eavesdrop; eavesdrop(); {MAIN}"

SHOW = """
name: Frozen
pipe:
  - {name: draft, type: function, function: writes, params: {seconds: 0.4}, output_file: draft.md}
  - {name: again, type: function, function: writes, params: {seconds: 0.1}, output_file: draft.md, overwrite: true}
  - {name: last, type: function, function: writes, params: {seconds: 0.1}}
"""
FUNCTIONS = '''
import os, select, time

from callboard.executors.registry import register


@register
def writes(pipe_data, params):
    """Says who it is, in its log, its value and its document."""
    open("up", "w").close()
    me = f"{os.getppid()} {os.getpid()} {time.monotonic_ns()}"
    print("begun by", me)
    select.select([], [], [], params["seconds"])
    print("written by", me)
    return me
'''


class Trial(NamedTuple):
    """One freeze. `taken` says that another process took the run over; `refused` and `accepted` count what the woken
    owner tried to write after that, by kind; `ended` are the seconds in which it and all of its tree had ended."""

    seconds: float
    taken: bool
    refused: dict[str, int]
    accepted: dict[str, int]
    ended: float
    wrong: list[str]


def prove_frozen(proving: Proving) -> Found:
    """`size` counts freezes."""
    chance = random.Random(proving.seed)
    waits = [(chance.uniform(0.0, 0.5), _seconds(chance)) for _ in range(proving.size)]
    trials: list[Trial] = []
    with Noise() as noise, ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        for trial in hands.map(
            lambda n: freeze(proving.folder / f"{n}", *waits[n], is_late=n % 2 == 1), range(proving.size)
        ):
            trials.append(trial)
            proving.say(f"{len(trials)} of {proving.size}")
    failures = [f"freeze {n}: {what}" for n, trial in enumerate(trials) for what in trial.wrong]
    late = max((trial.ended for trial in trials if trial.taken), default=0.0)
    if late > SOON + 2 * noise.worst:
        failures.append(
            f"a woken process and its tree ended after {late:.2f} s, on a machine that was {noise.worst:.2f} s late"
        )
    refused = {kind: sum(trial.refused.get(kind, 0) for trial in trials) for kind in KINDS}
    figures = {f"refused: {kind}": float(count) for kind, count in refused.items()}
    taken = sum(trial.taken for trial in trials)
    accepted = sum(sum(trial.accepted.values()) for trial in trials)
    more = {"taken over": taken, "late writes accepted": accepted, "ended after waking s": late, "noise s": noise.worst}
    return Found(len(trials), failures, figures | more)


def _seconds(chance: random.Random) -> float:
    """Mostly longer than a lease: only then is there anything to refuse."""
    return LEASE * (chance.uniform(0.1, 0.8) if chance.random() < 0.2 else chance.uniform(1.3, 3.0))


def freeze(folder: Path, after: float, seconds: float, *, is_late: bool = False) -> Trial:
    """Freeze an owner `after` seconds of its first step, for so long at least; let another process have the run.

    An owner that `is_late` hears from its keeper when it has tried to write all the rest.
    """
    ears = folder / "ears.jsonl"
    with Crowd(folder, CALLBOARD_LEASE=str(LEASE), **{_EARS: str(ears)}) as crowd, closing(_project(folder)) as store:
        hears = "import os; os.environ[" + repr(_LATE) + "] = '1'; " if is_late else ""
        owner = crowd.python(hears + _EAVESDROP, "run", FILE, "text", "--id", "frozen")
        until("the first step has begun", (folder / "up").exists)
        let_pass(after)
        tree = [owner.pid, *below(owner.pid)]
        owner.send(signal.SIGSTOP)
        thaw = passed(seconds)
        other = None
        if seconds > LEASE:
            let_pass(LEASE * 1.05)  # its lease is over then
            other = crowd.callboard("resume", "frozen")
            with suppress(TookTooLong):  # an owner that was frozen in a commit has the store's lock until it wakes
                until("somebody has the run", lambda: _has(store, other) or _has_ended(other), seconds=3 + 3 * LEASE)
        until("it was frozen for long enough", thaw)
        taken = other is not None and _has(store, other, ever=True)
        is_kept = other is not None and not taken and _has_ended(other)
        woken = time.time()
        owner.send(signal.SIGCONT)
        ended = until("the woken tree has ended", lambda: _are_gone(owner, tree)) if taken else 0.0
        codes = [member.wait() for member in crowd.members]
        wrong = _codes(codes, taken=taken, said=[member.said()[-500:] for member in crowd.members])
        heard = [one for one in _heard(ears) if taken and one["at"] >= woken and one["pid"] == owner.pid]
        wrong += ["nobody could take it over although its owner's lease was over"] if is_kept else []
        wrong += _rows(store, folder, tree if taken else [], woken)
        wrong += check(folder / DATABASE)
    refused, accepted = _counted(heard, ok=False), _counted(heard, ok=True)
    if taken and not refused:
        wrong.append("the woken owner tried to write nothing, which proves nothing")
    wrong += [f"a late {kind} of the woken owner got past the fence" for kind in accepted]
    return Trial(seconds, taken, refused, accepted, ended, wrong)


def _project(folder: Path) -> SQLiteStore:
    lay_out(folder, {FILE: SHOW, "function/shows.py": FUNCTIONS})
    database = projects.find_or_make(None, folder).database
    watch(database)
    return SQLiteStore(database, readonly=True)


def _has(store: SQLiteStore, member: Member | None, *, ever: bool = False) -> bool:
    """Whether a process owns the run, or ever did."""
    owner = store.find_run("frozen").owner
    if member is None or (owner is not None and owner.pid == member.pid):
        return member is not None
    return ever and any(f",{member.pid}," in str(text) for (text,) in store.rows(_OWNERS))


def _has_ended(member: Member | None) -> bool:
    return member is None or member.is_gone


def _are_gone(owner: Member, tree: list[int]) -> bool:
    return owner.is_gone and not any(program_of(pid) for pid in tree)


def _codes(codes: list[int], *, taken: bool, said: list[str]) -> list[str]:
    """The one that has the run ends it; the other one says that it is busy, or that there is nothing to do any more."""
    owner, *other = codes
    want, allowed = (9, (0,)) if taken else (0, (0, 2, 9))
    told = [f"the owner left with {owner}, not {want}: {said[0]}"] if owner != want else []
    return told + [f"the other left with {code}: {said[1]}" for code in other if code not in allowed]


def _rows(store: SQLiteStore, folder: Path, tree: list[int], woken: float) -> list[str]:
    """What does not look as if the woken tree had never been."""
    row = store.find_run("frozen")
    wrong = [] if row.status == SUCCESS else [f"the run is {row.status}"]
    again = json.loads(store.outcome(row.number, 1, 1) or "{}").get("value")
    if (folder / "draft.md").read_text() != again:
        wrong.append("the document is not the one that was recorded last")
    lines = [(at, text) for _, _, at, _, text in store.logs(row.number)]
    lines += [(line["at"], line["text"]) for line in LogFiles(folder / ".callboard/logs").read("frozen")]
    late = [text for at, text in lines if at >= woken and any(f" {pid} " in f"{text} " for pid in tree)]
    return wrong + [f"the woken owner could write into the log: {text!r}" for text in late]


def _counted(heard: list[dict[str, Any]], *, ok: bool) -> dict[str, int]:
    return dict(Counter(kind for one in heard if one["ok"] is ok for kind in one["kinds"]))


# ── in the process that is frozen ───────────────────────────────────────────────────────────────────────────


def eavesdrop() -> None:
    """Note what this process tries to write, and whether the store took it."""
    commit, renew = SQLiteStore._commit, SQLiteStore.renew

    def heard_commit(self: SQLiteStore, writes: Sequence[Write]) -> None:
        named = (("outcome", "outcomes"), ("log", "logs"), ("document", "documents"))
        kinds = sorted({kind for write in writes for kind, field in named if getattr(write, field)})
        try:
            commit(self, writes)
        except BaseException as error:  # by anything but the fence it should not even be noticed
            _note(kinds, ok=not isinstance(error, FenceLost))
            raise
        _note(kinds, ok=True)

    def heard_renew(self: SQLiteStore, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        if _LATE in os.environ:
            time.sleep(LEASE / 3)
        lost = renew(self, runs, lease)
        _note(["heartbeat"], ok=not lost)
        return lost

    SQLiteStore._commit, SQLiteStore.renew = heard_commit, heard_renew  # type: ignore[method-assign]


def _note(kinds: Sequence[str], *, ok: bool) -> None:
    note(os.environ[_EARS], json.dumps({"at": time.time(), "pid": os.getpid(), "kinds": kinds, "ok": ok}))


def _heard(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
