"""One way to open a path that a file, a template or a model has named: under a root, and never out of it.

The text must be relative and normalised; then every component is opened under the descriptor of the one before
it without following links, so nothing that is swapped in between leads outside. Checking a path's text and
opening it afterwards by name was the hole of a dozen published advisories; extension checks are not path checks.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import InvalidName, NotFound
from callboard.store import whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 255  # bytes of a component
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            below = _enter(here, part, create)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


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
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError as error:
        raise NotFound(f"no such file: {name}") from error
    except OSError as error:
        raise _refused(name, error) from error
    with os.fdopen(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise InvalidName(f"{name!r} is no regular file")
        return stream.read()


def write_at(parent: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Write a new file, synced. Raises FileExistsError when there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, mode, dir_fd=parent), "wb") as stream:
        point("publish.open")
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _enter(here: int, part: str, create: bool) -> int:
    if create and whole.doubtful(here):
        whole.make_folder(here, part, 0o777)
    try:
        below = os.open(part, _DIRECTORY, dir_fd=here)
        if create:
            whole.settle(here, below)
        return below
    except FileNotFoundError as error:
        if not create:
            raise NotFound(f"no such directory: {part}") from error
    except OSError as error:
        raise _refused(part, error) from error
    whole.make_folder(here, part, 0o777)  # or someone else made it just now
    try:
        return os.open(part, _DIRECTORY, dir_fd=here)
    except OSError as error:
        raise _refused(part, error) from error


def _refused(part: str, error: OSError) -> OSError | InvalidName:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
        return InvalidName(f"{part!r} is a link or not what it should be; paths never lead out of their directory")
    return error
