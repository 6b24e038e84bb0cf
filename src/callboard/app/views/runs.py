"""Which runs are there? Newest first, each with its status in words, what it waits for, and what it has cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app.views.run import in_memory
from callboard.app.views.standing import reason
from callboard.app.views.summary import summary
from callboard.core.status import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.ports import RunRow, Store


def runs(
    store: Store,
    *,
    is_owned: Callable[[RunRow], bool],
    status: int | None = None,
    most: int = 50,
    base: Path | None = None,
    room: str = "",
) -> list[dict[str, Any]]:
    """`[{…summary, because}]`; `because` is why a run does not move, empty when it does; of one that has ended, that
    something of it is stale (as far as somebody has looked). `room` is what the project lacks to write.
    """
    return [
        {**summary(store, row, base), "because": _because(store, row, is_owned, room)}
        for row in store.runs(status=status, most=most)
    ]


def _because(store: Store, row: RunRow, is_owned: Callable[[RunRow], bool], room: str) -> str:
    if row.status in ENDED and '"edits":' not in row.state and '"replaced":' not in row.state:
        return ""
    return reason(in_memory(store, row), owned=is_owned(row), room=room)
