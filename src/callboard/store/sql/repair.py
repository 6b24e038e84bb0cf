"""A damaged project's database, mended from every file that has a part of it.

Sources are the database itself, page by page, its log, and the copies in `backups/`; how good each is does not matter,
since what is found is held against hashes and seals. Of each run the longest journal without a gap counts, wherever
its rows come from, and the run is made anew by replaying it. Nothing is touched until a whole new database stands
beside the old one and was read to its end; then they change places (`swap.py`). The damaged files stay.

Another project's database or log, put here by mistake, is no source: it is told by the number in its header, or by a
run of the same number that began otherwise.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.crash import point
from callboard.errors import StoreError, StoreRefused
from callboard.store.content import Content, digest
from callboard.store.sql import backups, mended, schema, swap
from callboard.store.sql.pages import Pages
from callboard.store.sql.revived import Lost, Revived, revive
from callboard.store.sql.salvage import Salvage
from callboard.store.sql.witness import Witness, known_birth, known_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_FILE, _LOG, _COPIES = 0, 1, 2  # ranks of sources
#: What the journals do not tell, by the table that holds it.
_HELD = {
    "ledger": "answers that were paid for",
    "record": "settings and other records",
    "inbox": "letters",
    "event": "published events",
    "log": "log lines",
}


class Part(NamedTuple):
    """A run that was brought back to step `steps` of at least `of`."""

    run: int
    id: str
    steps: int
    of: int


class Repaired(NamedTuple):
    """`whole` runs are as they were; `said` tells what else was found, in sentences; `evidence` is where the damaged
    files are."""

    whole: list[tuple[int, str]]
    partly: list[Part]
    lost: list[Lost]
    said: list[str]
    evidence: Path | None


class Repair:
    """Of one database. With `dry_run` it is only said what would come of it. Raises Busy, StoreRefused, StoreError."""

    def __init__(
        self,
        database: Path,
        *,
        wall: float,
        say: Callable[[str], None],
        dry_run: bool = False,
        vfs: str | None = None,
    ) -> None:
        self._database, self._wall, self._say, self._dry_run, self._vfs = database, wall, say, dry_run, vfs
        self._content = Content(database.parent / "content")
        with closing(Witness(database)) as witness:  # before anybody opens it again: that would rewrite the index
            self._log_is_anothers = witness.log_is_anothers()

    def go_on(self) -> Repaired | None:
        """Finish a repair that was interrupted, if there is one."""
        if self._dry_run or not swap.is_unfinished(self._database):
            return None
        with swap.alone(self._database):
            return Repaired([], [], [], ["a repair that was interrupted is finished"], swap.finish(self._database))

    def mend(self, damaged: Sequence[Path]) -> Repaired:
        """Mend; `damaged` are files that are known to be, of contents and copies too."""
        with swap.alone(self._database):
            _refuse_newer(self._database)
            return self._mended(damaged)

    def _mended(self, damaged: Sequence[Path]) -> Repaired:
        with self._room() as folder:
            contents = [path for path in damaged if path.is_relative_to(self._content.root)]
            copies = [path for path in damaged if path in _copies(self._database)]
            if not self._dry_run:
                swap.put_aside(folder, [*contents, *copies])
            if damaged and len(copies) == len(damaged):
                done = Repaired([], [], [], [f"{path.name} was put aside" for path in copies], folder)
                return done if self._dry_run else self._told(folder, done)
            done = self._made(folder)
            if self._dry_run:
                return done
            self._told(folder, done)
            if len(contents) + len(copies) < len(damaged) or not damaged:
                swap.swap(self._database, folder)
            else:
                swap.drop(folder)
            return done

    def _told(self, folder: Path, done: Repaired) -> Repaired:
        swap.report(folder, {**done._asdict(), "evidence": str(folder)})
        return done

    @contextmanager
    def _room(self) -> Iterator[Path]:
        """Where the new database is made: beside the evidence, so that it needs only a name; or nowhere for long."""
        if not self._dry_run:
            yield swap.kept(self._database.parent / "damaged", backups.stamp(self._wall))
            return
        folder = Path(tempfile.mkdtemp(prefix="callboard-"))
        try:
            yield folder
        finally:
            point("repair.clear")
            shutil.rmtree(folder)

    def _made(self, folder: Path) -> Repaired:
        """The new database, read to its end, and what it holds."""
        with closing(Salvage(folder / swap.FOUND, self._vfs)) as salvage:
            said = list[str]()
            identity = _gather(self._database, salvage, said, self._say, self._log_is_anothers)
            runs, lost = _revived(self._database, salvage, self._say)
            keep = digest if self._dry_run else self._content.put
            with closing(
                mended.Mended(folder / swap.MENDED, self._content, keep, self._wall, identity, self._vfs)
            ) as new:
                kept = list[Revived]()
                for place, run in enumerate(runs, 1):
                    self._say(f"bringing back run {run.run} ({place:,} of {len(runs):,})")
                    failed = new.add(run, salvage)
                    lost += [failed] if failed else []
                    kept += [] if failed else [run]
                new.add_rest(salvage)
            said += _unread(salvage, {run.run for run in kept})
        if not self._dry_run:
            _check(folder, self._content, kept, self._say)
        point("repair.clear")
        (folder / swap.FOUND).unlink()
        return Repaired(
            [(run.run, run.id) for run in kept if run.is_whole],
            [Part(run.run, run.id, len(run.rows), run.wanted) for run in kept if not run.is_whole],
            lost,
            said,
            None if self._dry_run else folder,
        )


def _check(folder: Path, content: Content, runs: list[Revived], say: Callable[[str], None]) -> None:
    found = mended.faults(folder / swap.MENDED, content, [run.run for run in runs], say)
    if found:
        raise StoreError(f"what was mended does not hold, so nothing was changed: {'; '.join(found[:3])} ({folder})")


def _refuse_newer(database: Path) -> None:
    """What a newer release has recorded is mended by that one: this one would leave out what it does not know. (Where
    the database can be opened that is told before; here it may be too damaged for it.)"""
    with _mapped(database) as pages:
        for image in islice(pages.of_file(), schema.PAGE - 1, schema.PAGE):
            numbers = {row.rowid for row in pages.rows(image, {}) if schema.is_version(row.values)}
            if len(numbers) > len(schema.MIGRATIONS) and numbers == set(range(1, len(numbers) + 1)):
                raise StoreRefused(schema.newer(str(database), len(numbers), len(schema.MIGRATIONS)))


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────


def _gather(
    database: Path, salvage: Salvage, said: list[str], say: Callable[[str], None], log_is_anothers: bool
) -> int | None:
    """Read the file, its log and the newest copy; the number of this database, if one is known."""
    identity = known_identity(database)
    with _mapped(database) as pages:
        if _is_another(pages.identity, identity) and not _has_our_run(pages, database):
            said.append(f"{database.name} is another database than the one that was here, and no source")
        else:
            say(f"reading {database.name} ({pages.count} pages)")
            salvage.add(pages.rows_of_file(), _FILE)
            said += [
                f"a part of the table {name} cannot be read: {_HELD[name]} that stood there alone are gone"
                for name in pages.broken()
                if name in _HELD
            ]
            identity = identity or pages.identity
        if log_is_anothers or not salvage.add_log(pages.rows_of_log(), _LOG, file=_FILE):
            said.append(f"{database.name}-wal belongs to another database, and is no source")
    for copy in _copies(database)[:1]:
        _add_copy(copy, salvage, _COPIES, identity, say)
    return identity


def _revived(database: Path, salvage: Salvage, say: Callable[[str], None]) -> tuple[list[Revived], list[Lost]]:
    """Each run from what there is; while one is not whole, older copies are read. At last what no page vouches for: the
    last row of a journal may be gone without a trace of it."""
    found = {run: revive(salvage, run) for run in salvage.runs()}
    for place, copy in enumerate(_copies(database)[1:], 1):
        if all(isinstance(one, Revived) and one.is_whole for one in found.values()):
            break
        _add_copy(copy, salvage, _COPIES + place, known_identity(database), say)
        found = {run: revive(salvage, run) for run in salvage.runs()}
    say("looking for rows by their form")
    with _mapped(database) as pages:
        salvage.carve(pages.of_file())
        salvage.carve(pages.of_log())
    used = {hash for one in found.values() if isinstance(one, Revived) for hash in one.hashes()}
    loose = [row for row in salvage.loose() if row[2] not in used]
    for run, one in found.items():
        if isinstance(one, Lost) or not one.is_whole or one.goes_on(loose):
            found[run] = revive(salvage, run, loose)
    ordered = [found[run] for run in sorted(found)]
    return [one for one in ordered if isinstance(one, Revived)], [one for one in ordered if isinstance(one, Lost)]


def _add_copy(copy: Path, salvage: Salvage, rank: int, identity: int | None, say: Callable[[str], None]) -> None:
    with _mapped(copy) as pages:
        if not _is_another(pages.identity, identity):
            say(f"reading {copy.name} ({pages.count} pages)")
            salvage.add(pages.rows_of_file(), rank)


def _copies(database: Path) -> list[Path]:
    return backups.found(database.parent / "backups", database)


def _is_another(number: int | None, known: int | None) -> bool:
    """Whether a number in a header is that of another database, and not ours with a flipped bit."""
    return number is not None and known is not None and (number ^ known).bit_count() > 1


def _has_our_run(pages: Pages, database: Path) -> bool:
    """Whether a run began as one that is known to be ours: then the number in the header was changed, nothing else."""
    births = {known_birth(database)}
    for copy in _copies(database)[:1]:
        with _mapped(copy) as copied:
            if not _is_another(copied.identity, known_identity(database)):
                births |= set(_births(copied))
    return any(birth in births for birth in _births(pages))


def _births(pages: Pages) -> Iterator[str]:
    for row in pages.rows_of_file():
        if row.rowid is not None and row.rowid & 0xFFFFFFFF == 0 and len(row.values) == 4:
            hash = row.values[3]
            if isinstance(hash, bytes):
                yield hash.hex()


def _unread(salvage: Salvage, runs: set[int]) -> list[str]:
    """Paid calls of which there is a row that nobody can believe, and no other."""
    rows = salvage.rows("SELECT key, run FROM unread WHERE key NOT IN (SELECT key FROM ledger)")
    return [f"a paid answer of run {run} cannot be read any more (call {key[:12]})" for key, run in rows if run in runs]


@contextmanager
def _mapped(database: Path) -> Iterator[Pages]:
    with _map(database) as file, _map(Path(f"{database}-wal")) as log:
        yield Pages(file, log)


@contextmanager
def _map(path: Path) -> Iterator[bytes | mmap.mmap]:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        yield b""
        return
    with stream:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
