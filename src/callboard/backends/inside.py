"""Inside a child: calls come in as lines, run in threads or on this process's loop, and go out as lines.

A sync function runs in a worker thread, straight from the line that asked for it; the loop of the main thread is
for async functions only, because the way over it costs more than a small call. Answers that are ready together
leave in one write. The wire is on descriptors of its own: what the user's code prints is a log line of its call,
what it writes to descriptor 1 or 2 is caught by the engine, and neither can be taken for a message.

Calls share the process, and what one of them does to it must not be another one's failure. Each thread has a working
directory and a umask of its own, put back after the call; a call in which memory ran out says so apart from its
failure, because the next one would meet the same; a copy of the process that a call forks and lets come back here is
ended; and where not even a failure can be told any more, the process ends, which is an answer too.
"""

from __future__ import annotations

import asyncio
import contextlib
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
_MOST_CAUSES = 10
_CLONE_FS = 0x200  # of unshare(2): working directory, root and umask


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
        self._home, self._umask = os.getcwd(), os.umask(0o077)
        os.umask(self._umask)

    def serve(self, hello: bytes) -> NoReturn:
        os.register_at_fork(after_in_child=self._is_copied)
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

    def _is_copied(self) -> None:
        """In a copy that a call has forked: what is printed there belongs to no call."""
        self.out.is_copy = True
        current.set(None)

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
        if self.out.is_copy:
            os._exit(1)
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
        how = "exhausted" if _ran_out(error) else "failed"
        return wire.pack(how, call.id, wire.error_out(self._carrier.failure(error)))

    def _come_home(self) -> None:
        """Put back what a call may have moved."""
        os.umask(self._umask)
        with contextlib.suppress(OSError):
            if _directory() != self._home:
                os.chdir(self._home)

    # ── sync functions, each in a thread ────────────────────────────────────────────────────────────────

    def _grow(self) -> None:
        with self._lock:
            if self._idle >= self._waiting.qsize() or self._threads >= _MOST_THREADS:
                return
            self._threads += 1
            self._idle += 1
        threading.Thread(target=self._work, name="callboard function", daemon=True).start()

    def _work(self) -> None:
        try:
            _stand_alone()
            while True:
                call = self._waiting.get()
                with self._lock:
                    self._idle -= 1
                self._end(call, contextvars.copy_context().run(self._carried, call))
                self._come_home()
                with self._lock:
                    self._idle += 1
        except BaseException:
            self._give_up()

    def _give_up(self) -> NoReturn:
        """A call could not even say how it failed."""
        with contextlib.suppress(BaseException):
            traceback.print_exc(file=sys.__stderr__)
        os._exit(1)

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
            try:
                line = self._failed(call, error)
            except BaseException:
                self._give_up()
        try:
            self._come_home()
            self._end(call, line)
        except BaseException:
            self._give_up()


def _ran_out(error: BaseException | None) -> bool:
    """Whether memory ran out somewhere on the way to this error."""
    for _ in range(_MOST_CAUSES):
        if error is None or isinstance(error, MemoryError):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, MemoryError)


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _stand_alone() -> None:
    """Give this thread a working directory and a umask of its own, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_CLONE_FS)


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
