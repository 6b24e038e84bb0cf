"""This process: executors run on the engine's loop, and what would block it goes to threads.

For the built-in executors, which wait and do not compute, and for the functions of a script or notebook, whose
objects no other process has. A thread cannot be ended, only disowned: see `threads`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from callboard.ports import Context, Done, Handler, Json, Page, Work


class Inline:
    """Implements `ports.Backend`.

    `handler` carries a work out (middleware and executor), `context` makes the `ctx` of an attempt, `lister` a
    page of a list, `can` says whether an executor with these inputs can be carried out here.
    """

    def __init__(
        self,
        handler: Handler,
        context: Callable[[Work], Context],
        *,
        lister: Callable[[Work, int], Awaitable[Page]],
        can: Callable[[str, Mapping[str, Json]], str | None],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._handler, self._context, self._lister, self._can, self._close = handler, context, lister, can, close

    async def carry_out(self, work: Work) -> Done:
        return await self._handler(work, self._context(work))

    async def list_page(self, work: Work, page: int) -> Page:
        return await self._lister(work, page)

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        return self._can(executor, inputs)

    async def close(self) -> None:
        self._close()
