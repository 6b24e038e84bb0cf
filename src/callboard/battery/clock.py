"""T7: the wall clock jumps under processes of ours, years and seconds, back and ahead; nothing may come of it.

libfaketime gives a process another wall clock, which a file moves while it runs; its elapsed clocks stay true, as those
of a real machine do when somebody sets the time. While a run waits for a retry, for a person whose time to answer has
an end, and for a step that hangs until its limit, the clock jumps. All three have to happen once, and as long after
they began as was meant: that is measured from outside, by a clock that nobody has touched.

A neighbour on the same clock, who believes nothing but leases, asks again and again whether it may have the run; and it
lends itself a run of its own for a second, over and over, so a lease that a jump makes shorter or longer is seen. It
also asks whether the daily copy is due: a copy may be made for the day that it has become, and no other. Afterwards
another run is begun, and what `ls` and `show` tell must be times that there were, in an order that makes sense. Steps
run in children, which get nothing of our environment and so have the true time; nothing asks them for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from callboard.app import project as projects
from callboard.battery.crowd import Crowd, Member, Noise, let_pass, until
from callboard.battery.history import DATABASE, check, facts, watch
from callboard.battery.proof import Found, Proving
from callboard.battery.spawn import TookTooLong
from callboard.battery.workloads import lay_out
from callboard.core.deadline import after
from callboard.core.plan import Plan, Task, dump
from callboard.core.status import FAILED, RETRYING, RUNNING
from callboard.engine.clock import SystemClock
from callboard.engine.owner import new_owner
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIDE_BY_SIDE = 3
LEASE = 1.0  # seconds for which the neighbour lends itself a run
LATE = 0.8  # seconds that what is due may come late or be seen late, beside what the machine is late …
STOPPED = 2.0  # … and a limit, since it is not over before what hangs has been ended
AGAIN = 2  # times that an untimely jump is tried anew: who does or sees it may be late, a clock that jumps always is
RETRY, REVIEW, LIMIT = 2.0, 2.5, 3.5  # seconds
MEANT = {"retry": RETRY, "review": REVIEW, "limit": LIMIT, "shortest lease": LEASE, "longest lease": LEASE}
DAY, YEAR = 86_400.0, 365 * 86_400.0
ZONES = ("Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo")
_NEIGHBOUR = "from callboard.battery.clock import neighbour; neighbour()"
_STRANGERS = """SELECT what FROM battery_history WHERE run = ?1 AND number < (
  SELECT min(number) FROM battery_history WHERE run = ?1 AND owner LIKE '["elsewhere%') ORDER BY number DESC LIMIT 1"""
_INSTALL = "libfaketime is not installed; install it with: pip install libfaketime"

SHOW = f"""
name: Clock
pipe:
  - name: tried
    type: command
    needs: []
    command: [sh, -c, "mkdir tried && exit 75 || echo the second time"]
    transient_codes: [75]
    retry: {{tries: 2, delay: {RETRY * 1000:.0f}ms, jitter: 0}}
  - name: draft
    type: function
    needs: []
    function: content
    params: {{format: text}}
    review: {{expires: {REVIEW * 1000:.0f}ms}}
  - {{name: hangs, type: function, function: hangs, needs: [], timeout: {LIMIT * 1000:.0f}ms}}
"""
SMALL = """
name: Small
pipe:
  - {name: gist, type: llm, tmpl: "Summarise in one sentence: {{input}}"}
"""
FUNCTIONS = """
import asyncio

from callboard.executors.registry import register


@register
async def hangs(pipe_data, params):
    await asyncio.sleep(1000)
"""


class Jump(NamedTuple):
    """What becomes of the wall clock: what the file says, one after the other, in a time zone."""

    name: str
    says: Sequence[str]
    zone: str = "UTC"


class Trial(NamedTuple):
    """One jump. `seconds` are how long what should have taken so long has taken, by what it is."""

    wrong: list[str]
    seconds: dict[str, float]


def jumps() -> list[Jump]:
    """All of them; the first three are the most telling."""
    plain = {
        "-68 years": -68 * YEAR, "+68 years": 68 * YEAR, "-1 h": -3600.0, "+1 h": 3600.0, "-10 years": -10 * YEAR,
        "+1 day": DAY, "-1 s": -1.0, "+1 s": 1.0,
    }  # fmt: skip
    found = [Jump(name, (f"{seconds:+.0f}",)) for name, seconds in plain.items()]
    found.append(Jump("ten times as fast", ("+0 x10",)))
    found.append(Jump("backwards in steps", tuple(f"{-step:+d}" for step in range(1, 11))))
    now = time.time()
    for zone in ZONES:
        for number, instant in enumerate(_changes(zone, now)):
            found.append(Jump(f"clocks change in {zone} ({number + 1})", (f"{instant - 0.7 - now:+.1f}",), zone))
    return found


def _changes(zone: str, now: float) -> list[float]:
    """The next two instants at which clocks change there, to the second; where the rules are not known, none."""
    with contextlib.suppress(Exception):
        there = ZoneInfo(zone)
        offsets = [datetime.fromtimestamp(now + day * DAY, there).utcoffset() for day in range(400)]
        days = [day for day in range(399) if offsets[day] != offsets[day + 1]][:2]
        return [_change(there, now + day * DAY, now + (day + 1) * DAY) for day in days]
    return []


def _change(there: ZoneInfo, first: float, last: float) -> float:
    before = datetime.fromtimestamp(first, there).utcoffset()
    while last - first > 0.5:
        middle = (first + last) / 2
        if datetime.fromtimestamp(middle, there).utcoffset() == before:
            first = middle
        else:
            last = middle
    return last


def prove_clock(proving: Proving) -> Found:
    """`size` counts jumps."""
    library = _library()
    if library is None:
        return Found(0, skipped=_INSTALL)
    chance, known = random.Random(proving.seed), jumps()
    chosen = [(known[n % len(known)], chance.uniform(0.0, 0.4)) for n in range(proving.size)]
    trials: list[Trial] = []
    with Noise() as noise, ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        for trial in hands.map(lambda n: _tried(proving.folder / f"{n}", *chosen[n], library), range(proving.size)):
            trials.append(trial)
            proving.say(f"{len(trials)} of {proving.size}")
    failures, off = list[str](), dict.fromkeys(MEANT, 0.0)
    for (how, _), trial in zip(chosen, trials, strict=True):
        failures += [f"{how.name}: {what}" for what in (*trial.wrong, *_untimely(trial, noise.worst))]
        for what, seconds in trial.seconds.items():
            off[what] = max(off[what], round(abs(seconds - MEANT[what]), 3))
    figures = {f"{what} off by s": worst for what, worst in off.items()}
    return Found(len(trials), failures, figures | {"noise s": noise.worst})


def _tried(folder: Path, how: Jump, moment: float, library: str) -> Trial:
    """What came of a jump; of the last one, if others that have shown nothing worse were untimely."""
    trial = _jumped(folder, how, moment, library)
    for again in range(1, AGAIN + 1):
        if not trial.wrong and any(_untimely(trial, 0.0)):
            trial = _jumped(folder.with_name(f"{folder.name}-again-{again}"), how, moment, library)
    return trial


def _untimely(trial: Trial, noise: float) -> Iterator[str]:
    """What has not lasted as long as it was meant to, by the clock that nobody has touched."""
    for what, seconds in trial.seconds.items():
        least, most = _bounds(what, noise)
        if not least <= seconds - MEANT[what] <= most:
            yield f"{what} took {seconds:.2f} s, not {MEANT[what]:g}"


def _bounds(what: str, noise: float = 0.0) -> tuple[float, float]:
    """By how much too short and too long it may be: of what is no lease the beginning is seen late."""
    least = 0.05 if "lease" in what else LATE + 3 * noise
    return -least, (STOPPED if what == "limit" else LATE) + 3 * noise


def _library() -> str | None:
    """The path of libfaketime, of which only the library is used."""
    spec = importlib.util.find_spec("libfaketime")
    if not sys.platform.startswith("linux") or spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.rglob("libfaketime.so.1"))
    return str(found[0]) if found else None


def _jumped(folder: Path, how: Jump, moment: float, library: str) -> Trial:
    try:
        return jump(folder, how, moment, library)
    except TookTooLong as error:
        return Trial([str(error)], {})


def jump(folder: Path, how: Jump, moment: float, library: str) -> Trial:
    """Let the clock jump `moment` seconds after everything waits. What was wrong, and how long things took."""
    database = _project(folder)
    says = folder / "clock.txt"
    _say(says, "+0")
    began = time.time()
    env = {
        "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(says), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "CALLBOARD_LEASE": "6", "TZ": how.zone,
    }  # fmt: skip
    with Crowd(folder, **env) as crowd, closing(SQLiteStore(database, readonly=True)) as store:
        neighbour = crowd.python(_NEIGHBOUR)
        until("the neighbour stands there", lambda: (folder / "stands").exists() or neighbour.is_gone)
        run = crowd.callboard("run", "clock.ai", "text", "--id", "clock", "--quiet")
        seen = Seen(store)
        until("everything waits", lambda: seen.look() >= 3 or run.is_gone)
        let_pass(moment)
        for say in how.says:
            _say(says, say)
            let_pass(0.12 if len(how.says) > 1 else 0.0)
        until("the run has ended", lambda: seen.look() > 6 or run.is_gone)
        if wrong := run.amiss(7):  # that is how a run ends of which a step has timed out
            return Trial(wrong, seen.seconds())
        (folder / "over").touch()
        wrong += neighbour.amiss(0) + _facts(store) + _afterwards(crowd, how, began)
        wrong += _orders(store) + check(database)
    heard = json.loads((folder / "neighbour.json").read_text())
    wrong += _neighbourly(heard, database, how)
    seconds, leases = seen.seconds(), heard["leases"] or [0.0]
    if len(seconds) < 3:
        wrong.append(f"only {', '.join(seconds) or 'nothing'} was seen to begin and to end")
    return Trial(wrong, {**seconds, "shortest lease": min(leases), "longest lease": max(leases)})


def _afterwards(crowd: Crowd, how: Jump, began: float) -> list[str]:
    """Another run, and what is told of all of them, by the clock as it is now."""
    wrong = crowd.callboard("run", "small.ai", "text", "--id", "after", "--quiet").amiss(0)
    asked = (("ls",), ("show", "clock"), ("show", "clock", "--story"))
    told = [crowd.callboard(*argv, "--json") for argv in asked]
    wrong += [what for member in told for what in member.amiss(0)]
    walls = (began, time.time(), *_walls(how, began))
    return wrong or _sane([_json(member) for member in told], min(walls) - 5, max(walls) + 5)


def _project(folder: Path) -> Path:
    lay_out(folder, {"clock.ai": SHOW, "small.ai": SMALL, "function/shows.py": FUNCTIONS})
    database = projects.find_or_make(None, folder).database
    with closing(SQLiteStore(database)) as store:
        store.create_run(id="lent", name="", plan=dump(Plan((Task("one"),))), params="{}", face="", at=time.time())
    watch(database)
    return database


def _say(file: Path, text: str) -> None:
    """Whole: a process may read it at any moment."""
    beside = file.with_suffix(".new")
    beside.write_text(text + "\n")
    beside.replace(file)


def _json(member: Member) -> Any:
    return json.loads(member.said().splitlines()[0])


class Seen:
    """What is seen of the run from outside, and when, by the elapsed clock."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._at: dict[tuple[str, str], float] = {}

    def look(self) -> int:
        """How many beginnings and ends have been seen."""
        now = time.monotonic()
        for row in self._store.rows("SELECT id >> 20 & 1048575, status, reason FROM execution WHERE id >> 40 = 2"):
            node, status, reason = row
            begun, ended = {
                0: (status == RETRYING, status != RETRYING and ("retry", "began") in self._at),
                1: (status == RUNNING and reason == "review", status == FAILED),
                2: (status == RUNNING, status == FAILED),
            }[node]
            what = ("retry", "review", "limit")[node]
            if begun:
                self._at.setdefault((what, "began"), now)
            if ended:
                self._at.setdefault((what, "ended"), now)
        return len(self._at)

    def seconds(self) -> dict[str, float]:
        begun = [what for what, which in self._at if which == "began" and (what, "ended") in self._at]
        return {what: self._at[what, "ended"] - self._at[what, "began"] for what in begun}


def _facts(store: SQLiteStore) -> list[str]:
    """Whether each of the three has acted exactly once."""
    told = [(name, fields[-1:]) for _, name, fields in facts(store, 2)]
    counted = {
        "the retry": told.count(("Woke", ["retry"])),
        "the end of the review": told.count(("Woke", ["review"])),
        "the time limit": sum(name == "TimedOut" for name, _ in told),
    }
    return [f"{what} has acted {count} times" for what, count in counted.items() if count != 1]


def _walls(how: Jump, began: float) -> Iterator[float]:
    """Walls that there were, more or less."""
    for say in how.says:
        offset = float(say.split()[0])
        yield from (began + offset, began + offset + 60.0, *((began + 600.0,) if "x" in say else ()))


def _sane(told: Sequence[Any], first: float, last: float) -> list[str]:
    """Whether the times that are told are times that there were, and no run ends before it began."""
    listed, shown, story = told
    wrong = []
    if [run["id"] for run in listed] != ["after", "clock", "lent"]:
        wrong.append(f"runs are listed as {', '.join(run['id'] for run in listed)}")
    times = [fact["at"] for fact in story] + [task["at"] for task in shown["tasks"]]
    for run in (*listed, shown):
        if not run["created"] <= (run["ended"] or run["updated"]) <= run["updated"]:
            wrong.append(f"{run['id']} began {run['created']}, ended {run['ended']} and moved {run['updated']}")
        times += [run["created"], run["updated"]]
    strange = [one for one in times if one and not first <= datetime.fromisoformat(one).timestamp() <= last]
    return wrong + [f"{one} is a time that never was" for one in strange[:3]]


def _orders(store: SQLiteStore) -> list[str]:
    """Numbers are given in the order of creation, whatever the clock says; letters and journal rows follow."""
    numbers = {row.id: row.number for row in store.runs()}
    wrong = [] if [numbers.get(id) for id in ("lent", "clock", "after")] == [1, 2, 3] else [f"runs are {numbers}"]
    batches = [batch for batch, *_ in store.journal(2)]
    return wrong + ([] if batches == list(range(1, len(batches) + 1)) else ["the journal is out of order"])


def _neighbourly(heard: dict[str, Any], database: Path, how: Jump) -> list[str]:
    """What the neighbour has found: that nobody lost a run, and how many copies were made."""
    wrong = []
    if heard.get("before"):
        wrong.append("a neighbour got the run of a living owner, whose lease was renewed all the time")
    days = 1 + any(abs(float(say.split()[0])) >= DAY for say in how.says)
    copies = len(list((database.parent / "backups").glob("*.db")))
    if copies > days:
        wrong.append(f"{copies} copies were made on {days} days")
    if abs(heard.get("moved", 0.0)) < 0.5:
        wrong.append("the clock did not jump at all, which proves nothing")
    return wrong


# ── the neighbour ───────────────────────────────────────────────────────────────────────────────────────────


def neighbour() -> None:
    """Try to get the run; lend the other one to itself; ask whether a copy is due."""
    clock = SystemClock()
    leases, moved, times = list[float](), 0.0, 0
    me = new_owner()._replace(host="elsewhere")
    with closing(SQLiteStore(DATABASE)) as store:
        first, lent = clock.now(), None
        Path("stands").touch()
        while not Path("over").exists():
            now = clock.now()
            off = (now.wall - first.wall) - (now.elapsed - first.elapsed)
            moved = off if abs(off) > abs(moved) else moved
            store.backup_if_due(now.wall)
            other = me._replace(token=f"{times}")  # another one each time, who has to wait for the lease to be over
            if store.claim(1, other, after(now, LEASE), now, alive=lambda owner: None):
                leases += [now.elapsed - lent] if lent is not None else []
                lent, times = now.elapsed, times + 1
            for row in store.runs(most=5):
                if row.id == "clock" and row.owner is not None and row.owner.host != me.host:
                    store.claim(row.number, me, after(now, LEASE), now, alive=lambda owner: None)
            time.sleep(0.02)
        before = store.row(_STRANGERS, (2,))
    told = {"leases": leases, "moved": moved, "before": before is not None and before[0] != "released"}
    Path("neighbour.json").write_text(json.dumps(told))
