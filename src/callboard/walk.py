"""The one way into a directory: part by part, each opened under the descriptor of the one before, through no link.

Paths come from files, templates, models and productions of strangers, and a directory on the way may become a link at
any moment. To check a path and open it afterwards by its name was the hole of a dozen published advisories, so what is
opened is what was checked. Only the directory that one starts from may be reached through links: a person named it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.errors import InvalidName, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a pipe must not hold us up
_PART = 1 << 20
_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR)


def enter(here: int, part: str) -> int:
    """A descriptor of the directory `part` in an open directory. Raises NotFound, InvalidName for what is none."""
    try:
        return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
    except FileNotFoundError as error:
        raise NotFound(f"there is no directory {part!r}") from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise InvalidName(f"{part!r} is a link or no directory; links are not followed") from error


@contextmanager
def opened(
    root: str | os.PathLike[str], parts: Sequence[str] = (), *, enter: Callable[[int, str], int] = enter
) -> Iterator[int]:
    """A descriptor of the directory `parts` under `root`. Raises NotFound, InvalidName."""
    try:
        here = os.open(root, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no directory {os.fspath(root)}") from error
    try:
        for part in parts:
            below = enter(here, part)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def open_file(parent: int, name: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the regular file `name` in an open directory. Raises NotFound, InvalidName for what is none."""
    try:
        file = os.open(name, flags | _FILE, 0o666, dir_fd=parent)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {name!r}") from error
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise InvalidName(f"{name!r} is no regular file; links are not followed") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidName(f"{name!r} is no regular file")
    return file


def read_file(parent: int, name: str, most: int = -1) -> bytes:
    """Bytes of a regular file in an open directory, at most `most`. Raises NotFound, InvalidName."""
    with os.fdopen(open_file(parent, name), "rb") as file:
        if most < 0:
            return file.read()
        parts: list[bytes] = []  # whoever asks for so many at once has them allocated, however small the file is
        while part := file.read(min(most, _PART)):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)
