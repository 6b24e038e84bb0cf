"""The engine thread of the façade: one with its own loop for each process and project, started when it is first needed.

Whoever calls posts and waits: everything that touches the store, the recording of the run too, happens on this side,
so a Ctrl-C finds the caller waiting and nothing half done. When a call returns nothing of its run goes on in this
process: what waits for a person is let go, and anybody may take it up.

At the end of the interpreter runs that other threads wait for may end; all others are halted in good order. That
has to happen before `concurrent.futures` refuses work, which is before `atexit`. A forked child gets a clear error
instead of its parent's connections.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread
import os
import threading
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from callboard.app import project as projects
from callboard.app.commands.carry import Carrier, Left, Stop
from callboard.app.commands.noticing import notice_at_the_end
from callboard.app.commands.playing import promise, tell_production, tell_rest
from callboard.app.commands.submit import NO_PRODUCTION, Production, submit_functions, submit_pipeline
from callboard.app.stage.functions import FunctionPlan, FunctionTask, plan
from callboard.app.wiring import open_house
from callboard.core.facts import Continued
from callboard.core.status import ENDED, RUNNING
from callboard.errors import ForkedProcess, RunInterrupted, UsageError
from callboard.text.strict import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from callboard.app.settings import Settings
    from callboard.app.wiring import House
    from callboard.ports import RunRow

#: What is carried out: the path of a pipeline file, a plan, one task, or a function.
Flow: TypeAlias = "str | os.PathLike[str] | FunctionPlan | FunctionTask | Callable[..., Any]"

_PATIENCE = 10.0  # seconds that runs have to halt at the end of the interpreter


class Play(NamedTuple):
    """One call: what it asks for, the loop and the thread that wait, the cord that halts it; what it plays in."""

    flow: Flow
    input: str | None
    name: str | None
    id: str | None
    params: Mapping[str, Any] | None
    loop: asyncio.AbstractEventLoop | None
    thread: threading.Thread
    stop: Stop
    production: Production = NO_PRODUCTION
    overwrite: bool | None = None

    def record(self, house: House) -> tuple[RunRow, Mapping[str, Callable[..., Any]]]:
        """The run, recorded (or known), and its functions by task. Mistakes of the caller are found here."""
        flow: Any = self.flow
        encode(dict(self.params or {}))
        if isinstance(flow, str | os.PathLike):
            row = submit_pipeline(
                house,
                Path(flow),
                self.input,
                name=self.name,
                id=self.id,
                vars=self.params,
                production=self.production,
                overwrite=self.overwrite,
            )
            return row, {}
        made = plan(flow) if isinstance(flow, FunctionTask) or callable(flow) else flow
        if not isinstance(made, FunctionPlan):
            raise UsageError(f"callboard.run takes a pipeline file, a plan or a function, not {type(flow).__name__}")
        row = submit_functions(house, made.plan, made.calls, self.input, name=self.name, id=self.id, params=self.params)
        return row, {task.name: call for task, call in zip(made.plan.tasks, made.calls, strict=True)}

    def again(self, run: str) -> str:
        """How a run that was interrupted goes on."""
        same = f"the same call and id={run!r}"
        return same if self.production is NO_PRODUCTION else f"callboard resume {run}"


class Played(NamedTuple):
    """A run as its call has left it; `errors` are what its functions raised, by task."""

    house: House
    row: RunRow
    left: Left
    errors: Mapping[str, BaseException]


class EngineThread:
    """The engine thread of one project. What has no underscore is for other threads, everything else runs on it."""

    def __init__(self, root: Path | None, settings: Settings) -> None:
        self.root, self.settings, self.pid = root, settings, os.getpid()
        self._house: House | None = None
        self._carrier: Carrier | None = None
        self._posted: list[tuple[threading.Thread, concurrent.futures.Future[Played]]] = []
        self._plays: list[Play] = []
        self._quiet = asyncio.Event()
        self._turns: dict[int, list[asyncio.Future[None]]] = {}
        self._loop = asyncio.new_event_loop()
        self._opening = asyncio.Lock()
        self._thread = threading.Thread(target=self._serve, name="callboard engine", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    # ── for those who wait ──────────────────────────────────────────────────────────────────────────────

    def post(self, play: Play) -> concurrent.futures.Future[Played]:
        future = asyncio.run_coroutine_threadsafe(self._play(play), self._loop)
        posted = (play.thread, future)
        self._posted.append(posted)
        future.add_done_callback(lambda future: self._posted.remove(posted))
        return future

    def interrupt(self, play: Play) -> None:
        with suppress(RuntimeError):  # it is closed: everything was interrupted
            self._loop.call_soon_threadsafe(play.stop.pull)

    def refuse_own_threads(self) -> None:
        """Raises UsageError where a wait would never end."""
        house = self._house
        if threading.current_thread() is self._thread or (house is not None and house.functions.runs_here()):
            raise UsageError("callboard.run would wait for itself on this thread; use: await callboard.arun(...)")

    def wait_for_others(self) -> None:
        """Wait for the runs that threads wait for which the interpreter waits for."""
        concurrent.futures.wait([future for thread, future in list(self._posted) if _outlives_us(thread)])

    def close(self) -> None:
        """Halt what is left in good order, and stop. In a forked child there is nothing to stop."""
        if self.pid != os.getpid() or self._loop.is_closed():
            return
        closed = threading.Event()
        self._loop.call_soon_threadsafe(lambda: asyncio.run_coroutine_threadsafe(self._close(closed), self._loop))
        closed.wait(_PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)

    # ── on the engine's thread ──────────────────────────────────────────────────────────────────────────

    async def _play(self, play: Play) -> Played:
        self._plays.append(play)
        try:
            house, carrier = await self._open()
            if play.stop.is_pulled:
                raise RunInterrupted("interrupted before anything was recorded")
            row, calls = await asyncio.to_thread(play.record, house)
            async with self._turn(row.number, play.stop) as is_ours:
                if not is_ours or play.stop.is_pulled:
                    return Played(house, row, Left(RUNNING, "interrupted"), {})
                errors = house.functions.bind(row.id, calls, play.loop, play.stop)
                try:
                    return Played(house, row, await self._carry(house, carrier, row.number, play.stop), errors)
                finally:
                    house.functions.unbind(row.id)
        finally:
            self._plays.remove(play)
            self._quiet.set()

    async def _open(self) -> tuple[House, Carrier]:
        async with self._opening:
            if self._house is None or self._carrier is None:
                house, carrier = await asyncio.to_thread(self._opened)
                try:
                    await carrier.engine.start()
                except BaseException:
                    house.close()
                    raise
                self._house, self._carrier = house, carrier
            return self._house, self._carrier

    def _opened(self) -> tuple[House, Carrier]:
        here = self.root or Path.cwd()
        house = open_house(self.settings, here=here, make=True, memory=self.root is None, inside=True)
        tell_rest(house)
        return house, Carrier(house)

    @asynccontextmanager
    async def _turn(self, run: int, stop: Stop) -> AsyncIterator[bool]:
        """One call at a time carries a run; others who wait for the same run are next. False when `stop` was pulled
        before it was our turn."""
        queue = self._turns.setdefault(run, [])
        mine: asyncio.Future[None] = self._loop.create_future()
        queue.append(mine)
        stop.tell(lambda: _wake(mine))
        try:
            if queue[0] is not mine:
                await mine
            yield queue[0] is mine
        finally:
            queue.remove(mine)
            if queue:
                _wake(queue[0])
            else:
                del self._turns[run]

    async def _carry(self, house: House, carrier: Carrier, number: int, stop: Stop) -> Left:
        """Until the run has ended, waits for somebody, or was halted; it is nobody's then."""
        engine = carrier.engine
        await asyncio.to_thread(promise, house, number, engine.owner)
        while True:
            await self._lift(carrier, number)
            left = (await carrier.carry([number], stop))[number]
            if left.status in ENDED or await engine.let_go(number, interrupt=left.because == "interrupted"):
                break
        await asyncio.to_thread(_leave, house, number, left)
        return left

    async def _lift(self, carrier: Carrier, number: int) -> None:
        """A run that was interrupted goes on when it is asked for again; what a person has paused stays so."""
        await carrier.engine.submit(number)
        held = carrier.engine.runs.get(number)
        if held is not None and held.run is not None and "interrupted" in held.run.holds:
            await carrier.engine.post(number, Continued())

    async def _close(self, closed: threading.Event) -> None:
        try:
            for play in self._plays:
                play.stop.pull()
            while self._plays:
                self._quiet.clear()
                await self._quiet.wait()
            if self._carrier is not None and self._house is not None:
                await self._carrier.engine.stop(interrupt=True)
                await self._house.hang_up()
                self._house.close()
            await self._loop.shutdown_default_executor()
        finally:
            closed.set()


def _leave(house: House, number: int, left: Left) -> None:
    """What people have edited meanwhile is told to the run, and how it was left to its production."""
    notice_at_the_end(house, number)
    tell_production(house, number, left.status, left.because)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


# ── which thread ────────────────────────────────────────────────────────────────────────────────────────────

_threads: list[EngineThread] = []
_lock = threading.Lock()


def engine_thread(settings: Settings, *, memory: bool) -> EngineThread:
    """The engine thread of a project. An environment that has changed (a key was set) gets one of its own."""
    if any(thread.pid != os.getpid() for thread in _threads):
        raise ForkedProcess(
            "this process was forked from one that has run Callboard already, and must not use its connections. "
            "Start it with spawn (multiprocessing.get_context('spawn')), or import and run in the child only"
        )
    root = None if memory else _root(settings)
    settings = settings._replace(project=os.fspath(root) if root is not None else None)
    with _lock:
        for thread in _threads:
            if (thread.root, thread.settings) == (root, settings):
                return thread
        if not _threads:
            _at_end(close_all)
        _threads.append(EngineThread(root, settings))
        return _threads[-1]


def _root(settings: Settings) -> Path:
    if settings.project is not None:
        return Path(settings.project).expanduser().resolve()
    here = Path.cwd()
    found = projects.find(None, here)
    return here if found is None else found.root


def close_all() -> None:
    """At the end of the interpreter. A Ctrl-C stops waiting for others, a second one leaves."""
    try:
        for thread in _threads:
            thread.wait_for_others()
    except KeyboardInterrupt:
        pass
    try:
        while _threads:
            _threads.pop().close()
    except KeyboardInterrupt:
        os._exit(130)


def _outlives_us(thread: threading.Thread) -> bool:
    return thread.is_alive() and not thread.daemon and thread is not threading.current_thread()


#: Before `concurrent.futures` refuses work (it has to be imported by then), and so before `atexit`; the way in has no
#: public name.
_at_end: Callable[[Callable[[], None]], Any] = getattr(threading, "_register_atexit", atexit.register)


def _forked() -> None:
    global _lock
    _lock = threading.Lock()  # whoever held it has no thread here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
