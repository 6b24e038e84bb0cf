"""`callboard.run(...)` and `await callboard.arun(...)`: the machine behind a function call.

One engine thread with its own loop for each process and project, started when it is first needed. Whoever calls
posts and waits: everything that touches the store, the recording of the run too, happens on the engine's side, so a
Ctrl-C finds the caller waiting and nothing half done. The library installs no signal handler: KeyboardInterrupt in
the wait asks for an orderly halt of this one run, a second one leaves at once. When `run` returns, nothing of its
run goes on in this process: what waits for a person is let go, and anybody may take it up.

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
from callboard.app.commands.playing import promise, tell_production, tell_rest
from callboard.app.commands.submit import submit_functions, submit_pipeline
from callboard.app.settings import from_environment
from callboard.app.stage.functions import FunctionPlan, FunctionTask, plan
from callboard.app.views import run as views
from callboard.app.views.runs import summary
from callboard.app.wiring import open_house
from callboard.core.facts import Continued
from callboard.core.status import ENDED, FAILED, RUNNING, STOPPED
from callboard.errors import ForkedProcess, RunCancelled, RunFailed, RunInterrupted, UsageError
from callboard.text.strict import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from callboard.app.settings import Settings
    from callboard.app.wiring import House
    from callboard.core.run import Run
    from callboard.ports import RunRow

#: What `run` takes: the path of a pipeline file, a plan, one task, or a function.
Flow: TypeAlias = "str | os.PathLike[str] | FunctionPlan | FunctionTask | Callable[..., Any]"

_PATIENCE = 10.0  # seconds that runs have to halt at the end of the interpreter


class Result:
    """How a run was left. What is asked of it is read from the project then.

    id       the run's name on the command line, and what `run(..., id=…)` takes
    status   "success", or "running" when the run waits for somebody; then `because` says for whom or what
    value    what the last task returned; a dict by name when several tasks are last
    partly   something that was not critical failed
    cost     US dollars; None when nobody knows
    """

    def __init__(self, house: House, row: RunRow, left: Left) -> None:
        self._house, self.id, self.number = house, row.id, row.number
        self.status, self.because = left.status.name.lower(), left.because

    def __repr__(self) -> str:
        return f"<Result of {self.id}: {self.status}{', ' + self.because if self.because else ''}>"

    def __getitem__(self, name: str) -> Any:
        """What a task returned: a list of `{"key", "value"}` of one that maps, the value of one item under `task/key`.

        None for what was skipped or has not ended. Raises KeyError when the run has no such task or item.
        """
        run = self._run()
        node = run.find(name)
        if node is None:
            raise KeyError(name)
        return views.value(self._house.store, run, run.nodes[node])

    @property
    def value(self) -> Any:
        return views.result(self._house.store, self._row())

    @property
    def partly(self) -> bool:
        return self.status == "success" and any(row.status is FAILED for row in self._run().nodes)

    @property
    def cost(self) -> float | None:
        cost: float | None = summary(self._house.store, self._row())["cost"]
        return cost

    def tasks(self) -> dict[str, str]:
        """Status by the name of the task."""
        run = self._run()
        return {row.task.name: row.status.name.lower() for row in run.nodes[: len(run.plan.tasks)]}

    def _row(self) -> RunRow:
        row: RunRow = self._house.store.find_run(self.id)
        return row

    def _run(self) -> Run:
        return views.in_memory(self._house.store, self._row())


def run(
    flow: Flow,
    input: str | None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    project: str | os.PathLike[str] | None = None,
    store: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Result:
    """Carry a flow out and wait for it.

    flow      the path of a pipeline file, a `plan(...)` of functions, a `task(...)`, or one function
    input     the text the first step gets
    id        a name of your own; when it is known already, that run goes on (or is looked at, when it has ended)
    project   a directory; else the one around the current directory, which becomes one if there is none
    store     "memory" records nothing on disk
    model     of every step; "offline" needs no network and no key
    params    `vars` of a pipeline; JSON

    Sync functions run in threads of this process, coroutine functions on a loop of their own; with a loop of yours,
    use `arun`. In a notebook it blocks its cell and nothing else. Ctrl-C halts the run in good order and raises
    KeyboardInterrupt; what is recorded stays so, and the same call with the run's `id` goes on. Raises RunFailed with
    what a function raised as its cause, RunCancelled, RunInterrupted (halted by somebody else), UsageError, NotFound,
    Conflict when another process carries it out, ForkedProcess.
    """
    stage = _stage(project, store, model)
    stage.refuse_own_threads()
    play = Play(flow, input, name, id, params, None, threading.current_thread(), Stop())
    return _wait(stage, play, stage.post(play)).result()


async def arun(
    flow: Flow,
    input: str | None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    project: str | os.PathLike[str] | None = None,
    store: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Result:
    """As `run`, awaited; coroutine functions run on the loop that awaits.

    Cancelling it, by a timeout too, halts the run in good order first, then CancelledError goes on.
    """
    stage = _stage(project, store, model)
    loop = asyncio.get_running_loop()
    play = Play(flow, input, name, id, params, loop, threading.current_thread(), Stop())
    waiting = asyncio.wrap_future(stage.post(play))
    try:
        played = await asyncio.shield(waiting)
    except asyncio.CancelledError:
        stage.interrupt(play)
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            waiting.exception()  # looked at, so that nobody complains of an error nobody saw
        raise
    return played.result()


class Play(NamedTuple):
    """One call of `run` or `arun`: what it asks for, the loop and the thread that wait, the cord that halts it."""

    flow: Flow
    input: str | None
    name: str | None
    id: str | None
    params: Mapping[str, Any] | None
    loop: asyncio.AbstractEventLoop | None
    thread: threading.Thread
    stop: Stop

    def record(self, house: House) -> tuple[RunRow, Mapping[str, Callable[..., Any]]]:
        """The run, recorded (or known), and its functions by task. Mistakes of the caller are found here."""
        flow: Any = self.flow
        encode(dict(self.params or {}))
        if isinstance(flow, str | os.PathLike):
            row = submit_pipeline(house, Path(flow), self.input, name=self.name, id=self.id, vars=self.params)
            return row, {}
        made = plan(flow) if isinstance(flow, FunctionTask) or callable(flow) else flow
        if not isinstance(made, FunctionPlan):
            raise UsageError(f"callboard.run takes a pipeline file, a plan or a function, not {type(flow).__name__}")
        row = submit_functions(house, made.plan, made.calls, self.input, name=self.name, id=self.id, params=self.params)
        return row, {task.name: call for task, call in zip(made.plan.tasks, made.calls, strict=True)}


class Played(NamedTuple):
    """A run as its call has left it; `errors` are what its functions raised, by task."""

    house: House
    row: RunRow
    left: Left
    errors: Mapping[str, BaseException]

    def result(self) -> Result:
        """Raises RunFailed, RunCancelled, RunInterrupted."""
        status, run = self.left.status, self.row.id
        if status is FAILED:
            reasons = self._failed()
            why = "; ".join(f"{name}: {reason.removeprefix(name + ': ')}" for name, reason in reasons.items())
            cause = next(
                (self.errors[task] for name in reasons if (task := name.partition("/")[0]) in self.errors), None
            )
            raise RunFailed(f"run {run} failed: {why or 'nothing succeeded'}", run=run) from cause
        if status is STOPPED:
            raise RunCancelled(f"run {run} was stopped", run=run)
        if self.is_interrupted:
            raise self.interrupted()
        return Result(self.house, self.row, self.left)

    @property
    def is_interrupted(self) -> bool:
        return self.left.status not in ENDED and self.left.because == "interrupted"

    def interrupted(self) -> RunInterrupted:
        run = self.row.id
        return RunInterrupted(f"run {run} was interrupted; go on with the same call and id={run!r}", run=run)

    def _failed(self) -> dict[str, str]:
        """Reasons by name: of the items of a task that maps, where they tell more."""
        run = views.in_memory(self.house.store, self.house.store.find_run(self.row.id))
        failed = [row for row in run.nodes if row.status is FAILED]
        mapped = {row.parent for row in failed}
        return {run.name_of(row.id): row.reason for row in failed if row.id not in mapped}


def _wait(stage: Stage, play: Play, future: concurrent.futures.Future[Played]) -> Played:
    try:
        return future.result()
    except KeyboardInterrupt:
        stage.interrupt(play)
        try:
            played = future.result()
        except KeyboardInterrupt:
            os._exit(130)
        except RunInterrupted as error:
            raise KeyboardInterrupt(str(error)) from None
        if played.is_interrupted:
            raise KeyboardInterrupt(str(played.interrupted())) from None
        raise


# ── the engine thread ───────────────────────────────────────────────────────────────────────────────────────


class Stage:
    """The engine thread of one project in this process. `post`, `interrupt` and `close` belong to other threads,
    everything with an underscore to its own."""

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
                await carrier.engine.start()
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
        await asyncio.to_thread(tell_production, house, number, left.status, left.because)
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


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


# ── which stage ─────────────────────────────────────────────────────────────────────────────────────────────

_stages: list[Stage] = []
_lock = threading.Lock()


def _stage(project: str | os.PathLike[str] | None, store: str | None, model: str | None) -> Stage:
    """The stage of a project. An environment that has changed (a key was set) gets one of its own."""
    if store not in (None, "memory"):
        raise UsageError(f'store is "memory" or left away, not {store!r}')
    settings = from_environment(os.environ, project=os.fspath(project) if project is not None else None, model=model)
    root = None if store == "memory" else _root(settings)
    if any(stage.pid != os.getpid() for stage in _stages):
        raise ForkedProcess(
            "this process was forked from one that has run Callboard already, and must not use its connections. "
            "Start it with spawn (multiprocessing.get_context('spawn')), or import and run in the child only"
        )
    settings = settings._replace(project=os.fspath(root) if root is not None else None)
    with _lock:
        for stage in _stages:
            if (stage.root, stage.settings) == (root, settings):
                return stage
        if not _stages:
            _at_end(_close_all)
        _stages.append(Stage(root, settings))
        return _stages[-1]


def _root(settings: Settings) -> Path:
    if settings.project is not None:
        return Path(settings.project).expanduser().resolve()
    here = Path.cwd()
    found = projects.find(None, here)
    return here if found is None else found.root


def _close_all() -> None:
    """At the end of the interpreter. A Ctrl-C stops waiting for others, a second one leaves."""
    try:
        for stage in _stages:
            stage.wait_for_others()
    except KeyboardInterrupt:
        pass
    try:
        while _stages:
            _stages.pop().close()
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
