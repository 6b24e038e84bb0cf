"""Carrying out orders: a Start becomes a work in a task of the loop, and its end becomes a fact.

Only what is on disk gets here. Nothing dear is done per attempt: a plain asyncio task, a queue per distinct
timeout (`deadlines.py`), no task group. Stopping cancels the task and waits for its real end: what the machine
calls at work stays so until nothing of it runs any more. A result that came in spite of a cancellation is kept,
it may have been paid for. An effect that may happen once only, and was ended by us in the middle, has an end that
nobody knows: a person decides. Only where it surely had not begun is it simply begun again.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import traceback
from typing import TYPE_CHECKING, Any

from callboard.core.facts import (
    DocumentEdited,
    Failed,
    Halted,
    LeaseLost,
    Listed,
    ListFailed,
    ListStopped,
    Notice,
    Produced,
    Refused,
    Skipped,
    Stopped,
    Succeeded,
    TimedOut,
    Written,
    encode,
)
from callboard.engine.deadlines import Deadlines
from callboard.engine.held import AtWork
from callboard.errors import BudgetRefused, NoRoom, StepError, StoreDamaged, StoreError, Transient, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from callboard.core.facts import Fact
    from callboard.core.orders import List, Start, Stop, StopList
    from callboard.engine.held import Held
    from callboard.engine.inputs import Inputs
    from callboard.engine.timers import Timers
    from callboard.ports import Backend, Done, Json, Page, Work

#: Characters of a traceback that are kept as evidence: its end, where the error stands.
MOST_EVIDENCE = 4000
#: Tries of a page of a list, and seconds before the second one.
LIST_TRIES, LIST_DELAY = 3, 1.0
#: Seconds between two looks at a store that cannot be read just now.
_STORE_WAITS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Dispatcher:
    """Holds all works of an engine. `post(held, fact, size, last)` takes the facts they end with.

    `last` says that nothing else is outside, and that the caller is the end of a task.
    """

    def __init__(
        self,
        backend: Backend,
        inputs: Inputs,
        timers: Timers,
        post: Callable[[Held, Fact, int, bool], None],
        publish: Callable[[Held, Sequence[tuple[str, Json]], str], Awaitable[tuple[Notice, ...]]],
    ) -> None:
        self._backend, self._inputs, self._timers, self._post, self._publish = backend, inputs, timers, post, publish
        self._deadlines = Deadlines(timers, self._expire)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # attempts must not see each other's variables

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self, held: Held, order: Start, elapsed: float) -> None:
        run = held.run
        assert run is not None
        at = held.works[order.node] = AtWork(held, run, order.node, order.number, order.attempt)
        self._deadlines.add(at, run.nodes[order.node].task.timeout, elapsed)
        self._run(at, self._carry(at, order))

    def list(self, held: Held, order: List, elapsed: float) -> None:
        run = held.run
        assert run is not None
        at = held.lists[order.node] = AtWork(held, run, order.node, order.number, order.page)
        self._deadlines.add(at, run.nodes[order.node].task.timeout, elapsed)
        self._run(at, self._carry_list(at, order))

    def stop(self, held: Held, order: Stop) -> None:
        """What has ended already has its fact on the way."""
        at = held.works.get(order.node)
        if at is not None and (at.number, at.attempt) == (order.number, order.attempt):
            self.end(at, "stop")

    def stop_list(self, held: Held, order: StopList) -> None:
        at = held.lists.get(order.node)
        if at is None:
            self._post(held, ListStopped(order.node, order.number), 0, False)
        elif at.number == order.number:
            self.end(at, "stop")

    def end_all(self, held: Held, why: str) -> None:
        """Cancel whatever of a run is outside: `halt` (facts follow) or `lost` (nobody hears of it any more)."""
        for at in (*held.works.values(), *held.lists.values()):
            self.end(at, why)

    async def idle(self, held: Held | None = None) -> None:
        """Wait until nothing is outside any more, of one run or of all."""
        while tasks := self._tasks if held is None else _tasks(held):
            await asyncio.wait(tasks)

    def _run(self, at: AtWork, work: Any) -> None:
        # what `create_task` makes, less a look for a factory and a name of its own for each
        task = asyncio.Task(work, loop=self._loop, name="callboard", context=self._context.copy())
        at.task = task
        self._tasks.add(task)

    def end(self, at: AtWork, why: str) -> None:
        """Cancel; the first reason counts, but whoever has lost the run has nothing to say about it any more."""
        if at.over:
            return
        if not at.why or why == "lost":
            at.why = why
        assert at.task is not None
        at.task.cancel()
        if not at.begun:
            self._over(at, self._ending(at, begun=False))

    def _expire(self, at: AtWork) -> None:
        self.end(at, "timeout")

    # ── attempts ────────────────────────────────────────────────────────────────────────────────────────

    async def _carry(self, at: AtWork, order: Start) -> None:
        at.begun = True
        size = 0
        fact: Fact | None
        try:
            work = self._inputs.ready(at.held, at.run, order) or await self._fetched(at, order)
            done = await self._backend.carry_out(work)
            size = len(done.outcome.encode())
            notices = await self._published(at, done.events, work.attempt.task) if done.events else ()
            self._edited(at, done.edits)
            fact = _done(at, work, done, notices)
        except asyncio.CancelledError as cancelled:
            fact = self._ending(at, begun=not getattr(cancelled, "waited", False))
        except (Exception, SystemExit) as error:
            fact = failure(at, error)
        self._over(at, fact, size, inside=True)

    async def _fetched(self, at: AtWork, order: Start | List) -> Work:
        """Inputs from a store that may be out of reach for a while; the time limit of the attempt ends the wait."""
        tried = 0
        while True:
            try:
                return await self._inputs.fetched(at.held, at.run, order, lambda edits: self._edited(at, edits))
            except StoreDamaged:
                raise
            except StoreError:
                await self.sleep(_STORE_WAITS[min(tried, len(_STORE_WAITS) - 1)])
                tried += 1

    async def _published(self, at: AtWork, events: Sequence[tuple[str, Json]], sender: str) -> tuple[Notice, ...]:
        """Events in the log. Where there is no room nothing of them was recorded, so they may wait for it."""
        tried = 0
        while True:
            try:
                return await self._publish(at.held, events, sender)
            except NoRoom:
                await self.sleep(_STORE_WAITS[min(tried, len(_STORE_WAITS) - 1)])
                tried += 1

    async def sleep(self, seconds: float) -> None:
        """Wait, by the clock port."""
        waiting = self._loop.create_future()
        self._timers.at(self._timers.elapsed() + seconds, lambda: _wake(waiting))
        await waiting

    def _ending(self, at: AtWork, *, begun: bool = True) -> Fact | None:
        """The fact of an attempt that was cancelled, by the reason it was cancelled for. `begun`: for all we know."""
        name = at.node, at.number, at.attempt
        if at.held.lists.get(at.node) is at:
            return self._list_ending(at)
        match at.why:
            case "stop":
                return Stopped(*name)
            case "timeout" if begun or not _is_once(at):
                return TimedOut(*name)
            case "timeout":
                return Failed(*name, "transient", "its time was over before its turn came", None)
            case "halt" if begun and _is_once(at):
                return Failed(*name, "unknown", "it was interrupted", None)
            case "halt":
                return Halted(*name)
            case "lost":
                return None
        return LeaseLost(*name)

    def _over(self, at: AtWork, fact: Fact | None, size: int = 0, *, inside: bool = False) -> None:
        """Nothing of it runs any more."""
        at.over = True
        held = at.held
        if at.task is not None:
            self._tasks.discard(at.task)
        if held.works.get(at.node) is at:
            del held.works[at.node]
        elif held.lists.get(at.node) is at:
            del held.lists[at.node]
        if fact is not None and not held.lost:
            self._post(held, fact, size, inside and not self._tasks)

    def _edited(self, at: AtWork, edits: Iterable[tuple[str, str, str]]) -> None:
        """Versions of people that somebody came upon; their bytes are kept."""
        for edit in edits:
            self._post(at.held, DocumentEdited(*edit), 0, False)

    # ── lists ───────────────────────────────────────────────────────────────────────────────────────────

    async def _carry_list(self, at: AtWork, order: List) -> None:
        at.begun = True
        fact: Fact | None
        try:
            work, page = await self._page(at, order)
            self._edited(at, page.edits)
            items = tuple((key, value) for key, value in page.items)
            fact = Listed(at.node, at.number, order.page, items, page.more, _reads(work, page))
            encode(fact)
        except asyncio.CancelledError:
            fact = self._list_ending(at)
        except (Exception, SystemExit) as error:
            fact = ListFailed(at.node, at.number, _why(error))
        self._over(at, fact)

    async def _page(self, at: AtWork, order: List) -> tuple[Work, Page]:
        """A page; asking has no effect, so what may go away by itself is asked again."""
        work = self._inputs.ready(at.held, at.run, order) or await self._fetched(at, order)
        for tried in range(1, LIST_TRIES):
            try:
                return work, await self._backend.list_page(work, order.page)
            except Transient as error:
                await self.sleep(error.retry_after or LIST_DELAY * 2 ** (tried - 1))
        return work, await self._backend.list_page(work, order.page)

    def _list_ending(self, at: AtWork) -> Fact | None:
        if at.why in ("stop", "halt"):
            return ListStopped(at.node, at.number)  # after a halt the page is asked for again
        if at.why == "lost":
            return None
        return ListFailed(at.node, at.number, "timed out" if at.why == "timeout" else "cancelled")


def _tasks(held: Held) -> list[asyncio.Task[None]]:
    return [at.task for at in (*held.works.values(), *held.lists.values()) if at.task is not None]


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _reads(work: Work, done: Done | Page) -> tuple[tuple[str, str], ...]:
    """What an attempt was made from: what its needs were found in, and what it has read itself."""
    return tuple({**work.read, **dict(done.reads)}.items()) if work.read or done.reads else ()


def _done(at: AtWork, work: Work, done: Done, notices: tuple[Notice, ...]) -> Fact:
    name, reads = (at.node, at.number, at.attempt), _reads(work, done)
    held = at.held
    if done.calls:
        held.calls.extend(done.calls)
    if done.skipped:
        return Skipped(*name, done.skipped, reads)
    documents: tuple[Written, ...] = ()
    pending: tuple[str, ...] = ()
    if done.saves:
        held.extras[name] = done
    if done.documents:
        documents = tuple(Written(*document) for document in done.documents)
        pending = tuple(one.path for one in documents)
    if at.run.nodes[at.node].task.review is not None:
        hash = hashlib.sha256(done.outcome.encode()).hexdigest()
        return Produced(*name, hash, done.outcome, notices, documents, pending, reads)
    return Succeeded(*name, done.outcome, notices, documents, pending, reads)


def failure(at: AtWork, error: BaseException) -> Fact:
    """The fact behind an error of a backend or an executor."""
    name = at.node, at.number, at.attempt
    if isinstance(error, WorkerLost):
        if error.innocent:  # it was ended because of another attempt
            if _is_once(at) and error.begun:
                return Failed(*name, "unknown", _why(error), _json(error.evidence))
            return Halted(*name)
        return LeaseLost(*name, "worker", _clean(str(error)).strip(), _json(error.evidence))
    match error:
        case BudgetRefused():
            return Refused(*name, _why(error))
        case StepError():
            calls = getattr(error, "calls", ())
            at.held.calls.extend(calls)
            return Failed(*name, error.kind, _why(error), _json(error.evidence), getattr(error, "retry_after", None))
        case TimeoutError():
            return TimedOut(*name)
    last = _traceback(error)[-MOST_EVIDENCE:]
    return Failed(*name, "permanent", _why(error), {"type": type(error).__name__, "traceback": _clean(last)})


def _is_once(at: AtWork) -> bool:
    return at.run.nodes[at.node].task.effect == "once"


def _why(error: BaseException) -> str:
    try:
        why = str(error)
    except Exception:  # a `__str__` of somebody else's that raises: the attempt has failed all the same
        why = ""
    return _clean(why).strip() or type(error).__name__


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return ""


def _clean(text: str) -> str:
    """Text without what no strict JSON can carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json(evidence: object) -> object:
    """Evidence as it came if it is strict JSON, else as text."""
    try:
        encode(Refused(0, 0, 0, evidence)).encode()  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return _clean(repr(evidence))[-MOST_EVIDENCE:]
    return evidence
