"""Which runs are there? Newest first, each with its status in words and what it has cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app.views.words import iso, usd, word

if TYPE_CHECKING:
    from callboard.ports import RunRow, Store


def runs(store: Store, *, status: int | None = None, most: int = 50) -> list[dict[str, Any]]:
    """`[{id, number, name, status, created, updated, ended, calls, cost}]`; money in US dollars."""
    return [summary(store, row) for row in store.runs(status=status, most=most)]


def summary(store: Store, row: RunRow) -> dict[str, Any]:
    totals = store.totals(row.number)
    return {
        "id": row.id,
        "number": row.number,
        "name": row.name,
        "face": row.face,
        "status": word(row.status),
        "created": iso(row.created),
        "updated": iso(row.updated),
        "ended": iso(row.ended),
        "calls": totals["calls"],
        "cost": usd(totals["cost"]),
    }
