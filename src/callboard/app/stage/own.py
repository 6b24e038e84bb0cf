"""Functions of this very process, found by the run that brought them along.

A name is not enough for a lambda, a closure or a notebook's cell: two of them may have the same source and differ
in what they have closed over. So whoever carries a run out *binds* its tasks to the functions it was given; only a
task without a binding (a function step of a pipeline file) is looked up by its name.

Sync functions run in threads, coroutine functions on the loop of whoever awaits the run, or on a loop of their own.
What they raise is kept as it was, for the caller who waits. A Ctrl-C that strikes in the middle of one, and a loop
that ends under one, are an interruption of the run and not a failure of the task.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.backends.loops import LoopThread, OtherLoop
from callboard.backends.threads import Threads
from callboard.errors import Permanent
from callboard.executors.function import Functions, value
from callboard.executors.registry import Function, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from callboard.app.commands.carry import Stop
    from callboard.ports import Context, Json


_PATIENCE = 1.0  # seconds that a loop has to go round


class Bound(NamedTuple):
    """The functions of one run by task, the loop its coroutines belong to, the cord that interrupts it, its errors."""

    functions: Mapping[str, Function]
    loop: asyncio.AbstractEventLoop | None
    stop: Stop | None
    errors: dict[str, BaseException]


class OwnFunctions(Functions):
    """Implements `ports.Executor`. Belongs to the engine's loop, but for `runs_here`."""

    def __init__(self, registry: Registry) -> None:
        self._threads, self._coroutines = Threads(), LoopThread()
        self._has_loop = False
        self._bound: dict[str, Bound] = {}
        super().__init__(registry, off_loop=self._threads, on_loop=self._on_own_loop)

    # ── who brought what ────────────────────────────────────────────────────────────────────────────────

    def bind(
        self, run: str, calls: Mapping[str, Callable[..., Any]], loop: asyncio.AbstractEventLoop | None, stop: Stop
    ) -> dict[str, BaseException]:
        """Let the tasks of a run (its id) call these, until `unbind`. What they raise will be in the dict, by task."""
        found = {task: _function(call) for task, call in calls.items()}
        self._bound[run] = bound = Bound(found, loop, stop, {})
        return bound.errors

    def unbind(self, run: str) -> None:
        self._bound.pop(run, None)

    # ── calling ─────────────────────────────────────────────────────────────────────────────────────────

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        bound = self._bound.get(ctx.attempt.run) or Bound({}, None, None, {})
        function = bound.functions.get(ctx.attempt.task) or self.find(inputs)
        call, data = self.bound(function, ctx, inputs)
        try:
            return value(await self._called(bound, function, call), data)
        except BaseException as error:
            if bound.stop is not None and isinstance(error, KeyboardInterrupt | _LoopEnded):
                bound.stop.pull()
                return await asyncio.get_running_loop().create_future()  # until the halt has come round to us
            bound.errors[ctx.attempt.task] = error
            if isinstance(error, Exception | SystemExit | asyncio.CancelledError):
                raise
            raise Permanent(f"{type(error).__name__}: {error}") from error  # anything else would end the engine's loop

    async def _called(self, bound: Bound, function: Function, call: Callable[[], Any]) -> Any:
        result = call() if function.is_async else await self._threads(call)
        return await self._awaited(bound, result) if inspect.iscoroutine(result) else result

    async def _awaited(self, bound: Bound, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if bound.loop is None:
            return await self._on_own_loop(coroutine)
        if bound.loop.is_closed():
            coroutine.close()
            raise _LoopEnded
        try:
            return await OtherLoop(bound.loop)(coroutine)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await _gone_round(bound.loop)
            if (bound.stop is not None and bound.stop.is_pulled) or not bound.loop.is_running():
                raise _LoopEnded from None
            raise  # it has cancelled itself

    async def _on_own_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        self._has_loop = True
        return await OtherLoop(self._coroutines.loop)(coroutine)

    def runs_here(self) -> bool:
        """Whether the calling thread is the one that carries coroutines: to block it would be to wait for itself."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return False
        return self._has_loop and running is self._coroutines.loop

    def close(self) -> None:
        self._threads.close()
        self._coroutines.close()


class _LoopEnded(Exception):
    """The loop that a coroutine belongs to runs no more."""


async def _gone_round(loop: asyncio.AbstractEventLoop) -> None:
    """Wait until another loop has gone round once more: `asyncio.run` cancels all tasks in the end, the one that
    awaits a run and what it runs there, in any order."""
    here = asyncio.get_running_loop()
    done = here.create_future()

    def tell() -> None:
        here.call_soon_threadsafe(done.set_result, None)

    with contextlib.suppress(RuntimeError):  # it is closed by now
        loop.call_soon_threadsafe(loop.call_soon, tell)
        await asyncio.wait([done], timeout=_PATIENCE)


def _function(call: Callable[..., Any]) -> Function:
    registry = Registry()
    found = registry.find(registry.add(call))
    assert found is not None
    return found
