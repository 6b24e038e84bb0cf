"""What have people made of a run's documents since it last knew? Looked for on the disk, and told to the run.

A run that goes on looks at what it is about to read; this looks at all of its documents, before somebody resumes it,
when it is left, and (on a copy, writing nothing) when it is shown. There is no watcher: an edit is noticed when it
matters. Versions of people are kept by content before anything is recorded of them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from callboard.core.facts import DocumentEdited
from callboard.errors import StoreError

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.ports import RunRow

#: Documents that are looked at when a run is only shown: so many are read in a quarter of a second.
MOST_SHOWN = 10_000


def notice(house: House, row: RunRow) -> None:
    """Tell the run of every version it does not know yet. Raises StoreError."""
    facts = edits(house, row)
    if facts:
        house.apply(row.number, facts)


def notice_at_the_end(house: House, number: int) -> None:
    """The same for a run that is left: what cannot be recorded now is noticed when somebody resumes it."""
    with contextlib.suppress(StoreError):
        notice(house, house.store.find_run(number))


def shown_edits(house: House, row: RunRow) -> list[DocumentEdited]:
    """The same, when nothing may be written: what `notice` would tell."""
    return edits(house, row, most=MOST_SHOWN, keep=False)


def edits(house: House, row: RunRow, *, most: int | None = None, keep: bool = True) -> list[DocumentEdited]:
    """Versions of people that the run does not know, of at most so many documents or of none."""
    known = house.store.documents(row.number, sources=True)
    found: list[DocumentEdited] = []
    for _, path, hash, replaces, _, status in known if most is None or len(known) <= most else ():
        if status == "pending":
            continue  # who puts it in place sees what lies there
        there = house.shelf.see(row.number, path, hash, keep=keep)
        if there != hash and _is_still(house, row, path, hash):
            found.append(DocumentEdited(path, hash or replaces or "", there))
    return found


def _is_still(house: House, row: RunRow, path: str, hash: str) -> bool:
    """Nobody has recorded another version while we looked."""
    latest = house.store.document(row.number, path)
    return latest is not None and latest.hash == hash and latest.status != "pending"
