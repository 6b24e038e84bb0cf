"""Putting documents in place, after the outcome that brings them is on disk.

One document at a time for each run, in the order they were recorded, in a thread. A disk that is full is asked
again until it has room; then `Published` goes to the machine, and the row in the index follows in its step.
After a crash what is still *pending* is simply published again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from callboard.core.facts import DocumentEdited, Published
from callboard.crash import point
from callboard.ports import Placed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from callboard.core.facts import Fact
    from callboard.engine.held import Held
    from callboard.engine.telling import Telling

Put: TypeAlias = "Callable[[int, str, str, str | None], object]"

_WAITS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Publisher:
    """`put(run, path, hash, replaces)` blocks until the document is in place, tells how, and may be called again."""

    def __init__(
        self,
        put: Put | None,
        post: Callable[[Held, Fact], None],
        sleep: Callable[[float], Awaitable[None]],
        report: Telling,
        misplaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._put, self._post, self._sleep, self._report = put, post, sleep, report
        self._misplaced = misplaced
        self._queues: dict[int, deque[tuple[str, str, str | None, int]]] = {}
        self._tasks: set[tuple[int, asyncio.Task[None]]] = set()
        self.closing = False  # what cannot be put in place stays *pending*, and is published at the next start

    def publish(self, held: Held, documents: Iterable[tuple[str, str, str | None, int]]) -> None:
        """(path, hash, hash it replaces, execution id), recorded as pending."""
        queue = self._queues.get(held.number)
        if queue is not None:
            queue.extend(one for one in documents if one not in queue)
            return
        self._queues[held.number] = queue = deque(documents)
        task = asyncio.get_running_loop().create_task(self._work_off(held, queue))
        self._tasks.add((held.number, task))
        task.add_done_callback(lambda task: self._ended(held.number, task))

    async def idle(self, run: int | None = None) -> None:
        """Wait until everything is in place, of one run or of all."""
        while tasks := [task for number, task in self._tasks if run in (None, number)]:
            await asyncio.wait(tasks)

    def close(self) -> None:
        for _, task in self._tasks:
            task.cancel()

    async def _work_off(self, held: Held, queue: deque[tuple[str, str, str | None, int]]) -> None:
        try:
            while queue and not held.lost:
                path, hash, replaces, id = queue[0]
                placed = await self._put_in_place(held, path, hash, replaces)
                if placed is None:
                    return
                queue.popleft()
                if not held.lost:
                    self._tell(held, (path, hash, replaces, id), placed)
        finally:
            self._queues.pop(held.number, None)

    def _ended(self, run: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard((run, task))
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._report.fault("documents wait to be put in place", error)

    def _tell(self, held: Held, document: tuple[str, str, str | None, int], placed: Placed) -> None:
        """It is in place, or beside a person's version, which is that of the run from now on: no edit of ours, but of
        what ours was to take the place of."""
        path, hash, replaces, _ = document
        if placed.beside:
            held.published.append((*document, "conflict", placed.beside))
        else:
            held.published.append((*document, "published"))
        self._post(held, Published(path, hash))
        if placed.beside:
            self._post(held, DocumentEdited(path, replaces or "", placed.theirs))

    async def _put_in_place(self, held: Held, path: str, hash: str, replaces: str | None) -> Placed | None:
        """Where it is now; None when the engine ends or loses the run while it cannot be put in place."""
        tried, told = 0, ""
        while self._put is not None:
            try:
                point("document.place")
                placed = await asyncio.to_thread(self._put, held.number, path, hash, replaces)
                point("document.placed")
                return placed if isinstance(placed, Placed) else Placed()
            except Exception as error:  # also no thread, no memory: what is recorded is put in place some time
                why = f"{path} cannot be put in place: {error}"
            if self.closing or held.lost:
                return None
            self._misplaced()
            if why != told:
                self._report("waiting", why)
            told = why
            await self._sleep(_WAITS[min(tried, len(_WAITS) - 1)])
            tried += 1
        return Placed()
