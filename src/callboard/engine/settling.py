"""What follows a commit: it is on disk, so orders leave, people are answered, watchers are told, in this order.

Nothing here happens before its transaction is synced, and nothing of it is recorded: whoever dies in the middle of it
finds it again in the rows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from callboard.core.executions import unpack
from callboard.core.facts import Judged
from callboard.core.orders import Evaluate, Finish, List, Start, Stop, StopList, Tick, Wake
from callboard.core.status import ENDED
from callboard.engine import answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from callboard.core.facts import Fact
    from callboard.core.orders import Order
    from callboard.engine.batch import Stepped
    from callboard.engine.held import Held
    from callboard.engine.taking import Parts, Taking
    from callboard.engine.texts import Texts
    from callboard.ports import Watcher


class Settling:
    """The hands of the turns (`turns.Hands`). `probe` asks a condition that a user wrote; `watchers` may grow."""

    def __init__(
        self,
        parts: Parts,
        taking: Taking,
        texts: Texts,
        watchers: Sequence[Watcher],
        probe: Callable[[int, Evaluate], Awaitable[Judged]] | None,
    ) -> None:
        self._parts, self._taking, self._texts, self._watchers, self._probe = parts, taking, texts, watchers, probe
        self._loop = asyncio.get_running_loop()
        self.reload, self.lose, self.set_aside = taking.reload, taking.lose, taking.set_aside
        self.dropped, self.tell = texts.forget, parts.tell

    def settle(self, stepped: Stepped, elapsed: float) -> None:
        """It is on disk: carry out its orders, answer, tell. Those who wait get their answer whatever fails here."""
        held = stepped.held
        run = None if held.lost else held.run
        try:
            if run is not None:
                self._act(held, stepped, elapsed)
        finally:
            answers.give(stepped, gone=held.lost or self._parts.runs.get(held.number) is not held)
        held.failures = 0
        if run is None:
            return
        self.moved(held.number, stepped.facts, stepped.orders)
        if run.status in ENDED and held.number in self._parts.runs and not (held.facts or held.mail):
            self._taking.found_ended(held, run.status)  # it was on disk although its commit had failed

    def _act(self, held: Held, stepped: Stepped, elapsed: float) -> None:
        if stepped.write.outcomes:
            self._keep(held, stepped.write.outcomes)
        for item in stepped.write.items:
            held.values[item[0]] = item[4]
        for order in stepped.orders:
            if type(order) is Start:
                self._parts.dispatcher.start(held, order, elapsed)
            else:
                self._carry_out(held, order, elapsed)
        if stepped.documents:
            self._parts.publisher.publish(held, stepped.documents)
        if not held.drained:
            self._loop.call_soon(self._parts.look)

    def moved(self, run: int, facts: Sequence[Fact], orders: Sequence[Order]) -> None:
        for watcher in tuple(self._watchers):  # one of them may leave while it is told
            try:
                watcher(run, facts, orders)
            except Exception as error:
                self._parts.tell.fault("a watcher failed", error)

    def _keep(self, held: Held, outcomes: Sequence[tuple[int, int, str]]) -> None:
        """Keep outcomes that someone below may soon read."""
        assert held.run is not None
        children = held.run.graph.children
        for id, revision, text in outcomes:
            run, node, number = unpack(id)
            if node >= len(children) or children[node]:
                self._texts.keep((run, node, number, revision), text)

    def _carry_out(self, held: Held, order: Order, elapsed: float) -> None:
        match order:
            case Stop():
                self._parts.dispatcher.stop(held, order)
            case List():
                self._parts.dispatcher.list(held, order, elapsed)
            case StopList():
                self._parts.dispatcher.stop_list(held, order)
            case Wake() | Tick():
                self._taking.set_timer(held, order)
            case Evaluate():
                self.evaluate(held, order)
            case Finish(status):
                self._taking.finish(held, status)

    def evaluate(self, held: Held, order: Evaluate) -> None:
        self._taking.spawn(self._judge(held, order))

    async def _judge(self, held: Held, order: Evaluate) -> None:
        """Ask a probe; one that is not there, raises or takes too long has not been met."""
        judged = Judged(order.rule, order.offset, None)
        try:
            if self._probe is not None:
                judged = await self._probe(held.number, order)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the engine ends; else it has cancelled itself, and the run would wait for it for ever
        except (Exception, SystemExit):
            pass
        self._taking.post_if_ours(held, judged)
