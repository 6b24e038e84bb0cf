"""A run made anew from its journal alone, as the rows it would have: what damage is told by, and mended from.

The journal holds every fact, every pick, and where a quiet run was not judged, so the rows follow from it. (Machines
before this one did not write down that a step had not read its inbox to the end. A run that ended goes on with
`Reopened`, or hears of an edited document, and with nothing else: so where the replay has ended and the journal goes on
otherwise, that step had not, and the replay begins again with that known.) Clocks since a boot are
not recorded either, so what is awaited is compared by what it is and not by when (`same`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core import replay
from callboard.core.deadline import Now
from callboard.core.facts import DocumentEdited, Reopened, Replaced
from callboard.core.run import Run
from callboard.core.status import ENDED, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.plan import Plan
    from callboard.core.step import Decision

_ON_ENDED = (Reopened.__name__, Replaced.__name__, DocumentEdited.__name__)
_COUNTED = ("wake", "tick", "fired", "stale")  # the last was kept by machines before this one, and follows now

Batch = tuple[float, "Sequence[str]"]  # wall, facts


class Document(NamedTuple):
    """A version of a document: which one it replaced, whose it was, whether it was put in place."""

    path: str
    hash: str
    replaces: str | None
    execution: int
    status: str
    at: float


class Rebuilt:
    """The rows of a run, as `ports.Write` has them, by their keys; `run` is where the journal has brought it."""

    __slots__ = (
        "branches", "contents", "documents", "executions", "items", "outcomes", "run", "state", "status", "updated",
    )  # fmt: skip

    def __init__(self, run: Run) -> None:
        self.run = run
        self.status, self.state, self.updated = int(run.status), "{}", 0.0
        self.executions: dict[int, tuple[Any, ...]] = {}
        self.outcomes: dict[tuple[int, int], str] = {}
        self.items: dict[int, tuple[int, int, int, str, str]] = {}
        self.branches: dict[int, str] = {}
        self.documents: dict[str, list[Document]] = {}  # all versions, the latest last
        self.contents: list[bytes] = []


def rebuild(
    number: int,
    id: str,
    plan: Plan,
    journal: Sequence[Batch],
    *,
    status: int | None = None,
    keep: Callable[[str], str] = lambda text: text,
) -> Rebuilt:
    """Replay a journal. `status` is the recorded one, if it can be believed; `keep` makes less of an outcome's text.

    Raises ValueError for a journal that this plan cannot have had.
    """
    undrained: set[int] = set()
    while True:
        try:
            found = _rebuild(Run(number, id, plan), journal, undrained, keep)
        except (AssertionError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"its journal is not one of its plan: {type(error).__name__}: {error}") from error
        if isinstance(found, int):
            undrained.add(found)
        elif status is not None and Status(found.status) in ENDED and status != found.status and journal:
            if len(journal) - 1 in undrained:
                return found
            undrained.add(len(journal) - 1)
        else:
            return found


def same(recorded: Sequence[Any], rebuilt: Sequence[Any]) -> bool:
    """Whether two rows of an execution say the same.

    Counters are not compared: a run that is loaded again counts what it derives anew. Nor are the moments of what
    follows from elapsed time.
    """
    if recorded[:3] != rebuilt[:3] or (recorded[5] or "") != (rebuilt[5] or ""):
        return False
    return recorded[6] == rebuilt[6] or _without(recorded[6], _COUNTED) == _without(rebuilt[6], _COUNTED)


def same_state(recorded: str, rebuilt: str) -> bool:
    """Whether two states of a run say the same. Machines before this one did not keep which versions are older."""
    told, found = json.loads(recorded), json.loads(rebuilt)
    if "edits" not in told:
        found.pop("edits", None)
    return bool(told == found)


def same_branch(recorded: str, rebuilt: str) -> bool:
    """Whether two rows of a rule's branch say the same, but for counters and readings of clocks."""
    return _without(recorded, ("fired", "times")) == _without(rebuilt, ("fired", "times"))


def _without(state: str | None, names: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(state or "{}")
    return {name: value for name, value in told.items() if name not in names}


def _rebuild(run: Run, journal: Sequence[Batch], undrained: set[int], keep: Callable[[str], str]) -> Rebuilt | int:
    """The run at the end of its journal, or the number of the batch that cannot have been drained."""
    found = Rebuilt(run)
    last = len(journal) - 1
    for place, (at, facts) in enumerate(journal):
        decision = replay.step(run, facts, Now(at, "", at), place not in undrained)
        if run.status in ENDED and place < last and not _reopens(journal[place + 1][1]) and place not in undrained:
            return place
        for row in decision.executions:
            found.executions[row[0]] = row
        for outcome in decision.outcomes:
            found.outcomes[outcome[:2]] = keep(outcome[2])
        for item in decision.items:
            found.items[item[0]] = item
        found.branches.update(decision.branches)
        if decision.state is not None:
            found.state = decision.state
        if decision.status is not None:
            found.status, found.updated = decision.status, at
        _see_documents(found, decision, at)
        found.contents += decision.contents
    for path, versions in found.documents.items():
        stage = "pending" if path in run.pending else versions[-1].status.replace("pending", "published")
        versions[-1] = versions[-1]._replace(status=stage)
    return found


def _reopens(facts: Sequence[str]) -> bool:
    return not facts or json.loads(facts[0])[0] in _ON_ENDED


def _see_documents(found: Rebuilt, decision: Decision, at: float) -> None:
    """An edit of what a step wrote keeps which step that was. (That ours lies beside it, no journal knows.)"""
    for path, hash, replaces, execution, status in decision.documents:
        versions = found.documents.setdefault(path, [])
        execution = execution or (versions[-1].execution if versions else 0)
        versions.append(Document(path, hash, replaces, execution, status, at))
