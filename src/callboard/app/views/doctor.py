"""Is this project sound? Everything that is recorded is held against everything that vouches for it.

Nothing is changed and no engine is needed; what others do meanwhile goes on. What a person did to documents is no
fault: it is told as a note, so that nobody is surprised by it later.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.app.wiring import load, visit
from callboard.errors import CallboardError
from callboard.ports import Finding
from callboard.store.whole import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from callboard.app.project import Project
    from callboard.app.settings import Settings
    from callboard.app.wiring import House
    from callboard.ports import RunRow

_ROOM = 100_000_000  # bytes of free space below which it is told
_PAGE = 500


def doctor(project: Project, settings: Settings, wall: float, say: Callable[[str], None]) -> Iterator[Finding]:
    """What is not as it should be, as it is found. `say` hears how far it is."""
    yield from _around(project)
    if project.database.exists():
        yield from load("store.sql.examine", "examine")(project.database, say)
        yield from _documents(project, settings, say)
    else:
        yield _without_database(project)
    yield from load("store.sql.examine", "copies")(project.database, wall, say)
    yield from _leftovers(project)


def facts(project: Project) -> dict[str, Any]:
    """What whoever reports a fault would be asked."""
    database = project.database
    return {
        "project": str(project.root),
        "database": database.stat().st_size if database.exists() else None,
        "sqlite": load("store.sql.gate", "sqlite_version")(),
        "file_system": load("store.sql.gate", "file_system")(database),
        "free": shutil.disk_usage(project.home).free,
    }


def told(finding: Finding) -> dict[str, Any]:
    return finding._asdict()


# ── around ──────────────────────────────────────────────────────────────────────────────────────────────


def _around(project: Project) -> Iterator[Finding]:
    free, size = shutil.disk_usage(project.home).free, 0
    if project.database.exists():
        size = project.database.stat().st_size
    if free < max(_ROOM, 2 * size):
        said = f"only {free / 1e6:,.0f} MB are free; runs pause when the disk is full, and a repair needs room"
        yield Finding("warning", said, str(project.home), "make room")
    mode = stat.S_IMODE(project.home.stat().st_mode)
    if mode & 0o077:
        fix = f"chmod 700 {project.home}"
        yield Finding("warning", f"others may look into the project (mode {mode:04o})", str(project.home), fix)
    if not os.access(project.home, os.W_OK):
        yield Finding("warning", "nothing can be recorded here: it cannot be written to", str(project.home))


def _leftovers(project: Project) -> Iterator[Finding]:
    """What a killed process has left behind, which the next one clears; and what a repair keeps."""
    for path in sorted(project.home.glob("damaged/*")):
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        said = f"evidence of a repair is kept ({size / 1e6:,.1f} MB); nothing needs it, you may remove it"
        yield Finding("note", said, str(path))
    if (mark := project.bells / f"{project.database.name}.doubtful").exists():
        yield Finding(
            "note", "the disk failed in a write; the next to open the project makes sure of its log", str(mark)
        )
    for path in sorted(project.home.glob("**/.*")):
        if path.name == MARK:
            said = "the disk failed when names in this folder were synced; what is written here is made anew"
            yield Finding("note", said, str(path.parent))
        elif path.is_file():
            yield Finding("note", "left by a writer that was killed; the next one of that name clears it", str(path))


def _without_database(project: Project) -> Finding:
    if any(project.home.glob("backups/*.db")) or any(project.home.glob(f"{project.database.name}-*")):
        said = "the database is gone; what its copies and its log hold can be brought back"
        return Finding("damaged", said, str(project.database), "callboard repair")
    return Finding("note", "no run was ever recorded here", str(project.database))


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────


def _documents(project: Project, settings: Settings, say: Callable[[str], None]) -> Iterator[Finding]:
    """How documents lie in their places, and runs that nobody carries out. A file that cannot be read is told above."""
    try:
        house = visit(settings, project)
    except CallboardError:
        return
    with closing(house):
        store, ours = house.store, dict[str, set[str]]()
        wanted: list[tuple[RunRow, str, str, str, str]] = []
        try:
            for row in _rows(store):
                yield from _left_behind(house, row)
                folder = house.begun(row).get("dir", ".")
                for _, path, hash, _, _, status in store.documents(row.number):
                    full = os.path.normpath(os.path.join(folder, path))
                    ours.setdefault(full, set()).add(hash)
                    wanted.append((row, path, full, hash, status))
        except (CallboardError, ValueError, TypeError):
            return
        say("documents")
        yield from _in_place(house, wanted, ours)


def _rows(store: Any) -> Iterator[RunRow]:
    page = store.runs(most=_PAGE)
    while page:
        yield from page
        page = store.runs(most=_PAGE, before=page[-1].number)


def _left_behind(house: House, row: RunRow) -> Iterator[Finding]:
    if row.owner is not None and not house.is_owned(row):
        said = f"it was left behind by process {row.owner.pid}, which is gone"
        yield Finding("note", said, f"run {row.id}", f"callboard resume {row.id}", row.number)


def _in_place(
    house: House, wanted: list[tuple[RunRow, str, str, str, str]], ours: Mapping[str, set[str]]
) -> Iterator[Finding]:
    digest, told = load("store.content", "digest"), set[str]()
    for row, path, full, _, status in wanted:
        if status == "pending" and not house.is_owned(row):
            said = f"{path} is recorded and not yet in its place"
            yield Finding("warning", said, f"run {row.id}", f"callboard resume {row.id}", row.number)
        elif status == "published" and full not in told:
            told.add(full)
            try:
                lies = digest(Path(full).read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                yield Finding("note", f"{path} is not there any more", f"run {row.id}", "", row.number)
            except OSError as error:
                yield Finding("warning", f"{path} cannot be read: {error.strerror}", f"run {row.id}", "", row.number)
            else:
                if lies not in ours[full]:
                    yield Finding("note", f"{path} was edited since", f"run {row.id}", "", row.number)
