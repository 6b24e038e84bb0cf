"""T13: a project that is full. Ten times as many runs as it has room for are begun at full speed, by several processes.

It is done twice. At first nothing that was accepted ends before a gate opens: so exactly as many runs are accepted as
there is room for, and everybody else has to hear *busy* and a time to come again, at the command line as well, where a
person's *cancel* gets through all the same. Then runs end while others are begun, and the bound is kept in the middle
of that: how many runs are open when one more comes is counted by a trigger of ours in the database, and not by its own
count. At the end whatever was accepted has been carried out, once, and nothing else has.

Beside all that a reader lists the runs, as `callboard ls` does, and is not kept waiting.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.app import project as projects
from callboard.app.settings import from_environment
from callboard.app.stage.facade import arun
from callboard.app.views.runs import runs
from callboard.app.wiring import open_house
from callboard.battery.census import own_megabytes
from callboard.battery.crowd import Crowd, Noise, note, until
from callboard.battery.history import check, watch
from callboard.battery.proof import Found, Proving, p99
from callboard.battery.spawn import PATIENCE
from callboard.core.status import SUCCESS
from callboard.errors import Busy
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBMITTERS, TIMES = 3, 10
READS = 0.2  # seconds that 99 of 100 reads take at most
EACH = 0.5  # seconds, of all that a submitter has for one run that there is room for, however busy the machine is
FLAT = 20.0  # MB that a submitter may grow by between the first refusals and the last
_SUBMIT = "from callboard.battery.queue import submit; submit()"
_READ = "from callboard.battery.queue import read; read()"
_SHARE, _GATE, _OVER, _DONE = "CALLBOARD_BATTERY_SHARE", "gate", "over", "executed.txt"

WAITS = """
name: Waits
pipe:
  - {name: release, type: human, question: May this go out?}
"""
_COUNTED = """
CREATE TABLE battery_open (most INTEGER NOT NULL) STRICT;
INSERT INTO battery_open VALUES (0);
CREATE TRIGGER battery_counted AFTER INSERT ON standing BEGIN
  UPDATE battery_open SET most = max(most, (SELECT count(*) FROM standing WHERE status IN (0, 2))); END;
"""


def prove_queue(proving: Proving) -> Found:
    """`size` is how many runs there is room for."""
    folder, room = proving.folder, max(proving.size, SUBMITTERS)
    database = _project(folder)
    share, long = str(TIMES * room // SUBMITTERS), PATIENCE + EACH * room
    with Noise() as noise, Crowd(folder, CALLBOARD_MOST_RUNS=str(room), **{_SHARE: share}) as crowd:
        wrong = crowd.callboard("run", "waits.ai", "--id", "waits").amiss(4)
        submitters = [crowd.python(_SUBMIT, str(n)) for n in range(SUBMITTERS)]
        reader = crowd.python(_READ)
        until(
            "all have tried",
            lambda: all((folder / f"tried-{n}").exists() or one.is_gone for n, one in enumerate(submitters)),
            seconds=long,
        )
        proving.say("full")
        wrong += _as_full(folder, database, room) + _at_the_door(crowd)
        (folder / _GATE).touch()
        wrong += [what for member in submitters for what in member.amiss(0, seconds=long)]
        (folder / _OVER).touch()
        wrong += reader.amiss(0) + crowd.callboard("run", "waits.ai", "--id", "later").amiss(4)
    told = [_told(folder / f"told-{n}.json") for n in range(SUBMITTERS)]
    accepted = [id for one in told for id in one["accepted"]]
    refused = sum(one["refused"] for one in told)
    wrong += [what for one in told for what in one["wrong"]]
    if len(accepted) + refused != 2 * SUBMITTERS * int(share):
        wrong.append(f"{len(accepted)} accepted and {refused} refused are not the {share} of each that were begun")
    wrong += _carried_out(folder, database, accepted, room) + check(database)
    reads = _told(folder / "reads.json").get("seconds", [9.0])
    late, grown = p99(reads), max(one["grown MB"] for one in told)
    if not reads:
        wrong.append("nobody has read anything, which proves nothing")
    if late > READS + 2 * noise.worst:
        wrong.append(f"a list of runs took {late:.2f} s, on a machine that was {noise.worst:.2f} s late")
    if grown > FLAT:
        wrong.append(f"a process that was refused again and again has grown by {grown:.1f} MB")
    figures = {"accepted": len(accepted), "refused": refused, "reads": len(reads), "read p99 s": round(late, 3)}
    refusal = max(one["refusal p99 ms"] for one in told)
    return Found(room, wrong, {**figures, "grown MB": grown, "refusal p99 ms": refusal, "noise s": noise.worst})


def _project(folder: Path) -> Path:
    (folder / "waits.ai").write_text(WAITS)
    database = projects.find_or_make(None, folder).database
    with closing(SQLiteStore(database)) as store, store.transaction() as writer:
        writer.execute(_COUNTED)
    watch(database)
    return database


def _as_full(folder: Path, database: Path, room: int) -> list[str]:
    """Nothing has ended yet, so there are as many runs as there is room for, and not one less."""
    with closing(SQLiteStore(database, readonly=True)) as store:
        open = len(store.open_runs())
    return [] if open == room else [f"{open} runs are open when there is room for {room} and more were begun"]


def _at_the_door(crowd: Crowd) -> list[str]:
    """A command line is refused like everyone; a person who says something to a run is not."""
    refused = crowd.callboard("run", "waits.ai", "--json")
    wrong = refused.amiss(9)
    if not wrong:
        told = json.loads(refused.said().splitlines()[0])
        if not told.get("retry_after", 0) > 0:
            wrong.append(f"a command line was refused without a time to come again: {told}")
    return wrong + crowd.callboard("pause", "waits").amiss(0) + crowd.callboard("cancel", "waits").amiss(0)


def _carried_out(folder: Path, database: Path, accepted: Sequence[str], room: int) -> list[str]:
    """Whether what was accepted was carried out, once, and nothing that was refused left a trace."""
    with closing(SQLiteStore(database, readonly=True)) as store:
        rows = {row.id: row for row in store.runs(most=1_000_000) if row.face == "functions"}
        (most,) = store.row("SELECT most FROM battery_open") or (0,)
    executed = (folder / _DONE).read_text().split() if (folder / _DONE).exists() else []
    wrong = []
    if rows.keys() != set(accepted):
        wrong.append(f"{len(accepted)} runs were accepted, and {len(rows)} are recorded")
    if sorted(executed) != sorted(accepted):
        wrong.append(f"{len(accepted)} runs were accepted, and {len(executed)} were carried out")
    if failed := [id for id, row in rows.items() if row.status != SUCCESS]:
        wrong.append(f"{len(failed)} accepted runs have not succeeded: {', '.join(failed[:5])}")
    if most > room:
        wrong.append(f"{most} runs were open at once, and there was room for {room}")
    return wrong


def _told(file: Path) -> dict[str, Any]:
    """What a process has told; one that did not get so far has told nothing, and is told of by its exit code."""
    nothing = {"accepted": [], "refused": 0, "wrong": [], "grown MB": 0.0, "refusal p99 ms": 0.0}
    return nothing | (json.loads(file.read_text()) if file.exists() else {})


# ── the processes ───────────────────────────────────────────────────────────────────────────────────────────


class Submitting:
    """One process that begins runs at full speed, `width` of them side by side, and notes what came of each."""

    def __init__(self, name: str, share: int) -> None:
        self.name, self.share, self.next = name, share, 0
        self.held = 0  # runs that were accepted and wait for the gate
        self.accepted = list[str]()
        self.wrong = list[str]()
        self.seconds = list[float]()  # that refusals took
        self.first = 0.0  # MB, when it was refused for a while

    async def all(self, width: int) -> None:
        """Begin the next `share` runs."""
        end = self.next + self.share
        await asyncio.gather(*(self._some(end) for _ in range(width)))

    async def until_tried(self, tried: Path, width: int) -> None:
        """In the first half whoever was accepted waits for the gate: until all others were refused, or all wait."""
        while len(self.seconds) + self.held < self.share and self.held < width and not self.wrong:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        tried.touch()  # noqa: ASYNC240

    async def _some(self, end: int) -> None:
        while self.next < end:
            self.next += 1
            id = f"run-{self.name}-{self.next}"
            began = time.monotonic()
            try:
                result = await arun(self._function(id), id=id)
            except Busy as error:
                self.seconds.append(time.monotonic() - began)
                if not error.retry_after > 0:
                    self.wrong.append(f"{id} was refused without a time to come again")
                if len(self.seconds) == self.share // 4:
                    self.first = own_megabytes()
            except Exception as error:
                self.wrong.append(f"{id} ended with {type(error).__name__}: {error}")
            else:
                self.accepted.append(id)
                if result.value != id:
                    self.wrong.append(f"{id} answered {result.value!r}")

    def _function(self, id: str) -> Any:
        async def executed() -> str:
            self.held += 1
            note(_DONE, id)
            while not Path(_GATE).exists():  # noqa: ASYNC110, ASYNC240  another process opens it
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.02)
            return id

        return executed


def submit() -> None:
    """A submitter: its share of runs while the gate is closed, and the same again while runs end."""
    one = Submitting(sys.argv[1], int(os.environ[_SHARE]))
    asyncio.run(_submit(one))
    told = {
        "accepted": one.accepted,
        "refused": len(one.seconds),
        "wrong": one.wrong[:20],
        "grown MB": round(max(0.0, own_megabytes() - one.first), 1) if one.first else 0.0,
        "refusal p99 ms": round(1000 * p99(one.seconds), 1),
    }
    Path(f"told-{one.name}.json").write_text(json.dumps(told))


async def _submit(one: Submitting) -> None:
    width = int(os.environ["CALLBOARD_MOST_RUNS"])
    await asyncio.gather(one.until_tried(Path(f"tried-{one.name}"), width), one.all(width))
    await one.all(width)


def read() -> None:
    """A reader: lists runs as `callboard ls` does, and notes how long it took."""
    seconds = list[float]()
    with closing(open_house(from_environment(os.environ), here=Path.cwd(), readonly=True)) as house:
        while not Path(_OVER).exists():
            began = time.monotonic()
            runs(house.store, is_owned=house.is_owned, most=20, base=house.base)
            seconds.append(time.monotonic() - began)
            time.sleep(0.01)
    Path("reads.json").write_text(json.dumps({"seconds": seconds}))
