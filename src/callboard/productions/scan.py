"""What the index should say, given what it says and what stands on the disk. Pure.

The disk decides what there is; the index keeps what only people and programs know (status, metadata, when it was
made). So a scan adds rows and marks rows, and takes none away.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from callboard.productions.sheet import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.productions.names import Names
    from callboard.productions.sheet import Sheet
    from callboard.productions.shelf import Seen

CREATED, ACTIVE, MISSING, ARCHIVED = "created", "active", "missing", "archived"
_LAST = 253402300799  # the last second of the year 9999


def stamp(wall: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with its offset, to the second; times beyond a calendar's years are clamped."""
    return datetime.fromtimestamp(min(max(int(wall), 0), _LAST), UTC).isoformat()


def new_row(seen: Seen, names: Names, prefix: str) -> Row:
    """The row of an instance that the index did not know."""
    times = stamp(seen.oldest), stamp(seen.newest)
    return Row(names.pad(seen.number), seen.name, *times, _status(seen), "{}", f"{prefix}/{seen.name}")


def _status(seen: Seen) -> str:
    return ACTIVE if seen.has_documents else CREATED


def reconcile(sheet: Sheet, survey: Iterable[Seen], names: Names, prefix: str) -> dict[str, int]:
    """Bring the sheet up to date with the disk; how many rows were added, updated and found missing."""
    counts, here = {"added": 0, "updated": 0, "missing": 0}, set()
    for seen in survey:
        id = names.pad(seen.number)
        here.add(id)
        old = sheet.rows.get(id)
        new = new_row(seen, names, prefix) if old is None else _refreshed(old, seen, prefix)
        if new != old:
            counts["added" if old is None else "updated"] += 1
            sheet.put(new)
    for id, row in list(sheet.rows.items()):
        if id not in here and row.status != MISSING:
            counts["missing"] += 1
            sheet.put(row._replace(status=MISSING))
    return counts


def _refreshed(row: Row, seen: Seen, prefix: str) -> Row:
    status = _status(seen) if row.status in (MISSING, "") else row.status
    newest = stamp(seen.newest)
    updated = newest if _moment(row.updated_at) < _moment(newest) else row.updated_at
    return row._replace(
        name=seen.name,
        created_at=row.created_at or stamp(seen.oldest),
        updated_at=updated,
        status=status,
        path=f"{prefix}/{seen.name}",
    )


def _moment(text: str) -> float:
    """Epoch seconds of a time in the index; one that a person has made unreadable counts as long ago."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return float("-inf")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
