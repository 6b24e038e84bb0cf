"""Having runs: claimed, loaded, loaded again, let go, lost, set aside.

An error stays with the run it belongs to; the others go on. Ended runs are released when there is time, many
at once, because nobody waits for it and each release would cost a sync of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from callboard.core.facts import Ticked, Woke
from callboard.core.orders import Finish, Wake
from callboard.core.status import ENDED, INIT, Status
from callboard.engine import recovery
from callboard.engine.answers import answer, dismiss
from callboard.engine.held import Held
from callboard.engine.telling import said
from callboard.engine.turns import RESTS
from callboard.errors import CallboardError, FenceLost, NotFound, RunInterrupted, StoreDamaged, StoreError
from callboard.ports import RunRows

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from callboard.core.admission import Admission
    from callboard.core.facts import Fact
    from callboard.core.orders import Evaluate, Order, Tick
    from callboard.core.plan import Task
    from callboard.core.run import Run
    from callboard.engine.batch import Stepped
    from callboard.engine.committer import Committer
    from callboard.engine.dispatch import Dispatcher
    from callboard.engine.owner import Keeper
    from callboard.engine.publisher import Publisher
    from callboard.engine.room import Room
    from callboard.engine.telling import Telling
    from callboard.engine.timers import Timers
    from callboard.engine.turns import Turns
    from callboard.ports import Backend, Clock, Json, Letter, Owner, RunRow, Store

#: Seconds after its end that a run is released.
LINGER = 1.0


class Parts:
    """The parts of one engine, made when it starts; `taking` and `engine` share them."""

    __slots__ = (
        "admission", "alive", "backend", "begun", "clear", "clock", "committer", "dispatcher", "evaluate", "inside",
        "keeper", "lease", "look", "moved", "owner", "publisher", "read_mail", "room", "runs", "store", "tell",
        "timers", "turns",
    )  # fmt: skip

    admission: Admission
    alive: Callable[[Owner], bool | None]
    backend: Backend
    begun: Callable[[RunRow], Mapping[str, Json]] | None
    clear: recovery.Clear
    clock: Clock
    committer: Committer
    dispatcher: Dispatcher
    evaluate: Callable[[Held, Evaluate], None]
    inside: Callable[[Task], bool]
    keeper: Keeper
    lease: float
    look: Callable[[], None]
    moved: Callable[[int, Sequence[Fact], Sequence[Order]], None]
    owner: Owner
    publisher: Publisher
    read_mail: Callable[[Held, Sequence[Letter]], None]
    room: Room
    runs: dict[int, Held]
    store: Store
    tell: Telling
    timers: Timers
    turns: Turns


class Taking:
    """Keeps `parts.runs`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.refused: dict[int, str] = {}  # runs this engine does not carry out, and why
        self.wanted: set[int] = set()  # submitted while another engine had them
        self.lost: set[int] = set()  # runs that were ours and are another engine's now
        self._ends: dict[int, list[asyncio.Future[Status]]] = {}
        self._leaving: dict[int, tuple[int, Status | None]] = {}  # runs to be released → fence, how they ended
        self._shapes = recovery.Shapes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turnstile = asyncio.Lock()  # a run is taken and let go by one at a time: rows read are soon old
        self.closing = False

    # ── taking up ───────────────────────────────────────────────────────────────────────────────────────

    async def take_up(self, runs: Sequence[int | RunRow]) -> None:
        """Claim runs and load them; those with a living owner are left alone.

        Raises StoreError, and NotFound or StoreDamaged when it is about a single run.
        """
        async with self._turnstile:
            held = self._parts.runs
            new = [run for run in runs if _number(run) not in held]
            claimed = await self._parts.committer.aside(self._claim, new) if new else ()
            for taken in claimed:
                if not self.closing:
                    self._take(taken)
        if claimed:
            self._parts.look()  # for letters that came while these were read

    def _take(self, taken: recovery.Taken) -> None:
        number = taken.rows.run.number
        held, why = self._held(taken)
        self._leaving.pop(number, None)
        self.wanted.discard(number)
        self.lost.discard(number)
        self.refused.pop(number, None)
        self._parts.runs[number] = held
        self._parts.keeper.hold(number, taken.fence)
        if why and Status(taken.rows.run.status) not in ENDED:
            self.set_aside(held, why, release=True)
        else:
            self._install(held, taken, new=True)

    def _held(self, taken: recovery.Taken) -> tuple[Held, str]:
        """The run with what it began with, and why it cannot be carried out here."""
        row = taken.rows.run
        try:
            return Held(row, taken.fence, self._parts.begun(row) if self._parts.begun is not None else None), ""
        except Exception as error:
            return Held(row, taken.fence), said(error)

    @recovery.uncollected()
    def _claim(self, runs: Sequence[int | RunRow]) -> list[recovery.Taken]:
        """In the thread."""
        parts = self._parts
        taken: list[recovery.Taken] = []
        for run in runs:
            now = parts.clock.now()
            try:
                one = self._fresh(run) or recovery.take(
                    parts.store, _number(run), parts.owner, parts.lease, now, self._lives, parts.clear
                )
            except Exception as error:
                if isinstance(error, CallboardError) and not isinstance(error, StoreDamaged | NotFound):
                    raise  # the store cannot be read just now, whichever run it is
                self.refused[_number(run)] = said(error)
                parts.tell("set aside", f"run {_number(run)}: {said(error)}")
                if len(runs) == 1:
                    raise
                continue
            if one is not None:
                self._shapes.learn(one.rows)
                taken.append(one)
        return taken

    def _fresh(self, run: int | RunRow) -> recovery.Taken | None:
        """A run just created for us, of a plan we know: it has letters and nothing else."""
        if isinstance(run, int) or run.owner != self._parts.owner or run.status != INIT:
            return None
        plan = self._shapes.text(run.plan)
        if plan is None:
            return None
        letters = self._parts.store.inbox(run.number, 0, recovery.MOST_LETTERS)
        return recovery.Taken(RunRows(run, plan, (), (), (), ()), run.fence, 0, letters, ())

    def _lives(self, owner: Owner) -> bool | None:
        return False if owner == self._parts.owner else self._parts.alive(owner)

    @recovery.uncollected()
    def _install(self, held: Held, taken: recovery.Taken, *, new: bool) -> None:
        """The run behind the rows is in memory; what was outside and is not here is lost."""
        try:
            self._go_on(held, taken, recovery.put_in_memory(held, taken.rows, self._shapes), new=new)
        except Exception as error:  # of this run; the others that were taken with it are taken up
            self.set_aside(held, f"it cannot be loaded: {said(error)}")

    def _go_on(self, held: Held, taken: recovery.Taken, run: Run, *, new: bool) -> None:
        parts = self._parts
        held.loading = False
        why = new and next(filter(None, (parts.backend.can(t.executor, t.inputs) for t in run.plan.tasks)), "")
        if why and run.status not in ENDED:
            return self.set_aside(held, why, release=True)
        parts.admission.adopt(run)
        held.read = taken.consumed
        parts.read_mail(held, taken.letters)
        held.facts += recovery.left_behind(run, held, parts.inside if new else lambda task: False)
        for at in recovery.to_be_stopped(run, held):
            parts.dispatcher.end(at, "stop")
        for timer in recovery.timers(run):
            self.set_timer(held, timer)
        for probe in recovery.probes(run):
            parts.evaluate(held, probe)
        if taken.documents:
            parts.publisher.publish(held, taken.documents)
        if run.status in ENDED and not (held.facts or held.mail):
            return self.found_ended(held, run.status)
        return parts.turns.ready(held)

    def set_timer(self, held: Held, order: Wake | Tick) -> None:
        fact: Fact
        if type(order) is Wake:
            fact = Woke(order.node, order.number, order.attempt, order.what)
        else:
            fact = Ticked(order.node, order.at.wall)
        self._parts.timers.due(order.at, lambda: self.post_if_ours(held, fact))

    def post_if_ours(self, held: Held, fact: Fact) -> None:
        if self._parts.runs.get(held.number) is held:
            held.facts.append(fact)
            self._parts.turns.ready(held)

    # ── loading again ───────────────────────────────────────────────────────────────────────────────────

    def reload(self, held: Held) -> None:
        if not held.loading and not held.lost:
            held.loading = True
            self.spawn(self._load_again(held))

    async def _load_again(self, held: Held) -> None:
        parts, tried = self._parts, 0
        while not held.lost:
            try:
                taken = await parts.committer.aside(recovery.read, parts.store, held.number, held.fence)
            except StoreDamaged as error:
                return self.set_aside(held, str(error))
            except StoreError as error:
                parts.tell("paused", str(error))
                await parts.dispatcher.sleep(RESTS[min(tried, len(RESTS) - 1)])
                tried += 1
            except Exception as error:
                return self.set_aside(held, f"it cannot be read: {said(error)}")
            else:
                self._install(held, taken, new=False)
                return parts.look()

    # ── letting go ──────────────────────────────────────────────────────────────────────────────────────

    def finish(self, held: Held, status: Status) -> None:
        """The end is on disk. The run leaves memory now and is released when there is time."""
        self._forget(held)
        dismiss(held, FenceLost((held.number,)))
        self._leaving[held.number] = (held.fence, status)
        if len(self._leaving) == 1:
            self._parts.timers.at(self._parts.clock.now().elapsed + LINGER, self._let_go)
        self.tell_end(held.number, status)

    def found_ended(self, held: Held, status: Status) -> None:
        """It has ended, and nobody was told: no step of this engine knows that it did it."""
        self.finish(held, status)
        self._parts.moved(held.number, (), (Finish(status),))

    def ended_here(self, run: int) -> Status | None:
        """How a run ended that is still ours, so that nobody can have reopened it."""
        return self._leaving.get(run, (0, None))[1]

    def tell_end(self, run: int, status: Status) -> None:
        for future in self._ends.pop(run, ()):
            answer(future, status)

    def awaited(self) -> list[int]:
        """Runs whose end somebody waits for and that are not here."""
        return [run for run in self._ends if run not in self._parts.runs]

    async def end_of(self, run: int) -> Status:
        if run in self.refused:
            raise StoreError(f"run {run} was set aside: {self.refused[run]}")
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(run, []).append(future)
        return await future

    def _let_go(self) -> None:
        if self._leaving and not self.closing:
            self.spawn(self._release())

    async def release_all(self) -> None:
        """Let go of everything: the engine ends."""
        self._leaving.update((held.number, (held.fence, None)) for held in self._parts.runs.values())
        await self._release()

    async def let_go(self, held: Held) -> None:
        """Let go of one run of which nothing is outside any more."""
        held.lost = True
        self._forget(held)
        self._leaving[held.number] = (held.fence, None)
        await self._release()

    async def _release(self) -> None:
        async with self._turnstile:
            pairs = [(run, fence) for run, (fence, _) in self._leaving.items()]
            self._leaving.clear()
            for run, _ in pairs:
                self._parts.keeper.drop(run)
            try:
                await self._parts.committer.aside(self._parts.store.release_all, pairs)
            except Exception as error:  # they are taken from us when we are gone
                if not isinstance(error, CallboardError):
                    self._parts.tell.fault("runs that have ended cannot be released", error)

    def _forget(self, held: Held) -> None:
        self._parts.runs.pop(held.number, None)
        self._parts.turns.drop(held)

    def lose(self, held: Held, stepped: Stepped | None = None) -> None:
        """Another engine owns it: stop own work, forget it, tell who waits for an answer."""
        self._abandon(held, FenceLost((held.number,)), stepped)
        self.wanted.add(held.number)
        self.lost.add(held.number)
        self._parts.tell("lost", f"run {held.id} was taken over by another process while this one stood still")

    def set_aside(self, held: Held, why: str, *, release: bool = False) -> None:
        """This run cannot be carried out here; all others go on. What it has on disk stays as it is."""
        self.refused[held.number] = why
        error = StoreError(f"run {held.id} was set aside: {why}")
        self._abandon(held, error, None)
        self._parts.tell("not here" if release else "set aside", f"run {held.id}: {why}")
        for end in self._ends.pop(held.number, ()):
            answer(end, error)
        if release:
            self._leaving[held.number] = (held.fence, None)
            self.spawn(self._release())

    def _abandon(self, held: Held, error: Exception, stepped: Stepped | None) -> None:
        held.lost = True
        self._parts.dispatcher.end_all(held, "lost")
        self._forget(held)
        self._parts.keeper.drop(held.number)
        for stage in (held, stepped):
            if stage is not None:
                dismiss(stage, error)

    # ── odds ────────────────────────────────────────────────────────────────────────────────────────────

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._parts.tell.fault("something in the background failed", error)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run, waiting in self._ends.items():
            for future in waiting:
                answer(future, RunInterrupted(f"run {run} is recorded and can be resumed", run=str(run)))


def _number(run: int | RunRow) -> int:
    return run if isinstance(run, int) else run.number
