"""SQLite's own files on a watched directory: a VFS that notes what it passes on, and fails when told.

It stands on the system's VFS, so locks, shared memory and reads are the real ones. The shared-memory file of a
write-ahead log is not noted: after a cut it is made anew from the log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw

from callboard.testing.disk.faults import DELETE, NAME, READ, RESIZE, SYNC, WRITE
from callboard.testing.disk.log import Named, NotSynced, Resized, Synced, Unnamed, Wrote

if TYPE_CHECKING:
    from types import TracebackType

    from callboard.testing.disk.faults import Fault
    from callboard.testing.disk.log import Log

_BASE = ""  # the system's own
_JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
_FAILED = {
    READ: apsw.SQLITE_IOERR_READ,
    WRITE: apsw.SQLITE_IOERR_WRITE,
    SYNC: apsw.SQLITE_IOERR_FSYNC,
    RESIZE: apsw.SQLITE_IOERR_TRUNCATE,
    DELETE: apsw.SQLITE_IOERR_DELETE,
}


class DiskVfs(apsw.VFS):
    """Register it under `name`, which a store is then opened with; `unregister` it when all are closed."""

    def __init__(self, log: Log, name: str) -> None:
        self.log = log
        super().__init__(name, _BASE)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if name is None or path is None:
            return apsw.VFSFile(_BASE, name, flags)
        with self.log.lock:
            place, base = self.log.where(path)
            if place is None:
                return apsw.VFSFile(_BASE, name, flags)
            if not os.path.exists(path) and (fault := self.log.faults.next(NAME)):
                raise _failure(NAME, fault)
            return _DiskFile(self.log, name, path, place, base, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self.log.lock:
            place, base = self.log.where(filename)
            if place is not None and os.path.exists(filename) and (fault := self.log.faults.next(DELETE)):
                raise _failure(DELETE, fault)
            super().xDelete(filename, False)
            if place is not None:
                self.log.note(Unnamed(place, base))
                if syncdir:
                    self.log.note(Synced(place))

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(evalue, apsw.Error)  # our own faults, of which SQLite tells its caller


class _DiskFile(apsw.VFSFile):
    """A database, a journal or a write-ahead log."""

    def __init__(
        self,
        log: Log,
        name: str | apsw.URIFilename,
        path: str,
        place: int,
        base: str,
        flags: list[int],
    ) -> None:
        super().__init__(_BASE, name, flags)
        self._log, self._place = log, place
        # the system's VFS syncs the directory of a journal that it may have made, at its first sync
        self._name_to_sync = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _JOURNALS)
        status = os.stat(path)
        file = log.id_of(status)
        if file is None or status.st_nlink == 0:
            file = log.new(status)
            log.note(Named(place, base, file))
        self._file = file

    def xRead(self, amount: int, offset: int) -> bytes:
        if fault := self._log.faults.next(READ):
            raise _failure(READ, fault)
        data: bytes = super().xRead(amount, offset)
        return data

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._log.lock:
            data = bytes(data)
            fault = self._log.faults.next(WRITE)
            if fault is not None and fault.half:
                data = data[: len(data) // 2]
            if fault is None or fault.half:
                super().xWrite(data, offset)
                self._log.note(Wrote(self._file, offset, data))
            if fault is not None:
                raise _failure(WRITE, fault)

    def xSync(self, flags: int) -> None:
        with self._log.lock:
            if fault := self._log.faults.next(SYNC):
                self._log.note(NotSynced(self._file))
                raise _failure(SYNC, fault)
            self._log.note(Synced(self._file))  # and nothing more: a disk that keeps its power needs no sync
            if self._name_to_sync:
                self._log.note(Synced(self._place))
                self._name_to_sync = False

    def xTruncate(self, newsize: int) -> None:
        with self._log.lock:
            if fault := self._log.faults.next(RESIZE):
                raise _failure(RESIZE, fault)
            super().xTruncate(newsize)
            self._log.note(Resized(self._file, newsize))

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(evalue, apsw.Error)


def _failure(kind: str, fault: Fault) -> apsw.Error:
    """The error that the system's VFS would give: a write that finds no space, whole or half, is *full*."""
    if kind == NAME:
        return apsw.CantOpenError(str(fault.raised()))
    if kind == WRITE and (fault.half or fault.raised().errno == 28):
        return apsw.FullError(str(fault.raised()))
    error = apsw.IOError(str(fault.raised()))
    error.extendedresult = _FAILED[kind]  # type: ignore[attr-defined]
    return error
