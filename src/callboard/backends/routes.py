"""One backend made of several: each kind of executor goes where wiring says, or a work goes to whoever can."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Backend, Done, Json, Page, Work


class Routes:
    """Implements `ports.Backend`. `by_kind` names executors that have a backend of their own; lists go to `default`."""

    def __init__(self, default: Backend, by_kind: Mapping[str, Backend]) -> None:
        self._default, self._by_kind = default, dict(by_kind)

    async def carry_out(self, work: Work) -> Done:
        return await self._by_kind.get(work.executor, self._default).carry_out(work)

    async def list_page(self, work: Work, page: int) -> Page:
        return await self._default.list_page(work, page)

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        return self._by_kind.get(executor, self._default).can(executor, inputs)

    async def close(self) -> None:
        """Closes each backend once, even if an earlier one fails to close."""
        await _close(*self._by_kind.values(), self._default)


class Whoever:
    """Implements `ports.Backend`: the first of some backends that can carry a work out; lists go to the first."""

    def __init__(self, *backends: Backend) -> None:
        self._backends = backends

    async def carry_out(self, work: Work) -> Done:
        able = (one for one in self._backends if one.can(work.executor, work.inputs) is None)
        return await next(able, self._backends[0]).carry_out(work)

    async def list_page(self, work: Work, page: int) -> Page:
        return await self._backends[0].list_page(work, page)

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        """The reason of the first, when none can."""
        reasons = [one.can(executor, inputs) for one in self._backends]
        return None if None in reasons else reasons[0]

    async def close(self) -> None:
        await _close(*self._backends)


async def _close(*backends: Backend) -> None:
    errors: list[Exception] = []
    for backend in {id(one): one for one in backends}.values():
        try:
            await backend.close()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
