"""Turns: every run that has facts is stepped once, all of it is committed, then it counts.

At most one commit is in flight; what gathers meanwhile is the next batch. A batch that lost a fence is retried
run by run. When the disk takes nothing, nothing is begun: the loop rests, a little longer each time, and goes
on by itself (`room.py`). A run whose commit or step failed leaves memory and is loaded again with its facts put back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from callboard.core.admission import MOST_STARTS
from callboard.crash import point
from callboard.engine import batch as batches
from callboard.engine.room import LOOKS
from callboard.errors import FenceLost, StoreError

if TYPE_CHECKING:
    from callboard.core.admission import Admission
    from callboard.engine.batch import Stepped
    from callboard.engine.committer import Committer
    from callboard.engine.held import Held
    from callboard.engine.room import Room
    from callboard.engine.timers import Timers
    from callboard.ports import Clock

#: Seconds between two tries of a store that could not be written.
RESTS = (0.05, 0.25, 1.0, 2.0, 5.0)
#: Failures in a row, of its own making, after which a run is set aside.
MOST_FAILURES = 3


class Hands(Protocol):
    """What the turns ask of their engine."""

    def settle(self, stepped: Stepped, elapsed: float) -> None: ...

    def dropped(self) -> None:
        """Something that was in memory did not reach the disk."""
        ...

    def reload(self, held: Held) -> None: ...

    def lose(self, held: Held, stepped: Stepped | None = None) -> None: ...

    def set_aside(self, held: Held, why: str) -> None: ...

    def tell(self, state: str, why: str) -> None: ...


class Turns:
    """The queue of runs with something to step, and what becomes of each batch."""

    def __init__(
        self,
        hands: Hands,
        runs: dict[int, Held],
        committer: Committer,
        admission: Admission,
        timers: Timers,
        clock: Clock,
        room: Room,
    ) -> None:
        self._hands, self._runs, self._committer = hands, runs, committer
        self._admission, self._timers, self._clock, self._room = admission, timers, clock, room
        self._loop = asyncio.get_running_loop()
        self._queue: list[Held] = []
        self._alone: list[Stepped] = []  # a batch that lost a fence, retried run by run
        self._flying: list[Stepped] = []  # the batch that is being committed
        self._careful = False  # one run a batch: one of them fails, nobody knows which
        self._turning = False
        self._rests = 0  # tries of the store in a row that failed
        self._flushes: list[asyncio.Future[None]] = []
        self.commits = 0
        self.resting = False
        self.closing = False  # nothing starts any more

    def ready(self, held: Held) -> None:
        """Step this run in the next turn, once it is in memory."""
        if not held.ready and held.run is not None and not held.lost:
            held.ready = True
            self._queue.append(held)
            if not self._turning:
                self._turning = True
                self._loop.call_soon(self._turn)

    def at_once(self, held: Held) -> None:
        """As `ready`, without another round of the loop: for when nothing else can come in this one.

        A link of a chain is a third of a sync, and each round hands over the interpreter lock once more.
        """
        if self._turning or self._queue or self._committer.flying or self.resting:
            self.ready(held)
        elif held.run is not None and not held.lost:
            held.ready = True
            self._queue.append(held)
            self._turn()

    async def flushed(self) -> None:
        """Wait until every fact that is here is on disk (or the disk takes none)."""
        while (self._queue or self._alone or self._committer.flying) and not self.resting:
            self._flushes.append(self._loop.create_future())
            self._schedule()
            await self._flushes[-1]

    async def written(self, held: Held) -> None:
        """As `flushed`, for the facts of one run: others may go on as long as they like."""
        while held.run is not None and not (held.lost or self.resting) and (held.ready or self._commits(held)):
            self._flushes.append(self._loop.create_future())
            self._schedule()
            await self._flushes[-1]

    def _commits(self, held: Held) -> bool:
        return any(one.held is held for one in (*self._flying, *self._alone))

    def _schedule(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        if self._committer.flying or self.resting:
            return
        batch = [self._alone.pop(0)] if self._alone else self._form()
        if batch:
            self._flying = batch
            self._committer.commit([one.write for one in batch], lambda error: self._committed(batch, error))
        else:
            self._next()

    def _next(self) -> None:
        if self._queue or self._alone:
            self._schedule()
        if self._flushes:
            flushes, self._flushes = self._flushes, []
            for future in flushes:
                if not future.done():
                    future.set_result(None)

    def _form(self) -> list[Stepped]:
        """Step every run that has something once, up to the size of a batch."""
        now = self._clock.now()
        queue, self._queue = self._queue, []
        admission = None if self.closing else self._admission
        batch: list[Stepped] = []
        size = 0
        for place, held in enumerate(queue):
            if size > batches.MOST_BYTES or (self._careful and batch):
                self._queue = queue[place:] + self._queue
                break
            held.ready = False
            if held.run is None or held.lost:
                continue
            try:
                stepped = batches.step(held, now, admission)
            except Exception as error:  # the machine itself failed, and its run may be half changed
                self._cannot_go_on(held, error)
                continue
            if held.facts or stepped.starts >= MOST_STARTS:
                self.ready(held)
            if batches.is_empty(stepped.write):
                self._settle(stepped, now.elapsed)
            else:
                batch.append(stepped)
                size += stepped.size
        for run in self._admission.called():
            if run in self._runs:
                self.ready(self._runs[run])
        return batch

    def _committed(self, batch: list[Stepped], error: BaseException | None) -> None:
        self._flying = []
        if error is None:
            self._careful = False
            self.commits += 1
            self._room.written()
            if self._rests:
                self._rests = 0
                if not self._room.short:
                    self._hands.tell("running", "")
            elapsed = self._clock.now().elapsed
            point("orders.leave")
            for stepped in batch:
                self._settle(stepped, elapsed)
        elif isinstance(error, FenceLost):
            self._lost_fences(batch, error)
        else:
            self._failed(batch, error)
        self._next()

    def _settle(self, stepped: Stepped, elapsed: float) -> None:
        """What of one run cannot be carried out is read again from what is on disk; the others of its batch go on."""
        held = stepped.held
        try:
            self._hands.settle(stepped, elapsed)
        except Exception as error:
            if self._runs.get(held.number) is held:
                self._cannot_go_on(held, error)

    def _lost_fences(self, batch: list[Stepped], error: FenceLost) -> None:
        """Runs that another engine owns now are gone; the others are committed one by one."""
        lost = set(error.runs)
        for stepped in batch:
            if stepped.held.number in lost or len(batch) == 1:
                self._hands.lose(stepped.held, stepped)
            else:
                self._alone.append(stepped)

    def _failed(self, batch: list[Stepped], error: BaseException) -> None:
        """Nothing was written, or nobody can say: back to what the store says."""
        for stepped in batch:
            batches.put_back(stepped)
            self.drop(stepped.held)
        self._hands.dropped()
        if isinstance(error, StoreError):
            self.resting = True
            if self._room.failed(error):
                self._timers.at(self._clock.now().elapsed, self._rested)
            else:
                if not self._room.short:
                    self._hands.tell("paused", str(error))
                self._rest()
            return
        self._careful = True
        for stepped in batch:
            self._blame(stepped.held, error, alone=len(batch) == 1)

    def _rest(self) -> None:
        rest = RESTS[min(self._rests, len(RESTS) - 1)]
        if self._room.short:
            rest = min(rest, LOOKS[0])  # to look for room costs next to nothing
        self._rests += 1
        self._timers.at(self._clock.now().elapsed + rest, self._rested)

    def _rested(self) -> None:
        try:
            lacks = self._room.short and self._room.lacking()
        except Exception:
            self._rest()  # or it would rest for ever
            raise
        if lacks:
            return self._rest()  # nothing can be written: to read the runs again would only cost time
        self.resting = False
        for held in list(self._runs.values()):
            if held.run is None:
                self._hands.reload(held)
        return self._schedule()

    def wake(self) -> None:
        """Step every run: what was ready all the time may start now."""
        for held in self._runs.values():
            self.ready(held)

    def drop(self, held: Held) -> None:
        """Out of memory; its works go on and its facts gather."""
        if held.run is not None:
            self._admission.drop(held.run)
        held.run, held.ready = None, False

    def _cannot_go_on(self, held: Held, error: Exception) -> None:
        """An error of our own in the middle of a run: it is read again, a few times."""
        self.drop(held)
        held.mail, held.read, held.drained = [], 0, True
        self._blame(held, error, alone=True)

    def _blame(self, held: Held, error: BaseException, *, alone: bool) -> None:
        held.failures += alone
        if held.failures < MOST_FAILURES:
            self._hands.reload(held)
        else:
            self._hands.set_aside(held, f"{type(error).__name__}: {error}")
