"""What starts, across runs: one ready queue for each set of limits, units taken all or none.

A full resource blocks only its own queue. Inside a queue and across queues priority decides, then the run
that was served longest ago, then age. A pick for another run than the one being stepped keeps its units and
*calls* that run: the engine steps it next. Names of the plan count for each run by itself, all others for
the engine. Admission touches nothing of a run but `used`. What is withdrawn stays in its heap and is passed over
when it comes to the head: taking it out would cost a search for each.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from callboard.core.deadline import Now
from callboard.core.status import QUEUED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.core.run import Node, Run

#: Starts of one step; the rest is QUEUED, *next step*.
MOST_STARTS = 250
#: Seconds at the head of a queue after which freed units are kept for a task that needs several limits.
PATIENCE = 30.0

Limits: TypeAlias = tuple[str, ...]


class Pick(NamedTuple):
    run: int
    node: int


class Ready:
    """What one run has ready, and the picks it has not been told of."""

    __slots__ = ("came", "heaps", "kept", "offered", "run")

    def __init__(self, run: Run, came: int) -> None:
        self.run = run
        self.came = came  # in which order runs came to have something ready
        self.offered: set[int] = set()
        self.heaps: dict[Limits, list[tuple[int, int, int]]] = {}  # (priority, began, node)
        self.kept: list[int] = []

    def head(self, names: Limits) -> tuple[int, int, int] | None:
        """The first in the queue of these limits that is still offered."""
        heap = self.heaps.get(names)
        while heap:
            if heap[0][2] in self.offered:
                return heap[0]
            heappop(heap)
        return None


#: (priority, served, came, run): a run's place in a ring.
Place: TypeAlias = tuple[int, int, int, int]


class Ring:
    """The runs that wait for one set of limits of the engine. A place that is not in `places` any more is void."""

    __slots__ = ("heap", "places")

    def __init__(self) -> None:
        self.heap: list[Place] = []
        self.places: dict[int, Place] = {}

    def put(self, place: Place) -> None:
        self.places[place[3]] = place
        heappush(self.heap, place)


class Admission:
    """One for each engine. `capacity` counts the units of its named limits."""

    def __init__(self, capacity: Mapping[str, int] | None = None, served: Mapping[int, int] | None = None) -> None:
        self.capacity = dict(capacity or {})
        self.used: dict[str, int] = {}
        self.served = dict(served or {})  # run → its last turn
        self._turn = max(self.served.values(), default=0)
        self._coming = 0
        self._freed = False
        self.shut = False  # nothing starts; what is ready waits
        self._now = Now(0.0, "", 0.0)  # as the last step read it
        self._runs: dict[int, Ready] = {}
        self._rings: dict[Limits, Ring] = {}
        self._blocked: dict[tuple[int, Limits], Now] = {}  # heads that wait for several limits, since when

    # ── what is ready ───────────────────────────────────────────────────────────────────────────────────

    def offer(self, run: Run, row: Node) -> None:
        """`row` is QUEUED and may start, or has a page of its list to ask for."""
        ready = self._runs.get(run.number)
        if ready is None:
            self._coming += 1
            ready = self._runs[run.number] = Ready(run, self._coming)
        if row.id in ready.offered:
            return
        ready.offered.add(row.id)
        names, priority = row.limits, row.task.priority
        heap = ready.heaps.get(names)
        if heap is None:
            heap = ready.heaps[names] = []
        heappush(heap, (priority, row.began, row.id))
        if names and self._is_shared(run, names):
            self._join(ready, names, priority)

    def _is_shared(self, run: Run, names: Limits) -> bool:
        return any(name in self.capacity and name not in run.plan.limits for name in names)

    def _join(self, ready: Ready, names: Limits, priority: int) -> None:
        ring = self._rings.get(names)
        if ring is None:
            ring = self._rings[names] = Ring()
        place = ring.places.get(ready.run.number)
        if place is None or priority < place[0]:
            ring.put(self._place(ready, priority))

    def _place(self, ready: Ready, priority: int) -> Place:
        number = ready.run.number
        return (priority, self.served.get(number, 0), ready.came, number)

    def withdraw(self, run: Run, row: Node) -> None:
        """`row` is no longer QUEUED. Units kept for it are given back."""
        ready = self._runs.get(run.number)
        if ready is not None:
            ready.offered.discard(row.id)
            if ready.kept and row.id in ready.kept:
                ready.kept.remove(row.id)
                self._give_back(run, row)

    def forget(self, run: int) -> None:
        """A run has a hold, has ended or has left memory: nothing of it is ready, nothing is kept for it."""
        ready = self._runs.pop(run, None)
        if ready is not None:
            for node in ready.kept:
                self._give_back(ready.run, ready.run.nodes[node])
            for names in ready.heaps:
                self._blocked.pop((run, names), None)
                if names in self._rings:
                    self._rings[names].places.pop(run, None)

    def drop(self, run: Run) -> None:
        """A run leaves memory with executions at work: their units of shared limits are given back."""
        for row in run.nodes:
            if row.at_work:
                self.release(run, row.limits)
        self.forget(run.number)

    def adopt(self, run: Run) -> None:
        """A run came into memory: count the units its executions at work have, and offer what waits in it."""
        for row in run.nodes if self.capacity else ():
            if row.at_work:
                self._count(run, row.limits, 1)
        if run.acting and not run.holds:
            for row in run.ready():
                self.offer(run, row)

    def called(self) -> list[int]:
        """Runs that have a pick waiting: step them. Units freed by a run that may start nothing itself go on here."""
        if self.shut:
            return []
        if self._freed and self._rings:
            while (found := self.next(None, self._now)) is not None:
                self._runs[found.run].kept.append(found.node)
        self._freed = False
        return [number for number, ready in self._runs.items() if ready.kept]

    def kept(self, run: int) -> Sequence[int]:
        """The picks of a run that it has not been told of; their units are taken."""
        ready = self._runs.get(run)
        return () if ready is None else ready.kept

    def is_free(self, run: Run, row: Node) -> bool:
        """Whether a QUEUED `row`, not offered yet, is the next pick for certain: it waits behind nothing."""
        return not row.limits and row.status is QUEUED and self.is_idle(run)

    def is_idle(self, run: Run) -> bool:
        """Whether something may start, and nothing of this run waits to, nor anything for the engine's limits."""
        if self._rings or self.shut:
            return False
        ready = self._runs.get(run.number)
        return ready is None or not (ready.offered or ready.kept)

    def is_offered(self, run: int, node: int) -> bool:
        """Whether it stands in a ready queue, or was picked while another run was stepped."""
        ready = self._runs.get(run)
        return ready is not None and (node in ready.offered or node in ready.kept)

    # ── units ───────────────────────────────────────────────────────────────────────────────────────────

    def blocking(self, run: Run, names: Limits) -> str | None:
        """The first limit that has no unit free."""
        for name in names:
            if name in run.plan.limits:
                if run.used.get(name, 0) >= run.plan.limits[name]:
                    return name
            elif name in self.capacity and self.used.get(name, 0) >= self.capacity[name]:
                return name
        return None

    def take(self, run: Run, names: Limits) -> None:
        for name in names:
            if name in run.plan.limits:
                run.used[name] = run.used.get(name, 0) + 1
        self._count(run, names, 1)

    def release(self, run: Run, names: Limits) -> None:
        """Units of the engine's limits are free again."""
        self._count(run, names, -1)
        self._freed = True

    def _count(self, run: Run, names: Limits, units: int) -> None:
        for name in names:
            if name in self.capacity and name not in run.plan.limits:
                self.used[name] = self.used.get(name, 0) + units

    def _give_back(self, run: Run, row: Node) -> None:
        self.release(run, row.limits)
        for name in row.limits:
            if name in run.plan.limits:
                run.used[name] -= 1

    # ── picking ─────────────────────────────────────────────────────────────────────────────────────────

    def pick(self, run: Run, now: Now, most: int = MOST_STARTS) -> list[int]:
        """The nodes of `run` that start now, at most `most`, in order; their units are taken."""
        ready = self._runs.get(run.number)
        self._now = now
        if ready is None or self.shut or not (ready.offered or ready.kept or self._rings):
            return []
        picked, ready.kept = ready.kept, []
        if len(ready.heaps) == 1 and () in ready.heaps and not self._rings:
            return self._pick_freely(ready, picked, most)
        while len(picked) < most:
            found = self.next(run, now)
            if found is None:
                break
            if found.run == run.number:
                picked.append(found.node)
            else:
                self._runs[found.run].kept.append(found.node)
        return picked

    @staticmethod
    def _pick_freely(ready: Ready, picked: list[int], most: int) -> list[int]:
        """Nothing that is ready needs a unit."""
        heap, offered = ready.heaps[()], ready.offered
        while heap and len(picked) < most:
            node = heappop(heap)[2]
            if node in offered:
                offered.discard(node)
                picked.append(node)
        return picked

    def next(self, run: Run | None, now: Now) -> Pick | None:
        """Take the units for the next start, of `run` or of a run that waits for the engine's limits."""
        best: tuple[bool, int, int, int, int, int, Limits] | None = None
        kept: set[str] = set()  # units that freed up are kept for a head that has waited long for several
        free = []
        for number, names, head in self._heads(run):
            if self.blocking(self._runs[number].run, names) is None:
                free.append((number, names, head))
            elif self._is_patient(number, names, now):
                kept.update(names)
        for number, names, (priority, began, _) in free:
            if kept.isdisjoint(names):
                hasty = (number, names) not in self._blocked or not self._is_patient(number, names, now)
                one = (hasty, *self._place(self._runs[number], priority), began, names)
                if best is None or one < best:
                    best = one
        return self._serve(best[4], best[6]) if best is not None else None

    def _heads(self, run: Run | None) -> list[tuple[int, Limits, tuple[int, int, int]]]:
        """(run, limits, head) of each queue that `run` may be served from."""
        heads: list[tuple[int, Limits, tuple[int, int, int]]] = []
        if run is not None:
            ready = self._runs[run.number]
            for names in ready.heaps:
                if names not in self._rings or not self._is_shared(run, names):
                    head = ready.head(names)
                    if head is not None:
                        heads.append((run.number, names, head))
        for names, ring in list(self._rings.items()):
            number = self._turn_in(ring, names)
            head = None if number is None else self._runs[number].head(names)
            if number is None or head is None:
                del self._rings[names]
            else:
                heads.append((number, names, head))
        return heads

    def _turn_in(self, ring: Ring, names: Limits) -> int | None:
        """The run whose turn it is. Places that are no longer true are put right on the way."""
        while ring.heap:
            place = ring.heap[0]
            number = place[3]
            if ring.places.get(number) is not place:
                heappop(ring.heap)
                continue
            head = self._runs[number].head(names)
            if head is not None and self._place(self._runs[number], head[0]) == place:
                return number
            heappop(ring.heap)
            if head is None:
                del ring.places[number]
            else:
                ring.put(self._place(self._runs[number], head[0]))
        return None

    def _is_patient(self, number: int, names: Limits, now: Now) -> bool:
        """Whether this head has waited long for several limits. The first time it is found blocked it begins to."""
        if len(names) < 2:
            return False
        since = self._blocked.setdefault((number, names), now)
        return since.boot == now.boot and now.elapsed - since.elapsed >= PATIENCE

    def _serve(self, number: int, names: Limits) -> Pick:
        ready = self._runs[number]
        node = heappop(ready.heaps[names])[2]
        ready.offered.discard(node)
        self._blocked.pop((number, names), None)
        self.take(ready.run, names)
        self._turn += 1
        self.served[number] = self._turn
        return Pick(number, node)
