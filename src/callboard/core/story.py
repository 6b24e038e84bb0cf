"""One task's life, told from the journal: what it became, when, and which fact brought it there.

Nothing is kept for it: the journal is replayed and the task is looked at after each fact. What a run says of
itself (a log written by the machine) was the other road, and it would cost every step what only a reader wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.core.reasons import why
from callboard.core.replay import Script, walk
from callboard.core.status import INIT
from callboard.core.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from callboard.core.deadline import Now
    from callboard.core.facts import Fact
    from callboard.core.run import Run


class Moment(NamedTuple):
    """A change in a task's life: wall time, what it became (status number.attempt), why, and what brought it."""

    at: float
    became: str
    reason: str
    cause: str

    def __str__(self) -> str:
        told = f"{self.at:g} {self.became}"
        return f"{told} ({self.reason}) after {self.cause}" if self.reason else f"{told} after {self.cause}"


def story(journal: Iterable[tuple[Sequence[str], Now, bool]], run: Run, task: str) -> list[str]:
    """The life of `task` (or `task/item key`) as lines: run must be new, and is brought to the journal's end.

    `journal` holds of each step its facts as `Decision.journal` has them, its moment, and whether it was drained.
    """
    return [str(moment) for moment in moments(journal, run, task)]


def moments(journal: Iterable[tuple[Sequence[str], Now, bool]], run: Run, task: str) -> Iterator[Moment]:
    was = ("INIT 0.0", "")
    for facts, now, drained in journal:
        work = Step(run, now, Script())
        for fact in walk(work, facts, drained):
            told = _told(run, task)
            if told != was and told[0] != "INIT 0.0":
                yield Moment(now.wall, *told, _cause(run, fact))
            was = told


def _told(run: Run, task: str) -> tuple[str, str]:
    node = run.find(task)
    if node is None:
        return ("INIT 0.0", "")
    row = run.nodes[node]
    reason = why(run, node) if row.status is not INIT else ""
    return (f"{row.status.name} {row.number}.{row.attempt}", reason)


def _cause(run: Run, fact: Fact | None) -> str:
    """A fact in few words: its name, and whom it is about."""
    if fact is None:
        return "a free place"
    told = [type(fact).__name__, *map(str, fact[:1])]
    node, number, attempt = (getattr(fact, name, None) for name in ("node", "number", "attempt"))
    if isinstance(node, int):
        told[1] = run.name_of(node)
    if number is not None:
        told.append(f"{number}.{attempt}" if attempt is not None else f"{number}")
    return " ".join(told)
