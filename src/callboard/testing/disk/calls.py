"""The `os` calls that change a watched directory, noted as they happen.

`watched` puts its own functions in the place of those of the `os` module, which is how our code, `pathlib` and
`shutil` reach the disk; a call that is not about the watched directory goes straight through. Patching each module
that writes was tried first: a new one would have been forgotten. What `os` does not offer (the exchange of two names)
tells of itself by an audit event. `Log` and the real directory can be compared
at the end (`image.whole`), so what should ever escape is found.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from callboard.testing.disk.faults import DELETE, NAME, RESIZE, SYNC, WRITE
from callboard.testing.disk.log import Exchanged, Named, NotSynced, Renamed, Resized, Synced, Unnamed, Wrote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from callboard.testing.disk.log import Log

_NAMELESS = getattr(os, "O_TMPFILE", 0)
_PATCHED = (
    "open", "fdopen", "write", "pwrite", "fsync", "fdatasync", "ftruncate", "link", "rename", "replace", "unlink",
    "remove", "mkdir", "rmdir", *(["posix_fallocate"] if hasattr(os, "posix_fallocate") else []),
)  # fmt: skip


@contextmanager
def watched(log: Log) -> Iterator[None]:
    """Note what the `os` module does below the log's root, in every thread. One log at a time."""
    calls = _Calls(log)
    real = {name: getattr(os, name) for name in _PATCHED}
    _hear_exchanges()
    _listening.append(calls)
    for name in _PATCHED:
        setattr(os, name, getattr(calls, name))
    try:
        yield
    finally:
        _listening.remove(calls)
        for name, function in real.items():
            setattr(os, name, function)


_listening: list[_Calls] = []


@cache
def _hear_exchanges() -> None:
    """Once for the process: an audit hook stays."""

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith("callboard.exchange") and _listening:
            _listening[-1].exchange(*args, done=event == "callboard.exchanged")

    sys.addaudithook(hear)


class _Stream(io.FileIO):
    """A file object whose writes pass the watcher."""

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)


class _Calls:
    """The functions, named as in `os`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._real = {name: getattr(os, name) for name in _PATCHED}

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        real = self._real["open"]
        if not flags & (os.O_CREAT | os.O_TRUNC | _NAMELESS & ~os.O_DIRECTORY) or not isinstance(
            path, str | os.PathLike
        ):
            return int(real(path, flags, mode, dir_fd=dir_fd))
        with self._log.lock:
            if _NAMELESS and flags & _NAMELESS == _NAMELESS:
                return self._open_nameless(path, flags, mode, dir_fd)
            place, name = self._log.where(path, dir_fd)
            if place is None:
                return int(real(path, flags, mode, dir_fd=dir_fd))
            there = _status(path, dir_fd)
            if there is None:
                self._may(NAME, path)
            file = int(real(path, flags, mode, dir_fd=dir_fd))
            if there is None:
                self._log.note(Named(place, name, self._log.new(os.fstat(file))))
            elif flags & os.O_TRUNC and (known := self._log.id_of(there)) is not None:
                self._log.note(Resized(known, 0))
            return file

    def fdopen(self, fd: int, mode: str = "r", *args: Any, **more: Any) -> Any:
        if mode == "wb" and self._log.id_of(os.fstat(fd)) is not None:
            return io.BufferedWriter(_Stream(fd, "wb"))
        return self._real["fdopen"](fd, mode, *args, **more)

    def write(self, fd: int, data: Any) -> int:
        file = self._known(fd)
        if file is None:
            return int(self._real["write"](fd, data))
        with self._log.lock:
            offset = os.fstat(fd).st_size if _appends(fd) else os.lseek(fd, 0, os.SEEK_CUR)
            return self._write(file, data, offset, lambda part: self._real["write"](fd, part))

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        file = self._known(fd)
        if file is None:
            return int(self._real["pwrite"](fd, data, offset))
        with self._log.lock:
            return self._write(file, data, offset, lambda part: self._real["pwrite"](fd, part, offset))

    def _write(self, file: int, data: Any, offset: int, real: Callable[[bytes], int]) -> int:
        fault = self._log.faults.next(WRITE)
        if fault is not None and not fault.half:
            raise fault.raised()
        part = bytes(data)[: max(1, len(data) // 2)] if fault is not None else bytes(data)
        written = real(part)
        self._log.note(Wrote(file, offset, part[:written]))
        return written

    def fsync(self, fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        file = self._known(number)
        if file is None:
            self._real["fsync"](fd)
            return
        with self._log.lock:
            fault = self._log.faults.next(SYNC)
            if fault is not None:
                self._log.note(NotSynced(file))
                raise fault.raised()
            self._log.note(Synced(file))  # and nothing more: a disk that keeps its power needs no sync

    fdatasync = fsync

    def ftruncate(self, fd: int, length: int) -> None:
        file = self._known(fd)
        with self._log.lock:
            if file is not None:
                self._may(RESIZE, fd)
            self._real["ftruncate"](fd, length)
            if file is not None:
                self._log.note(Resized(file, length))

    def posix_fallocate(self, fd: int, offset: int, length: int) -> None:
        file = self._known(fd)
        with self._log.lock:
            if file is not None:
                self._may(RESIZE, fd)
            self._real["posix_fallocate"](fd, offset, length)
            if file is not None:
                self._log.note(Resized(file, os.fstat(fd).st_size))

    def link(self, src: Any, dst: Any, **more: Any) -> None:
        with self._log.lock:
            place, name = self._log.where(dst, more.get("dst_dir_fd"))
            if place is not None:
                self._may(NAME, dst)
            self._real["link"](src, dst, **more)
            if place is not None:
                file = self._log.id_of(os.stat(dst, dir_fd=more.get("dst_dir_fd")))
                if file is None and str(src).endswith("-shm"):
                    return  # SQLite's own, which is not noted
                assert file is not None, f"{src} was linked to {dst} from outside"
                self._log.note(Named(place, name, file))

    def rename(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        with self._log.lock:
            place, name = self._log.where(src, src_dir_fd)
            to_place, to_name = self._log.where(dst, dst_dir_fd)
            if place is not None:
                self._may(NAME, src)
            self._real["replace"](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            if place is not None and to_place is not None:
                file = self._log.id_of(os.stat(dst, dir_fd=dst_dir_fd, follow_symlinks=False))
                assert file is not None, f"{dst} is not known"
                self._log.note(Renamed(place, name, to_place, to_name, file))

    replace = rename

    def exchange(self, parent: int, one: str, other: str, *, done: bool) -> None:
        """Before it is done this may raise what a disk that fails would."""
        with self._log.lock:
            place, _ = self._log.where(one, parent)
            if place is None:
                return
            if not done:
                return self._may(NAME, other)
            files = [self._log.id_of(os.stat(name, dir_fd=parent, follow_symlinks=False)) for name in (one, other)]
            assert files[0] is not None and files[1] is not None, f"{one} or {other} is not known"
            self._log.note(Exchanged(place, one, files[0], other, files[1]))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._remove("unlink", path, dir_fd)

    remove = unlink

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._remove("rmdir", path, dir_fd)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with self._log.lock:
            place, name = self._log.where(path, dir_fd)
            if place is not None and _status(path, dir_fd) is None:
                self._may(NAME, path)
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            if place is not None:
                file = self._log.new(os.stat(path, dir_fd=dir_fd))
                self._log.folders.add(file)
                self._log.note(Named(place, name, file))

    def _remove(self, how: str, path: Any, dir_fd: int | None) -> None:
        with self._log.lock:
            place, name = self._log.where(path, dir_fd)
            if place is not None and _status(path, dir_fd) is not None:
                self._may(DELETE, path)
            self._real[how](path, dir_fd=dir_fd)
            if place is not None:
                self._log.note(Unnamed(place, name))

    def _open_nameless(self, path: Any, flags: int, mode: int, dir_fd: int | None) -> int:
        inside = self._log.id_of(os.stat(path, dir_fd=dir_fd)) is not None
        if inside:
            self._may(NAME, path)
        file = int(self._real["open"](path, flags, mode, dir_fd=dir_fd))
        if inside:
            self._log.new(os.fstat(file))
        return file

    def _may(self, kind: str, path: Any) -> None:
        fault = self._log.faults.next(kind)
        if fault is not None:
            raise fault.raised(path)

    def _known(self, fd: int) -> int | None:
        status = os.fstat(fd)
        regular = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        return self._log.id_of(status) if regular else None


def _status(path: Any, dir_fd: int | None) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _appends(fd: int) -> bool:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        flags = next(line.split()[1] for line in info if line.startswith("flags:"))
    return bool(int(flags, 8) & os.O_APPEND)
