"""What starts, across runs: one ready queue for each set of limits, units taken all or none.

A full resource blocks only its own queue. Inside a queue and across queues priority decides, then the run
that was served longest ago, then age. A pick for another run than the one being stepped keeps its units and
*calls* that run: the engine steps it next. Names of the plan count for each run by itself, all others for
the engine. Admission touches nothing of a run but `used`.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from callboard.core.status import QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from callboard.core.deadline import Now
    from callboard.core.run import Node, Run

#: Starts of one step; the rest is QUEUED, *next step*.
MOST_STARTS = 250
#: Seconds at the head of a queue after which freed units are kept for a task that needs several limits.
PATIENCE = 30.0


class Pick(NamedTuple):
    run: int
    node: int


class Queue:
    """The ready executions that need one set of limits."""

    __slots__ = ("blocked_since", "mine", "names", "rings", "run")

    def __init__(self, names: tuple[str, ...], run: int | None) -> None:
        self.names = names
        self.run = run  # whose own queue this is; None: shared by all runs
        self.rings: dict[int, list[tuple[int, int, int]]] = {}  # priority → (served, created, run)
        self.mine: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (priority, run) → (began, node)
        self.blocked_since: Now | None = None


class Admission:
    """One for each engine. `capacity` counts the units of its named limits."""

    def __init__(self, capacity: Mapping[str, int] | None = None, served: Mapping[int, int] | None = None) -> None:
        self.capacity = dict(capacity or {})
        self.used: dict[str, int] = {}
        self.served = dict(served or {})
        self._turn = max(self.served.values(), default=0)
        self._seq = 0
        self._shared: dict[tuple[str, ...], Queue] = {}
        self._own: dict[int, dict[tuple[str, ...], Queue]] = {}
        self._runs: dict[int, Run] = {}
        self._offered: set[Pick] = set()
        self._kept: dict[int, list[int]] = {}  # picks for runs that are not being stepped

    # ── what is ready ───────────────────────────────────────────────────────────────────────────────────

    def offer(self, run: Run, row: Node) -> None:
        """`row` is QUEUED and may start."""
        pick = Pick(run.number, row.id)
        if pick in self._offered:
            return
        self._offered.add(pick)
        self._runs[run.number] = run
        names = run.limits_of(row)
        shared = any(name in self.capacity and name not in run.plan.limits for name in names)
        queues = self._shared if shared else self._own.setdefault(run.number, {})
        queue = queues.get(names)
        if queue is None:
            queue = queues[names] = Queue(names, None if shared else run.number)
        priority = row.task.priority
        mine = queue.mine.get((priority, run.number))
        if mine is None:
            mine = queue.mine[priority, run.number] = []
        if not mine:
            self._seq += 1
            ring = queue.rings.setdefault(priority, [])
            heappush(ring, (self.served.get(run.number, 0), self._seq, run.number))
        heappush(mine, (row.began, row.id))

    def withdraw(self, run: Run, row: Node) -> None:
        """`row` is no longer QUEUED. Units kept for it are given back."""
        self._offered.discard(Pick(run.number, row.id))
        kept = self._kept.get(run.number)
        if kept and row.id in kept:
            kept.remove(row.id)
            self._give_back(run, row)

    def forget(self, run: int) -> None:
        """A run has a hold, has ended or has left memory: nothing of it is ready, nothing is kept for it."""
        known = self._runs.pop(run, None)
        for node in self._kept.pop(run, ()):
            if known is not None:
                self._give_back(known, known.nodes[node])
        self._own.pop(run, None)
        for queue in self._shared.values():
            for priority, owner in list(queue.mine):
                if owner == run:
                    del queue.mine[priority, owner]
        self._offered = {pick for pick in self._offered if pick.run != run}

    def drop(self, run: Run) -> None:
        """A run leaves memory with executions at work: their units of shared limits are given back."""
        for row in run.nodes:
            if row.at_work:
                self.release(run, run.limits_of(row))
        self.forget(run.number)

    def adopt(self, run: Run) -> None:
        """A run came into memory with executions at work: count their units of shared limits."""
        for row in run.nodes:
            if row.at_work:
                for name in run.limits_of(row):
                    if name in self.capacity and name not in run.plan.limits:
                        self.used[name] = self.used.get(name, 0) + 1
        for node in sorted(run.queued, key=lambda n: run.nodes[n].began):
            if not run.holds:
                self.offer(run, run.nodes[node])

    def called(self) -> list[int]:
        """Runs that have a pick waiting: step them."""
        return [run for run, kept in self._kept.items() if kept]

    # ── units ───────────────────────────────────────────────────────────────────────────────────────────

    def blocking(self, run: Run, names: Iterable[str]) -> str | None:
        """The first limit that has no unit free."""
        for name in names:
            if name in run.plan.limits:
                if run.used.get(name, 0) >= run.plan.limits[name]:
                    return name
            elif name in self.capacity and self.used.get(name, 0) >= self.capacity[name]:
                return name
        return None

    def release(self, run: Run, names: Iterable[str]) -> None:
        for name in names:
            if name in self.capacity and name not in run.plan.limits:
                self.used[name] = self.used.get(name, 0) - 1

    def _take(self, run: Run, names: Iterable[str]) -> None:
        for name in names:
            if name in run.plan.limits:
                run.used[name] = run.used.get(name, 0) + 1
            elif name in self.capacity:
                self.used[name] = self.used.get(name, 0) + 1

    def _give_back(self, run: Run, row: Node) -> None:
        names = run.limits_of(row)
        self.release(run, names)
        for name in names:
            if name in run.plan.limits:
                run.used[name] -= 1

    # ── picking ─────────────────────────────────────────────────────────────────────────────────────────

    def pick(self, run: Run, now: Now, most: int = MOST_STARTS) -> list[int]:
        """The nodes of `run` that start now, at most `most`, in order; their units are taken."""
        picked = self._kept.pop(run.number, [])
        while len(picked) < most:
            best = self._best(run, now)
            if best is None:
                break
            queue, priority, number = best
            node = heappop(queue.mine[priority, number])[1]
            self._offered.discard(Pick(number, node))
            owner = self._runs[number]
            self._take(owner, queue.names)
            self._turn += 1
            self.served[number] = self._turn
            self._head(queue, priority)  # sends the run that was served to the back of its ring
            (picked if number == run.number else self._kept.setdefault(number, [])).append(node)
        return picked

    def _best(self, run: Run, now: Now) -> tuple[Queue, int, int] | None:
        """The queue to serve, with the priority and the run of its head."""
        ready: list[tuple[bool, int, int, int, int, Queue]] = []
        kept: set[str] = set()  # units that freed up are kept for a head that has waited long for several
        for queue in (*self._own.get(run.number, {}).values(), *self._shared.values()):
            head = self._first(queue)
            if head is None:
                queue.blocked_since = None
                continue
            if self.blocking(self._runs[head[3]], queue.names) is None:
                ready.append((not self._is_patient(queue, now), *head, queue))
            elif queue.blocked_since is None:
                queue.blocked_since = now
            elif self._is_patient(queue, now):
                kept.update(queue.names)
        if kept:
            ready = [one for one in ready if kept.isdisjoint(one[5].names)]
        if not ready:
            return None
        _, priority, _, _, number, queue = ready[0] if len(ready) == 1 else min(ready, key=lambda one: one[:5])
        queue.blocked_since = None
        return queue, priority, number

    def _is_patient(self, queue: Queue, now: Now) -> bool:
        since = queue.blocked_since
        return (
            since is not None
            and len(queue.names) > 1
            and since.boot == now.boot
            and now.elapsed - since.elapsed >= PATIENCE
        )

    def _first(self, queue: Queue) -> tuple[int, int, int, int] | None:
        """(priority, served, created, run) of the head of a queue; None when it is empty."""
        for priority in sorted(queue.rings):
            head = self._head(queue, priority)
            if head is not None:
                return (priority, *head)
        return None

    def _head(self, queue: Queue, priority: int) -> tuple[int, int, int] | None:
        ring = queue.rings.get(priority, [])
        while ring:
            served, created, number = ring[0]
            mine = queue.mine.get((priority, number))
            while mine and not self._is_ready(number, mine[0][1]):
                heappop(mine)
            if not mine:
                heappop(ring)
                queue.mine.pop((priority, number), None)
                continue
            if self.served.get(number, 0) != served and queue.run is None:
                heappop(ring)
                heappush(ring, (self.served[number], created, number))
                continue
            return ring[0]
        return None

    def _is_ready(self, number: int, node: int) -> bool:
        run = self._runs.get(number)
        return run is not None and Pick(number, node) in self._offered and run.nodes[node].status is QUEUED

    def __iter__(self) -> Iterator[Pick]:
        return iter(sorted(self._offered))
