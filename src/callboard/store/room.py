"""Room on the disk of a project: a reserve that is given up when there is none left, and what is missing, in words.

The reserve is a file of a few megabytes, really allocated. When a write finds no room it is removed, so that what is
at work just then can still be recorded; it is made again when there is room for it and some more. Nothing starts
meanwhile, so the absence of that one file is also how every other process knows: a full disk takes no note, but it
lets one be taken away. To compare `statvfs` with a threshold was tried first: it knows no quotas, no descriptors and
no rights. So a probe writes, into a file without a name, which the kernel takes away with whoever wrote it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import NoRoom

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 4 << 20  # bytes of the reserve …
SLACK = 1 << 20  # … and of what has to be free beside it before anything new begins
BEGINNING = 14 << 20  # bytes that a new project takes: its reserve, its database, and the log grown in advance
LITTLE = 64 << 10  # bytes without which nothing can be recorded
_PART = 1 << 20
_NO_SUCH_LINKS = (errno.EPERM, errno.ENOENT, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_NAMELESS = getattr(os, "O_TMPFILE", 0)

_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "the project's folder may not be written to",
    errno.EPERM: "the project's folder may not be written to",
    errno.EMFILE: "this process has no file descriptors left",
    errno.ENFILE: "the machine has no file descriptors left",
    errno.ENOMEM: "there is no memory left",
}
_FIXES = {
    errno.ENOSPC: "free some room",
    errno.EDQUOT: "free some room, or ask for a larger quota",
    errno.EMFILE: "raise the limit (`ulimit -n`)",
    errno.ENFILE: "end some programs",
    errno.ENOMEM: "end some programs, or raise the limit (`ulimit -v`)",
}
_NO_INODES = "the disk has no inodes left: it takes no more files"


class Reserve:
    """The port `Reserve`: the reserve of a project at `path`, in a directory that is there."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, SIZE

    def lacking(self, size: int = LITTLE) -> str:
        """Why not even so many bytes can be written, in words; empty when they can."""
        try:
            os.close(_allocated(self._path.parent, size))
        except OSError as error:
            return words(error, self._path.parent)
        return ""

    def make(self) -> str:
        """Have the reserve stand whole, with room beside it; why that cannot be, in words."""
        if self._stands():
            return self.lacking()
        return self.lacking(self._size + SLACK) or self._made()

    def give_up(self) -> bool:
        """Give the room of the reserve back; whether there was any."""
        point("reserve.give_up")
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True

    def missing(self) -> str:
        """For who looks from outside: what keeps the engines of this project from starting anything, or nothing."""
        try:
            told = os.statvfs(self._path.parent)
        except OSError:
            return ""
        if told.f_flag & os.ST_RDONLY:
            return _WORDS[errno.EROFS]
        if self._stands() or (told.f_bavail * told.f_frsize > self._size + 2 * SLACK and told.f_favail > 1):
            return ""
        return _full(self._path.parent)

    def demand(self) -> None:
        """That something new may begin. Raises NoRoom, with the fix; nothing was made then."""
        lacks = self.make() or self.lacking(SLACK)
        if lacks:
            raise refusal(f"nothing new is begun in {self._path.parents[2]}", lacks)

    def _stands(self) -> bool:
        try:
            return os.stat(self._path).st_size == self._size
        except OSError:
            return False

    def _made(self) -> str:
        """It gets its name when it is whole; whoever is killed before leaves nothing."""
        point("reserve.make")
        try:
            file = _allocated(self._path.parent, self._size)
            try:
                self._link(file)
            finally:
                os.close(file)
        except OSError as error:
            return words(error, self._path.parent)
        point("reserve.made")
        return ""

    def _link(self, file: int) -> None:
        """Somebody may be quicker, and one that lies there may not be whole."""
        if not self._stands():
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        try:
            with suppress(FileExistsError):
                os.link(f"/proc/self/fd/{file}", self._path, follow_symlinks=True)
        except OSError as error:
            if error.errno not in _NO_SUCH_LINKS:
                raise
            self._rename()

    def _rename(self) -> None:
        """Where a file without a name can get none."""
        beside = self._path.with_name(f".{self._path.name}")
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            allocate(file, self._size)
            with suppress(FileNotFoundError):  # somebody was quicker
                os.replace(beside, self._path)
        finally:
            os.close(file)


def demand_beginning(root: Path) -> None:
    """That there is room for a new project in a directory, or in the one that would hold it. Raises NoRoom, OSError."""
    folder = next(folder for folder in (root, *root.parents) if folder.is_dir())
    try:
        os.close(_allocated(folder, BEGINNING))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        what = f"no project can be made in {root}, which takes {BEGINNING >> 20} MB to begin with"
        raise refusal(what, words(error, folder), "name another place: --project DIR") from None


def refusal(what: str, lacks: str, other: str = "") -> NoRoom:
    """The error of who wanted to begin something."""
    fix = next((fix for number, fix in _FIXES.items() if lacks == _WORDS[number]), "")
    fix = fix or ("remove some files" if lacks == _NO_INODES else "make it writable")
    return NoRoom(f"{what}: {lacks}\n  fix: {fix}" + (f", or {other}" if other else ", and say it again"), lacks)


def no_room(error: OSError, folder: Path) -> NoRoom | None:
    """Our error for one of the system's that is about room, rights or descriptors; None for any other."""
    if error.errno not in _WORDS:
        return None
    lacks = words(error, folder)
    return NoRoom(f"{lacks}: nothing of this was recorded, all before it is safe ({error.filename or folder})", lacks)


def words(error: OSError, folder: Path) -> str:
    """What is missing, by an error of the system."""
    if error.errno == errno.ENOSPC:
        return _full(folder)
    return _WORDS.get(error.errno or 0) or f"the disk failed ({error.strerror or error})"


def allocate(file: int, size: int) -> None:
    """Give a file so many bytes that are really its own. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for at in range(0, size, _PART):
        left = memoryview(bytes(min(_PART, size - at)))
        while left:
            left = left[os.write(file, left) :]


def _allocated(folder: Path, size: int) -> int:
    """A file without a name that has so many bytes. Raises OSError."""
    file = _nameless(folder)
    try:
        allocate(file, size)
    except OSError:
        os.close(file)
        raise
    return file


def _nameless(folder: Path) -> int:
    if _NAMELESS:
        try:
            return os.open(folder, _NAMELESS | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS):
                raise
    named = folder / f".room-{os.getpid()}"
    file = os.open(named, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.unlink(named)
    return file


def _full(folder: Path) -> str:
    """There are two ways to be full."""
    with suppress(OSError):
        told = os.statvfs(folder)
        if told.f_files and not told.f_favail:
            return _NO_INODES
    return _WORDS[errno.ENOSPC]
