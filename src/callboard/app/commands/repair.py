"""Mend what can be mended of a damaged project, and say what could not be.

What `doctor` finds decides what is done: a sound database is left alone when only a content or a copy of it is damaged.
Nothing damaged is thrown away: it is kept in `.callboard/damaged/`, with a report. It needs no engine, and refuses
while somebody has the project open.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app.views.doctor import doctor
from callboard.app.wiring import load, visit
from callboard.errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.app.project import Project
    from callboard.app.settings import Settings
    from callboard.app.wiring import House
    from callboard.ports import Finding


class Outcome(NamedTuple):
    """`found` is what was damaged, `done` what came of it (`store.sql.repair.Repaired`; None: nothing was to be done),
    `healed` contents whose bytes were found again, `lost` those that were not."""

    found: list[Finding]
    done: Any = None
    healed: int = 0
    lost: tuple[str, ...] = ()


def repair(
    project: Project,
    settings: Settings,
    wall: float,
    say: Callable[[str], None],
    *,
    dry_run: bool = False,
    vfs: str | None = None,
) -> Outcome:
    """`vfs` names the one that what is made is written through.

    Raises Busy while a process has the project open, StoreRefused for what cannot be used here and is not ours to mend,
    StoreError when what was made does not hold."""
    mend = load("store.sql.repair", "Repair")(project.database, wall=wall, say=say, dry_run=dry_run, vfs=vfs)
    if (done := mend.go_on()) is not None:
        return Outcome([], done)
    told = list(doctor(project, settings, wall, say))
    for refused in (one for one in told if one.how_bad == "refused"):
        raise StoreRefused(refused.what)
    found = [one for one in told if one.how_bad == "damaged"]
    if not found:
        return Outcome([])
    done = mend.mend([Path(one.where) for one in found])
    if dry_run:
        return Outcome(found, done)
    with closing(visit(settings, project)) as house:
        return Outcome(found, done, *_heal(house, say))


def _heal(house: House, say: Callable[[str], None]) -> tuple[int, tuple[str, ...]]:
    """Contents of documents that are gone, from the documents themselves where they still are what was recorded."""
    healed, lost = 0, list[str]()
    content, digest = house.store.content, load("store.content", "digest")
    for row in house.store.runs(most=1 << 30):
        say(f"contents of run {row.number}")
        folder = house.begun(row).get("dir", ".")
        for _, path, hash, _, _, _ in house.store.documents(row.number):
            if not hash or content.has(hash):
                continue
            try:
                data = Path(folder, path).read_bytes()
            except OSError:
                data = b""
            if digest(data) == hash:
                content.put(data)
                healed += 1
            else:
                lost.append(f"the version of {path} that run {row.id} recorded is lost")
    return healed, tuple(lost)
