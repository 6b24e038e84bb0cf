"""`callboard.run(...)` and `await callboard.arun(...)`: the machine behind a function call.

One engine thread with its own loop for each process and project, started when it is first needed. Whoever calls
posts and waits; the functions of a script run in threads of its process, its coroutines on the loop that awaits
us. The library installs no signal handler: KeyboardInterrupt in the wait asks for an orderly halt, a second one
leaves at once. A forked child gets a clear error instead of its parent's connections.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import inspect
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.app.commands.carry import Carrier, Left, Stop
from callboard.app.commands.playing import tell_production
from callboard.app.commands.submit import submit_functions, submit_pipeline
from callboard.app.settings import from_environment
from callboard.app.stage.functions import FunctionPlan, FunctionTask, plan
from callboard.app.views import run as views
from callboard.app.views.runs import summary
from callboard.app.wiring import House, open_house
from callboard.backends.loops import OtherLoop
from callboard.core.status import FAILED, STOPPED, SUCCESS, Status
from callboard.errors import ForkedProcess, RunCancelled, RunFailed, RunInterrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callboard.core.run import Run
    from callboard.ports import RunRow

Flow = "FunctionPlan | FunctionTask | Callable[..., Any] | str | os.PathLike[str]"


class Result:
    """How a run ended. `value` is that of its last task; `result["task"]` the value of any task.

    `id` names the run on the command line, `status` is success, failed, stopped or running (it waits for somebody,
    `because` says for whom); `partly` says that something that was not critical failed.
    """

    def __init__(self, house: House, row: RunRow, left: Left) -> None:
        self._house, self.id, self.number = house, row.id, row.number
        self.status = left.status.name.lower()
        self.because = left.because

    def __repr__(self) -> str:
        return f"<Result of {self.id}: {self.status}{', ' + self.because if self.because else ''}>"

    @property
    def value(self) -> Any:
        return views.result(self._house.store, self._row())

    @property
    def partly(self) -> bool:
        run = self._run()
        return self.status == "success" and any(row.status is FAILED for row in run.nodes)

    def __getitem__(self, task: str) -> Any:
        """The value of a task or item (`task/key`). Raises KeyError when the run has no such task."""
        run = self._run()
        node = run.find(task)
        if node is None:
            raise KeyError(task)
        return views.value(self._house.store, run, run.nodes[node])

    @property
    def cost(self) -> float | None:
        """US dollars."""
        cost: float | None = summary(self._house.store, self._row())["cost"]
        return cost

    def tasks(self) -> dict[str, str]:
        """Status by task name."""
        run = self._run()
        return {row.task.name: row.status.name.lower() for row in run.nodes[: len(run.plan.tasks)]}

    def _row(self) -> RunRow:
        return self._house.find_run(self.id)

    def _run(self) -> Run:
        return views.in_memory(self._house.store, self._row())


def run(
    flow: Any,
    input: str | None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    project: str | os.PathLike[str] | None = None,
    store: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Result:
    """Carry a flow out and wait: a pipeline file, a `plan(...)` of functions, or one function.

    Everything is recorded in the project around the current directory (made if there is none), or nowhere with
    `store="memory"`. With an `id` that is known the same run goes on. Raises RunFailed, RunCancelled, RunInterrupted
    (resume it with the same call and its `id`), UsageError; on the engine's own thread or inside a running loop use
    `await callboard.arun(...)`.
    """
    stage = _stage(project, store, model)
    stage.refuse_own_thread()
    future = stage.post(flow, input, name, id, params, loop=None)
    return _result(stage, *_wait(stage, future))


async def arun(
    flow: Any,
    input: str | None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    project: str | os.PathLike[str] | None = None,
    store: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Result:
    """As `run`, awaited: coroutine functions run on the loop that awaits. Cancelling it interrupts the run."""
    stage = _stage(project, store, model)
    future = stage.post(flow, input, name, id, params, loop=asyncio.get_running_loop())
    try:
        row, left = await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:
        stage.interrupt(future)
        raise
    return _result(stage, row, left)


def _result(stage: Stage, row: RunRow, left: Left) -> Result:
    result = Result(stage.house, row, left)
    if left.status is SUCCESS or (left.status is Status.RUNNING and left.because != "interrupted"):
        return result
    if left.status is STOPPED:
        raise RunCancelled(f"run {row.id} was stopped", run=row.id)
    if left.status is FAILED:
        raise RunFailed(f"run {row.id} failed: {_failures(stage.house, row)}", run=row.id)
    raise RunInterrupted(f"run {row.id} was interrupted; go on with the same call and id={row.id!r}", run=row.id)


def _failures(house: House, row: RunRow) -> str:
    run = views.in_memory(house.store, house.store.find_run(row.id))
    tasks = [node for node in run.nodes[: len(run.plan.tasks)] if node.status is FAILED]
    return "; ".join(f"{node.task.name}: {node.reason}" for node in tasks) or "nothing succeeded"


def _wait(stage: Stage, future: concurrent.futures.Future[tuple[RunRow, Left]]) -> tuple[RunRow, Left]:
    try:
        return future.result()
    except KeyboardInterrupt:
        stage.interrupt(future)
        try:
            return future.result()
        except KeyboardInterrupt:
            os._exit(130)


# ── the engine thread ───────────────────────────────────────────────────────────────────────────────────


class Stage:
    """The engine thread of one project in this process."""

    def __init__(self, house: House) -> None:
        self.house, self.pid = house, os.getpid()
        self._carrier: Carrier | None = None
        self._loop = asyncio.new_event_loop()
        self._stops: dict[concurrent.futures.Future[Any], Stop] = {}
        self._thread = threading.Thread(target=self._run, name="callboard engine", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise UsageError("callboard.run would wait for itself on the engine's own thread; use await callboard.arun")

    def post(
        self,
        flow: Any,
        input: str | None,
        name: str | None,
        id: str | None,
        params: Mapping[str, Any] | None,
        *,
        loop: asyncio.AbstractEventLoop | None,
    ) -> concurrent.futures.Future[tuple[RunRow, Left]]:
        """Record the run here, so that mistakes are told here; carry it out there."""
        if self.pid != os.getpid():
            raise ForkedProcess("this process was forked from one that has the project open; start it with spawn")
        row = self._submit(flow, input, name, id, params, loop)
        stop = Stop()
        future = asyncio.run_coroutine_threadsafe(self._carried(row, stop), self._loop)
        self._stops[future] = stop
        future.add_done_callback(lambda done: self._stops.pop(done, None))
        return future

    def _submit(
        self,
        flow: Any,
        input: str | None,
        name: str | None,
        id: str | None,
        params: Mapping[str, Any] | None,
        loop: asyncio.AbstractEventLoop | None,
    ) -> RunRow:
        if isinstance(flow, str | os.PathLike):
            return submit_pipeline(self.house, Path(flow), input, name=name, id=id, vars=params)
        flow = plan(flow) if isinstance(flow, FunctionTask) or callable(flow) else flow
        if not isinstance(flow, FunctionPlan):
            raise UsageError(f"callboard.run takes a pipeline file, a plan or a function, not {type(flow).__name__}")
        calls = [_on(loop, call) for call in flow.calls]
        return submit_functions(self.house, flow.plan, calls, input, name=name, id=id, params=params)

    async def _carried(self, row: RunRow, stop: Stop) -> tuple[RunRow, Left]:
        return row, await self._carry(row.number, stop)

    async def _carry(self, number: int, stop: Stop) -> Left:
        if self._carrier is None:
            self._carrier = Carrier(self.house)
            await self._carrier.engine.start()
        left = (await self._carrier.carry([number], stop))[number]
        if left.because == "interrupted":
            await self._carrier.engine.interrupt(number)
        tell_production(self.house, number, left.status, left.because)
        return left

    def interrupt(self, future: concurrent.futures.Future[Any]) -> None:
        stop = self._stops.get(future)
        if stop is not None:
            self._loop.call_soon_threadsafe(stop.pull)

    def close(self) -> None:
        """Halt what is at work in good order; called when the interpreter ends."""
        if self.pid != os.getpid():
            return
        waiting = list(self._stops)
        for future in waiting:
            self.interrupt(future)
        concurrent.futures.wait(waiting, timeout=10)
        if self._carrier is not None:
            asyncio.run_coroutine_threadsafe(self._carrier.engine.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self.house.close()


def _on(loop: asyncio.AbstractEventLoop | None, call: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function of a caller with a loop runs on that loop: what it uses was made there."""
    if loop is None or not inspect.iscoroutinefunction(inspect.unwrap(call)):
        return call
    there = OtherLoop(loop)

    @functools.wraps(call)
    async def hop(**arguments: Any) -> Any:
        return await there(call(**arguments))

    return hop


_stages: dict[tuple[str, str | None], Stage] = {}
_lock = threading.Lock()


def _stage(project: str | os.PathLike[str] | None, store: str | None, model: str | None) -> Stage:
    if store not in (None, "memory"):
        raise UsageError(f'store is "memory" or left away, not {store!r}')
    settings = from_environment(os.environ, project=os.fspath(project) if project is not None else None, model=model)
    where = "memory" if store == "memory" else str(Path(settings.project or Path.cwd()).resolve())
    with _lock:
        stage = _stages.get((where, settings.model))
        if stage is not None and stage.pid != os.getpid():
            raise ForkedProcess("this process was forked from one that has the project open; start it with spawn")
        if stage is None:
            house = open_house(settings, here=Path.cwd(), make=True, memory=store == "memory", inside=True)
            stage = _stages[where, settings.model] = Stage(house)
            atexit.register(stage.close)
        return stage
