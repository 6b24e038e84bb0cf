"""Inside a child: calls come in as lines, run in threads or on this process's loop, and go out as lines.

A sync function runs in a worker thread, straight from the line that asked for it; the loop of the main thread is
for async functions only, because the way over it costs more than a small call. Answers that are ready together
leave in one write. The wire is on descriptors of its own: what the user's code prints is a log line of its call,
what it writes to descriptor 1 or 2 is caught by the engine, and neither can be taken for a message.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import queue
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from callboard.backends import wire
from callboard.backends.far import Asks, ChildContext, Interrupt, Mouth, Out, Prints, current
from callboard.errors import InvalidOutput, StepError
from callboard.ports import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callboard.ports import Json

_MOST_THREADS = 256


class Carrier(Protocol):
    """What carries a call out; `app/child.py` makes one of the `function` executor. Values are JSON text."""

    def is_async(self, inputs: Mapping[str, Json]) -> bool: ...
    def call(self, ctx: ChildContext, inputs: Mapping[str, Json]) -> str: ...
    async def awaited(self, ctx: ChildContext, inputs: Mapping[str, Json]) -> str: ...
    def failure(self, error: BaseException) -> StepError: ...


class Inside:
    """Serves the wire until it ends. `serve` must be called in the main thread; it never returns."""

    def __init__(self, read: int, write: int, carrier: Carrier) -> None:
        self._read, self._carrier = read, carrier
        self.out = Out(write)
        self._loop = asyncio.new_event_loop()
        self._calls: dict[int, _Call] = {}
        self._waiting: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._threads = self._idle = 0
        self._lock = threading.Lock()
        self.asks = Asks(self.out)
        self._mouth = Mouth(self.out, self.asks, self._later)

    def serve(self, hello: bytes) -> NoReturn:
        sys.stdout = sys.stderr = Prints()
        self.out.send(hello)
        threading.Thread(target=self._listen, name="callboard wire", daemon=True).start()
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        os._exit(0)

    # ── the wire ────────────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        """Until the engine closes the wire: then there is nobody to work for."""
        try:
            self._hear()
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
        os._exit(0)

    def _hear(self) -> None:
        lines = wire.Lines(longest=1 << 40)
        while data := os.read(self._read, 1 << 18):
            for line in lines.cut(data):
                operation, *rest = wire.unpack(line)
                if operation == "work":
                    self._take(*rest)
                elif operation == "cancel":
                    self._cancel(rest[0])
                elif operation == "answer":
                    self.asks.answered(*rest)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call back on the loop, from any thread."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, call)

    def _take(
        self, id: int, attempt: list[Any], key: str, inputs: dict[str, Json], granted: dict[str, str], limits: Json
    ) -> None:
        call = _Call(id, ChildContext(self._mouth, id, Attempt(*attempt), key, granted, limits), inputs)
        self._calls[id] = call
        try:
            is_async = self._carrier.is_async(inputs)
        except Exception as error:
            self._end(call, self._failed(call, error))
            return
        if is_async:
            self._loop.call_soon_threadsafe(self._begin, call)
            return
        self._waiting.put(call)
        self._grow()

    def _cancel(self, id: int) -> None:
        call = self._calls.get(id)
        if call is None:
            return
        self.asks.stop(id)
        self._loop.call_soon_threadsafe(call.cancel)

    def _end(self, call: _Call, line: bytes) -> None:
        call.ctx.flush()
        self._calls.pop(call.id, None)
        self.asks.forget(call.id)
        self.out.send(line)

    def _done(self, call: _Call, text: str) -> bytes:
        """Raises InvalidOutput for a value too large for the wire."""
        line = f'["done",{call.id},{text}]\n'.encode()
        if len(line) > wire.LONGEST:
            most = wire.LONGEST >> 20
            raise InvalidOutput(
                f"its value has {len(line) >> 20} MiB; at most {most} MiB can be returned. Fix: write it to a document"
            )
        return line

    def _failed(self, call: _Call, error: BaseException) -> bytes:
        return wire.pack("failed", call.id, wire.error_out(self._carrier.failure(error)))

    # ── sync functions, each in a thread ────────────────────────────────────────────────────────────────

    def _grow(self) -> None:
        with self._lock:
            if self._idle >= self._waiting.qsize() or self._threads >= _MOST_THREADS:
                return
            self._threads += 1
            self._idle += 1
        threading.Thread(target=self._work, name="callboard function", daemon=True).start()

    def _work(self) -> None:
        while True:
            call = self._waiting.get()
            with self._lock:
                self._idle -= 1
            self._end(call, contextvars.copy_context().run(self._carried, call))
            with self._lock:
                self._idle += 1

    def _carried(self, call: _Call) -> bytes:
        """The line that ends a sync call."""
        current.set(call.ctx)
        try:
            if not call.enter():
                return wire.pack("stopped", call.id)
            try:
                text = self._carrier.call(call.ctx, call.inputs)
            finally:
                call.leave()
            return self._done(call, text)
        except Interrupt:
            return wire.pack("stopped", call.id)
        except BaseException as error:
            return self._failed(call, error)

    # ── async functions, on the loop of the main thread ─────────────────────────────────────────────────

    def _begin(self, call: _Call) -> None:
        call.task = self._loop.create_task(self._awaited(call))
        if call.is_cancelled:
            call.task.cancel()

    async def _awaited(self, call: _Call) -> None:
        current.set(call.ctx)
        try:
            line = self._done(call, await self._carrier.awaited(call.ctx, call.inputs))
        except asyncio.CancelledError:
            line = wire.pack("stopped", call.id)
        except Interrupt:
            line = wire.pack("stopped", call.id)
        except BaseException as error:
            line = self._failed(call, error)
        self._end(call, line)


class _Call:
    """One call. `enter` and `leave` bracket the user's code: only between them may its thread be interrupted."""

    __slots__ = ("_lock", "_thread", "ctx", "id", "inputs", "is_cancelled", "task")

    def __init__(self, id: int, ctx: ChildContext, inputs: dict[str, Json]) -> None:
        self.id, self.ctx, self.inputs = id, ctx, inputs
        self.is_cancelled = False
        self.task: asyncio.Task[None] | None = None
        self._thread: int | None = None
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """False when it was cancelled before it began."""
        with self._lock:
            if not self.is_cancelled:
                self._thread = threading.get_ident()
        return not self.is_cancelled

    def leave(self) -> None:
        """An interruption that was not delivered yet is taken back."""
        with self._lock:
            if self._thread is not None and self.is_cancelled:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)
            self._thread = None

    def cancel(self) -> None:
        """Cancel the task, or raise `Interrupt` in the thread: at its next step, so not inside a blocking call."""
        with self._lock:
            if self.is_cancelled:
                return
            self.is_cancelled = True
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(Interrupt))
        if self.task is not None:
            self.task.cancel()
