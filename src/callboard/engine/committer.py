"""Commits: on the loop while they are short, in one worker thread when they are not.

A hand-over to a thread and back costs a chain 40 % of its speed, a slow disk or another writer's lock on the loop
costs everybody else theirs. What the last commits took decides, nothing is configured. Beside a thread that computes a
commit takes 5 ms longer, wherever it is made, because it waits for the interpreter: that is no reason to move. At
most one is in flight; the next batch gathers meanwhile, and no timer waits for more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.engine.threads import Threads
    from callboard.ports import Store, Write

T = TypeVar("T")

#: Seconds: a commit that takes longer belongs in the thread …
SLOW = 0.010
#: … and the loop takes over again after this many in a row that were short there.
SHORT_AGAIN = 8


class _Result(NamedTuple):
    done: bool  # False: another writer has the lock, nothing was tried
    error: BaseException | None
    seconds: float


class Committer:
    """Owns the thread in which an engine's store is written when it is slow."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store, self._seconds, self._away = store, threads.seconds, threads.away
        self._loop = asyncio.get_running_loop()
        # which says "another writer is at it" instead of waiting for it on the loop
        self._here: Callable[[Sequence[Write]], bool | None] = store.try_commit
        self._thread = threads.worker("callboard-store")
        self._in_thread = 0  # short commits still to be seen there before the loop takes over
        self.flying = False

    def commit(self, writes: Sequence[Write], then: Callable[[BaseException | None], None]) -> None:
        """Commit and call `then` on the loop: at once when the commit ran here, else when the thread is done."""
        assert not self.flying
        if not self._in_thread:
            result = self._timed(self._here, writes)
            if result.seconds > SLOW or not result.done:
                self._in_thread = SHORT_AGAIN
            if result.done:
                then(result.error)
                return
        self.flying = True
        self._thread.submit(self._timed, self._store.commit, writes).add_done_callback(
            lambda future: self._loop.call_soon_threadsafe(self._landed, future.result(), then)
        )

    async def aside(self, call: Callable[..., T], *args: object) -> T:
        """Call something of the store that blocks, in the thread, in turn with the commits there."""
        return await self._loop.run_in_executor(self._thread, call, *args)

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _landed(self, result: _Result, then: Callable[[BaseException | None], None]) -> None:
        self.flying = False
        self._in_thread = self._in_thread - 1 if result.seconds < SLOW else SHORT_AGAIN
        then(result.error)

    def _timed(self, commit: Callable[[Sequence[Write]], bool | None], writes: Sequence[Write]) -> _Result:
        began = self._seconds()
        try:
            done = commit(writes)
        except Exception as error:
            return _Result(True, error, self._taken(began))
        return _Result(done is not False, None, self._taken(began))

    def _taken(self, began: float) -> float:
        """What of it was not waiting for the interpreter, if it was long."""
        seconds = self._seconds() - began
        return seconds if seconds <= SLOW else seconds - self._away()
