"""Files that appear whole or not at all, and of which a killed writer leaves nothing behind.

The bytes go into a file that has no name (`O_TMPFILE`), which the kernel takes away with whoever wrote it; a link
gives it its name, and a link never replaces anything. Only to replace a file, and where a file system has no such
files, are the bytes written beside their place and renamed. Those names have to be random, because several processes
may write the same content; so a writer locks his file, and the next one of that name clears what nobody has locked.

A sync that has failed is not asked again: the kernel calls the pages clean that it could not write, and the next
sync says yes to them. Bytes are written into a new file then, and a directory whose sync has failed is `doubtful`:
whoever finds his file in it puts it there anew. It is marked, because the next to find it may be another process;
as the doubt is about what the kernel remembers, the mark is not synced, and means nothing after the next boot.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from callboard.crash import point

if TYPE_CHECKING:
    from pathlib import Path

_NO_SUCH_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS)
_NO_SUCH_LINKS = (errno.EPERM, errno.ENOENT, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
MARK = ".callboard-doubtful"
doubtful_folders: set[tuple[int, int]] = set()  # of this process: a disk that fails may not take the mark
_settled: set[tuple[int, int]] = set()


def sync(directory: int) -> None:
    """Make the names in an open directory durable. Raises OSError; the directory is doubtful then."""
    point("whole.sync")
    try:
        os.fsync(directory)
    except OSError:
        doubtful_folders.add(_identity(directory))
        with suppress(OSError):
            _mark(directory)
        raise


def doubtful(directory: int | Path) -> bool:
    """Whether a sync of this directory has failed since the machine started: a name in it is durable once it is made
    anew."""
    if doubtful_folders and _identity(directory) in doubtful_folders:
        return True
    try:
        return _is_marked(directory)
    except OSError:
        return False


def make_folder(directory: int, name: str, mode: int) -> bool:
    """Make a directory, its name durable; False when something has that name. Raises OSError: then it is not there.

    One that is there, empty, in a doubtful directory is made anew, because its name may be what was not synced.
    """
    if doubtful(directory):
        with suppress(OSError):
            os.rmdir(name, dir_fd=directory)
    point("whole.folder")
    try:
        os.mkdir(name, mode, dir_fd=directory)
    except FileExistsError:
        return False
    point("whole.folder_made")
    try:
        sync(directory)
    except OSError:
        with suppress(OSError):  # so that it is made anew, and not found and trusted
            os.rmdir(name, dir_fd=directory)
        raise
    return True


def create(directory: Path, name: str, data: bytes, *, synced: bool = True) -> bool:
    """Make a file, mode 0600; False when the name is taken. Its name is durable once the directory is synced.

    Raises OSError.
    """
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = _nameless(place)
        if file is None:
            return _create_beside(place, name, data, synced)
        with os.fdopen(file, "wb") as stream:
            point("whole.nameless")
            _fill(stream.fileno(), data, synced)
            point("whole.link")
            try:
                os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=place, follow_symlinks=True)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_SUCH_LINKS:
                    raise
                return _create_beside(place, name, data, synced)
        point("whole.linked")
        return True
    finally:
        os.close(place)


def replace(directory: Path, name: str, data: bytes, *, synced: bool = True) -> None:
    """Put a file in place of whatever stands there. Raises OSError."""
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _rename(place, name, data, synced)
    finally:
        os.close(place)


def settle(directory: int, folder: int) -> None:
    """Make the name of `folder` in `directory` durable, once: whoever made it may have died before he could."""
    identity = _identity(folder)
    if identity not in _settled:
        sync(directory)
        _settled.add(identity)


def _identity(file: int | Path) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _mark(directory: int) -> None:
    file = os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        os.write(file, boot().encode())
    finally:
        os.close(file)


def _is_marked(directory: int | Path) -> bool:
    """Raises OSError, mostly because there is no mark. One of an earlier boot is taken away."""
    place, name = (directory, MARK) if isinstance(directory, int) else (None, directory / MARK)
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    try:
        of_now = os.read(file, 100).decode("ascii", "replace") in ("", boot())
    finally:
        os.close(file)
    if not of_now:
        os.unlink(name, dir_fd=place)
    return of_now


def boot() -> str:
    """Which start of the machine this is; "" where it does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _nameless(place: int) -> int | None:
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=place)
    except OSError as error:
        if error.errno not in _NO_SUCH_FILES:
            raise
        return None


def _create_beside(place: int, name: str, data: bytes, synced: bool) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        _rename(place, name, data, synced)  # two at once write the same, or either will do
        return True
    return False


def _rename(place: int, name: str, data: bytes, synced: bool) -> None:
    _clear(place, name)
    temporary, file = _beside(place, name)
    try:
        with os.fdopen(file, "wb"):
            point("whole.beside")
            _fill(file, data, synced)
            point("whole.rename")
            os.replace(temporary, name, src_dir_fd=place, dst_dir_fd=place)
            point("whole.renamed")
    except BaseException:
        os.unlink(temporary, dir_fd=place)
        raise


def _beside(place: int, name: str) -> tuple[str, int]:
    """A new file beside a name, locked as long as it is open: that its writer lives."""
    while True:
        temporary = f"{_prefix(name)}{token_hex(8)}"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
        if _lock(file) and os.fstat(file).st_nlink:
            return temporary, file
        os.close(file)  # somebody was quicker, and took it for a dead writer's


def _clear(place: int, name: str) -> None:
    """Remove what writers of this name have left beside it who were killed."""
    for left in os.listdir(place):
        if left.startswith(_prefix(name)):
            with suppress(FileNotFoundError):
                file = os.open(left, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
                try:
                    if _lock(file):
                        point("whole.clear")
                        os.unlink(left, dir_fd=place)
                finally:
                    os.close(file)


def _prefix(name: str) -> str:
    return f".{name[:16]}."


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fill(file: int, data: bytes, synced: bool) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    if synced:
        os.fsync(file)
