"""What is always true of a run, as code: `check` looks at one moment, `Recorder` at how moments follow each other.

Tests call both after every step, and the engine may in debug mode. Each broken rule is told with the task it
breaks on. `assert` statements were tried first and tell neither, and are gone under `python -O`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core import facts as f
from callboard.core import orders as o
from callboard.core.counting import listing, needs, totals
from callboard.core.graph import OPTIONAL
from callboard.core.reasons import because
from callboard.core.status import FAILED, INIT, QUEUED, RETRYING, RUNNING, STOPPED, STOPPING, SUCCESS
from callboard.core.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from callboard.core.admission import Admission
    from callboard.core.run import Node, Run
    from callboard.core.step import Decision

#: One execution's attempt: (node, number, attempt).
Attempt = tuple[int, int, int]


def hold_true(condition: object, run: Run, row: Node | None, rule: str) -> None:
    """Raises AssertionError that names the rule and the task when `condition` is false."""
    if not condition:
        who = "the run" if row is None else f"{run.name_of(row.id)} {row.status.name} {row.number}.{row.attempt}"
        raise AssertionError(f"{who}: {rule}")


def check(run: Run, admission: Admission | None = None, *, drained: bool = True) -> None:
    """Hold a run that no step is changing against every rule that can be seen on it.

    With `admission` also what only it knows: units, and that nothing waits without a cause. `drained` says
    that the last step was told so. Raises AssertionError.
    """
    for row in run.nodes:
        _check_row(run, row)
        if row.parent < 0:
            _check_task(run, row)
        if row.mapped is not None:
            _check_list(run, row)
    _check_counters(run, admission)
    if run.status in (INIT, RUNNING):
        _check_living(run, admission, drained)
    else:
        _check_ended(run)


def _check_row(run: Run, row: Node) -> None:
    true = hold_true
    true(row.status is INIT or row.number, run, row, "whatever is not INIT has a number")
    true(row.began <= run.counter and row.fired <= run.counter, run, row, "nothing began later than now")
    true(row.next is None or row.is_open, run, row, "`next` only on open executions")
    true(not row.hold or (row.status is RUNNING and row.mapped is None), run, row, "only RUNNING is held")
    true(row.hold != "review" or row.draft is not None, run, row, "what is held for review has a draft")
    if row.status is RETRYING:
        true(row.wake is not None and row.wake_what == "retry", run, row, "RETRYING has a timer")
    elif row.wake is not None:
        true(row.hold == "review" and row.wake_what == "review", run, row, "a timer only for a retry or a review")
    true(row.attempt or row.status not in (RETRYING, STOPPING) or row.mapped, run, row, "it was started")
    true(row.tick is None or row.task.every is not None, run, row, "only what is periodic ticks")
    true(row.status is not FAILED or row.reason, run, row, "FAILED has a reason")
    true(run.documents.keys() >= (row.read or {}).keys(), run, row, "what it was made from is known")


def _check_task(run: Run, row: Node) -> None:
    true = hold_true
    found = needs(run, row)
    for name, scanned in zip(found._fields, found, strict=True):
        counted = getattr(row, name)
        true(counted == scanned, run, row, f"`{name}` is counted as {counted}, a scan finds {scanned}")
    may = row.is_open or row.next is not None or Step.possible(run, row)
    true(row.may == may, run, row, f"`may` is {row.may}, its needs say {may}")
    true(row.meets == Step.meets(row, may), run, row, "what it meets follows from its status")
    true(row.fresh or not row.current, run, row, "what is current is fresh")
    if row.current and not row.early and row.reason != "rule loop":
        needed = {parent for parent, kind in run.graph.parents[row.id] if kind != OPTIONAL}
        for parent, number, revision in run.inputs(row.id):
            above = run.nodes[parent]
            if parent in needed and above.mapped is None:
                latest = (above.number, above.revision)
                true(latest == (number, revision), run, row, f"current, so it ran on the latest {above.task.name}")


def _check_list(run: Run, row: Node) -> None:
    true, mapped = hold_true, row.mapped
    assert mapped is not None
    found = listing(run, mapped.items)
    true(mapped.open == found.open, run, row, f"{mapped.open} items counted open, a scan finds {found.open}")
    true(mapped.good == found.good, run, row, f"{mapped.good} items counted good, a scan finds {found.good}")
    true(mapped.failed == found.failed, run, row, f"{mapped.failed} counted failed, a scan finds {found.failed}")
    true(list(mapped.items.values()) == list(range(len(mapped.items))), run, row, "items have places in order")
    open = [n for n in mapped.index.values() if run.nodes[n].is_open]
    true(mapped.items.keys() >= set(open), run, row, "only items of the present list are open")
    if row.status not in (RUNNING, STOPPING):
        true(not (mapped.asked or mapped.due or open), run, row, "a mapped task ends with its list and its items")
    elif row.id not in run.graph.overs or mapped.giving_up:
        true(mapped.asked or mapped.due or open, run, row, "a mapped task is open for something")
    true(not (mapped.asked and mapped.due), run, row, "a page is due or outside")
    true(not mapped.due or row.status is RUNNING, run, row, "a page is due only while RUNNING")


def _check_counters(run: Run, admission: Admission | None) -> None:
    found = totals(run)
    if admission is not None:
        for node in admission.kept(run.number):
            for name in run.nodes[node].limits:
                if name in run.plan.limits:
                    found.used[name] = found.used.get(name, 0) + 1
        for name, units in admission.used.items():
            hold_true(0 <= units <= admission.capacity[name], run, None, f"{units} of the engine's {name} are used")
    for name, scanned in zip(found._fields, found, strict=True):
        counted = getattr(run, name)
        if name == "used":
            counted = {limit: units for limit, units in counted.items() if units}
        hold_true(counted == scanned, run, None, f"`{name}` is counted as {counted}, a scan finds {scanned}")
    for path, older in run.edits.items():
        hold_true(older and run.documents[path] not in older, run, None, f"the latest {path} is older than none")
    for name, units in run.used.items():
        hold_true(units <= run.plan.limits[name], run, None, f"{units} units of {name} are used")
    for state in run.branches:
        hold_true(state.fired <= run.counter, run, None, "no rule fired later than now")


def _check_living(run: Run, admission: Admission | None, drained: bool) -> None:
    true = hold_true
    if not run.acting:
        for row in run.nodes:
            quiet = not row.is_open or row.status is STOPPING
            true(run.status is INIT or quiet, run, row, "what is being ended has nothing else open")
            true(row.next is None and row.tick is None, run, row, "nothing comes after the end")
    if run.status is INIT or not drained:
        return
    if not (run.open or run.pending or run.probing):
        true(because(run), run, None, "a run with nothing open listens, waits for a tick, or ends")
    if admission is not None and run.acting and not run.holds:
        for node in run.queued:
            row = run.nodes[node]
            true(
                admission.is_offered(run.number, node),
                run,
                row,
                "what is QUEUED without a hold stands in the ready queue",
            )
    true(run.probing is not None or not run.events, run, None, "events wait only for a probe")


def _check_ended(run: Run) -> None:
    true = hold_true
    true(not (run.open or run.probing or run.events or run.pending), run, None, "after the end nothing is open")
    true(not (run.holds or run.cancelling or run.failing >= 0), run, None, "after the end nothing holds")
    for row in run.nodes:
        true(row.wake is None and row.tick is None, run, row, "after the end nothing is timed")


# ── how moments follow each other ───────────────────────────────────────────────────────────────────────

_ANSWERS = (
    f.Succeeded, f.Failed, f.TimedOut, f.Skipped, f.Stopped, f.LeaseLost, f.Halted, f.Refused, f.Produced
)  # fmt: skip
_ON_ENDED = (f.Reopened, f.Replaced, f.DocumentEdited)


class Recorder:
    """Follows a run from its beginning and holds every step against what came before it.

    `facts` and the decision go to `see` after each step; `outside` is what is at work there.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.started: set[Attempt] = set()
        self.outside: dict[Attempt, bool] = {}  # at work → was asked to stop
        self.lists: dict[Attempt, bool] = {}  # pages asked for: (node, number, page) → was asked to stop
        self.outcomes: set[tuple[int, int]] = set()
        self.numbers: list[int] = []
        self.inputs: dict[tuple[int, int, int], tuple[tuple[int, int, int], ...]] = {}
        self.was = run.status
        self.cancelled = False
        self.blocked = False  # by a hold, or because it is being ended

    def see(self, facts: Sequence[f.Fact], decision: Decision) -> None:
        """Raises AssertionError."""
        for fact in facts:
            self._answer(fact)
        self._see_end(facts, decision)
        self._see_numbers()
        for order in decision.orders:
            self._see_order(order, alone=len(facts) <= 1)
        self._see_outcomes(decision)
        self._see_outside()
        self.was = self.run.status
        self.blocked = bool(self.run.holds) or not self.run.acting

    def _true(self, condition: object, node: int | None, rule: str) -> None:
        hold_true(condition, self.run, None if node is None else self.run.nodes[node], rule)

    def _answer(self, fact: f.Fact) -> None:
        if isinstance(fact, _ANSWERS):
            self.outside.pop((fact.node, fact.number, fact.attempt), None)
        elif isinstance(fact, f.Listed):
            self.lists.pop((fact.node, fact.number, fact.page), None)
        elif isinstance(fact, f.ListStopped | f.ListFailed):
            for one in [one for one in self.lists if one[:2] == (fact.node, fact.number)]:
                del self.lists[one]

    def _see_end(self, facts: Sequence[f.Fact], decision: Decision) -> None:
        ended = self.was not in (INIT, RUNNING)
        reopened = any(isinstance(fact, _ON_ENDED) for fact in facts)
        changed = decision.executions or decision.journal or decision.status is not None
        self._true(not (ended and changed and not reopened), None, "an ended run changes only by Reopened")
        if ended and any(text.startswith('["Reopened"') for text in decision.journal):
            self.cancelled = False
        if self.run.cancelling:
            self.cancelled = True
        if decision.status is not None and self.run.status not in (INIT, RUNNING) and self.cancelled:
            self._true(self.run.status is STOPPED, None, "a cancelled run ends STOPPED")

    def _see_numbers(self) -> None:
        for row in self.run.nodes:
            if row.id == len(self.numbers):
                self.numbers.append(0)
            self._true(row.number >= self.numbers[row.id], row.id, "numbers never fall")
            self.numbers[row.id] = row.number
            key = (row.id, row.number, row.revision)
            if row.number and row.parent < 0 and not row.early:
                self.inputs[key] = self.run.inputs(row.id)

    def _see_order(self, order: o.Order, *, alone: bool) -> None:
        match order:
            case o.Start(node, number, attempt):
                self._true((node, number, attempt) not in self.started, node, "no attempt starts twice")
                self.started.add((node, number, attempt))
                self.outside[node, number, attempt] = False
                self._see_start(node, alone=alone)
            case o.List(node, number, page):
                self._true(all(one[0] != node for one in self.lists), node, "one page at a time")
                self.lists[node, number, page] = False
                self._see_start(node, alone=alone)
            case o.Stop(node, number, attempt):
                asked = self.outside.get((node, number, attempt))
                self._true(asked is False, node, "Stop goes once, and only to what is at work")
                self.outside[node, number, attempt] = True
            case o.StopList(node, number):
                pages = [one for one, stopped in self.lists.items() if one[:2] == (node, number) and not stopped]
                self._true(pages, node, "a list is given up once, while it is asked")
                self.lists[pages[0]] = True
            case _:
                pass

    def _see_start(self, node: int, *, alone: bool) -> None:
        run, row = self.run, self.run.nodes[node]
        if alone:
            blocked = run.holds or not run.acting
            self._true(not blocked, node, "no Start while the run has a hold or is being ended")
        if row.parent < 0 and not row.early:
            self._see_mixture(row)

    def _see_mixture(self, row: Node) -> None:
        """An execution that began because its needs were met reads one number of everything above it."""
        seen: dict[int, tuple[int, int]] = {}
        for node, number, revision in self._above(row.id, self.run.inputs(row.id)):
            first = seen.setdefault(node, (number, revision))
            self._true(first == (number, revision), row.id, f"no start on mixed numbers of {self.run.name_of(node)}")

    def _above(self, node: int, inputs: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
        optional = {parent for parent, kind in self.run.graph.parents[node] if kind == OPTIONAL}
        named = {parent for parent, _ in self.run.graph.parents[node]}
        for one in inputs:
            if one[0] in named and one[0] not in optional:
                yield one
                yield from self._above(one[0], self.inputs.get(one, ()))

    def _see_outcomes(self, decision: Decision) -> None:
        for id, revision, _ in decision.outcomes:
            node = (id >> 20) & 0xFFFFF
            self._true((id, revision) not in self.outcomes, node, "one outcome for each number and revision")
            self.outcomes.add((id, revision))
        latest: dict[int, Any] = {row[0]: row[1] for row in decision.executions}
        for id, status in latest.items():
            if status != SUCCESS and (id, 0) in self.outcomes:
                row = self.run.nodes[(id >> 20) & 0xFFFFF]
                self._true(row.mapped is not None, row.id, "only SUCCESS has an outcome")  # or had one before

    def _see_outside(self) -> None:
        inside = {(row.id, row.number, row.attempt) for row in self.run.nodes if row.at_work}
        for node, number, attempt in inside ^ self.outside.keys():
            self._true(False, node, f"what is outside is what is at work: {number}.{attempt}")
        lists = [(row, row.mapped) for row in self.run.nodes if row.mapped is not None]
        asked = {(row.id, row.number, mapped.page) for row, mapped in lists if mapped.asked}
        for node, number, page in asked ^ self.lists.keys():
            self._true(False, node, f"what page is outside is what is asked: page {page} of {number}")
        for node in {node for node, _, _ in inside}:
            row = self.run.nodes[node]
            stopping = self.outside[node, row.number, row.attempt]
            self._true(stopping == (row.status is STOPPING), node, "what was asked to stop is STOPPING")
        queued = [row for row in self.run.nodes if row.status is QUEUED]
        self._true(all(row.mapped is None or not row.mapped.asked for row in queued), None, "QUEUED asks for nothing")
