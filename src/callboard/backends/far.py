"""The context in a child: what user code says there becomes lines, and what it asks is answered by lines.

Log lines and progress may be lost and are sent four times a second at most; events and saves are not, and since
they travel on the wire before the answer they cannot come after it. Answers that are ready together leave in one
write, by whoever finds the wire free.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import io
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from callboard.backends import wire
from callboard.backends.asks import FarCache, FarDocuments, FarModel
from callboard.errors import Permanent
from callboard.ports import MOST_GATHERED, MOST_GATHERED_BYTES, TOO_MUCH_GATHERED
from callboard.text import strict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from callboard.ports import Attempt, Cache, Documents, Json, Log, Model

_EVERY = 0.25  # seconds between two log lines, or two signs of progress, of a call
_MOST_LOG = 8_000  # characters of a log line; what comes faster than lines may leave is joined and cut
_MOST_LINES = 200  # that wait to be sent
_MOST_LEVELS = 8  # of the lines that leave together


class Interrupt(BaseException):
    """Raised inside a call that was asked to stop."""


class Mouth(NamedTuple):
    """What all calls of a child share: the wire out, open questions, and a way to do something later."""

    out: Out
    asks: Asks
    later: Callable[[float, Callable[[], None]], None]


current: contextvars.ContextVar[ChildContext | None] = contextvars.ContextVar("call", default=None)


class ChildContext:
    """`ports.Context` in a child: every member speaks lines."""

    __slots__ = (
        "_gathered", "_lines", "_out", "_progressed", "attempt", "cache", "documents", "id", "key", "limits", "log",
        "model", "secrets",
    )  # fmt: skip

    def __init__(
        self,
        mouth: Mouth,
        id: int,
        attempt: Attempt,
        key: str,
        secrets: Mapping[str, str],
        limits: Mapping[str, int],
    ) -> None:
        self._out, self.id, self.attempt, self.key = mouth.out, id, attempt, key
        self.secrets, self.limits = secrets, limits
        ask = _Ask(mouth.asks, id)
        self.model: Model = FarModel(ask)
        self.documents: Documents = FarDocuments(ask)
        self.cache: Cache = FarCache(ask)
        self._lines = _Log(id, mouth.out, mouth.later)
        self.log: Log = self._lines
        self._progressed = 0.0
        self._gathered = 0, 0  # events and saves so far, and their bytes

    def flush(self) -> None:
        """The call has ended: send the log lines that wait."""
        self._lines.end()

    def print(self, text: str) -> None:
        """What the user's code has printed."""
        self._lines.print(text)

    def publish(self, key: str, value: Json = None) -> None:
        """Raises NotJson, Permanent when there are too many."""
        strict.check([key, value])
        self._gather(wire.pack("publish", self.id, key, value))

    def save(self, write: str, params: Mapping[str, Json]) -> None:
        """Raises NotJson, Permanent when there are too many."""
        params = dict(params)
        strict.check([write, params])
        self._gather(wire.pack("save", self.id, write, params))

    def _gather(self, line: bytes) -> None:
        """The engine keeps these until the outcome, and ends a child that brings it more: so it is told here."""
        count, size = self._gathered[0] + 1, self._gathered[1] + len(line)
        if count > MOST_GATHERED or size > MOST_GATHERED_BYTES:
            raise Permanent(TOO_MUCH_GATHERED)
        self._gathered = count, size
        self._out.send(line)

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        now = time.monotonic()
        if now - self._progressed < _EVERY and done != of:
            return
        self._progressed = now
        line = wire.pack("progress", self.id, float(done), None if of is None else float(of), strict.plain(note)[:500])
        self._out.send(line)


class _Log:
    """`ports.Log` of one call: lines that come faster than four a second are joined, and the middle of many is lost."""

    __slots__ = ("_half", "_id", "_later", "_lines", "_lock", "_logged", "_out", "_waits")

    def __init__(self, id: int, out: Out, later: Callable[[float, Callable[[], None]], None]) -> None:
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
        levels = list(dict.fromkeys(level for _, level in lines))
        if len(levels) > _MOST_LEVELS:
            lines, levels = [(text, "info") for text, _ in lines], ["info"]
        for level in levels:
            text = "\n".join(text for text, its in lines if its == level)
            text = text if len(text) <= _MOST_LOG else f"{text[: _MOST_LOG // 2]}\n…\n{text[-_MOST_LOG // 2 :]}"
            self._out.send(wire.pack("log", self._id, strict.plain(text), strict.plain(level)))


class Out:
    """The wire out. Whoever finds it free writes what all have ready.

    A full pipe holds up who writes. What others have ready meanwhile is bounded for each call: its log lines, its signs
    of progress, its events and saves, and a question for each answer it waits for. A copy of the process that a call
    has forked has nothing to say on it.
    """

    def __init__(self, file: int) -> None:
        self._file, self.is_copy = file, False
        self._ready: list[bytes] = []
        self._lock, self._writing = threading.Lock(), threading.Lock()

    def send(self, line: bytes) -> None:
        if self.is_copy:
            return
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


class Asks:
    """Questions of all calls that wait for their answer."""

    def __init__(self, out: Out) -> None:
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

    def __init__(self, asks: Asks, id: int) -> None:
        self._asks, self._id = asks, id

    def now(self, what: str, *arguments: Json) -> Json:
        return self._asks.ask(self._id, what, arguments).result()

    def later(self, what: str, *arguments: Json) -> Awaitable[Json]:
        return asyncio.wrap_future(self._asks.ask(self._id, what, arguments))


class Prints(io.TextIOBase):
    """What user code prints: log lines of the call that printed, or the process's own output outside of any."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Others print here too."""

    def write(self, text: str) -> int:
        ctx = current.get()
        if ctx is None:
            with contextlib.suppress(OSError):  # somebody has closed it
                os.write(2, text.encode(errors="replace"))
        else:
            ctx.print(text)
        return len(text)
