"""The same run again, from what was recorded of it: two ways back, and both must agree with the first.

`replay` takes the journal: facts as they were taken, each followed by admission's picks (`Admitted`), which are
not picked anew. `rows.load` takes the rows. `picture` is what the two are compared by: all of a run that decides
anything. Keeping whole pictures instead of facts was measured and is twenty times the bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.core import machine
from callboard.core.admission import Admission
from callboard.core.facts import Admitted, Fact, decode
from callboard.core.step import Decision, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from callboard.core.deadline import Now
    from callboard.core.run import BranchState, Mapped, Node, Run


class Script(Admission):
    """Admission that picks what it picked before."""

    def __init__(self) -> None:
        super().__init__()
        self.picks: list[tuple[int, ...]] = []

    def offer(self, run: Run, row: Node) -> None:
        """Nothing is to be picked from: the journal says who starts."""

    def is_free(self, run: Run, row: Node) -> bool:
        """Nor does it start by itself."""
        return False

    def pick(self, run: Run, now: Now, most: int = 0) -> list[int]:
        """The next recorded picks of the fact at hand."""
        picked = list(self.picks.pop(0)) if self.picks else []
        for node in picked:
            self.take(run, run.nodes[node].limits)
        return picked


def replay(run: Run, journal: Iterable[tuple[Sequence[str], Now, bool]]) -> None:
    """Bring `run` to where the recorded one stood: of each step (`Decision.journal`, now, drained).

    Journals tell themselves what was not drained; those of machines before this one have to be told.
    """
    for facts, now, drained in journal:
        step(run, facts, now, drained)


def step(run: Run, journal: Sequence[str], now: Now, drained: bool = True) -> Decision:
    """One recorded step again. Its decision is that of the first time, but for what was refused or dropped."""
    work = Step(run, now, Script())
    for _ in walk(work, journal, drained):
        pass
    return machine.decide(work)


def walk(work: Step, journal: Sequence[str], drained: bool = True) -> Iterator[Fact | None]:
    """Each fact of a recorded step, when it has been taken to its end; None for what became ready without one."""
    script = work.admission
    assert isinstance(script, Script)
    if journal and journal[-1] in (machine.UNDRAINED, machine.DRAINED):
        journal, drained = journal[:-1], journal[-1] == machine.DRAINED
    groups = _groups([decode(json.loads(text)) for text in journal])
    for number, (fact, picks) in enumerate(groups, 1):
        script.picks = picks
        machine.take(work, fact, drained and number == len(groups))
        assert not script.picks, (fact, script.picks)
        yield fact
    if not drained:
        machine.withhold(work)


def _groups(facts: list[Fact]) -> list[tuple[Fact | None, list[tuple[int, ...]]]]:
    """Each fact with the picks that followed it; picks that followed none, and a step without facts, stand first."""
    groups: list[tuple[Fact | None, list[tuple[int, ...]]]] = []
    for fact in facts:
        if not isinstance(fact, Admitted):
            groups.append((fact, []))
        elif not groups:
            groups.append((None, [fact.nodes]))
        else:
            groups[-1][1].append(fact.nodes)
    return groups or [(None, [])]


# ── pictures ────────────────────────────────────────────────────────────────────────────────────────────


def picture(run: Run) -> dict[str, Any]:
    """All of a run that decides anything, as plain values that can be compared."""
    told = {name: getattr(run, name) for name in run.__slots__ if name not in ("graph", "plan", "nodes", "branches")}
    told["events"] = list(run.events)
    told["used"] = {name: count for name, count in run.used.items() if count}
    told["holds"], told["pending"] = sorted(run.holds), sorted(run.pending)
    for name in ("held", "queued", "failures", "stops"):
        told[name] = sorted(told[name])
    told["documents"], told["edits"] = dict(run.documents), dict(run.edits)
    told["nodes"] = [_picture_of(row) for row in run.nodes]
    told["branches"] = [_slots(state) for state in run.branches]
    return told


def _picture_of(row: Node) -> dict[str, Any]:
    told = _slots(row)
    del told["task"]
    told["mapped"] = None if row.mapped is None else _slots(row.mapped)
    return told


def _slots(one: Node | Mapped | BranchState) -> dict[str, Any]:
    told = {}
    for name in one.__slots__:
        value = getattr(one, name)
        told[name] = value.copy() if isinstance(value, dict | set | list) else value
    return told


def stored(run: Run) -> dict[str, Any]:
    """The picture of what a store keeps: without the moments of what it derives, and counters only as what they tell.

    A first QUEUED that was never written gets its place among the beginnings anew when it is loaded.
    """
    told = picture(run)
    began = {counter: place for place, counter in enumerate(sorted({r.began for r in run.nodes if not r.derived}))}
    for row, node in zip(run.nodes, told["nodes"], strict=True):
        node["due"] = bool(row.parent < 0 and run.graph.parents[row.id]) and row.fired < row.up_began
        node["began"] = "derived" if row.derived else began[row.began]
        if row.derived:
            node["at"] = 0.0
        del node["fired"], node["up_began"]
    for branch, state, kept in zip(run.graph.branches, run.branches, told["branches"], strict=True):
        kept["fired"] = [run.nodes[task].began > state.fired for task in branch.tasks]
    del told["counter"], told["changed"]
    return told
