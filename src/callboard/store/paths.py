"""One way to open a path that a file, a template or a model has named: under a root, and never out of it.

The text must be relative and normalised; then every component is opened under the descriptor of the one before
it without following links, so nothing that is swapped in between leads outside. Checking a path's text and
opening it afterwards by name was the hole of a dozen published advisories; extension checks are not path checks.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard import walk
from callboard.crash import point
from callboard.errors import InvalidName, NotFound
from callboard.store import whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 255  # bytes of a component


def components(path: str) -> tuple[str, ...]:
    """The parts of a relative, normalised path. Raises InvalidName, saying which part is wrong and why."""
    parts = tuple(path.split("/"))
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidName(f"path {path!r}: relative and normalised only, without {part or 'empty parts'!r}")
        if any(ord(char) < 32 or char == "\x7f" for char in part):
            raise InvalidName(f"path {path!r}: control characters are not allowed")
        if len(os.fsencode(part)) > LONGEST:
            raise InvalidName(f"path {path!r}: {part[:40]!r}… is longer than {LONGEST} bytes")
    return parts


@contextmanager
def directory(root: Path, parts: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
    """A descriptor of the directory `parts` under `root`; made on the way (and synced) when `create`.

    Raises NotFound when it is not there, InvalidName where a part is a link or no directory.
    """
    with walk.opened(root, parts, enter=_enter_or_make if create else walk.enter) as here:
        yield here


@contextmanager
def place(root: Path, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """(descriptor of the parent, last name) of a path: all that a caller needs to open, link or rename safely."""
    parts = components(path)
    with directory(root, parts[:-1], create=create) as parent:
        yield parent, parts[-1]


def read(root: Path, path: str) -> bytes:
    """Bytes of a regular file under `root`. Raises NotFound, InvalidName (a link, a device, a path that escapes)."""
    with place(root, path) as (parent, name):
        return read_at(parent, name)


def read_at(parent: int, name: str) -> bytes:
    """Bytes of the regular file `name` in the directory behind `parent`."""
    return walk.read_file(parent, name)


def write_at(parent: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Write a new file, synced. Raises FileExistsError when there is one."""
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=parent)
    with os.fdopen(file, "wb") as stream:
        point("publish.open")
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _enter_or_make(here: int, part: str) -> int:
    if whole.doubtful(here):
        whole.make_folder(here, part, 0o777)
    try:
        below = walk.enter(here, part)
    except NotFound:
        whole.make_folder(here, part, 0o777)  # or someone else makes it just now
        return walk.enter(here, part)
    whole.settle(here, below)
    return below
