"""A world in which nothing takes real time: hosts with clocks, processes with an event loop each, threads, faults.

Everything that happens is one entry in one heap, ordered by virtual time and then by the order it came, on one real
thread: the same seed gives the same history to the last event. A process here is an asyncio loop of our own on which
the real engine runs. It can be killed (nothing of it ever happens again), frozen (its events wait until it is thawed)
and suspended with its host (its monotonic clock stands still as well).

What blocks, a store or a file, `spend`s virtual time: the world goes on inside the call, and the other processes act
between two lines of this one, as on a real machine. Strict hand-over between real threads was the other road, and is
fifty times slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from asyncio.tasks import _enter_task, _leave_task
from concurrent.futures import Executor, Future
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from callboard.core.deadline import Now
from callboard.ports import Owner
from callboard.testing.loop import Entry, Halt, Loop, settle

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Calls that may wait inside one another; a deeper one takes no time.
_DEEPEST = 4


class World:
    """Time, chance and everything that is to happen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.time = 0.0
        self.events = 0
        self.faults: list[str] = []  # exceptions that nobody took
        self.acting: Process | None = None  # whose code runs just now
        self.died: Callable[[Process], None] = lambda process: None  # told when what it was doing has been unwound
        self._heap: list[Entry] = []
        self._count = self._depth = 0
        self._trace = sha256()
        self._processes: dict[int, Process] = {}

    @property
    def trace(self) -> str:
        """A hash of all that has happened so far."""
        return self._trace.hexdigest()

    def note(self, text: str) -> None:
        """Something that belongs to the history."""
        self._trace.update(f"{self.time:.9f} {text}\n".encode())

    def chance(self, percent: float) -> bool:
        return self.random.random() * 100 < percent

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def after(self, seconds: float, call: Callable[[], object], process: Process | None = None) -> Entry:
        """Let something happen in so many seconds; to a process, as in a thread of it."""
        return self.put(Entry(self.time + seconds, process, call))

    def put(self, entry: Entry) -> Entry:
        self._count += 1
        entry.number = self._count
        heapq.heappush(self._heap, entry)
        return entry

    def process(self, name: str, host: Host) -> Process:
        process = Process(self, name, host, len(self._processes) + 1)
        self._processes[process.pid] = process
        return process

    def alive(self, owner: Owner) -> bool | None:
        """Whether the process behind an owner of the same host lives; None when it is frozen."""
        process = self._processes[owner.pid]
        if process.dead or process.host.boot != owner.boot:
            return False
        return None if process.frozen else True

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, *, until: float, most: int = 1 << 62, done: Callable[[], bool] = lambda: False) -> None:
        """Let things happen until an instant, so many events, or `done`."""
        while self._heap and self._heap[0].at <= until and self.events < most and not done():
            self._step()
        if not (self._heap and self._heap[0].at <= until):
            self.time = max(self.time, until)

    def _step(self) -> None:
        entry = heapq.heappop(self._heap)
        self.time = max(self.time, entry.at)
        process = entry.process
        if process is None:
            self.events += 1
            entry.call()
        elif not process.dead:
            process.take(entry)

    def spend(self, process: Process, seconds: float) -> None:
        """A call of this process blocks so long. Raises Halt when it dies meanwhile."""
        if process.dead:
            raise Halt
        if self._depth >= _DEEPEST or seconds <= 0:
            return
        self._depth += 1
        process_was = process.pause()
        try:
            self.run(until=self.time + seconds)
            while not process.dead and process.stands:
                self._step()
        finally:
            process.go_on(process_was)
            self._depth -= 1
        if process.dead:
            raise Halt

    def close(self) -> None:
        """The end of the world: coroutines that wait are closed, and whatever they do is not heard."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.bury()


class Host:
    """A machine: its clocks, and whether it sleeps."""

    def __init__(self, world: World, name: str, wall: float = 1_700_000_000.0) -> None:
        self.world, self.name = world, name
        self.boots = 1
        self.slept = 0.0  # seconds of suspension in this boot
        self.asleep = False
        self._booted = world.time - 1000.0
        self._wall, self._since, self._rate = wall, world.time, 1.0
        self.processes: list[Process] = []

    @property
    def boot(self) -> str:
        return f"{self.name}-{self.boots}"

    def now(self) -> Now:
        time = self.world.time
        return Now(self._wall + (time - self._since) * self._rate, self.boot, time - self._booted)

    def monotonic(self) -> float:
        """What timers count: it stands still in suspension."""
        return self.world.time - self._booted - self.slept

    def jump(self, seconds: float, rate: float = 1.0) -> None:
        """Set the wall clock, and how fast it runs."""
        self._wall, self._since, self._rate = self.now().wall + seconds, self.world.time, rate

    def suspend(self, seconds: float) -> None:
        self.asleep, boot = True, self.boots
        self.world.after(seconds, lambda: self._wake(seconds, boot))

    def _wake(self, seconds: float, boot: int) -> None:
        if boot == self.boots:
            self.slept += seconds
            self.asleep = False
            for process in self.processes:
                process.thaw_if_it_may()

    def reboot(self) -> None:
        """All its processes are dead; another boot, elapsed time from 0."""
        for process in self.processes:
            process.kill()
        self.processes.clear()
        self.boots += 1
        self.slept, self.asleep, self._booted = 0.0, False, self.world.time


class Process:
    """One of a host's: a loop, threads, a clock, and whether it may act."""

    def __init__(self, world: World, name: str, host: Host, pid: int) -> None:
        self.world, self.name, self.host, self.pid = world, name, host, pid
        self.owner = Owner(host.name, host.boot, pid, 1.0, name)
        self.loop = Loop(self)
        running: Any = self.loop  # as asyncio's types know loops
        self._running = running
        self.dead = self.frozen = self.blocked = False
        self._waiting: list[Entry] = []
        self._on_loop = False
        self._next = 0.0  # events of a loop take a moment each, and keep their order
        host.processes.append(self)

    @property
    def stands(self) -> bool:
        """It lives, and nothing of it happens."""
        return self.frozen or self.host.asleep

    def kill(self) -> None:
        if not self.dead:
            self.dead = True
            self._waiting.clear()
            self.world.note(f"{self.name} dies")

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self.thaw_if_it_may()

    def thaw_if_it_may(self) -> None:
        """What has come meanwhile happens now, in the order it came."""
        if not (self.stands or self.dead):
            waiting, self._waiting = self._waiting, []
            for entry in waiting:
                self.put(entry)

    def bury(self) -> None:
        for task in self.loop.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self.loop.tasks.clear()

    # ── what happens to it ──────────────────────────────────────────────────────────────────────────────

    def put(self, entry: Entry) -> Entry:
        if entry.loop:
            self._next = max(self._next, self.world.time) + self.world.random.random() * 1e-5
            entry.at = max(entry.at, self._next) if not entry.when else entry.at
        return self.world.put(entry)

    def take(self, entry: Entry) -> None:
        if self.stands or (self.blocked and entry.loop):
            self._waiting.append(entry)
            return
        if entry.handle is not None and entry.handle.cancelled():
            return
        if entry.when and (left := entry.when - self.host.monotonic()) > 1e-9:
            entry.at = self.world.time + left  # the host has slept
            self.world.put(entry)
            return
        world = self.world
        world.events += 1
        acting, world.acting = world.acting, self
        try:
            self._act(entry)
        finally:
            world.acting = acting
        if self.dead:
            world.died(self)

    def _act(self, entry: Entry) -> None:
        if not entry.loop:
            with contextlib.suppress(Halt):
                entry.call()
            return
        self._on_loop = True
        asyncio._set_running_loop(self._running)
        try:
            entry.call()
        finally:
            asyncio._set_running_loop(None)
            self._on_loop = False

    def pause(self) -> tuple[bool, Any]:
        """A call of it blocks, perhaps on its loop: then nothing else happens there."""
        if not self._on_loop:
            return (False, None)
        task = asyncio.current_task(self._running)
        if task is not None:
            _leave_task(self._running, task)
        asyncio._set_running_loop(None)
        self._on_loop, self.blocked = False, True
        return (True, task)

    def go_on(self, was: tuple[bool, Any]) -> None:
        if not was[0]:
            return
        asyncio._set_running_loop(self._running)
        if was[1] is not None:
            _enter_task(self._running, was[1])
        self._on_loop, self.blocked = True, False
        self.thaw_if_it_may()

    # ── its threads, as `callboard.engine.threads.Threads` ──────────────────────────────────────────────

    def worker(self, name: str) -> Executor:
        return Worker(self)

    def beat(self, every: float, call: Callable[[], None], name: str) -> Callable[[], None]:
        over = False

        def again() -> None:
            if not over:
                call()
                plan()

        def plan() -> None:
            entry = Entry(self.world.time + every, self, again)
            entry.when = self.host.monotonic() + every
            self.world.put(entry)

        def end() -> None:
            nonlocal over
            over = True

        plan()
        return end

    def seconds(self) -> float:
        return self.host.monotonic()

    def away(self) -> float:
        return 0.0


class Worker(Executor):
    """One thread: its calls come one after another, each a moment after it was asked for."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._queue: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._busy = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self._queue.append((future, lambda: fn(*args, **kwargs)))
        if not self._busy:
            self._busy = True
            self._soon()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Its last call has come."""

    def _soon(self) -> None:
        world = self._process.world
        world.after(world.random.random() * 1e-4, self._work, self._process)

    def _work(self) -> None:
        future, call = self._queue.pop(0)
        settle(future, call)
        self._busy = bool(self._queue)
        if self._busy:
            self._soon()
