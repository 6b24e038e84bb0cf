"""Warm child processes for user functions: each carries many calls at once, and none can harm the engine.

A call goes to the child with the fewest in flight. A child that dies loses all of its calls, and from outside
nobody can tell which of them killed it; so each of these attempts is a *suspect*, and the next attempt of a
suspect gets a child to itself. The guilty one is alone when it kills again; the others are cleared by ending. An
effect that may happen once only is never put at the mercy of others: it always has a child to itself. A file of the
user's that ends the children which import it is left out after the second one, so that it takes away no other's
functions. Once a child has died a further one is kept in reserve, because starting one takes a while.
A call that does not stop when asked, or leaves processes behind when it does, condemns its child: it gets no more
calls, those in flight may end until the grace period is over, and what is still there then is lost without being
guilty.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from callboard.backends.child import Child, Settings
from callboard.backends.flight import STOPPED, Flight
from callboard.backends.wire import encode
from callboard.errors import CallboardError, Permanent, StepError, WorkerLost
from callboard.ports import Done

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from callboard.ports import Context, Handler, Json, Page, Work

_HEED = 0.5  # seconds in which a call is expected to stop when asked
_MOST_SUSPECTS = 10_000
_MOST_DEATHS = 2  # of children that were importing the same file

#: The name of a function that a script has handed over, and that no module of the project's folder holds.
_OF_A_SCRIPT = re.compile(r"(?!function\.)[\w.]+:.+@[0-9a-f]+")

Name = tuple[int, int, int]  # run, node, number
T = TypeVar("T")


class Children:
    """Implements `ports.Backend` for executors that run user code.

    `wrap` puts the middleware around our innermost handler; `context` makes the `ctx` of an attempt; `seen` says
    what of a work is sent; `lister` lists. `count` children carry up to `width` calls each; they start when
    first needed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        wrap: Callable[[Handler], Handler],
        context: Callable[[Work], Context],
        seen: Callable[[Work], Mapping[str, Json]],
        lister: Callable[[Work, int], Awaitable[Page]],
        count: int = 2,
        width: int = 16,
    ) -> None:
        self._settings, self._context, self._seen, self._lister = settings, context, seen, lister
        self._count, self._width = count, width
        self._handler = wrap(self.perform)
        self._children: list[Child] = []
        self._ending: set[Child] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()  # attempts that the machine has let start, each a row
        self._suspects: dict[Name, None] = {}
        self._alone, self._cells = asyncio.Semaphore(count), set[Child]()
        self._deaths: dict[str, int] = {}
        self._reserve: Child | None = None
        self._is_closed = False

    # ── the port ────────────────────────────────────────────────────────────────────────────────────────

    async def carry_out(self, work: Work) -> Done:
        """Raises StepError, WorkerLost when the child died, CancelledError once the call has really stopped."""
        return await self._handler(work, self._context(work))

    async def list_page(self, work: Work, page: int) -> Page:
        return await self._lister(work, page)

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        """As far as it is known: before a child has said which functions it has, all are believed."""
        if executor != "function":
            return f"no executor of kind {executor!r} runs in a child"
        if _OF_A_SCRIPT.fullmatch(str(inputs.get("function", ""))):
            return f"its functions live in {inputs.get('file') or 'another process'}; run it again"
        return None

    async def close(self) -> None:
        """End all children. Calls in flight are lost, and not guilty."""
        self._is_closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        kept = [self._reserve] if self._reserve is not None else []
        await asyncio.gather(*(child.close() for child in (*self._children, *self._cells, *self._ending, *kept)))

    # ── one call ────────────────────────────────────────────────────────────────────────────────────────

    async def perform(self, work: Work, ctx: Context) -> Done:
        """The innermost handler: one call in a child."""
        name = (work.run, work.node, work.number)
        inputs = self._seen(work)
        if name in self._suspects or work.effect == "once":
            value = await self._by_itself(name, ctx, inputs)
        else:
            child = self._free() or await self._turn()
            try:
                value = await self._flown(name, child, ctx, inputs)
            finally:
                self._next()
        return Done(f'{{"value":{encode(value)}}}')

    async def _by_itself(self, name: Name, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """In a child that carries nothing else; it stays warm for the next suspect as long as it lives.

        Who is cancelled before its turn comes says so (`waited`): of an effect that is all one wants to know.
        """
        try:
            await self._alone.acquire()
        except asyncio.CancelledError as cancelled:
            cancelled.waited = True  # type: ignore[attr-defined]
            raise
        try:
            self._check_open()
            idle = next((child for child in self._cells if not child.flights and not child.condemned), None)
            child = idle or self._new()
            self._cells.add(child)
            return await self._flown(name, child, ctx, inputs)
        finally:
            self._alone.release()

    async def _flown(self, name: Name, child: Child, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """The value of a call, when it has ended; a value that came in spite of a cancellation is kept."""
        flight = _begun(child, ctx, inputs)
        try:
            return await self._landed(name, child, flight)
        finally:
            if child.condemned:
                self._retire(child)
                if not child.flights:
                    child.kill(child.condemned)

    async def _landed(self, name: Name, child: Child, flight: Flight) -> Json:
        try:
            value = await flight.ended
        except asyncio.CancelledError as cancelled:
            value = await self._stopped(child, flight)
            if value is STOPPED:
                raise cancelled
        except WorkerLost as lost:
            self._suspect(name, lost)
            raise
        except CallboardError as error:
            self._suspects.pop(name, None)
            raise _step(error) from error
        self._suspects.pop(name, None)
        return value

    async def _stopped(self, child: Child, flight: Flight) -> Any:
        """Wait until a call has really stopped; its value when it had one after all."""
        flight.outlive()
        if not flight.ended.done():
            child.stop(flight)
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(_HEED, self._condemn, child),
            loop.call_later(self._settings.grace, lambda: child.kill("a call in it did not stop", innocent=True)),
        ]
        while not flight.ended.done():
            try:
                await asyncio.wait([flight.ended])
            except asyncio.CancelledError:
                continue  # it is being stopped already
        for timer in timers:
            timer.cancel()
        await self._cleared(child, flight)
        return STOPPED if flight.ended.exception() is not None else flight.ended.result()

    async def _cleared(self, child: Child, flight: Flight) -> None:
        """Wait until nothing lives any more that a call may have left behind. Nobody can tell whose a process is, so
        the child ends with all of them."""
        if not await _whole(child.has_offspring(flight)):
            return
        self._condemn(child, "a call in it left processes behind")
        if child.flights:
            loop = asyncio.get_running_loop()
            loop.call_later(
                self._settings.grace, lambda: child.kill("a call in it left processes behind", innocent=True)
            )
        else:
            child.kill("a call in it left processes behind")
        await _whole(_ends(child))

    def _suspect(self, name: Name, lost: WorkerLost) -> None:
        if not lost.innocent:
            self._suspects[name] = None
            for oldest in list(self._suspects)[:-_MOST_SUSPECTS] if len(self._suspects) > _MOST_SUSPECTS else ():
                del self._suspects[oldest]

    # ── children ────────────────────────────────────────────────────────────────────────────────────────

    def _free(self) -> Child | None:
        """The child with the fewest calls, one begun for it while there may be more; None when all are full.

        While one is starting, those that are up carry its calls too: nobody waits because somebody else's child died.
        """
        self._check_open()
        up = [child for child in self._children if child.is_up]
        best = min(up or self._children, key=_load, default=None)
        if best is not None and not best.flights:
            return best
        if len(self._children) < self._count:
            begun = self._begin()
            best = best if up else begun
        room = self._width * self._count // len(up) if up else self._width
        return best if best is not None and len(best.flights) < room else None

    def _check_open(self) -> None:
        if self._is_closed:
            raise WorkerLost("its backend is closed", innocent=True, begun=False)

    async def _turn(self) -> Child:
        """Wait for a child with room, in the order of asking."""
        enqueue = self._waiting.append
        while True:
            waiter = asyncio.get_running_loop().create_future()
            enqueue(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._next()  # its turn had come, and goes to the next
                raise
            if (child := self._free()) is not None:
                return child
            enqueue = self._waiting.appendleft  # somebody was faster: it stays the first

    def _next(self) -> None:
        """Somebody has room again: wake the first who waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _begin(self) -> Child:
        child = self._new()
        self._children.append(child)
        return child

    def _new(self) -> Child:
        """The one in reserve, else a child that is about to start."""
        child, self._reserve = self._reserve, None
        return child if child is not None and not child.condemned else self._started()

    def _started(self) -> Child:
        return Child(self._settings, self._ended, [file for file, n in self._deaths.items() if n >= _MOST_DEATHS])

    def _condemn(self, child: Child, why: str = "a call in it did not stop") -> None:
        """Take it out of service; another one takes its place."""
        child.condemn(why)
        self._retire(child)

    def _ended(self, child: Child) -> None:
        if child.importing:
            self._deaths[child.importing] = self._deaths.get(child.importing, 0) + 1
        self._retire(child)
        self._cells.discard(child)
        self._ending.discard(child)
        if child is self._reserve:
            self._reserve = None
        elif self._reserve is None and child.is_up and child.has_cost and not self._is_closed:
            self._reserve = self._started()

    def _retire(self, child: Child) -> None:
        if child in self._children:
            self._children.remove(child)
            self._ending.add(child)
            for _ in range(self._width):
                self._next()


def _begun(child: Child, ctx: Context, inputs: Mapping[str, Json]) -> Flight:
    try:
        return child.fly(ctx, inputs)
    except ValueError as error:
        raise Permanent(f"its inputs are not JSON: {error}") from error


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Await something to its end although we are cancelled again and again: we are stopping already."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


async def _ends(child: Child) -> None:
    await asyncio.wait([child.living])


def _step(error: CallboardError) -> StepError:
    """What a backend may raise, for what a child said."""
    return error if isinstance(error, StepError) else Permanent(str(error))


def _load(child: Child) -> int:
    return len(child.flights)
