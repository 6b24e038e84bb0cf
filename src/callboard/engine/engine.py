"""The engine: one asyncio loop that takes runs up, steps them, records what they decided and carries it out.

Facts gather at each run; a turn steps every run that has any once and commits all of it in one transaction
(`turns.py`). Orders are carried out, answers given and watchers told only after that: *commit, then act*
(`settling.py`). What is at work is `dispatch.py`, what came from others `mail.py`, which runs are ours `taking.py`.

Everything here runs on the loop; only `look` may be called from other threads. Stores and backends come in
through the constructor.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from callboard.core.admission import Admission
from callboard.core.facts import Interrupted, Notice
from callboard.core.status import ENDED, INIT, RUNNING, Status
from callboard.engine.committer import Committer
from callboard.engine.dispatch import Dispatcher
from callboard.engine.doorbell import Doorbell
from callboard.engine.inputs import Inputs
from callboard.engine.mail import Mailroom
from callboard.engine.owner import LEASE, Keeper, alive, retire
from callboard.engine.publisher import Publisher
from callboard.engine.room import Room
from callboard.engine.settling import Settling
from callboard.engine.taking import Parts, Taking
from callboard.engine.telling import Telling
from callboard.engine.tending import Tending
from callboard.engine.texts import Texts
from callboard.engine.threads import Threads
from callboard.engine.timers import Timers
from callboard.engine.turns import Turns
from callboard.engine.versions import Versions
from callboard.errors import FenceLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from callboard.core.facts import Fact, Judged
    from callboard.core.orders import Evaluate
    from callboard.core.plan import Task
    from callboard.engine.held import Held
    from callboard.engine.publisher import Put
    from callboard.engine.recovery import Clear
    from callboard.engine.versions import See
    from callboard.ports import Backend, Call, Clock, Json, Owner, Reserve, RunRow, Store, Watcher

#: Log lines of one run that wait for a transaction; more are dropped.
MOST_LOGS = 1000


class Engine:
    """Carries out runs. One for each process and project, or as many as you like: fences keep them apart.

    `capacity` counts units of limits shared by all runs; `put_document(run, path, hash, replaces)` puts a document
    in place and `see_document(run, path, known)` looks at what lies there (both in a thread); `folder` is where the
    doorbell hangs; with `serve` it takes up every run that waits and has no living owner, else only what is submitted;
    `begun(row)` tells what a run began with, and raises CallboardError when it cannot be carried out here; `inside`
    says of a task that it runs in this very process; `report(state, why)` hears "running", "paused", "waiting", "set
    aside", "lost" of a run that another engine has taken, and "not here" of one whose executors are not there;
    `reserve` is room on the disk to be given up when there is none left; `clear` ends (in a thread) what dead engines
    of the project have left behind. `threads` and `alive` (whether an owner of this host lives) are the world's own,
    except in a simulation.
    """

    def __init__(
        self,
        store: Store,
        backend: Backend,
        clock: Clock,
        owner: Owner,
        *,
        capacity: Mapping[str, int] | None = None,
        put_document: Put | None = None,
        see_document: See | None = None,
        folder: Path | str | None = None,
        serve: bool = False,
        project: str = "",
        begun: Callable[[RunRow], Mapping[str, Json]] | None = None,
        lease: float = LEASE,
        inside: Callable[[Task], bool] = lambda task: False,
        probe: Callable[[int, Evaluate], Awaitable[Judged]] | None = None,
        report: Callable[[str, str], None] = lambda state, why: None,
        reserve: Reserve | None = None,
        clear: Clear | None = None,
        threads: Threads | None = None,
        alive: Callable[[Owner], bool | None] = alive,
    ) -> None:
        self._parts = parts = Parts()
        parts.store, parts.backend, parts.clock, parts.owner = store, backend, clock, owner
        parts.lease, parts.inside, parts.tell = lease, inside, Telling(report)
        parts.alive, parts.begun = alive, begun
        parts.clear, self._clear = clear or (lambda had: None), clear
        self._threads = threads or Threads()
        parts.runs = {}
        self.runs: Mapping[int, Held] = parts.runs
        self._capacity, self._folder = dict(capacity or {}), folder
        self._put_document, self._see_document = put_document, see_document
        self._serve, self._project, self._probe, self._reserve = serve, project, probe, reserve
        self.owner = owner
        self._watchers: list[Watcher] = []

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Begin on the running loop."""
        parts = self._parts
        self._loop = asyncio.get_running_loop()
        self._texts = Texts()
        parts.admission = Admission(self._capacity)
        parts.timers = Timers(parts.clock, parts.tell)
        parts.committer = Committer(parts.store, self._threads)
        parts.room = Room(self._reserve, parts.admission, parts.timers, parts.tell, self._go_on)
        self._taking = Taking(parts)
        settling = Settling(parts, self._taking, self._texts, self._watchers, self._probe)
        parts.evaluate, parts.moved = settling.evaluate, settling.moved
        parts.turns = Turns(
            settling, parts.runs, parts.committer, parts.admission, parts.timers, parts.clock, parts.room
        )
        versions = Versions(parts.store, self._see_document) if self._see_document is not None else None
        inputs = Inputs(parts.store, self._texts, self._project, versions)
        parts.dispatcher = Dispatcher(parts.backend, inputs, parts.timers, self._post, self._publish_events)
        parts.publisher = Publisher(
            self._put_document, self._post, parts.dispatcher.sleep, parts.tell, parts.room.misplaced
        )
        parts.keeper = Keeper(
            parts.store, parts.clock, self._threads, lost=self._lost_elsewhere, fault=self._fault, lease=parts.lease
        )
        self._mail = Mailroom(parts, self._taking, serve=self._serve)
        parts.read_mail, parts.look = self._mail.read, self._mail.look
        parts.keeper.start()
        self._tending = Tending(parts.store, parts.clock, self._threads, self._fault, self._folder, self._clear)
        self._tending.start()
        parts.room.begin()
        self._bell = Doorbell(self._folder, f"{parts.owner.pid}-{parts.owner.token}") if self._folder else None
        if self._bell is not None:
            with contextlib.suppress(OSError):  # looking every 250 ms remains
                self._bell.hang(self._loop, self._mail.look)
        self._taking.spawn(self._mail.watch())

    async def stop(self, *, interrupt: bool = True) -> None:
        """Halt in good order: what is at work is cancelled and recorded as halted, all runs are released.

        With `interrupt` the runs are held, *interrupted*, until someone resumes them; without, the next engine that
        finds them goes on.
        """
        parts = self._parts
        calm = not interrupt or not parts.runs
        self._taking.closing = self._mail.closed = parts.turns.closing = parts.publisher.closing = True
        for held in list(parts.runs.values()) if interrupt else ():
            if held.run is not None and held.run.status in (INIT, RUNNING):
                self._post(held, Interrupted())
        await parts.turns.flushed()
        for held in list(parts.runs.values()):
            parts.dispatcher.end_all(held, "halt")
        await parts.dispatcher.idle()
        await parts.turns.flushed()
        if not parts.turns.resting:
            await parts.publisher.idle()
            await parts.turns.flushed()
        await self._taking.release_all()
        await self._close(tend=calm)

    async def let_go(self, run: int, *, interrupt: bool = True) -> bool:
        """Halt one run in good order and release it, as `stop` does with all; the others go on meanwhile.

        Without `interrupt` a run is released as it is, unless something of it is at work. Whether it is gone.
        """
        held, parts = self.runs.get(run), self._parts
        if held is None:
            return True
        if interrupt:
            if held.run is None or held.run.status in (INIT, RUNNING):
                self._post(held, Interrupted())
            await parts.turns.written(held)
            parts.dispatcher.end_all(held, "halt")
            await parts.dispatcher.idle(held)
        await parts.turns.written(held)
        if not parts.turns.resting:
            await parts.publisher.idle(run)
            await parts.turns.written(held)
        if self.runs.get(run) is not held:
            return run not in self.runs
        if held.works or held.lists:
            return False
        await self._taking.let_go(held)
        return True

    @property
    def stopped(self) -> bool:
        return self._taking.closing

    async def _close(self, *, tend: bool = False) -> None:
        parts = self._parts
        parts.publisher.close()
        await self._taking.close()
        parts.timers.close()
        if self._bell is not None:
            self._bell.take_down()
        await asyncio.to_thread(parts.keeper.stop)
        await asyncio.to_thread(lambda: self._tending.stop(once_more=tend))
        await asyncio.to_thread(parts.committer.close)
        retire(parts.owner)

    # ── what others ask ─────────────────────────────────────────────────────────────────────────────────

    async def submit(self, *runs: int | RunRow) -> tuple[int, ...]:
        """Claim runs and carry them out; those that are this engine's now. Raises StoreError, NotFound.

        A `RunRow` of a run just created for `owner` spares a claim and a look at rows it cannot have yet.
        """
        numbers = [run if isinstance(run, int) else run.number for run in runs]
        self._taking.wanted.update(number for number in numbers if number not in self.runs)
        await self._taking.take_up(runs)
        return tuple(number for number in numbers if number in self.runs)

    async def post(self, run: int, *facts: Fact) -> None:
        """Facts of a person, for a run that this engine has; returns when they are on disk.

        Raises Refused with the reason when one cannot be carried out, FenceLost when the run is not ours (any more).
        """
        held = self.runs.get(run)
        if held is None:
            raise FenceLost((run,))
        waiting = [(fact, self._loop.create_future()) for fact in facts]
        held.answers += waiting
        held.facts += facts
        self._parts.turns.ready(held)
        for _, future in waiting:
            await future

    async def ended(self, run: int) -> Status:
        """How a run ended, whoever carried it out.

        Raises NotFound, StoreError when it had to be set aside, RunInterrupted when this engine stops first.
        """
        if run not in self.runs:
            known = self._taking.ended_here(run)
            if known is not None:
                return known
            row = await self._parts.committer.aside(self._parts.store.find_run, run)
            if Status(row.status) in ENDED and run not in self.runs:
                return Status(row.status)
        return await self._taking.end_of(run)

    @property
    def refused(self) -> Mapping[int, str]:
        """Runs that this engine does not carry out, and why."""
        return self._taking.refused

    @property
    def lost(self) -> Collection[int]:
        """Runs that another engine has taken from this one."""
        return self._taking.lost

    def is_sure(self, run: int) -> bool:
        """Whether a run is ours beyond doubt, and not by a lease that may be over because this process stood still."""
        return run in self.runs and self._parts.keeper.is_sure(run)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Be told what moved, after it is on disk; the returned function ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    async def paid(self, calls: Sequence[Call]) -> None:
        """Record ledger rows now, whatever becomes of their attempt; returns when they are on disk.

        Raises FenceLost when their run is not ours (any more).
        """
        waiting: list[asyncio.Future[None]] = []
        for call in calls:
            held = self.runs.get(call.run)
            if held is None:
                raise FenceLost((call.run,))
            held.calls.append(call)
            held.paid.append(self._loop.create_future())
            waiting.append(held.paid[-1])
            self._parts.turns.ready(held)
        for future in waiting:
            await future

    def note_paid(self, call: Call) -> None:
        """A ledger row for the next transaction of its run, whatever becomes of its attempt; nobody waits for it."""
        held = self.runs.get(call.run)
        if held is not None:
            held.calls.append(call)
            self._parts.turns.ready(held)

    def note(self, run: int, node: int, number: int, text: str, level: str = "info") -> None:
        """A line for a task's log, at most four a second; it rides in the next transaction."""
        held = self.runs.get(run)
        if held is None or len(held.logs) >= MOST_LOGS:
            return
        now = self._parts.clock.now()
        at = held.works.get(node)
        if at is None or at.may_say(now.elapsed):
            held.logs.append((node, number, now.wall, level, text))

    def look(self) -> None:
        """Someone has written to an inbox. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._mail.look)

    # ── what its parts ask ──────────────────────────────────────────────────────────────────────────────

    async def _publish_events(self, held: Held, events: Sequence[tuple[str, Json]], sender: str) -> tuple[Notice, ...]:
        """Events of an attempt go into the log before its outcome does."""
        parts = self._parts
        rows = [(key, "", value, f"{held.id}/{sender}", None) for key, value in events]
        offsets = await parts.committer.aside(parts.store.publish, rows, parts.clock.now().wall)
        return tuple(Notice(key, offset, value) for (key, value), offset in zip(events, offsets, strict=True))

    def _post(self, held: Held, fact: Fact, size: int = 0, last: bool = False) -> None:
        held.facts.append(fact)
        held.size += size
        if held.ready:
            return
        if last:
            self._parts.turns.at_once(held)
        else:
            self._parts.turns.ready(held)

    def _go_on(self) -> None:
        """There is room again."""
        self._parts.turns.wake()
        self._mail.look()

    def _fault(self, what: str, error: Exception) -> None:
        """Something beside the loop has failed, in a thread of its own."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._parts.tell.fault, what, error)

    def _lost_elsewhere(self, runs: Sequence[int]) -> None:
        """The keeper's thread has found leases that are not ours."""
        self._loop.call_soon_threadsafe(self._lose_all, runs)

    def _lose_all(self, runs: Sequence[int]) -> None:
        for run in runs:
            if run in self.runs:
                self._taking.lose(self.runs[run])
