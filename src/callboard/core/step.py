"""One step under way: the run, the moment, and all that moved.

`Step` knows how to move a status and keep every counter true; it knows nothing of facts, actions or rules.
What it gathers becomes the `Decision`. Orders can be withdrawn until the step is over: a task that is stopped
in the step that started it never reaches the outside.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from callboard.core.graph import OPTIONAL, OVER, REQUIRED
from callboard.core.orders import Finish, List, Order, Start, Stop, StopList
from callboard.core.status import (
    FAILED,
    INIT,
    MOVES,
    QUEUED,
    RUNNING,
    SKIPPED,
    STOPPED,
    STOPPING,
    SUCCESS,
    Status,
)

if TYPE_CHECKING:
    from callboard.core.admission import Admission
    from callboard.core.deadline import Now
    from callboard.core.run import Combination, Node, Run

MEETS_REQUIRED, MEETS_OPTIONAL, MEETS_OVER = 1, 2, 4
ALL_NEEDS = MEETS_REQUIRED | MEETS_OPTIONAL | MEETS_OVER
#: The bit of `Node.meets` that an edge of each kind asks for.
MEETS = {REQUIRED: MEETS_REQUIRED, OPTIONAL: MEETS_OPTIONAL, OVER: MEETS_OVER}


class No(Exception):
    """A person's fact cannot be taken; nothing was changed."""


class Decision:
    """What a step decided: rows to write (as `ports.Write` has them), orders to carry out once they are on disk."""

    __slots__ = (
        "branches", "contents", "documents", "executions", "items", "journal", "orders", "outcomes", "starts", "state",
        "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.orders: list[Order] = []
        self.starts = 0  # starts and lists among them
        self.status: int | None = None
        self.state: str | None = None
        self.executions: list[tuple[Any, ...]] = []
        self.outcomes: list[tuple[int, int, str]] = []
        self.items: list[tuple[int, int, int, str, str]] = []
        self.branches: list[tuple[int, str]] = []
        self.documents: list[tuple[str, str, str | None, int, str]] = []
        self.contents: list[bytes] = []  # of documents, that nobody has kept yet


class Step:
    """The working state of one `machine.step`."""

    __slots__ = (
        "admission",
        "begun",
        "candidates",
        "decision",
        "fired_branches",
        "graph",
        "looped",
        "moved",
        "now",
        "offered",
        "orders",
        "queued",
        "run",
        "starts",
        "state_moved",
        "stops",
        "triggers",
        "waves",
    )  # fmt: skip

    def __init__(self, run: Run, now: Now, admission: Admission | None) -> None:
        self.run, self.now, self.admission = run, now, admission
        self.graph = run.graph
        self.decision = Decision()
        self.orders: list[Order | None] = []
        self.starts: dict[int, int] = {}  # node → place of its Start (or List) in orders
        self.stops: dict[int, int] = {}
        self.moved: dict[int, Node] = {}
        self.fired_branches: set[int] = set()
        self.triggers: deque[tuple[int, Status, list[int] | None]] = deque()
        self.candidates: list[int] | None = None  # nodes whose needs have just all been met
        self.queued: list[Node] = []  # QUEUED in this fact, others have not seen it yet
        self.offered = 0  # of those admission has seen so many
        self.waves: dict[int, int] = {}
        self.looped: set[int] = set()
        self.state_moved = False
        self.begun = 0  # starts of this step

    # ── who is meant ────────────────────────────────────────────────────────────────────────────────────

    def living(self) -> Run:
        """The run, when it has begun and not ended. Raises No."""
        if self.run.replaced:
            raise No(f"the run goes on as {self.run.replaced}")
        if self.run.status is not RUNNING:
            raise No("the run has not begun" if self.run.status is INIT else "the run has ended")
        return self.run

    def named(self, name: int | str | None) -> Node:
        """The task or item of a name. Raises No."""
        node = self.run.find(name) if name is not None else None
        if node is None:
            raise No(f"the run has no task {name!r}")
        return self.run.nodes[node]

    # ── statuses ────────────────────────────────────────────────────────────────────────────────────────

    def move(self, row: Node, status: Status, reason: str = "") -> None:
        """Change a status, keep the counters, and let those who watch it have their wave."""
        run, old = self.run, row.status
        assert status in MOVES[old], (run.name_of(row.id), old, status)
        row.reason = reason
        self.moved[row.id] = row
        run.changed = True
        row.status, row.at = status, self.now.wall
        if row.wake is not None:
            row.wake, row.wake_what = None, ""
        if row.hold:
            row.hold = ""
            run.held.discard(row.id)
        elif row.mapped is not None:
            pass  # its items work, it does not
        elif status is RUNNING:
            run.at_work += 1
        elif old is STOPPING or (old is RUNNING and status is not STOPPING):
            run.at_work -= 1
            if row.limits:
                self.release(row)
        if old is QUEUED:
            run.queued.discard(row.id)
            if self.admission is not None and status is not RUNNING:
                self.admission.withdraw(run, row)
        if status >= 5:
            run.open -= 1
        elif not 1 <= old <= 4:
            run.open += 1
        if status is QUEUED:
            run.queued.add(row.id)
            self.queued.append(row)
        if row.parent < 0:
            self._see(row, old, status)
        elif status >= 5:
            self.triggers.append((row.id, status, None))

    def _see(self, row: Node, old: Status, status: Status) -> None:
        """Count what a task's new status means to others, and let them see it in a wave of its own."""
        if old is STOPPED:
            self.run.stops.discard(row.id)
        elif old is FAILED:
            self.run.failures.discard(row.id)
            row.handled = False
        if status >= 5 or row.meets or not row.may or row.mapped is not None:
            self.count(row)
        if status is QUEUED:
            return  # seen by others only if it has to wait
        followed = row.id in self.graph.watched or row.mapped is not None or row.next is not None
        if followed or self.candidates or status is FAILED:
            found, self.candidates = self.candidates, None
            self.triggers.append((row.id, status, found))

    def hold(self, row: Node, why: str) -> None:
        """RUNNING, but nothing is outside: a person's word is awaited."""
        self.run.at_work -= 1
        row.hold = row.reason = why
        self.run.held.add(row.id)
        self.release(row)
        self.moved[row.id] = row

    def take_in(self, row: Node) -> None:
        """RUNNING, and nobody works: what becomes of it is known. It takes no unit of its limits."""
        self.move(row, RUNNING)
        self.run.at_work -= 1
        row.hold = "adopted"
        self.run.held.add(row.id)

    # ── limits ──────────────────────────────────────────────────────────────────────────────────────────

    def release(self, row: Node) -> None:
        """Give back the limits of what is no longer at work."""
        run = self.run
        names = row.limits
        for name in names:
            if name in run.plan.limits:
                run.used[name] = run.used.get(name, 0) - 1
        if self.admission is not None:
            self.admission.release(run, names)

    # ── needs ───────────────────────────────────────────────────────────────────────────────────────────

    def count(self, row: Node) -> None:
        """Work out anew what a node means to those below it, and they to theirs, until nothing changes."""
        todo = [row]
        while todo:
            one = todo.pop()
            may = 1 <= one.status <= 4 or one.next is not None or self.possible(self.run, one)
            meets = self.meets(one, may)
            if meets != one.meets or may != one.may:
                self._tell_children(one, meets, may, todo)

    @staticmethod
    def meets(row: Node, may: bool) -> int:
        """Which kinds of need the latest execution of a task meets, as bits.

        One that can never run again counts without being current when it was begun by hand and its needs cannot
        be met any more, or when they are met, and nothing above it will ever be newer.
        """
        status = row.status
        meets = 0
        if status >= 5:
            if row.current or (not may and (row.early or not row.waiting)):
                meets = ALL_NEEDS if status is SUCCESS or status is SKIPPED else MEETS_OPTIONAL
        elif status is RUNNING and row.mapped is not None and row.mapped.good:
            meets = MEETS_OVER
        return meets if may else meets | MEETS_OPTIONAL

    @staticmethod
    def possible(run: Run, row: Node) -> bool:
        """Whether a task that is not open may run (again); rules count as possible until judged otherwise."""
        if row.id in run.graph.ruled:
            return not row.judged
        if not run.graph.parents[row.id]:
            return run.status is INIT and not row.number
        return not row.broken and (row.movers > 0 or (not row.waiting and row.fired < row.up_began))

    def _tell_children(self, row: Node, meets: int, may: bool, todo: list[Node]) -> None:
        run, nodes = self.run, self.run.nodes
        old_meets, old_may = row.meets, row.may
        row.meets, row.may = meets, may
        if not row.number:
            run.hopeful += may - old_may
        if may and not old_may:
            self.lift()
        for child_id, kind in run.graph.children[row.id]:
            child = nodes[child_id]
            bit = MEETS[kind]
            met, was_met = bool(meets & bit), bool(old_meets & bit)
            if met != was_met:
                child.waiting += -1 if met else 1
                if child.derived and not met:
                    child.derived = False  # it no longer follows from the statuses
                    self.moved[child_id] = child
                if not child.waiting:
                    if self.candidates is None:
                        self.candidates = []
                    self.candidates.append(child_id)
            child.movers += may - old_may
            if kind != OPTIONAL:
                child.broken += (not met and not may) - (not was_met and not old_may)
            if not 1 <= child.status <= 4:
                todo.append(child)

    def lift(self) -> None:
        """Something that could not move any more has moved: what rules were judged to be is open again."""
        for node in self.run.graph.ruled:
            row = self.run.nodes[node]
            if row.judged:
                row.judged = False
                self.moved[node] = row
                self.count(row)

    def begin_number(self, row: Node, combination: Combination | None, *, met: bool, early: bool) -> None:
        """Count a beginning, and mark what stands below as no longer current."""
        run, nodes = self.run, self.run.nodes
        run.counter += 1
        row.began = run.counter
        row.combination = combination
        if row.parent >= 0:
            return
        row.current, row.early, row.fresh = met, early, True
        for parent_id, _ in self.graph.parents[row.id]:
            if not nodes[parent_id].fresh:
                self._freshen(row)
                break
        outdated = False
        for child_id, kind in self.graph.children[row.id]:
            child = nodes[child_id]
            if kind == OVER and row.revision and self._follows(child, row):
                child.fired = run.counter
                self.moved[child_id] = child
            child.up_began = run.counter
            outdated = outdated or child.fresh
        if outdated:
            self._outdate(row)

    @staticmethod
    def _follows(child: Node, row: Node) -> bool:
        """It goes over this very list: items that run again are taken up one by one, the rest is not repeated."""
        return child.mapped is not None and child.mapped.source == row.number and child.fired >= child.up_began

    def _freshen(self, row: Node) -> None:
        todo = [row]
        while todo:
            one = todo.pop()
            one.fresh = True
            for parent, _ in self.run.graph.parents[one.id]:
                above = self.run.nodes[parent]
                if not above.fresh:
                    self.moved[parent] = above
                    todo.append(above)

    def _outdate(self, row: Node) -> None:
        todo = [row]
        while todo:
            for child_id, _ in self.run.graph.children[todo.pop().id]:
                child = self.run.nodes[child_id]
                if child.fresh:
                    child.fresh = child.current = child.derived = False
                    self.moved[child_id] = child
                    self.count(child)
                    todo.append(child)

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────

    def order_start(self, row: Node) -> None:
        self.starts[row.id] = len(self.orders)
        self.orders.append(Start(row.id, row.number, row.attempt))
        self.begun += 1

    def page_due(self, row: Node) -> None:
        """The next page of a list waits to be asked for, as a start does."""
        assert row.mapped is not None
        row.mapped.due = True
        self.moved[row.id] = row
        self.queued.append(row)

    def order_list(self, row: Node) -> None:
        assert row.mapped is not None
        row.mapped.page += 1
        row.mapped.asked, row.mapped.due = True, False
        self.starts[row.id] = len(self.orders)
        self.orders.append(List(row.id, row.number, row.mapped.page))
        self.begun += 1

    def order_stop(self, row: Node) -> None:
        self.stops[row.id] = len(self.orders)
        if row.mapped is not None:
            self.orders.append(StopList(row.id, row.number))
        else:
            self.orders.append(Stop(row.id, row.number, row.attempt))

    def withdraw(self, row: Node) -> bool:
        """Take back the Start (List) of this step; False when it is outside already, or there is none."""
        place = self.starts.pop(row.id, None)
        if place is None or self.orders[place] is None:
            return False
        self.orders[place] = None
        self.begun -= 1
        return True

    def answered(self, row: Node) -> None:
        """An attempt has answered: its Stop of this very step is not needed, its Start is history."""
        place = self.stops.pop(row.id, None)
        if place is not None:
            self.orders[place] = None
        self.starts.pop(row.id, None)

    def list_answered(self, row: Node) -> None:
        """A page has answered. One that this very step asked for has not left: the answer is to an older question."""
        self.withdraw(row)
        self.answered(row)

    def finish(self, status: Status) -> None:
        self.run.status = status
        self.decision.status = int(status)
        self.orders.append(Finish(status))
