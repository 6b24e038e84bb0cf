"""A user's coroutines on the loop they belong to: the one that awaits us, or one of their own.

The engine's loop lives in its own thread, and a client of the user's (a database pool, an HTTP session) belongs
to the loop it was made on. A cancellation here cancels there and waits until it has really ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

_PATIENCE = 5.0  # seconds that a cancelled coroutine has to end before it is disowned


class OtherLoop:
    """Awaits coroutines on `loop`, from any other loop. `disowned` ones did not end when they were cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.disowned = loop, 0

    async def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if asyncio.get_running_loop() is self._loop:
            return await coroutine
        there = _There(self._loop, coroutine)
        ended = asyncio.wrap_future(there.ended)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            if not ended.done():
                there.cancel()
                await self._wait(ended)
            raise

    async def _wait(self, ended: asyncio.Future[Any]) -> None:
        await asyncio.wait([ended], timeout=_PATIENCE)
        if not ended.done():
            self.disowned += 1
        elif not ended.cancelled():
            ended.exception()  # looked at, so that nobody complains of an error nobody saw


class LoopThread:
    """A loop in a daemon thread, for coroutines of a script that has no loop of its own. Started when first asked."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(loop,), name="callboard coroutines", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    loop.close()  # no thread can be started: nobody may wait for what would run on it
                    raise
                self._loop = loop
            return self._loop

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(_PATIENCE)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


class _There:
    """A coroutine as a task of another loop; `ended` is done when nothing of it runs any more.

    A task that raises SystemExit ends its loop, with all that others have on it, and tells nobody. So it is kept, and
    told like any other error.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._loop, self._coroutine = loop, coroutine
        self._task: asyncio.Task[Any] | None = None
        self._left: BaseException | None = None
        self.ended: concurrent.futures.Future[Any] = concurrent.futures.Future()
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def _start(self) -> None:
        self._task = self._loop.create_task(self._kept())
        self._task.add_done_callback(self._done)

    async def _kept(self) -> Any:
        try:
            return await self._coroutine
        except (SystemExit, KeyboardInterrupt) as error:
            self._left = error

    def _done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.ended.cancel()
        elif (error := self._left or task.exception()) is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())
