"""What a run leaves to the one that is begun in its place: of which executions the outcome stands, and as what.

Two things must hold. The task is the same for the successor's plan, by what it asks and by all above it: that is for a
face to say, `same` and `partly` have it. And what the run did there belongs together: it is the latest number, on the
latest of its needs, on the documents as they are, and all above it is handed over, too. A failure is handed over only
where it was allowed, because what came after it was made in its sight; anything else that failed is tried again.

Of a mapped task items are handed over one by one. Where its list is the recorded one, it goes over with them; where
only the list is another (`partly`), its items are laid by until they come in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.adopting import LISTED, REVIEW
from callboard.core.documents import stale
from callboard.core.facts import Adopted, Known, KnownList, Written
from callboard.core.graph import OVER
from callboard.core.mapped import digest
from callboard.core.status import FAILED, RUNNING, SKIPPED, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from callboard.core.graph import Graph
    from callboard.core.run import Mapped, Node, Run


class Left(NamedTuple):
    """`known` in the order in which a successor takes it over; `sources`: (task, item) of it → the node it was here."""

    known: tuple[Known, ...]
    lists: tuple[KnownList, ...]
    whole: frozenset[str]  # tasks of the successor of which nothing is left to do
    sources: Mapping[tuple[str, str | None], int]


class _Hands:
    """One hand-over of a run to a plan."""

    def __init__(
        self, run: Run, graph: Graph, same: Mapping[str, str], partly: Mapping[str, str], outcome: Any, values: Any
    ) -> None:
        self.run, self.graph, self.same, self.partly = run, graph, same, partly
        self._outcome, self._values = outcome, values
        self.known: list[Known] = []
        self.lists: list[KnownList] = []
        self.whole: set[str] = set()
        self.sources: dict[tuple[str, str | None], int] = {}
        self._given: dict[int, bool] = {}  # items of the old run: whether it was laid by

    def task(self, node: int) -> None:
        """Hand over what may be of one task of the successor; those above it come first."""
        name = self.graph.plan.tasks[node].name
        was = self.same.get(name) or self.partly.get(name)
        over = self.graph.overs.get(node)
        above = [self.graph.plan.tasks[one].name for one, kind in self.graph.parents[node] if kind != OVER]
        if was is None or not self.whole.issuperset(above):
            return
        row = self.run.nodes[self.run.graph.names[was]]
        if row.mapped is None:
            if self._stands(row) and self._give(name, None, row, allowed=not self.graph.plan.tasks[node].critical):
                self.whole.add(name)
        elif over is not None:
            self._over(name, row, row.mapped, name in self.partly)
        elif row.current and row.number and row.mapped.page and not row.mapped.lost and not row.mapped.asked:
            self._list(name, row, row.mapped, by=name in self.partly or bool(stale(self.run, row)))

    def _stands(self, row: Node) -> bool:
        return bool(row.number) and row.current and not stale(self.run, row)

    def _list(self, name: str, row: Node, mapped: Mapped, *, by: bool) -> None:
        if not by:
            items = tuple((self.run.nodes[one].key or "", json.loads(self._values[one])) for one in mapped.items)
            self.lists.append(KnownList(name, mapped.page, items, mapped.more or mapped.due))
            self.known.append(Known(name, None, LISTED, reads=_reads(row)))
        for one in mapped.items:
            self._item(name, row, self.run.nodes[one], digest(self._values[one]) if by else "")
        self._end(name, row, mapped, by=by)

    def _over(self, name: str, row: Node, mapped: Mapped, by: bool) -> None:
        """Items of a list that goes over another's: each stands on its twin there."""
        over = self.run.nodes[self.run.graph.overs[row.id]]
        if not row.number or not over.current or mapped.source != over.number or mapped.giving_up:
            return
        if not by:
            self.known.append(Known(name, None, LISTED))
        for one in mapped.items:
            item = self.run.nodes[one]
            if self._given.get(_twin(self.run, item)) is by:
                self._item(name, row, item, digest("null") if by else "")
        self._end(name, row, mapped, by=by)

    def _item(self, name: str, row: Node, item: Node, value: str) -> None:
        if not item.number or stale(self.run, item) or (value and item.status not in (SUCCESS, SKIPPED)):
            return
        if self._give(name, item.key, item, allowed=row.status is SUCCESS, value=value):
            self._given[item.id] = bool(value)

    def _end(self, name: str, row: Node, mapped: Mapped, *, by: bool) -> None:
        keys = (self.run.nodes[item].key for item in mapped.items)
        if not by and row.status is SUCCESS and all((name, key) in self.sources for key in keys):
            self.whole.add(name)

    def _give(self, name: str, item: str | None, row: Node, *, allowed: bool, value: str = "") -> bool:
        """Hand over one execution, if there is anything of it; whether it has ended."""
        known = self._known(name, item, row, allowed=allowed, value=value)
        if known is None:
            return False
        self.known.append(known)
        self.sources[name, item] = row.id
        return known.status != REVIEW

    def _known(self, name: str, item: str | None, row: Node, *, allowed: bool, value: str) -> Known | None:
        if row.status is SUCCESS:
            outcome = self._outcome(row.id, row.number, row.revision)
            return None if outcome is None else Known(
                name, item, SUCCESS.name, outcome, documents=tuple(_documents(outcome)), value=value, reads=_reads(row)
            )  # fmt: skip
        if row.status is SKIPPED or (row.status is FAILED and allowed):
            return Known(name, item, row.status.name, why=row.reason, value=value, reads=_reads(row))
        if row.status is RUNNING and row.hold == REVIEW and row.draft is not None:
            hash, outcome, first, documents, pending = row.draft
            return Known(
                name, item, REVIEW, outcome, "", hash, first, row.rounds, documents, pending, reads=_reads(row)
            )
        return None


def left(
    run: Run,
    graph: Graph,
    same: Mapping[str, str],
    partly: Mapping[str, str],
    outcome: Callable[[int, int, int], str | None],
    values: Mapping[int, str],
) -> Left:
    """What `run` leaves to a run of `graph`. Nothing of it may be at work.

    `same`: tasks of the successor → those of the run that ask the same, as all above them; `partly`: mapped tasks that
    would, but for the list. `outcome` reads the text of (node, number, revision), `values` are those of items by node.
    """
    hands = _Hands(run, graph, same, partly, outcome, values)
    for node in graph.order:
        hands.task(node)
    return Left(tuple(hands.known), tuple(hands.lists), frozenset(hands.whole), hands.sources)


def _twin(run: Run, item: Node) -> int:
    """The item that this one stands on in the list it goes over, if it stands on the latest of it; else -1."""
    for twin, number, revision in item.combination or ():
        if (run.nodes[twin].number, run.nodes[twin].revision) == (number, revision):
            return twin
    return -1


def _reads(row: Node) -> tuple[tuple[str, str], ...]:
    return tuple((row.read or {}).items())


def _documents(outcome: str) -> Iterator[Written]:
    """The documents of an outcome, which are in place."""
    if '"documents"' in outcome:
        for one in json.loads(outcome).get("documents") or ():
            yield Written(one["path"], one["hash"])


def facts(of: str, left: Left, size: int) -> list[Adopted]:
    """What is left as facts of about `size` characters of outcomes each; at least one."""
    lists = {one.task: one for one in left.lists}
    made: list[Adopted] = []
    part: list[Known] = []
    weight = 0
    for known in left.known:
        part.append(known)
        weight += len(known.outcome)
        if weight > size:
            made.append(_fact(of, part, lists))
            part, weight = [], 0
    if part or not made:
        made.append(_fact(of, part, lists))
    return [*(one._replace(more=True) for one in made[:-1]), made[-1]]


def _fact(of: str, part: list[Known], lists: Mapping[str, KnownList]) -> Adopted:
    named = [lists[one.task] for one in part if one.status == LISTED and one.task in lists]
    return Adopted(of, tuple(part), tuple(named))
