"""All that can be wrong with a project's records, looked at from end to end; nothing is changed.

What opening a project finds at a glance, and a first touch finds of one run, is looked for here in everything there is:
SQLite's own check of every page, every run against its journal however large, every paid answer against its seal, every
content against its hash, every copy in `backups/`. What is found is told and the search goes on: one damaged page hides
no other.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING

import apsw

from callboard.errors import CallboardError, NotFound, StoreDamaged, StoreRefused
from callboard.ports import Finding
from callboard.store.content import Content, digest
from callboard.store.packing import MOST_RUNS, ids_of
from callboard.store.sql import backups, schema
from callboard.store.sql import queries as q
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_REPAIR = "callboard repair"


def examine(database: Path, say: Callable[[str], None]) -> Iterator[Finding]:
    """Of the database and the contents beside it."""
    yield from _database(database, say)
    yield from contents(Content(database.parent / "content"), say)


def _database(database: Path, say: Callable[[str], None]) -> Iterator[Finding]:
    if _is_older(database):
        yield Finding("note", "it has an older schema; the next command brings it up to date", str(database))
        if fault := _fault_of_pages(database):
            yield Finding("damaged", f"SQLite finds: {fault}", str(database), _REPAIR)
        return
    try:
        store = SQLiteStore(database, readonly=True)
    except StoreRefused as error:
        yield Finding("refused", str(error), str(database))
    except CallboardError as error:
        yield Finding("damaged", _plain(str(error)), str(database), _REPAIR)
    else:
        with closing(store):
            found = list(map(_plain, store.faults))
            say("checking every page")
            found += map(_plain, store.check())
            try:
                found += [f"{text}, and there are others" for (text,) in store.rows(q.QUEUE_MISCOUNTED)]
                yield from _runs(store, say)
            except CallboardError as error:
                found.append(_plain(str(error)))
            yield from (Finding("damaged", fault, str(database), _REPAIR) for fault in dict.fromkeys(found))


def _runs(store: SQLiteStore, say: Callable[[str], None]) -> Iterator[Finding]:
    numbers = [number for (number,) in store.rows(q.RUN_NUMBERS)]
    if impossible := [number for number in numbers if not 0 < number <= MOST_RUNS]:
        yield Finding("damaged", f"runs that cannot be: {impossible[:3]}", str(store.path), _REPAIR)
    numbers = [number for number in numbers if number not in impossible]
    for place, number in enumerate(numbers, 1):
        say(f"run {number} ({place:,} of {len(numbers):,})")
        for fault in _faults(store, number):
            yield Finding("damaged", fault, f"run {number}", _REPAIR, number)


def _faults(store: SQLiteStore, number: int) -> list[str]:
    """What is wrong with one run, each kind of fault by itself."""
    found = list[str]()
    looks: tuple[Callable[[], object], ...] = (
        lambda: store.glance(number),
        lambda: found.extend(store.verify_all(number)),
        lambda: store.calls(number),
        lambda: found.extend(_lacks_content(store, number)),
    )
    for look in looks:
        try:
            look()
        except NotFound as error:
            found.append(f"{error}, and parts of it are there")
        except (CallboardError, ValueError, TypeError) as error:
            found.append(str(error))
    return list(dict.fromkeys(map(_plain, found)))


def _plain(fault: str) -> str:
    """Without what an error adds for whoever met it alone: the place is told beside it, and what to do."""
    fault = re.split(r"\. It is kept as it is|\. Nothing of it is changed|; its file is kept as it is", fault)[0]
    return re.sub(r"^\S+ is damaged: |\*\*\* in database main \*\*\*\n?", "", fault).replace("\n", "; ")


def _lacks_content(store: SQLiteStore, run: int) -> list[str]:
    """Hashes that stand in a row and have no file; what is in a file that is there is looked at with all others."""
    marks = [json.loads(text)[0] for (text,) in store.rows(q.CONTENT_MARKS, ids_of(run))]
    wanted = {hash: "an outcome" for hash in marks}
    wanted |= {hash: path for path, hash, status in store.rows(q.PATHS_OF, (run,)) if hash and status != "source"}
    return [f"the content of {what} is gone ({hash})" for hash, what in wanted.items() if not store.content.has(hash)]


def contents(content: Content, say: Callable[[str], None] = lambda text: None) -> Iterator[Finding]:
    """Files in the content store whose bytes do not fit their name."""
    for place, path in enumerate(content.files(), 1):
        if not place % 500:
            say(f"content ({place:,} files)")
        try:
            is_whole = digest(path.read_bytes()) == path.parent.name + path.name
        except OSError as error:
            yield Finding("damaged", f"content cannot be read: {error.strerror or error}", str(path), _REPAIR)
            continue
        if not is_whole:
            yield Finding("damaged", "content whose bytes do not fit its hash", str(path), _REPAIR)


# ── copies ──────────────────────────────────────────────────────────────────────────────────────────────


def copies(database: Path, wall: float, say: Callable[[str], None]) -> Iterator[Finding]:
    """The copies in `backups/`: each by itself, and how old the newest is."""
    folder = database.parent / "backups"
    found = backups.found(folder, database)
    for place, path in enumerate(found, 1):
        say(f"copy {path.name} ({place} of {len(found)})")
        if fault := _fault_of_copy(path):
            yield Finding("damaged", f"a copy of the database is damaged: {fault}", str(path), _REPAIR)
    if database.exists() and backups.is_due(folder, database, wall - backups.EVERY / 2):
        said = "there is no copy of the database" if not found else f"the newest copy is {found[0].name}"
        yield Finding("note", f"{said}; one is made each day while runs are carried out", str(folder))


def _fault_of_copy(path: Path) -> str:
    """The first fault of a copy, "" when there is none."""
    try:
        with closing(SQLiteStore(path, readonly=True)) as copy:
            for fault in (*copy.faults, *copy.check()):
                return fault
            for (number,) in copy.rows(q.RUN_NUMBERS):
                copy.glance(number)
                copy.journal(number)
    except StoreRefused:
        return _fault_of_pages(path)
    except StoreDamaged as error:
        return str(error)
    except (CallboardError, ValueError) as error:
        return str(error)
    return ""


def _is_older(path: Path) -> bool:
    if not path.stat().st_size:  # SQLite would throw its log away
        return False
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            schema.check(connection, len(schema.MIGRATIONS))
            return 0 < schema.version(connection) < len(schema.MIGRATIONS)
    except (apsw.Error, CallboardError):
        return False


def _fault_of_pages(path: Path) -> str:
    """From before a migration: its pages are all that this release can judge."""
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
            return next((str(row[0]) for row in copy.execute("PRAGMA integrity_check(1)") if row[0] != "ok"), "")
    except apsw.Error as error:
        return str(error)
