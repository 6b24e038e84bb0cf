"""`callboard.run(...)` and `await callboard.arun(...)`: the machine behind a function call.

Both post to the engine's thread (`thread.py`) and wait. The library installs no signal handler: KeyboardInterrupt in
the wait asks for an orderly halt of this one run and goes on as what it is, so that nobody who catches errors swallows
it; a second one leaves at once.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

from callboard.app.commands.carry import Stop
from callboard.app.settings import from_environment
from callboard.app.stage.thread import EngineThread, Flow, Play, Played, engine_thread
from callboard.app.views import run as views
from callboard.app.views.summary import summary
from callboard.core.status import ENDED, FAILED, STOPPED
from callboard.errors import RunCancelled, RunFailed, RunInterrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.app.commands.carry import Left
    from callboard.app.wiring import House
    from callboard.core.run import Run
    from callboard.ports import RunRow


class Result:
    """How a run was left. What is asked of it is read from the project then.

    id       the run's name on the command line, and what `run(..., id=…)` takes
    status   "success", or "running" when the run waits for somebody; then `because` says for whom or what
    value    what the last task returned; a dict by name when several tasks are last
    partly   something that was not critical failed
    cost     US dollars; None when the price of a model is unknown
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
        told = summary(self._house.store, self._row())
        cost: float | None = None if told["unpriced"] else told["cost"]
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
    play = Play(flow, input, name, id, params, None, threading.current_thread(), Stop())
    return result(play, wait(thread_of(project, store, model), play))


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
    thread = thread_of(project, store, model)
    loop = asyncio.get_running_loop()
    play = Play(flow, input, name, id, params, loop, threading.current_thread(), Stop())
    waiting = asyncio.wrap_future(thread.post(play))
    try:
        played = await asyncio.shield(waiting)
    except asyncio.CancelledError:
        thread.interrupt(play)
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            waiting.exception()  # looked at, so that nobody complains of an error nobody saw
        raise
    return result(play, played)


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────


def thread_of(
    project: str | os.PathLike[str] | None = None, store: str | None = None, model: str | None = None
) -> EngineThread:
    """The engine thread that a call means. Raises UsageError, ForkedProcess."""
    if store not in (None, "memory"):
        raise UsageError(f'store is "memory" or left away, not {store!r}')
    settings = from_environment(os.environ, project=os.fspath(project) if project is not None else None, model=model)
    return engine_thread(settings, memory=store == "memory")


def wait(thread: EngineThread, play: Play) -> Played:
    """Post a call and wait for it, on a thread that may block.

    Ctrl-C halts the run in good order and goes on as KeyboardInterrupt, whose cause is a RunInterrupted with its id.
    """
    thread.refuse_own_threads()
    future = thread.post(play)
    try:
        return future.result()
    except KeyboardInterrupt:
        thread.interrupt(play)
        try:
            played = future.result()
        except KeyboardInterrupt:
            os._exit(130)
        except RunInterrupted as error:
            raise KeyboardInterrupt(str(error)) from error
        if _is_interrupted(played):
            interrupted = _interrupted(play, played)
            raise KeyboardInterrupt(str(interrupted)) from interrupted
        raise


def result(play: Play, played: Played) -> Result:
    """Raises RunFailed, RunCancelled, RunInterrupted."""
    run = played.row.id
    if played.left.status is FAILED:
        reasons = _failed(played)
        why = "; ".join(f"{name}: {reason.removeprefix(name + ': ')}" for name, reason in reasons.items())
        raised = [played.errors.get(name.partition("/")[0]) for name in reasons]
        cause = next((error for error in raised if error is not None), None)
        raise RunFailed(f"run {run} failed: {why or 'nothing succeeded'}", run=run) from cause
    if played.left.status is STOPPED:
        raise RunCancelled(f"run {run} was stopped", run=run)
    if _is_interrupted(played):
        raise _interrupted(play, played)
    return Result(played.house, played.row, played.left)


def _is_interrupted(played: Played) -> bool:
    return played.left.status not in ENDED and played.left.because == "interrupted"


def _interrupted(play: Play, played: Played) -> RunInterrupted:
    run = played.row.id
    return RunInterrupted(f"run {run} was interrupted; go on with {play.again(run)}", run=run)


def _failed(played: Played) -> dict[str, str]:
    """Reasons by name: of the items of a task that maps, where they tell more."""
    run = views.in_memory(played.house.store, played.house.store.find_run(played.row.id))
    failed = [row for row in run.nodes if row.status is FAILED]
    mapped = {row.parent for row in failed}
    return {run.name_of(row.id): row.reason for row in failed if row.id not in mapped}
