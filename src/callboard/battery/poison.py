"""T12: steps that are poison, beside steps that are not. Each is set aside, and nobody else is any the worse for it.

A group of poisons and a crowd of siblings (functions that share the children with them, answers of a model) are the
steps of one run. Beside it runs its *twin*: the same crowd, and steps that do no harm in the place of the poisons. What
the machine does meanwhile happens to both, and what a poison eats of the processor is taken from both; so where the
siblings of the poisoned run are slower, or its engine is larger or busier, the poison has got at its engine.
Throughput is compared by the median of the groups, and a poor one is measured again before it is believed: two
processes on a busy machine are seldom served alike.
"""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from callboard.app.views import run as views
from callboard.app.views.logs import logs
from callboard.battery.census import megabytes_read_by, most_megabytes_of, seconds_of, standing
from callboard.battery.crowd import Crowd, until
from callboard.battery.history import DATABASE, check, facts
from callboard.battery.poisons import BARRED, HARM, POISONS, Poison
from callboard.battery.proof import Found, Proving
from callboard.battery.workloads import FILE, lay_out
from callboard.core.status import FAILED, SUCCESS
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from callboard.core.run import Node, Run

GROUP = 5  # poisons in one run
ATTEMPTS = 3  # of a poison, and of a sibling that met one
SHARE, GROWTH, TAKEN = 0.9, 20.0, 0.1  # of the twin's throughput; more than the twin: MB, and of a processor
AGAIN = 2  # times that a poor throughput is measured again
SIBLINGS = {"calls": 960, "answers": 480}  # a page of a list has a thousand
_MEASURED = 0.9  # of the siblings: behind the last ones nobody waits any more
_LATENCY = "0.05"  # seconds of an answer
_LIMIT, _PLENTY = 5, 60  # seconds of a poison that never ends, and of one that does
_BURST, _RATE = 32, 16  # MB that a poison may say at once, and then in a second

_ENDLESS = "timed out"

_STEPS = {
    "function": "{name: NAME, type: function, function: harm, params: {how: HOW}, OF_ALL}",
    "coroutine": "{name: NAME, type: function, function: harm_on_loop, params: {how: HOW}, OF_ALL}",
    "import": "{name: NAME, type: function, function: HOW, OF_ALL}",
    "command": "{name: NAME, type: command, command: COMMAND, format: FORMAT, OF_ALL}",
}
_SHOW = """
name: Poisoned
limits: {poison: 2, answers: 8}
pipe:
  STEPS
  - {name: calls, type: function, function: sibling, params: {seconds: 0.1}, needs: [], each: CALLS}
  - {name: answers, type: llm, tmpl: "Summarise {{item}}.", cache: false, limits: [answers], needs: [], each: ANSWERS}
"""
_OF_ALL = "needs: [], timeout: LIMIT, on_error: continue, limits: [poison]"


class Twins(NamedTuple):
    """What became of a group. `shares`: throughput of the siblings, in those of the twin; `growth`: MB that the engine
    had more than the twin's; `taken`: of its own processor time, what it used more than the twin's, in those of the
    seconds it ran; `attempts`: the most that any step needed."""

    shares: dict[str, float]
    growth: float
    taken: float
    attempts: int
    wrong: list[str]


def prove_poison(proving: Proving) -> Found:
    """`size` counts poisons; more of them than there are means again."""
    poisons = [POISONS[n % len(POISONS)] for n in range(proving.size)]
    groups = [poisons[first : first + GROUP] for first in range(0, len(poisons), GROUP)]
    twins: list[Twins] = []
    for group in groups:
        twins.append(side_by_side(proving.folder / str(len(twins)), group))
        proving.say(f"{sum(map(len, groups[: len(twins)]))} of {len(poisons)}")
    for _ in range(AGAIN * len(groups)):
        if all(share >= SHARE for share in medians(twins).values()):
            break
        twins.append(side_by_side(proving.folder / str(len(twins)), groups[len(twins) % len(groups)]))
    growth = max(one.growth for one in twins)
    failures = [what for one in twins for what in one.wrong]
    failures += [
        f"{kind} beside poison came at {share:.0%} of their twins' pace"
        for kind, share in medians(twins).items()
        if share < SHARE
    ]
    if growth >= GROWTH:
        failures.append(f"an engine grew by {growth:.0f} MB more than its twin without poison")
    taken = max(one.taken for one in twins)
    if taken >= TAKEN:
        failures.append(f"an engine used {taken:.0%} of a processor more than its twin without poison")
    figures = {f"throughput of {kind}": round(share, 3) for kind, share in medians(twins).items()}
    most = max(one.attempts for one in twins)
    figures |= {"growth MB": round(growth, 1), "more of a processor": round(taken, 3), "attempts at most": float(most)}
    return Found(len(poisons), failures, figures)


def medians(twins: Sequence[Twins]) -> dict[str, float]:
    return {kind: statistics.median(one.shares[kind] for one in twins) for kind in SIBLINGS}


def side_by_side(folder: Path, poisons: Sequence[Poison]) -> Twins:
    """A run with poisons and its twin, to the end of both."""
    places = [folder / "poisoned", folder / "twin"]
    for place in places:
        _lay_out(place, poisons, is_harmless=place is places[1])
    with Crowd(folder, CALLBOARD_OFFLINE_LATENCY=_LATENCY) as crowd:
        members = crowd.twins("run", FILE, "text", at=places)
        largest, used, read = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]

        def are_over() -> bool:
            for n, member in enumerate(members):
                largest[n] = most_megabytes_of(member.pid) or largest[n]
                used[n] = seconds_of(member.pid) or used[n]
                read[n] = megabytes_read_by(member.pid) or read[n]
            return all(member.is_gone for member in members)

        seconds = until("both runs have ended", are_over, seconds=240.0)
        left = {pid: at for pid, at in standing(folder).items() if not at.startswith("said")}
        wrong = [f"a process was left behind in {at}" for at in left.values()]
        wrong += members[0].amiss(3) + members[1].amiss(0)
    paces = [_paces(place) for place in places]
    attempts, found = _set_aside(places[0], poisons)
    heard, may = read[0] - read[1], len(poisons) * attempts * (_BURST + _RATE * 2 * _LIMIT)
    if heard > may:
        wrong.append(f"an engine read {heard:.0f} MB more than its twin; {may} are all that its poisons may say")
    return Twins(
        {kind: paces[0][kind] / paces[1][kind] for kind in SIBLINGS},
        largest[0] - largest[1],
        (used[0] - used[1]) / seconds,
        attempts,
        wrong + found + check(places[0] / DATABASE),
    )


def _lay_out(place: Path, poisons: Sequence[Poison], *, is_harmless: bool) -> None:
    steps = "\n  ".join(f"- {_harmless(one) if is_harmless else _step(one)}" for one in poisons)
    show = _SHOW.replace("STEPS", steps)
    for name, kind in (("CALLS", "calls"), ("ANSWERS", "answers")):
        show = show.replace(name, str([*range(SIBLINGS[kind])]))
    lay_out(place, {FILE: show, "function/harm.py": HARM})
    if not is_harmless and any(poison.by == "import" for poison in poisons):
        lay_out(place, {"function/barred.py": BARRED})


def _step(poison: Poison) -> str:
    command = [*poison.code] or [sys.executable, "function/harm.py", poison.how]
    return (
        _STEPS[poison.by]
        .replace("NAME", poison.name)
        .replace("HOW", poison.how)
        .replace("COMMAND", json.dumps(command))
        .replace("FORMAT", "json" if poison.code else "text")
        .replace("OF_ALL", _OF_ALL)
        .replace("LIMIT", f"{_LIMIT if poison.says == _ENDLESS else _PLENTY}s")
    )


def _harmless(poison: Poison) -> str:
    by = "function" if poison.by == "import" else poison.by
    return _step(poison._replace(by=by, how="harmless", code=())).replace("harmless", poison.how, 1)


# ── what became of them ─────────────────────────────────────────────────────────────────────────────────────


def _paces(place: Path) -> dict[str, float]:
    """Siblings that ended in a second, by kind."""
    with closing(SQLiteStore(place / DATABASE, readonly=True)) as store:
        run = views.in_memory(store, store.find_run("1"))
        ends: dict[int, float] = {fields[0]: at for at, name, fields in facts(store, 1) if name == "Succeeded"}
    paces = {}
    for kind in SIBLINGS:
        times = sorted(ends.get(node, 0.0) for node in _items(run, kind))
        most = int(len(times) * _MEASURED)
        paces[kind] = most / max(times[most] - times[0], 1e-3) if times else 0.0
    return paces


def _items(run: Run, kind: str) -> list[int]:
    node = run.find(kind)
    mapped = run.nodes[node].mapped if node is not None else None
    return list(mapped.items) if mapped is not None else []


def _set_aside(place: Path, poisons: Sequence[Poison]) -> tuple[int, list[str]]:
    """The most attempts that counted, and what is not as it was promised."""
    wrong: list[str] = []
    tried: dict[int, int] = {}
    with closing(SQLiteStore(place / DATABASE, readonly=True)) as store:
        row = store.find_run("1")
        run = views.in_memory(store, row)
        for _, name, fields in facts(store, 1):
            if name in ("Succeeded", "Failed", "TimedOut", "LeaseLost"):
                tried[fields[0]] = tried.get(fields[0], 0) + 1
        shown = {task["name"]: task for task in views.show(store, row, alive=lambda owner: False)["tasks"]}
        for poison in poisons:
            said = "\n".join(line["text"] for line in logs(store, row, run, poison.name))
            wrong += _of_poison(poison, run.nodes[run.graph.names[poison.name]], shown[poison.name]["reason"], said)
        for kind in SIBLINGS:
            wrong += [
                f"{run.name_of(node)}, which did no harm, is {run.nodes[node].status.name}: {run.nodes[node].reason}"
                for node in _items(run, kind)
                if run.nodes[node].status is not SUCCESS
            ]
    most = max(tried.values(), default=0)
    wrong += [f"{run.name_of(node)} took {n} attempts" for node, n in tried.items() if n > ATTEMPTS]
    return most, wrong


def _of_poison(poison: Poison, row: Node, reason: str, said: str) -> list[str]:
    wrong = []
    if row.status is not FAILED:
        wrong.append(f"{poison.name} is {row.status.name}")
    if not reason.startswith(poison.says):
        wrong.append(f"{poison.name} failed with {reason[:200]!r}, not {poison.says!r}")
    if not said or poison.logs not in said:
        wrong.append(f"{poison.name} left no {poison.logs!r} in its log: {said[-300:]!r}")
    return wrong
