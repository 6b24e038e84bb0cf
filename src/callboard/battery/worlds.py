"""Plans nobody would write, drawn at random: graphs, retries, items, reviews, rules, ticks.

What the core's own random worlds and the battery's simulation have in common. `Chance` is a seeded generator or
Hypothesis, which can make an example smaller.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol

from callboard.core import facts as f
from callboard.core.plan import (
    AllOf,
    AnyOf,
    Count,
    EventIs,
    Every,
    Map,
    Plan,
    Probe,
    Retry,
    Review,
    Rule,
    Task,
    TaskIs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.core.run import Run


class Chance(Protocol):
    """Where chance comes from: a seeded generator, or Hypothesis, which can make an example smaller."""

    def below(self, n: int) -> int: ...


class Seeded:
    def __init__(self, seed: int) -> None:
        self.below = random.Random(seed).randrange


def one_of(chance: Chance, options: Any) -> Any:
    return options[chance.below(len(options))]


def percent(chance: Chance, n: int) -> bool:
    return chance.below(100) >= 100 - n  # small draws say no, so that what is made smaller becomes plainer


# ── plans ───────────────────────────────────────────────────────────────────────────────────────────────

KEYS = ("k", "j", "i")


def a_plan(chance: Chance) -> Plan:
    names = [f"t{n}" for n in range(1 + chance.below(6))]
    tasks: list[Task] = []
    for place, name in enumerate(names):
        tasks.append(_a_task(chance, name, names[:place], tasks))
    rules = tuple(_a_rule(chance, names) for _ in range(chance.below(5)))
    limits = {name: 1 + chance.below(2) for name in ("gpu", "run") if percent(chance, 25)}
    return Plan(tuple(tasks), rules, limits, "stop" if percent(chance, 12) else "continue")


def _a_task(chance: Chance, name: str, above: list[str], tasks: list[Task]) -> Task:
    fields: dict[str, Any] = {}
    needs = [one for one in above if percent(chance, 35)]
    fields["needs"] = tuple(one for one in needs if not percent(chance, 30))
    fields["optional"] = tuple(one for one in needs if one not in fields["needs"])
    if percent(chance, 30):
        fields["retry"] = Retry(2 + chance.below(2), float(chance.below(3) * 5))
    if percent(chance, 20):
        fields["limits"] = one_of(chance, (("gpu",), ("db",), ("gpu", "db")))
    if percent(chance, 15):
        fields["priority"] = chance.below(4)
    if percent(chance, 12):
        fields["critical"] = False
    if percent(chance, 10):
        fields["reads"] = ("p",)
    mapped = [task.name for task in tasks if task.map]
    match chance.below(14):
        case 1:
            fields["skip"] = True
        case 2:
            fields["may_skip"] = True
        case 3:
            fields["executor"] = "group"
        case 4:
            fields["child"] = True
        case 5 | 6:
            fields["map"] = Map(allow_failures=chance.below(2))
        case 7 | 8 if mapped:
            fields["map"] = Map(one_of(chance, mapped), percent(chance, 30), chance.below(2))
        case 9:
            until = None if percent(chance, 50) else float(chance.below(120))
            overlap, misfire = one_of(chance, ("restart", "skip", "queue")), one_of(chance, ("last", "skip"))
            fields["every"] = Every(20.0, until, overlap, misfire)
        case 10:
            fields["effect"] = "once"
    if fields.get("executor") != "group" and not fields.get("child") and percent(chance, 12):
        fields["review"] = Review(chance.below(2), 30.0 if percent(chance, 40) else None)
    return Task(name, **fields)


def _a_rule(chance: Chance, names: list[str]) -> Rule:
    return Rule(
        one_of(chance, names), one_of(chance, ("START", "START", "RESTART", "STOP")), _a_condition(chance, names)
    )


def _a_condition(chance: Chance, names: list[str], deep: int = 0) -> Any:
    kind = chance.below(10 if deep < 2 else 7)
    if kind <= 2:
        statuses = ("SUCCESS", "FAILED", "STOPPED", "SKIPPED", "RUNNING", "QUEUED", "STOPPING", "RETRYING", "INIT")
        found = [one_of(chance, statuses[:5] if percent(chance, 80) else statuses) for _ in range(1 + chance.below(2))]
        return TaskIs(one_of(chance, names), tuple(found))
    if kind <= 4:
        valued = percent(chance, 30)
        return EventIs(one_of(chance, KEYS), "go" if valued else None, valued)
    if kind == 5:
        return Count(one_of(chance, KEYS), 1 + chance.below(3), 20.0)
    if kind == 6:
        return Probe("f", tuple(dict.fromkeys(one_of(chance, KEYS) for _ in range(1 + chance.below(2)))))
    parts = tuple(_a_condition(chance, names, deep + 1) for _ in range(1 + chance.below(2)))
    return AllOf(parts) if kind <= 8 else AnyOf(parts)


# ── people ──────────────────────────────────────────────────────────────────────────────────────────────


def a_persons_fact(chance: Chance, run: Run) -> f.Fact:
    """Anything a person may say to a run, sensible or not."""
    names = [run.name_of(row.id) for row in run.nodes] + ["nobody"]
    name = one_of(chance, names)
    node = run.find(name)
    row = run.nodes[node if node is not None else 0]
    held = [run.nodes[n] for n in sorted(run.held)]
    if held and percent(chance, 50):
        row = one_of(chance, held)
        name = run.name_of(row.id)
    number = row.number if percent(chance, 90) else 1
    match chance.below(16):
        case 0 | 1 | 2 | 3:
            return f.Asked(name, one_of(chance, ("START", "RESTART", "STOP", "DANCE")))
        case 4:
            return f.Paused()
        case 5 | 6:
            return f.Resumed()
        case 7:
            return f.Interrupted()
        case 8:
            return f.Continued()
        case 9:
            return f.Raised(5.0)
        case 10:
            return f.Cancelled()
        case 11:
            what = one_of(chance, ("retry", "restart", "stale"))
            return f.Reopened(what, name if what == "restart" else None)
        case 12:
            return f.Edited(name, number, f"h{chance.below(3)}")
        case 13:
            return f.Approved(name, number, row.draft[0] if row.draft else "h0")
        case 14:
            return f.Rejected(name, number, "shorter")
    return f.Decided(name, number, one_of(chance, ("done", "redo", "failed")))


def what_helps(run: Run) -> Iterator[f.Fact]:
    """What people say to a run that waits for them; nothing when it waits for nobody."""
    lifts: dict[str, f.Fact] = {"paused": f.Resumed(), "interrupted": f.Continued(), "budget": f.Raised(9.0)}
    if run.holds:
        yield lifts[min(run.holds)]
    for node in sorted(run.held):
        row, name = run.nodes[node], run.name_of(node)
        if row.hold == "review" and row.draft is not None:
            yield f.Approved(name, row.number, row.draft.hash)
        else:
            yield f.Decided(name, row.number, "done")
