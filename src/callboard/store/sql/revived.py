"""A run brought back from what was salvaged: as far as its journal leads without a gap.

The chain of hashes says which rows belong behind each other, so it does not matter where they were found. What the run
began with is the first link; where that row is lost, it is worked out from the run's own row, and the second link says
whether that is right. What is behind a gap is not used: a replay cannot go on without what happened before.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.status import RUNNING
from callboard.errors import StoreDamaged
from callboard.store import chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from callboard.store.sql.salvage import Salvage

_RUN_ROWS = "SELECT id, name, plan, params, face, created, parent FROM run WHERE number = ? ORDER BY rank"
_LETTERS = 'SELECT "offset", id, fact, at FROM letter WHERE run = ? ORDER BY "offset", rank'


class Lost(NamedTuple):
    """A run that cannot be brought back: its number, its id if that is known, and why."""

    run: int
    id: str
    why: str


class Revived(NamedTuple):
    """What a run is made of again. `row` are the columns of its own row behind the number, `birth` the first row of its
    journal (None in projects older than those), `rows` the rest; there have been at least `wanted`. `status` is the one
    it had at last, where that is known."""

    run: int
    row: tuple[Any, ...]
    plan: str
    birth: tuple[float, bytes, bytes] | None
    rows: list[tuple[float, bytes, bytes]]
    wanted: int
    status: int | None
    fence: int
    consumed: int
    letters: list[tuple[int, str, str, float]]

    @property
    def id(self) -> str:
        return str(self.row[0])

    @property
    def is_whole(self) -> bool:
        return len(self.rows) >= self.wanted

    def hashes(self) -> Iterator[bytes]:
        """Of all of its journal that was found."""
        return (row[2] for row in (*self.rows, *([self.birth] if self.birth is not None else [])))

    def goes_on(self, loose: Sequence[tuple[float, bytes, bytes]]) -> bool:
        """Whether one of these rows is its next one."""
        before = self.rows[-1][2] if self.rows else chain.START if self.birth is None else self.birth[2]
        return any(chain.fits(before, len(self.rows) + 1, *row) for row in loose)


def revive(salvage: Salvage, run: int, loose: Sequence[tuple[float, bytes, bytes]] = ()) -> Revived | Lost:
    """A run from what there is of it; `loose` are journal rows of which nobody knows the run."""
    candidates = salvage.candidates(run)
    begun = _beginning(salvage, run, candidates, loose)
    standing = salvage.standing(run)
    if begun is None:
        return Lost(run, _name(salvage, run), _why(salvage, run, candidates))
    row, birth, text = begun
    rows = _longest(chain.START if birth is None else birth[2], candidates, loose)
    used = {one[2] for one in (*rows, *([birth] if birth is not None else []))}
    seen = max((batch for batch, found in candidates.items() if any(one[2] not in used for one in found)), default=0)
    wanted = max(len(rows), standing.batches, seen)
    letters = _letters(salvage, run)
    consumed = _consumed(letters, rows)
    if len(rows) < wanted:
        return Revived(run, row, text, birth, rows, wanted, int(RUNNING), standing.fence, consumed, letters)
    consumed = max(consumed, standing.consumed or 0)
    return Revived(run, row, text, birth, rows, wanted, standing.status, standing.fence, consumed, letters)


def _longest(
    before: bytes,
    candidates: dict[int, list[tuple[float, bytes, bytes]]],
    loose: Sequence[tuple[float, bytes, bytes]],
) -> list[tuple[float, bytes, bytes]]:
    while True:
        rows = chain.longest(before, candidates)
        end, batch = rows[-1][2] if rows else before, len(rows) + 1
        fits = [row for row in loose if chain.link(end, batch, row[0], row[1]) == row[2]]
        if not fits:
            return rows
        candidates.setdefault(batch, []).extend(fits)


_Beginning = tuple[tuple[Any, ...], tuple[float, bytes, bytes] | None, str]


def _beginning(
    salvage: Salvage,
    run: int,
    candidates: dict[int, list[tuple[float, bytes, bytes]]],
    loose: Sequence[tuple[float, bytes, bytes]],
) -> _Beginning | None:
    for at, blob, hash, _ in salvage.births(run):
        if (found := _born(salvage, run, (at, blob, hash))) is not None:
            return found
    for birth in _loose_births(loose):
        if _fits(birth[2], candidates) and (found := _born(salvage, run, birth)) is not None:
            return found
    return _from_its_row(salvage, run, candidates)


def _born(salvage: Salvage, run: int, birth: tuple[float, bytes, bytes]) -> _Beginning | None:
    try:
        *row, text = chain.born(run, *birth)
    except (StoreDamaged, ValueError, IndexError):
        return None
    text = text if text is not None else salvage.plan(row[2])
    return None if text is None else (tuple(row), birth, text)


def _loose_births(loose: Sequence[tuple[float, bytes, bytes]]) -> Iterator[tuple[float, bytes, bytes]]:
    return (row for row in loose if chain.link(chain.START, 0, row[0], row[1]) == row[2])


def _from_its_row(
    salvage: Salvage, run: int, candidates: dict[int, list[tuple[float, bytes, bytes]]]
) -> _Beginning | None:
    """The birth worked out from the run's own row: the journal behind it says whether it is right."""
    for row in salvage.rows(_RUN_ROWS, (run,)):
        text = salvage.plan(row[2])
        if text is None:
            continue
        births = [(float(row[5]), *chain.birth(float(row[5]), row, told)) for told in (text, None)]
        for birth in births:
            if _fits(birth[2], candidates):
                return row, birth, text
        if _fits(chain.START, candidates):
            return row, None, text
        if not candidates:  # nothing is behind it: the first run of a plan has its text
            is_first = salvage.rows("SELECT min(number) FROM run WHERE plan = ?", (row[2],)) == [(run,)]
            return row, births[0 if is_first else 1], text
    return None


def _fits(hash: bytes, candidates: dict[int, list[tuple[float, bytes, bytes]]]) -> bool:
    return any(chain.link(hash, 1, at, blob) == behind for at, blob, behind in candidates.get(1, ()))


def _letters(salvage: Salvage, run: int) -> list[tuple[int, str, str, float]]:
    """The letters of a run in the order they came, each once."""
    found: dict[str, tuple[int, str, str, float]] = {}
    offsets = set[int]()
    for offset, id, fact, at in salvage.rows(_LETTERS, (run,)):
        if id not in found and offset not in offsets:
            found[id] = (offset, id, fact, at)
            offsets.add(offset)
    return sorted(found.values())


def _consumed(letters: Sequence[tuple[int, str, str, float]], rows: Sequence[tuple[float, bytes, bytes]]) -> int:
    """The place in the inbox that the journal shows: the last letter whose fact was taken."""
    places: dict[str, list[int]] = {}
    for place, letter in enumerate(letters):
        places.setdefault(letter[2], []).append(place)
    last = -1
    for _, blob, _ in rows:
        for fact in chain.decode(blob):
            behind = bisect_right(places.get(fact, ()), last)
            if behind < len(places.get(fact, ())):
                last = places[fact][behind]
    return letters[last][0] if last >= 0 else 0


def _name(salvage: Salvage, run: int) -> str:
    for row in salvage.rows("SELECT id FROM run WHERE number = ? ORDER BY rank", (run,)):
        return str(row[0])
    for at, blob, hash, _ in salvage.births(run):
        return str(chain.born(run, at, blob, hash)[0])
    return ""


def _why(salvage: Salvage, run: int, candidates: dict[int, Any]) -> str:
    rows = salvage.rows(_RUN_ROWS, (run,))
    plans = [row[2] for row in rows] + [json.loads(chain.decode(birth[1])[0])[2] for birth in salvage.births(run)]
    if plans and not any(salvage.plan(hash) is not None for hash in plans):
        return "its plan cannot be read"
    if rows or salvage.births(run):
        return "its journal does not fit what it began with"
    count = sum(map(len, candidates.values()))
    return f"what it began with cannot be read ({count} rows of its journal are left)"
