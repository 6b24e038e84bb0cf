"""Where blocking calls of a user's own process run: threads that nobody has to wait for at exit.

A thread cannot be ended. When its call is cancelled or times out it is *disowned*: its result will not be looked
at, it is counted until it ends, and its place is given to another thread. `asyncio.to_thread` keeps the
interpreter from exiting while a call hangs, and lends 32 threads to all of asyncio.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from typing import TYPE_CHECKING, Any

from callboard.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE = 10.0  # seconds after which a thread without work ends


class Threads:
    """Runs blocking calls, at most `most` at once; `disowned` calls still run though nobody waits for them."""

    def __init__(self, most: int = 64) -> None:
        self._most, self._alive, self._idle, self.disowned = most, 0, 0, 0
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    async def __call__(self, call: Callable[[], Any]) -> Any:
        """What `call` returns or raises. When cancelled, a call that has begun is disowned.

        Raises Transient when there is no thread, and none can be started; then it is not called later either.
        """
        one = _Call(call)
        self._calls.put(one)
        self._grow()
        with self._lock:
            if not self._alive and one.state == "waiting":
                one.state = "dropped"
                raise Transient("no further thread can be started")
        try:
            return await one.future
        except asyncio.CancelledError:
            with self._lock:
                if one.state == "running":
                    one.state = "disowned"
                    self.disowned += 1
                    self._alive -= 1
                elif one.state == "waiting":
                    one.state = "dropped"
            self._grow()
            raise

    def close(self) -> None:
        """Let idle threads end; those at work end with their call."""
        with self._lock:
            alive = self._alive
        for _ in range(alive):
            self._calls.put(None)

    def _grow(self) -> None:
        with self._lock:
            if self._idle >= self._calls.qsize() or self._alive >= self._most:
                return
            self._alive += 1
        try:
            threading.Thread(target=self._serve, name="callboard function", daemon=True).start()
        except RuntimeError:  # the system gives no more: those that there are go on, and nobody counts on this one
            with self._lock:
                self._alive -= 1

    def _serve(self) -> None:
        while (call := self._next()) is not None:
            with self._lock:
                if call.state == "dropped":
                    continue
                call.state = "running"
            result, error = call.run()
            with self._lock:
                was, call.state = call.state, "ended"
                if was == "disowned":
                    self.disowned -= 1
                    if self._alive or not self._calls.qsize():
                        return
                    self._alive += 1  # no other thread could be started in its place
                    continue
            call.answer(result, error)

    def _next(self) -> _Call | None:
        with self._lock:
            self._idle += 1
        try:
            call = self._calls.get(timeout=_IDLE)
        except queue.Empty:
            call = None
        with self._lock:
            self._idle -= 1
            if call is None:
                self._alive -= 1
        return call


class _Call:
    """One call: waiting, running, ended, or dropped before and disowned after it began."""

    __slots__ = ("_call", "_context", "_loop", "future", "state")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call, self._context, self.state = call, contextvars.copy_context(), "waiting"
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> tuple[Any, BaseException | None]:
        try:
            return self._context.run(self._call), None
        except BaseException as error:
            return None, error

    def answer(self, result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _set(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if isinstance(error, StopIteration):  # no future can carry it
            error = RuntimeError("the function raised StopIteration")
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
