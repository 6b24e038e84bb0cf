"""A run in memory: one slotted row for each task and item, and the counters that make a step cheap.

Outcomes are not here, only what decides. What follows from the plan and the statuses (who waits for how many,
what may still move) is counted, never stored: `rows.py` derives it again when a run is loaded.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.graph import Graph
from callboard.core.status import INIT, RUNNING, Status

if TYPE_CHECKING:
    from callboard.core.deadline import Deadline
    from callboard.core.facts import Heard, Written
    from callboard.core.plan import Plan, Task

#: (upstream node, number, revision): what an execution reads from each upstream of its combination.
Combination = tuple[tuple[int, int, int], ...]


class Draft(NamedTuple):
    """What a person is to approve; `first` is what was produced, once somebody has edited it."""

    hash: str
    outcome: str
    first: str | None = None
    documents: tuple[Written, ...] = ()  # that it brings once it is approved
    pending: tuple[str, ...] = ()


#: Items of a full page of a list.
FULL_PAGE = 1000


class Mapped:
    """What a task that maps over a list keeps beside its row: the list of its present number, and where it is."""

    __slots__ = (
        "asked", "due", "failed", "giving_up", "good", "index", "items", "lost", "more", "open", "page", "source",
    )  # fmt: skip

    def __init__(self) -> None:
        self.index: dict[str, int] = {}  # every item ever, by key
        self.items: dict[int, int] = {}  # those of the present number, in list order → their place
        self.page = 0  # the last page asked for
        self.asked = False  # it is outside
        self.due = False  # the next one is to be asked for
        self.more = False
        self.lost = False  # its list failed
        self.open = 0  # items that are open
        self.good = 0  # items of the present number that are SUCCESS or SKIPPED
        self.failed: set[int] = set()
        self.giving_up = False  # the list it goes over has begun anew
        self.source = 0  # number of the task whose list it goes over

    @property
    def may_ask_ahead(self) -> bool:
        """Whether the next page may be asked for while items are open: pages come full, and half of one has ended.

        So one item that takes long holds up nobody else's, and one and a half pages are open at most. Of a list that
        comes in smaller pages a page may be what is left to do: asked too early it would say that nothing is.
        """
        if not self.more or self.asked or self.lost:
            return False
        return self.open <= FULL_PAGE // 2 and len(self.items) >= FULL_PAGE * self.page


class Node:
    """A task or an item: its latest execution, and what its needs still wait for."""

    __slots__ = (
        "at", "attempt", "began", "broken", "combination", "current", "derived", "draft", "early", "fired", "fresh",
        "handled", "hold", "id", "judged", "kept", "key", "limits", "losses", "mapped", "may", "meets", "missed",
        "movers", "next", "note", "number", "parent", "read", "reason", "revision", "rounds", "status", "task", "tick",
        "tries", "up_began", "waiting", "wake", "wake_what",
    )  # fmt: skip

    def __init__(
        self, id: int, task: Task, limits: tuple[str, ...] = (), parent: int = -1, key: str | None = None
    ) -> None:
        self.id, self.task, self.parent, self.key = id, task, parent, key
        self.limits = limits  # what an attempt of it takes
        self.status: Status = INIT
        self.at = 0.0  # wall time of the last change of status
        self.number = 0  # the n-th execution; 0: never began
        self.attempt = 0  # starts inside this number
        self.tries = 0  # attempts of this number that failed or timed out
        self.losses = 0  # workers lost in a row
        self.revision = 0  # items of an ended mapped task that ran again
        self.reason = ""
        self.began = 0  # the run's counter when this number (revision) began
        self.fired = -1  # the run's counter when its needs last fired
        self.up_began = 0  # … when one of its upstreams last began
        self.current = False  # ran on the latest numbers of its needs, which are current too
        self.fresh = False  # nothing above has begun since; the mark stops where this is False
        self.early = False  # started before its needs were met
        self.derived = False  # QUEUED for the first time by what the statuses say: not written
        self.combination: Combination | None = None  # None: every need at number 1
        self.next: Combination | None = None  # the one slot
        self.note = ""  # of the rejection that led to this number
        self.hold = ""  # review | decision
        self.draft: Draft | None = None
        self.rounds = 0  # rejections so far
        self.handled = False  # a rule took this failure up
        self.wake: Deadline | None = None
        self.wake_what = ""
        self.tick: Deadline | None = None
        self.missed = False  # a tick came while the run had a hold
        self.read: dict[str, str] | None = None  # documents it was made from: path → hash
        self.kept = ""  # digest of the value an adopted item was made of; until it runs again
        self.mapped: Mapped | None = None
        # counted, never stored:
        self.waiting = 0  # needs not met
        self.movers = 0  # upstreams that may still move
        self.broken = 0  # needs that are not met and can no longer be
        self.may = True  # is open, or may run (again)
        self.meets = 0  # bit 1: meets a required need; 2: an optional one; 4: one that goes over its items
        self.judged = False  # rules cannot start it any more: found when the run was last quiet

    @property
    def is_open(self) -> bool:
        return 1 <= self.status <= 4

    @property
    def has_ended(self) -> bool:
        return self.status >= 5

    @property
    def at_work(self) -> bool:
        """An order is outside for it."""
        return 2 <= self.status <= 3 and not self.hold and self.mapped is None

    @property
    def wants_page(self) -> bool:
        """A page of its list is due, or may be asked for already."""
        mapped = self.mapped
        return mapped is not None and (mapped.due or (self.status is RUNNING and mapped.may_ask_ahead))

    @property
    def will_tick(self) -> bool:
        """An instant is to come, and it may act: what needs a task that can never succeed waits in vain."""
        return self.tick is not None and self.may


class BranchState:
    """What a rule's branch remembers: when it fired, which events it has heard since."""

    __slots__ = ("errors", "fired", "heard", "off", "state", "times")

    def __init__(self) -> None:
        self.fired = 0  # the run's counter then
        self.heard: dict[int, int] = {}  # condition → offset of the event that met it
        self.times: dict[
            int, list[tuple[float, str, float]]
        ] = {}  # condition → readings of the clock at events counted
        self.errors = 0
        self.off = False
        self.state: Any = None  # the probe's own


class Run:
    """One durable execution of a plan, as the machine sees it."""

    __slots__ = (
        "at_work", "begun", "branches", "cancelling", "changed", "counter", "documents", "edits", "events", "failing",
        "failures", "graph", "heard", "held", "holds", "hopeful", "id", "nodes", "number", "open", "pending",
        "plan", "probing", "queued", "replaced", "status", "stops", "used",
    )  # fmt: skip

    def __init__(self, number: int, id: str, plan: Plan, graph: Graph | None = None) -> None:
        self.number, self.id, self.plan = number, id, plan
        self.graph = graph or Graph(plan)
        self.status: Status = INIT
        limits = self.graph.limits
        self.nodes = [Node(n, task, () if task.map else limits[n]) for n, task in enumerate(plan.tasks)]
        self.branches = [BranchState() for _ in self.graph.branches]
        self.begun = False  # its roots have begun
        self.replaced = ""  # id of the run that goes on in place of this one
        self.holds: set[str] = set()  # paused | budget | interrupted | adopting
        self.cancelling = False
        self.failing = -1  # the task whose failure stops the run
        self.counter = 0  # rises with each number that begins
        self.heard = 0  # offset of the last event
        self.events: deque[Heard] = deque()  # wait for a probe
        self.probing: tuple[Heard, dict[int, bool | None]] | None = None  # event, answers of its rules
        self.documents: dict[str, str] = {}  # path → hash of the latest version, empty when it is gone
        self.edits: dict[str, tuple[str, ...]] = {}  # path → versions that a person's has taken the place of
        self.pending: set[str] = set()  # paths not yet in place
        # counted, never stored:
        self.open = 0  # executions open, items and mapped tasks too
        self.at_work = 0
        self.held: set[int] = set()
        self.queued: set[int] = set()
        self.failures: set[int] = set()  # critical tasks FAILED and not handled
        self.stops: set[int] = set()  # tasks STOPPED
        self.hopeful = 0  # tasks that never began and may
        self.used: dict[str, int] = {}  # units of each limit
        self.changed = True  # a status has changed since rules were last judged
        for number in self.graph.mapped:
            self.nodes[number].mapped = Mapped()
        for node, parents in zip(self.nodes, self.graph.parents, strict=True):
            if parents:
                node.waiting = node.movers = len(parents)
        self.hopeful = len(self.nodes)

    @property
    def acting(self) -> bool:
        """Rules and needs act: the run lives and is not being ended."""
        return self.status == 2 and not self.cancelling and self.failing < 0

    def name_of(self, node: int) -> str:
        """`task`, or `task/key` of an item."""
        row = self.nodes[node]
        return row.task.name if row.parent < 0 else f"{row.task.name}/{row.key}"

    def find(self, name: int | str) -> int | None:
        """The node of a task's name or of `task/item key`; None when there is none."""
        if isinstance(name, int):
            return name if 0 <= name < len(self.nodes) else None
        node = self.graph.names.get(name)
        if node is not None:
            return node
        task, slash, key = name.partition("/")
        while slash:
            parent = self.graph.names.get(task)
            if parent is not None and (mapped := self.nodes[parent].mapped) is not None:
                return mapped.index.get(key)
            more, slash, key = key.partition("/")
            task = f"{task}/{more}"
        return None

    def add_item(self, parent: int, key: str) -> Node:
        """A new row for the item `key` of a mapped task."""
        owner = self.nodes[parent]
        assert owner.mapped is not None
        item = Node(len(self.nodes), owner.task, self.graph.limits[parent], parent, key)
        self.nodes.append(item)
        owner.mapped.index[key] = item.id
        return item

    def inputs(self, node: int) -> Combination:
        """What the latest execution of a node reads: (upstream, number, revision) of its combination.

        An item reads what its task reads, and its twin in the list it goes over.
        """
        row = self.nodes[node]
        if row.parent >= 0:
            return self.inputs(row.parent) + (row.combination or ())
        if row.combination is not None:
            return row.combination
        return tuple((parent, 1, 0) for parent, _ in self.graph.parents[node])

    def latest(self, node: int) -> Combination | None:
        """The combination of the latest numbers of a node's needs; None when it is the first of each."""
        nodes = self.nodes
        parents = self.graph.parents[node]
        for parent, _ in parents:
            row = nodes[parent]
            if row.number != 1 or row.revision:
                return tuple((p, nodes[p].number, nodes[p].revision) for p, _ in parents)
        return None

    def inputs_of(self, row: Node, combination: Combination | None) -> Combination:
        """A combination in full: what fired, and the latest numbers of the needs it does not name."""
        found = dict((one[0], one) for one in combination or ())
        if row.parent < 0:
            for parent, _ in self.graph.parents[row.id]:
                above = self.nodes[parent]
                found.setdefault(parent, (parent, above.number, above.revision))
        return tuple(found.values())

    def ready(self) -> list[Node]:
        """What would start if nothing held it, the oldest first; then the mapped tasks with a page to ask for."""
        nodes = self.nodes
        waiting = sorted((nodes[n] for n in self.queued), key=lambda row: row.began)
        mapped = (nodes[n] for n in self.graph.mapped)
        return waiting + [row for row in mapped if row.wants_page]
