"""Ways in which the files of a project are damaged: by a disk, by a hand, by what was put in the wrong place.

Each takes the project's directory, a source of chance and a stranger's project (of the same make, with other runs), and
says what it did. Where SQLite's own statements are used, the database is left as a person with a tool would leave it:
in good order for SQLite, and untrue.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.store.sql.pages import PAGE, Pages
from callboard.testing.disk.hand import edit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

_FRAME, _HEADER = 24, 32


class Place(NamedTuple):
    """A project to be damaged (its `.callboard/`, its database) and that of a stranger."""

    home: Path
    chance: Random
    stranger: Path
    database: Path

    @property
    def log(self) -> Path:
        return Path(f"{self.database}-wal")

    def live_page(self) -> int:
        """A page with something on it."""
        pages = [one.number for one in Pages(self.database.read_bytes()).of_file() if any(one.data)]
        return self.chance.choice(pages)


# ── a disk ──────────────────────────────────────────────────────────────────────────────────────────────


def _flip(path: Path, chance: Random, first: int, end: int) -> str:
    data = bytearray(path.read_bytes())
    places = [chance.randrange(first, min(end, len(data))) for _ in range(chance.choice((1, 1, 1, 2, 8)))]
    for at in places:
        data[at] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"bits flipped in {path.name} at {places}"


def flipped_bits(place: Place) -> str:
    page = place.live_page()
    return _flip(place.database, place.chance, (page - 1) * PAGE, page * PAGE)


def flipped_bits_in_the_log(place: Place) -> str:
    return _flip(place.log, place.chance, 0, place.log.stat().st_size)


def _write(path: Path, page: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(data)


def _page(path: Path, page: int) -> bytes:
    return path.read_bytes()[(page - 1) * PAGE : page * PAGE]


def zeroed_page(place: Place) -> str:
    page = place.live_page()
    _write(place.database, page, bytes(PAGE))
    return f"page {page} zeroed"


def garbled_page(place: Place) -> str:
    page = place.live_page()
    _write(place.database, page, place.chance.randbytes(PAGE))
    return f"page {page} overwritten"


def duplicated_page(place: Place) -> str:
    page, other = place.live_page(), place.live_page()
    _write(place.database, other, _page(place.database, page))
    return f"page {page} written over page {other}"


def swapped_pages(place: Place) -> str:
    page, other = place.live_page(), place.live_page()
    one, two = _page(place.database, page), _page(place.database, other)
    _write(place.database, page, two)
    _write(place.database, other, one)
    return f"pages {page} and {other} swapped"


def truncated(place: Place) -> str:
    pages = place.chance.randrange(place.database.stat().st_size // PAGE)
    with place.database.open("r+b") as file:
        file.truncate(pages * PAGE)
    return f"cut off behind page {pages}"


def truncated_log(place: Place) -> str:
    frames = (place.log.stat().st_size - _HEADER) // (PAGE + _FRAME)
    kept = place.chance.randrange(frames)
    with place.log.open("r+b") as file:
        file.truncate(_HEADER + kept * (PAGE + _FRAME))
    return f"the log cut off behind frame {kept} of {frames}"


# ── what lies in the wrong place ────────────────────────────────────────────────────────────────────────


def missing_log(place: Place) -> str:
    place.log.unlink()
    return "the log is missing"


def alien_log(place: Place) -> str:
    shutil.copyfile(place.stranger / place.log.name, place.log)
    return "another database's log"


def alien_database(place: Place) -> str:
    shutil.copyfile(place.stranger / place.database.name, place.database)
    return "another database"


def missing_database(place: Place) -> str:
    place.database.unlink()
    return "the database is missing"


# ── a hand ──────────────────────────────────────────────────────────────────────────────────────────────

_EDITS = (
    "UPDATE journal SET facts = facts || x'00' WHERE id >> 32 = {run} AND id & 4095 = {n}",
    "UPDATE journal SET at = at + 1 WHERE id >> 32 = {run} AND id & 4095 = {n}",
    "DELETE FROM journal WHERE id >> 32 = {run} AND id & 4095 = {n}",
    "UPDATE journal SET id = id + 1000 WHERE id >> 32 = {run} AND id & 4095 = {n}",
    "UPDATE execution SET status = {n} WHERE id >> 40 = {run}",
    "UPDATE execution SET reason = 'a hand' WHERE id >> 40 = {run}",
    "DELETE FROM execution WHERE id >> 40 = {run}",
    'UPDATE outcome SET text = \'{{"value":"a hand"}}\' WHERE id >> 40 = {run}',
    "DELETE FROM outcome WHERE id >> 40 = {run}",
    "UPDATE plan SET text = replace(text, 'Summarise', 'Praise')",
    "UPDATE run SET params = replace(params, 'harbour', 'airport') WHERE number = {run}",
    "UPDATE run SET name = 'a hand' WHERE number = {run}",
    "PRAGMA foreign_keys = OFF; DELETE FROM run WHERE number = {run}",
    "UPDATE standing SET status = {n} WHERE number = {run}",
    "UPDATE standing SET consumed = 0 WHERE number = {run}",
    "DELETE FROM standing WHERE number = {run}",
    "UPDATE ledger SET answer = replace(answer, 'harbour', 'airport') WHERE run = {run}",
    "DELETE FROM item",
    "UPDATE document SET hash = replace(hash, 'a', 'b') WHERE run = {run}",
    "DELETE FROM document_history WHERE run = {run}",
    "UPDATE inbox SET run = run + 1 WHERE run = {run}",
)


def edited(place: Place) -> str:
    sql = place.chance.choice(_EDITS).format(run=place.chance.randint(1, 10), n=place.chance.randrange(9))
    return edit(place.database, sql)


def wrong_version(place: Place) -> str:
    return edit(
        place.database,
        place.chance.choice(
            (
                "UPDATE schema_version SET number = number + 90 WHERE number = 2",
                "DELETE FROM schema_version WHERE number > 1",
                "PRAGMA application_id = 7",
                "PRAGMA user_version = 77",
                "DROP INDEX standing_status",
                "ALTER TABLE log RENAME TO logs",
            )
        ),
    )


# ── contents and copies ─────────────────────────────────────────────────────────────────────────────────


def damaged_content(place: Place) -> str:
    path = place.chance.choice(sorted(place.home.glob("content/??/*")))
    if place.chance.random() < 0.3:
        path.unlink()
        return f"content {path.name} is missing"
    return _flip(path, place.chance, 0, path.stat().st_size)


def damaged_copy(place: Place) -> str:
    path = place.chance.choice(sorted(place.home.glob("backups/*.db")))
    harm = place.chance.choice((zeroed_page, flipped_bits))
    return f"in a copy: {harm(place._replace(database=path))}"


Harm = Callable[[Place], str]

DAMAGES: Sequence[Harm] = (
    flipped_bits, flipped_bits, flipped_bits, flipped_bits_in_the_log, zeroed_page, zeroed_page, garbled_page,
    duplicated_page, swapped_pages, truncated, truncated_log, missing_log, alien_log, alien_database, missing_database,
    edited, edited, edited, edited, wrong_version, damaged_content, damaged_copy,
)  # fmt: skip
