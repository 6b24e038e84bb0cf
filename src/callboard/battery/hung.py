"""T11: steps that hang in every way a process can. Each has a time limit, and soon after nothing of it is left.

The same harm is done by a function in a child and by a command. All of them hang side by side, each in a project of its
own whose engine goes on living: what is left of a step must end with its limit, and not with the engine that ran it.

Measured are, from the moment in which the attempt was admitted: when something of the step was last seen alive (a
limit, five seconds of politeness, two more), and, for what ends when it is asked to, when the attempt was recorded as
timed out (a limit, two more). How late the machine was is allowed on top.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.census import is_supervisor, program_of, standing
from callboard.battery.crowd import Crowd, Noise, until
from callboard.battery.history import DATABASE, check, facts
from callboard.battery.proof import Found, Proving
from callboard.battery.workloads import FILE, lay_out
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

LIMIT, SOON, SURVIVED = 2.0, 2.0, 7.0  # seconds: of a step; after it: told to end; nothing lives any more
_STAY = "13"  # seconds the engine has something else to do

HARM = '''
import ctypes, os, signal, subprocess, sys, time


def sleeps(): time.sleep(600)

def spins(): sum(range(10**12))  # one instruction of the interpreter, which it never leaves

def loops():
    while True: time.sleep(0.02)

def stubborn():
    """Ignores SIGTERM, and whatever is raised in it."""
    ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))
    while True:
        try: time.sleep(0.1)
        except BaseException: pass

def daemon():
    """Two forks and a session of its own away from us, and deaf."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: stubborn()
        os._exit(0)
    time.sleep(600)

def leaves():
    """Would end when it is asked to, and has left somebody behind who would not."""
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    if os.fork() == 0:
        os.setsid(); stubborn()
    loops()

def fifo():
    os.mkfifo("fifo")
    open("fifo").read()

def zombies():
    """Children that nobody waits for, and a grandchild whose parent is one of them."""
    for _ in range(30):
        if os.fork() == 0: os._exit(0)
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(600)
        os._exit(0)
    time.sleep(600)

def runs_away():
    """A process that is another one every twentieth of a second."""
    if os.fork() == 0:
        os.setsid(); ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))
        while True:
            if os.fork(): os._exit(0)
            time.sleep(0.05)
    time.sleep(600)


def hang(how):
    with open("up", "w") as up: up.write(str(os.getpid()))
    globals()[how]()

if __name__ == "__main__":
    hang(sys.argv[1])
else:
    from callboard.executors.registry import register

    @register
    def hangs(pipe_data, params): hang(params["how"])

    @register
    async def hangs_on_loop(pipe_data, params): hang(params["how"])
'''

_STEPS = {
    "function": "{name: hang, type: function, function: hangs, params: {how: HOW}, OF_ALL}",
    "coroutine": "{name: hang, type: function, function: hangs_on_loop, params: {how: HOW}, OF_ALL}",
    "command": "{name: hang, type: command, command: [PYTHON, function/harm.py, HOW], OF_ALL}",
}
_SHOW = """
name: Hung
pipe:
  - STEP
  - {name: stay, type: command, needs: [], command: [sleep, "STAY"]}
"""
_OF_ALL = "needs: [], timeout: 2s, on_error: continue"


class Hang(NamedTuple):
    """A way to hang: what carries it out, and what it does. `heeds`: it ends when it is asked to."""

    by: str
    how: str
    heeds: bool = False

    @property
    def name(self) -> str:
        return f"{self.by}-{self.how}"


HANGS = (
    Hang("command", "sleeps", heeds=True), Hang("function", "sleeps"),
    Hang("command", "spins", heeds=True), Hang("function", "spins"),
    Hang("command", "stubborn"), Hang("function", "stubborn"),
    Hang("command", "daemon"), Hang("function", "daemon"),
    Hang("command", "fifo", heeds=True), Hang("function", "fifo"),
    Hang("command", "zombies", heeds=True), Hang("function", "zombies"),
    Hang("function", "leaves"), Hang("function", "loops", heeds=True),
    Hang("command", "runs_away"), Hang("coroutine", "sleeps"),
)  # fmt: skip


class Hung(NamedTuple):
    """What became of one: seconds after it was admitted; `recorded` is None when it never was. On a busy machine a
    limit may be over before the step has `begun` to hang."""

    hang: Hang
    begun: bool
    recorded: float | None
    survived: float
    wrong: list[str]


def prove_hung(proving: Proving) -> Found:
    """`size` counts ways to hang; more of them than there are means again."""
    hangs = [HANGS[n % len(HANGS)] for n in range(proving.size)]
    found: list[Hung] = []
    noise = 0.0
    for first in range(0, len(hangs), len(HANGS)):
        group = hangs[first : first + len(HANGS)]
        hung, late = side_by_side(proving.folder / str(first), group)
        found, noise = found + hung, max(noise, late)
        proving.say(f"{len(found)} of {len(hangs)}")
    return Found(
        sum(one.begun for one in found),
        [f"{one.hang.name}: {what}" for one in found for what in wrong(one, noise)],
        {
            "asked to end after its limit s": max(
                (one.recorded - LIMIT for one in found if one.hang.heeds and one.recorded), default=0.0
            ),
            "last survivor after its limit s": max(one.survived - LIMIT for one in found),
            "noise s": noise,
        },
    )


def wrong(hung: Hung, noise: float) -> list[str]:
    """What of it breaks the promise, on a machine that is so late."""
    found = list(hung.wrong)
    if hung.recorded is None:
        found.append("it was not recorded as timed out")
    elif hung.hang.heeds and hung.recorded > LIMIT + SOON + 2 * noise:
        found.append(f"its limit of {LIMIT:g} s was recorded after {hung.recorded:.1f} s")
    if hung.survived > LIMIT + SURVIVED + 2 * noise:
        found.append(f"something of it lived for {hung.survived:.1f} s, {hung.survived - LIMIT:.1f} s after its limit")
    return found


def side_by_side(folder: Path, hangs: list[Hang]) -> tuple[list[Hung], float]:
    """What became of each, and how late the machine was."""
    with Noise() as noise, Crowd(folder) as crowd:
        engines = {crowd.callboard("run", FILE, "text", at=_laid_out(folder, hang)).pid: hang for hang in hangs}
        of_name = {hang.name: hang for hang in hangs}
        seen: dict[str, float] = {}

        def is_over() -> bool:
            now = time.time()
            for pid, at in standing(folder).items():
                hang = of_name.get(at.partition("/")[0])
                if hang is not None and pid not in engines and _is_of_step(pid, hang, folder / hang.name):
                    seen[hang.name] = now
            return all(member.is_gone for member in crowd.members)

        until("all engines have ended", is_over, seconds=90.0, every=0.05)
        hung = [
            _ended(folder / hang.name, hang, seen.get(hang.name, 0.0), member.wait(), member.said())
            for member, hang in zip(crowd.members, hangs, strict=True)
        ]
    return hung, noise.worst


def _laid_out(folder: Path, hang: Hang) -> Path:
    step = (
        _STEPS[hang.by]
        .replace("OF_ALL", _OF_ALL)
        .replace("HOW", hang.how)
        .replace("PYTHON", json.dumps(sys.executable))
    )
    show = _SHOW.replace("STEP", step).replace("STAY", _STAY)
    return lay_out(folder / hang.name, {FILE: show, "function/harm.py": HARM})


def _is_of_step(pid: int, hang: Hang, place: Path) -> bool:
    """Whether a process belongs to the step that hangs, and is not what its engine has besides: the supervisors, the
    other step, a child that may stay warm because its call has ended."""
    if is_supervisor(pid) or program_of(pid) in ([], ["sleep", _STAY]):
        return False
    carrier = _carrier(place)
    return bool(carrier) and not (hang.heeds and hang.by == "function" and pid == carrier)


def _carrier(place: Path) -> int:
    """The process that began to hang; 0 when none did (yet)."""
    try:
        return int((place / "up").read_text())
    except (OSError, ValueError):
        return 0


def _ended(place: Path, hang: Hang, seen: float, code: int, said: str) -> Hung:
    admitted = recorded = None
    with closing(SQLiteStore(place / DATABASE)) as store:
        for at, name, fields in facts(store, 1):
            if name == "Admitted" and 0 in fields[0]:
                admitted = at
            if name == "TimedOut" and fields[0] == 0:
                recorded = at
    wrong = [f"its run ended with exit code {code}, not 3: {said[-300:]}"] if code != 3 else []
    wrong += check(place / DATABASE)
    begun = admitted or 0.0
    return Hung(
        hang, bool(_carrier(place)), recorded and recorded - begun, max(0.0, seen - begun) if seen else 0.0, wrong
    )
