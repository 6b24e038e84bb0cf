"""What is said of a run wherever it is named: its status in words, times, calls and cost, and where it was begun."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.app.views.words import iso, usd, word

if TYPE_CHECKING:
    from callboard.ports import RunRow, Store


def summary(store: Store, row: RunRow) -> dict[str, Any]:
    """`{id, number, name, face, status, dir, created, updated, ended, calls, cost, unpriced}`.

    `cost` is in US dollars: what is known of it, None when nothing is; `unpriced` counts calls of unknown price.
    """
    totals = store.totals(row.number)
    unpriced = totals["unpriced"]
    return {
        "id": row.id,
        "number": row.number,
        "name": row.name,
        "face": row.face,
        "status": word(row.status),
        "dir": directory(row),
        "created": iso(row.created),
        "updated": iso(row.updated),
        "ended": iso(row.ended),
        "calls": totals["calls"],
        "cost": usd(totals["cost"]) if not unpriced or totals["cost"] else None,
        "unpriced": unpriced,
    }


def directory(row: RunRow) -> str:
    """Where a run was begun, absolute: what its relative paths are seen from."""
    begun: str = json.loads(row.params).get("dir") or "."
    return begun
