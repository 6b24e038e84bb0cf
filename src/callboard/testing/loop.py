"""An event loop on virtual time: what asyncio asks of a loop, and no more. `virtual.py` makes things happen on it."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Halt(BaseException):
    """The process is gone, here: nothing after this line happens."""


class Entry:
    """Something that will happen: to a process (None: to the world), on its loop or beside it."""

    __slots__ = ("at", "call", "handle", "loop", "number", "process", "when")

    def __init__(self, at: float, process: Any, call: Callable[[], object]) -> None:
        self.at, self.process, self.call = at, process, call
        self.number = 0
        self.loop = False  # on the loop of its process, which may be blocked
        self.when = 0.0  # by the host's monotonic clock, when it is a timer
        self.handle: asyncio.Handle | None = None

    def __lt__(self, other: Entry) -> bool:
        return (self.at, self.number) < (other.at, other.number)


def settle(future: Future[Any], call: Callable[[], Any]) -> None:
    """Carry a call out beside any loop; a process that dies in it tells nobody."""
    try:
        result = call()
    except Halt:
        return
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)


class _Task(asyncio.Task[T]):
    """A set of tasks comes in the order they were made, not in that of their addresses."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class Loop:
    """asyncio's loop of one process, on the world's time."""

    def __init__(self, process: Any) -> None:
        self._process, self._world = process, process.world
        itself: Any = self  # as asyncio's types know loops
        self._itself = itself
        self.tasks: list[asyncio.Task[Any]] = []
        self._made = 0

    def time(self) -> float:
        now: float = self._process.host.monotonic()
        return now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._itself, context)
        self._put(handle, self._world.time)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self._itself, context)
        self._put(handle, self._world.time + max(0.0, when - self.time()), when)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the heap and is passed over."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._itself)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None, **more: Any) -> asyncio.Task[Any]:
        return self._begin(coro, name or "", context)

    def _begin(self, coro: Any, name: str = "", context: Any = None) -> asyncio.Task[Any]:
        self._made += 1
        if self._made % 500 == 0:
            self.tasks = [task for task in self.tasks if not task.done()]
        task: _Task[Any] = _Task.__new__(_Task)
        task.number = self._made
        task.__init__(coro, loop=self._itself, name=name, context=context)  # type: ignore[misc]
        self.tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        told: asyncio.Future[T] = self.create_future()

        def tell(future: Future[T]) -> None:
            self.call_soon(_hand_over, future, told)

        if executor is None:
            future: Future[T] = Future()
            call = lambda: func(*args)  # noqa: E731
            self._world.after(self._world.random.random() * 1e-3, lambda: settle(future, call), self._process)
        else:
            future = executor.submit(func, *args)
        future.add_done_callback(tell)
        return told

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not self._process.dead and not isinstance(error, Halt):
            self._world.faults.append(f"{self._process.name}: {context.get('message')} {error!r}")

    def _put(self, handle: asyncio.Handle, at: float, when: float = 0.0) -> None:
        entry = Entry(at, self._process, lambda: self._carry_out(handle))
        entry.loop, entry.when, entry.handle = True, when, handle
        self._process.put(entry)

    def _carry_out(self, handle: asyncio.Handle) -> None:
        self._world.note(self._process.name)
        with contextlib.suppress(Halt):
            handle._run()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something on this loop from outside of it."""
        task: asyncio.Task[T] = self._begin(work)
        return task


def _hand_over(future: Future[T], told: asyncio.Future[T]) -> None:
    if told.done():
        return
    error = future.exception()
    if error is not None:
        told.set_exception(error)
    else:
        told.set_result(future.result())
