"""The one way to the disk: directories opened part by part below a root, files read whole and written whole.

A production may come from a stranger: any directory in it may be a symbolic link to somewhere else. So every path
below the production is walked with descriptors (`openat`) and no part may be a link; a check of the path's text
before opening it was not taken, because what stands on the disk may change between the check and the opening.
A file appears whole or not at all: a file without a name, sync, a link that gives it one, sync of the directory. To
replace a file, and where a file system has no files without names, the bytes are written beside it and renamed; a
writer killed in between leaves a temporary file (`is_leftover`), which a later scan removes.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from callboard import walk
from callboard.crash import point
from callboard.errors import Conflict, InvalidName, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEFTOVER = (".callboard-", ".tmp")


class Entry(NamedTuple):
    """What a directory holds under `name`: a file, or something else (a directory, a link, a pipe, a device)."""

    name: str
    is_file: bool
    modified: float  # epoch seconds


@contextmanager
def opened(root: Path, *parts: str) -> Iterator[int]:
    """A descriptor of the directory `root/parts`; `root` may be reached through links, nothing below it.

    Raises NotFound when it is not there, InvalidName when a part is a link or no directory.
    """
    with walk.opened(root, [_single(part) for part in parts]) as directory:
        yield directory


def _single(name: str) -> str:
    """`name`, when it is one component: an absolute path would not care for the open directory at all."""
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise InvalidName(f"{ascii(name)[:80]} is no single name in a directory")
    return name


def entries(directory: int) -> list[Entry]:
    """All entries of an open directory, in no order; one that vanishes meanwhile is left out."""
    found = []
    with os.scandir(directory) as listing:
        for entry in listing:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                mode = status.st_mode
                found.append(Entry(entry.name, stat.S_ISREG(mode), status.st_mtime))
    return found


def directories(directory: int) -> list[str]:
    """Names of the directories (links are none) inside an open directory; quick, it asks the files nothing."""
    with os.scandir(directory) as listing:
        return [entry.name for entry in listing if entry.is_dir(follow_symlinks=False)]


def files(directory: int) -> list[str]:
    """Names of the regular files (links are none) inside an open directory."""
    with os.scandir(directory) as listing:
        return [entry.name for entry in listing if entry.is_file(follow_symlinks=False)]


def modified(directory: int) -> int:
    """When an open directory last changed, in nanoseconds."""
    return os.fstat(directory).st_mtime_ns


def holds_directory(directory: int, name: str) -> bool:
    """Whether `name` is a directory (no link) inside an open directory."""
    try:
        return stat.S_ISDIR(os.stat(_single(name), dir_fd=directory, follow_symlinks=False).st_mode)
    except (OSError, InvalidName):
        return False


def make_directory(directory: int, name: str) -> bool:
    """Make a directory and sync its parent; False when something has that name already."""
    point("folder.make")
    try:
        os.mkdir(_single(name), dir_fd=directory)
    except FileExistsError:
        return False
    point("folder.made")
    sync(directory)
    return True


def read(directory: int, name: str) -> bytes:
    """All bytes of a regular file. Raises NotFound, and InvalidName for a link, a pipe or a device."""
    return walk.read_file(directory, _single(name))


def write(
    directory: int, name: str, data: bytes, *, replace: bool = True, durable: bool = True, mode: int = 0o666
) -> None:
    """Put a file in place, whole or not at all. Raises Conflict when it exists and `replace` is False.

    `durable=False` leaves out the syncs: for what the next write makes anew anyway.
    """
    _single(name)
    if not _create(directory, name, data, durable, mode) and not _write_beside(
        directory, name, data, replace, durable, mode
    ):
        raise Conflict(f"{name!r} exists already; pass overwrite=True to replace it")
    if durable:
        sync(directory)


def _create(directory: int, name: str, data: bytes, durable: bool, mode: int) -> bool:
    """Make a new file that has no name until it is whole; False when the name is taken, or this cannot be done here."""
    if _stands(directory, name):
        return False
    try:
        descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=directory)
    except (OSError, AttributeError):
        return False
    with os.fdopen(descriptor, "wb") as file:
        point("folder.nameless")
        _fill(file, data, durable)
        point("folder.link")
        try:
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=directory, follow_symlinks=True)
        except OSError:
            return False
    point("folder.linked")
    return True


def _write_beside(directory: int, name: str, data: bytes, replace: bool, durable: bool, mode: int) -> bool:
    """Write a temporary file and rename it; False when something is there that is not to be replaced."""
    temporary = secrets.token_hex(8).join(_LEFTOVER)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            point("folder.beside")
            _fill(file, data, durable)
        point("folder.rename")
        if replace or not _link(directory, temporary, name):
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(temporary, dir_fd=directory)
        point("folder.renamed")
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        if isinstance(error, FileExistsError):
            return False
        raise
    return True


def _fill(file: BinaryIO, data: bytes, durable: bool) -> None:
    point("folder.fill")
    file.write(data)
    file.flush()
    if durable:
        os.fsync(file.fileno())


def _link(directory: int, temporary: str, name: str) -> bool:
    """Give the file its name; False where the file system has no hard links. Raises FileExistsError."""
    point("folder.name")
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        if _stands(directory, name):
            raise FileExistsError(name) from None
        return False
    return True


def _stands(directory: int, name: str) -> bool:
    """Whether anything has this name."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def sync(directory: int) -> None:
    """Sync a directory, where the file system can."""
    point("folder.sync")
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not sync directories
            raise


def move_directory(directory: int, old: str, target: int, new: str) -> None:
    """Rename a directory to a name that is free. Raises Conflict, NotFound.

    Who takes it just now loses an empty directory at most. Taking it with `mkdir` first was tried: one who was killed
    then had taken it for ever.
    """
    if _stands(target, _single(new)):
        raise Conflict(f"{new!r} exists already")
    point("folder.move")
    try:
        os.rename(_single(old), new, src_dir_fd=directory, dst_dir_fd=target)
    except FileNotFoundError as error:
        raise NotFound(f"there is no directory {old!r}") from error
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise Conflict(f"{new!r} exists already") from error
    point("folder.moved")
    sync(directory)
    sync(target)


def remove_tree(directory: int, name: str) -> None:
    """Remove a directory with all that is in it; links are removed, never followed. Nothing there is no error."""
    point("folder.tree")
    with suppress(FileNotFoundError):
        shutil.rmtree(_single(name), dir_fd=directory)


def remove(directory: int, name: str) -> None:
    """Remove a file; nothing there is no error."""
    point("folder.remove")
    with suppress(FileNotFoundError):
        os.unlink(_single(name), dir_fd=directory)


def is_leftover(name: str) -> bool:
    """Whether this is the temporary file of a writer (a living one, or one that was killed)."""
    return name.startswith(_LEFTOVER[0]) and name.endswith(_LEFTOVER[1])
