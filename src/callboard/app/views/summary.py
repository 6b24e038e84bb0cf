"""What is said of a run wherever it is named: its status in words, times, calls and cost, and where it was begun."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.app import places
from callboard.app.views.words import iso, usd, word

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.ports import RunRow, Store


def summary(store: Store, row: RunRow, base: Path | None = None) -> dict[str, Any]:
    """`{id, number, name, face, status, dir, created, updated, ended, calls, cost, unpriced}`.

    `base` is the directory of the project (None: in memory). `cost` is in US dollars: what is known of it, None when
    nothing is; `unpriced` counts calls of unknown price.
    """
    totals = store.totals(row.number)
    unpriced = totals["unpriced"]
    return {
        "id": row.id,
        "number": row.number,
        "name": row.name,
        "face": row.face,
        "status": word(row.status),
        "dir": begun(row, base).get("dir", "."),
        "created": iso(row.created),
        "updated": iso(max(row.updated, row.created)),  # a clock that was set back ends no run before it began
        "ended": iso(None if row.ended is None else max(row.ended, row.created)),
        "calls": totals["calls"],
        "cost": usd(totals["cost"]) if not unpriced or totals["cost"] else None,
        "unpriced": unpriced,
    }


def begun(row: RunRow, base: Path | None) -> dict[str, Any]:
    """What a run began with; `dir`, from which its relative paths are seen, and all other directories absolute."""
    return places.found(json.loads(row.params), base)
