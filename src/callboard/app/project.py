"""A project: a directory with `.callboard/` in it, found by name, by environment or upwards from here.

`run` makes one where it stands and says so; everything else wants one to be there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from callboard.crash import point
from callboard.errors import NotFound, UsageError

FOLDER = ".callboard"
_INSIDE = ("run", "logs", "backups", "cache")


class Project(NamedTuple):
    """`root` is the directory, `home` its `.callboard/`; `made` says that it is new."""

    root: Path
    home: Path
    made: bool = False

    @property
    def database(self) -> Path:
        return self.home / "callboard.db"

    @property
    def reserve(self) -> Path:
        """The file that keeps room for a full disk."""
        return self.home / "run" / "reserve"

    @property
    def bells(self) -> Path:
        """Where the doorbells of this project's engines hang."""
        return self.home / "run"


def find(named: str | None, here: Path) -> Project | None:
    """The project that was named, else the nearest one upwards from `here`. Raises NotFound for a named one."""
    if named is not None:
        root = Path(named).expanduser().resolve()
        if not (root / FOLDER).is_dir():
            raise NotFound(f"{root} is no project: it has no {FOLDER}/. Start one there with: callboard run FILE")
        return Project(root, root / FOLDER)
    for root in (here, *here.parents):
        if (root / FOLDER).is_dir():
            return Project(root, root / FOLDER)
    return None


def place(named: str | None, here: Path) -> Path:
    """The directory in which a project would be made."""
    return Path(named).expanduser().resolve() if named is not None else here


def is_there(named: str | None, here: Path) -> bool:
    """Whether the project that was named, or one around `here`, exists already."""
    if named is None:
        return find(None, here) is not None
    return (Path(named).expanduser().resolve() / FOLDER).is_dir()


def need(named: str | None, here: Path) -> Project:
    """As `find`; raises NotFound when there is none."""
    project = find(named, here)
    if project is None:
        raise NotFound(f"there is no project here or above: {here}. `callboard run FILE` makes one")
    return project


def find_or_make(named: str | None, here: Path) -> Project:
    """As `find`; makes one in the named directory, or here, when there is none. Raises UsageError where none can be."""
    root = place(named, here)
    project = find(None, here) if named is None else None
    if project is not None:
        return project
    made = not (root / FOLDER).is_dir()
    home = root / FOLDER
    try:
        for folder in (home, *(home / name for name in _INSIDE)):
            point("project.make")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(folder, 0o700)
    except OSError as error:
        raise UsageError(
            f"no project can be made at {error.filename}: {error.strerror}. Name another place: --project DIR"
        ) from None
    point("project.made")
    return Project(root, home, made)
