"""T10: workers are lost in every way, what they had at work is soon somebody else's, and nothing of them is left.

Killed are the process of a step, its supervisor, both, the engine while its children live, and all of them in the same
moment: then only marks tell whose is what has stayed. Two more things are played, because one machine cannot do them:
that the process number of a dead engine belongs to somebody else by now (its owner is given the number of this very
process), and that the owner is on another host (it is given another host's name), which has to be believed until its
lease is over and no longer. Each is done to a function in a child and to a command, and each step has a process in a
session of its own that would rather stay; where nobody is left to end it, it does not even listen. The next attempt
looks for it: the two must never be there together.

A take-over is measured from the kill, or from the end of a lease that has to be waited for, to the first line of the
new attempt. Where an engine was killed it begins with the start of another process.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.census import parent_of, standing
from callboard.battery.crowd import Crowd, Member, Noise, until
from callboard.battery.history import DATABASE, check
from callboard.battery.proof import Found, Proving, p99
from callboard.battery.spawn import TookTooLong
from callboard.battery.workloads import FILE, lay_out
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

SOON, LEASE = 2.0, 2.0  # seconds: until somebody else has it; that an owner elsewhere is believed
LINGER = 3.0  # seconds after the end in which the last process of a step may leave
SIDE_BY_SIDE = 4
_BUSY = 9

STEP = """
import os, subprocess, sys, time

def told(file):
    try:
        with open(file) as told: return told.read()
    except OSError:
        return ""

def lives(pid):
    return told(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])

def stays():
    met = lives(told("company"))
    with open("up", "a") as up: up.write(f"{os.getpid()} {time.time()} {met}\\n")
    with open("up") as up: is_first = len(up.readlines()) == 1
    if is_first:
        company = subprocess.Popen(COMPANY, start_new_session=True)
        while not told(f"/proc/{company.pid}/cmdline").startswith("sleep"): time.sleep(0.01)
        with open("half", "w") as file: file.write(str(company.pid))
        os.rename("half", "company")
        time.sleep(600)
    return "done"

if __name__ == "__main__":
    print(stays())
else:
    from callboard.executors.registry import register

    @register
    def step(pipe_data, params): return stays()
"""
_STEPS = {
    "function": "{name: step, type: function, function: step}",
    "command": "{name: step, type: command, command: [PYTHON, function/step.py]}",
}


_COMPANY = {False: ["sleep", "600"], True: ["sh", "-c", "trap '' TERM; exec sleep 600"]}


class Loss(NamedTuple):
    """A way to be lost. `kills` are the processes that are killed; `owner` is what its row says afterwards; what its
    step has started is `deaf` to who asks it to leave."""

    name: str
    kills: tuple[str, ...]
    owner: str = ""
    deaf: bool = False

    @property
    def is_of_engine(self) -> bool:
        return "engine" in self.kills


LOSSES = (
    Loss("step", ("step",)),
    Loss("supervisor", ("supervisor",)),
    Loss("step and supervisor", ("step", "supervisor")),
    Loss("engine", ("engine",)),
    Loss("engine and step", ("engine", "step")),
    Loss("engine and supervisor", ("engine", "supervisor"), deaf=True),
    Loss("number used again", ("engine",), "number"),
    Loss("another host", ("engine",), "host"),
)


class Trial(NamedTuple):
    """One loss. `taken` are the seconds until a new attempt had begun; `orphans` what was left of the old one then
    and after its end."""

    loss: Loss
    by: str
    taken: float
    orphans: int
    wrong: list[str]

    @property
    def name(self) -> str:
        return f"{self.loss.name} ({self.by})"


def prove_lost(proving: Proving) -> Found:
    """`size` counts losses: each way, of a function and of a command; more than there are means again."""
    ways = [(LOSSES[n // 2 % len(LOSSES)], ("function", "command")[n % 2]) for n in range(proving.size)]
    trials: list[Trial] = []
    with Noise() as noise, ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        for trial in hands.map(lambda n: lose(proving.folder / str(n), *ways[n]), range(len(ways))):
            trials.append(trial)
            proving.say(f"{len(trials)} of {len(ways)}")
    failures = [f"{trial.name}: {what}" for trial in trials for what in wrong(trial, noise.worst)]
    here = [trial.taken for trial in trials if trial.loss.owner != "host"]
    there = [trial.taken for trial in trials if trial.loss.owner == "host"]
    figures = {"taken over p99 s": p99(here)}
    if there:
        figures["after another host's lease s"] = max(there)
    orphans = sum(trial.orphans for trial in trials)
    return Found(len(trials), failures, figures | {"left behind": float(orphans), "noise s": noise.worst})


def wrong(trial: Trial, noise: float) -> list[str]:
    """What of it breaks the promise, on a machine that is so late."""
    found = list(trial.wrong)
    if trial.taken > SOON + 4 * noise:
        found.append(f"it was taken over after {trial.taken:.1f} s")
    if trial.orphans:
        found.append(f"{trial.orphans} processes of it were left behind")
    return found


def lose(folder: Path, loss: Loss, by: str) -> Trial:
    """Begin a run, lose its worker, and see who goes on with it."""
    with Crowd(folder, CALLBOARD_LEASE=str(LEASE)) as crowd:
        database = _lay_out(folder, loss, by)
        owner = member = crowd.callboard("run", FILE, "text", "--id", "lost")
        until("the step has begun", lambda: len(_begun(folder)) == 1 and (folder / "company").exists())
        step = _begun(folder)[0].pid
        pids = {"step": step, "supervisor": parent_of(step), "engine": owner.pid}
        for name in loss.kills:
            with suppress(ProcessLookupError):  # it was quick to follow the one before
                os.kill(pids[name], signal.SIGKILL)
        since, wrong = time.time(), list[str]()
        if loss.is_of_engine:
            owner.process.wait()
            since = _rewritten(database, loss) or since
            member, wrong = _resumed(crowd, since)
        until("a new attempt has begun", lambda: len(_begun(folder)) > 1 or member.is_gone)
        begun = _begun(folder)[1:]
        taken = begun[0].at - since if begun else math.inf
        if begun and begun[0].met:
            wrong.append("it was begun again beside what its first attempt had started")
        code = member.wait()
        orphans = _left(folder)
    if code != 0:
        wrong.append(f"who took it over left with {code}: {member.said()[-500:]}")
    if taken < 0:
        wrong.append(f"it was taken {-taken:.2f} s before its owner's lease was over")
    return Trial(loss, by, taken, orphans, wrong + check(database))


def _lay_out(folder: Path, loss: Loss, by: str) -> Path:
    step = _STEPS[by].replace("PYTHON", json.dumps(sys.executable))
    function = STEP.replace("COMPANY", repr(_COMPANY[loss.deaf]))
    lay_out(folder, {FILE: f"name: Lost\npipe:\n  - {step}\n", "function/step.py": function})
    return folder / DATABASE


class _Begun(NamedTuple):
    """An attempt that has begun, and whether it `met` what the first one had started."""

    pid: int
    at: float
    met: bool


def _begun(folder: Path) -> list[_Begun]:
    try:
        lines = (folder / "up").read_text().splitlines()
    except OSError:
        return []
    return [_Begun(int(pid), float(at), met == "True") for pid, at, met in map(str.split, lines)]


def _rewritten(database: Path, loss: Loss) -> float | None:
    """Let the dead owner of the run be somebody else; when its lease is over, where that has to be waited for."""
    if not loss.owner:
        return None
    with closing(SQLiteStore(database)) as store, store.transaction() as writer:
        ((owner, lease),) = writer.execute("SELECT owner, lease FROM standing").fetchall()
        host, boot, pid, *rest = json.loads(str(owner))
        if loss.owner == "number":
            pid = os.getpid()
        else:
            host, boot = "another host", "another boot"
        writer.execute("UPDATE standing SET owner = ?", (json.dumps([host, boot, pid, *rest]),))
    return float(str(lease)) if loss.owner == "host" else None


def _resumed(crowd: Crowd, since: float) -> tuple[Member, list[str]]:
    """Resume the run from `since` on; whoever asks sooner is told that it is somebody's. (One that was begun sooner may
    ask only then, on a busy machine.)"""
    member = crowd.callboard("resume", "lost")
    if since <= member.begun:
        return member, []
    if (code := member.wait()) == _BUSY:
        until("the lease of its owner is over", lambda: time.time() > since)
        return crowd.callboard("resume", "lost"), []
    if time.time() < since:
        return member, [f"while its owner had to be believed, `resume` left with {code}: {member.said()[-500:]}"]
    return member, []


def _left(folder: Path) -> int:
    """Processes that do not go when all is over."""
    try:
        until("nobody is left", lambda: not standing(folder), seconds=LINGER)
    except TookTooLong:
        return len(standing(folder))
    return 0
