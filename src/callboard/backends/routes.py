"""One backend made of several: each kind of executor goes where wiring says, all others to the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.ports import Backend, Done, Json, Work


class Routes:
    """Implements `ports.Backend`. `by_kind` names executors that have a backend of their own; lists go to `default`."""

    def __init__(self, default: Backend, by_kind: Mapping[str, Backend]) -> None:
        self._default, self._by_kind = default, dict(by_kind)

    async def carry_out(self, work: Work) -> Done:
        return await self._by_kind.get(work.executor, self._default).carry_out(work)

    async def list_page(self, work: Work, page: int) -> tuple[Sequence[tuple[str, Json]], bool]:
        return await self._default.list_page(work, page)

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        return self._by_kind.get(executor, self._default).can(executor, inputs)

    async def close(self) -> None:
        """Closes each backend once, even if an earlier one fails to close."""
        errors: list[Exception] = []
        for backend in {id(one): one for one in (*self._by_kind.values(), self._default)}.values():
            try:
                await backend.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
