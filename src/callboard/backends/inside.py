"""Inside a child: calls come in as lines, run in threads or on this process's loop, and go out as lines.

A sync function runs in a worker thread, straight from the line that asked for it; the loop of the main thread is
for async functions only, because the way over it costs more than a small call. Answers that are ready together
leave in one write. The wire is on descriptors of its own: what the user's code prints is a log line of its call,
what it writes to descriptor 1 or 2 is caught by the engine, and neither can be taken for a message.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import ctypes
import io
import os
import queue
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from callboard.backends import wire
from callboard.backends.asks import FarCache, FarDocuments, FarModel
from callboard.errors import InvalidOutput, Permanent, StepError
from callboard.ports import Attempt
from callboard.text import strict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from callboard.ports import Cache, Documents, Json, Log, Model

_EVERY = 0.25  # seconds between two log lines, or two signs of progress, of a call
_MOST_LOG = 8_000  # characters of a log line; what comes faster than lines may leave is joined and cut
_MOST_LINES = 200  # that wait to be sent
_MOST_THREADS = 256


class Carrier(Protocol):
    """What carries a call out; `app/child.py` makes one of the `function` executor. Values are JSON text."""

    def is_async(self, inputs: Mapping[str, Json]) -> bool: ...
    def call(self, ctx: ChildContext, inputs: Mapping[str, Json]) -> str: ...
    async def awaited(self, ctx: ChildContext, inputs: Mapping[str, Json]) -> str: ...
    def failure(self, error: BaseException) -> StepError: ...


class Interrupt(BaseException):
    """Raised inside a sync function that was asked to stop."""


_current: contextvars.ContextVar[ChildContext | None] = contextvars.ContextVar("call", default=None)


class Inside:
    """Serves the wire until it ends. `serve` must be called in the main thread; it never returns."""

    def __init__(self, read: int, write: int, carrier: Carrier) -> None:
        self._read, self._carrier = read, carrier
        self.out = _Out(write)
        self._loop = asyncio.new_event_loop()
        self._calls: dict[int, _Call] = {}
        self._waiting: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._threads = self._idle = 0
        self._lock = threading.Lock()
        self.asks = _Asks(self.out)

    def serve(self, hello: bytes) -> NoReturn:
        sys.stdout = sys.stderr = _Prints()
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

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call back on the loop, from any thread."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, call)

    def _take(
        self, id: int, attempt: list[Any], key: str, inputs: dict[str, Json], granted: dict[str, str], limits: Json
    ) -> None:
        call = _Call(id, ChildContext(self, id, Attempt(*attempt), key, granted, limits), inputs)
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
        _current.set(call.ctx)
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
        _current.set(call.ctx)
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


class ChildContext:
    """`ports.Context` in a child: every member speaks lines."""

    __slots__ = (
        "_lines", "_out", "_progressed", "attempt", "cache", "documents", "id", "key", "limits", "log", "model",
        "secrets",
    )  # fmt: skip

    def __init__(
        self, inside: Inside, id: int, attempt: Attempt, key: str, secrets: Mapping[str, str], limits: Mapping[str, int]
    ) -> None:
        self._out, self.id, self.attempt, self.key = inside.out, id, attempt, key
        self.secrets, self.limits = secrets, limits
        ask = _Ask(inside.asks, id)
        self.model: Model = FarModel(ask)
        self.documents: Documents = FarDocuments(ask)
        self.cache: Cache = FarCache(ask)
        self._lines = _Log(id, inside.out, inside.later)
        self.log: Log = self._lines
        self._progressed = 0.0

    def flush(self) -> None:
        """The call has ended: send the log lines that wait."""
        self._lines.end()

    def print(self, text: str) -> None:
        """What the user's code has printed."""
        self._lines.print(text)

    def publish(self, key: str, value: Json = None) -> None:
        """Raises NotJson."""
        strict.check([key, value])
        self._out.send(wire.pack("publish", self.id, key, value))

    def save(self, write: str, params: Mapping[str, Json]) -> None:
        """Raises NotJson."""
        params = dict(params)
        strict.check([write, params])
        self._out.send(wire.pack("save", self.id, write, params))

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        now = time.monotonic()
        if now - self._progressed < _EVERY and done != of:
            return
        self._progressed = now
        line = wire.pack("progress", self.id, float(done), None if of is None else float(of), _plain(note)[:500])
        self._out.send(line)


class _Log:
    """`ports.Log` of one call: lines that come faster than four a second are joined, and the middle of many is lost."""

    __slots__ = ("_half", "_id", "_later", "_lines", "_lock", "_logged", "_out", "_waits")

    def __init__(self, id: int, out: _Out, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._id, self._out, self._later = id, out, later
        self._lines: list[tuple[str, str]] = []
        self._logged, self._waits, self._half = 0.0, False, ""
        self._lock = threading.Lock()

    def __call__(self, text: str, level: str = "info") -> None:
        with self._lock:
            self._lines.append((str(text)[:_MOST_LOG], str(level)))
            if len(self._lines) > _MOST_LINES:
                del self._lines[_MOST_LINES // 2]
            if self._waits:
                return
            wait = self._logged + _EVERY - time.monotonic()
            self._waits = wait > 0
        if wait > 0:
            self._later(wait, self.flush)
        else:
            self.flush()

    def print(self, text: str) -> None:
        with self._lock:
            *lines, half = (self._half + text).split("\n")
            self._half = half[-_MOST_LOG:]
        for line in lines:
            self(line, "print")

    def end(self) -> None:
        if self._half:
            self.print("\n")
        self.flush()

    def flush(self) -> None:
        if not self._lines:
            return
        with self._lock:
            lines, self._lines, self._waits = self._lines, [], False
            self._logged = time.monotonic()
        for level in dict.fromkeys(level for _, level in lines):
            text = "\n".join(text for text, its in lines if its == level)
            text = text if len(text) <= _MOST_LOG else f"{text[: _MOST_LOG // 2]}\n…\n{text[-_MOST_LOG // 2 :]}"
            self._out.send(wire.pack("log", self._id, _plain(text), _plain(level)))


class _Out:
    """The wire out. Whoever finds it free writes what all have ready."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._ready: list[bytes] = []
        self._lock, self._writing = threading.Lock(), threading.Lock()

    def send(self, line: bytes) -> None:
        with self._lock:
            self._ready.append(line)
        while self._ready and self._writing.acquire(blocking=False):
            try:
                with self._lock:
                    lines, self._ready = self._ready, []
                self._write(b"".join(lines))
            finally:
                self._writing.release()

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os._exit(1)  # the engine is gone


class _Asks:
    """Questions of all calls that wait for their answer."""

    def __init__(self, out: _Out) -> None:
        self._out, self._last, self._lock = out, 0, threading.Lock()
        self._open: dict[int, dict[int, concurrent.futures.Future[Json]]] = {}

    def ask(self, id: int, what: str, arguments: tuple[Json, ...]) -> concurrent.futures.Future[Json]:
        future: concurrent.futures.Future[Json] = concurrent.futures.Future()
        strict.check(list(arguments))
        with self._lock:
            self._last += 1
            number = self._last
            self._open.setdefault(id, {})[number] = future
        line = wire.pack("ask", id, number, what, *arguments)
        if len(line) > wire.LONGEST:
            raise Permanent(f"what is asked has {len(line) >> 20} MiB; at most {wire.LONGEST >> 20} MiB can be sent")
        self._out.send(line)
        return future

    def answered(self, number: int, is_good: bool, told: Json) -> None:
        with self._lock:
            future = next((asks.pop(number) for asks in self._open.values() if number in asks), None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if is_good:
            future.set_result(told)
        else:
            future.set_exception(wire.error_in(told))

    def stop(self, id: int) -> None:
        """A call that waits for an answer and shall stop gets `Interrupt` instead."""
        with self._lock:
            asks = self._open.pop(id, {})
        for future in asks.values():
            if future.set_running_or_notify_cancel():
                future.set_exception(Interrupt())

    def forget(self, id: int) -> None:
        with self._lock:
            self._open.pop(id, None)


class _Ask:
    """`asks.Asking` for one call."""

    __slots__ = ("_asks", "_id")

    def __init__(self, asks: _Asks, id: int) -> None:
        self._asks, self._id = asks, id

    def now(self, what: str, *arguments: Json) -> Json:
        return self._asks.ask(self._id, what, arguments).result()

    def later(self, what: str, *arguments: Json) -> Awaitable[Json]:
        return asyncio.wrap_future(self._asks.ask(self._id, what, arguments))


class _Prints(io.TextIOBase):
    """What user code prints: log lines of the call that printed, or the process's own output outside of any."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        ctx = _current.get()
        if ctx is None:
            os.write(2, text.encode(errors="replace"))
        else:
            ctx.print(text)
        return len(text)


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()
