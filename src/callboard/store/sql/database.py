"""One SQLite file opened by one process: the connection that writes, those that read, the lock, the errors.

It keeps these rules: WAL with `synchronous=FULL`, never less; the writers' lock before the database's own;
nobody ever sees "database is locked"; no vendor's error leaves this room; a forked child is told so instead of
corrupting its parent's file. Readers are separate connections, so a page for a person never waits for a commit
nor delays one.

After an I/O error the log is in doubt (`doubt.py`): before anything else is written it is emptied through the
connection that knows how much of it is true, and another connection takes over.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import apsw

from callboard.crash import point
from callboard.errors import (
    CallboardError,
    ForkedProcess,
    StoreDamaged,
    StoreError,
    StoreRefused,
)
from callboard.store.sql import backups, files, gate, schema
from callboard.store.sql import queries as q
from callboard.store.sql.doubt import Doubt
from callboard.store.sql.lock import WriteLock
from callboard.store.sql.readers import Readers
from callboard.store.sql.telling import damaged, translated
from callboard.store.sql.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSPECTED = 16 << 20  # bytes of a file up to which every page is looked at when it is opened: 8 ms
GROWN = 4_000_000  # bytes of the write-ahead log, grown in advance: a chain is a quarter faster so
SETTINGS = "PRAGMA busy_timeout = 60000; PRAGMA temp_store = MEMORY; PRAGMA synchronous = FULL;"

Row = tuple[Any, ...]
_open: WeakSet[Database] = WeakSet()


class Database:
    """A project's database file. Connections are disowned in a forked child; use them from one thread at a time."""

    def __init__(self, path: Path, *, readonly: bool = False, vfs: str | None = None) -> None:
        """Open, create or migrate. Raises StoreRefused, StoreDamaged, StoreError."""
        gate.check_version(apsw.sqlite_lib_version())
        gate.check_file_system(path)
        self.path, self.readonly, self._vfs = path, readonly, vfs
        self._process = os.getpid()
        self._readers = Readers(lambda: self._reader())
        self._lock: WriteLock | None = None
        self._writer: apsw.Connection | None = None
        self._watcher: apsw.Connection | None = None
        self._doubt, self._witness = Doubt(path), Witness(path)
        self._untouched = False  # it is evidence: the log is not copied back when it is closed
        self.faults: list[str] = []  # what is wrong with a file that can be read all the same
        self._held = threading.local()
        try:
            self._open_to_read() if readonly else self._open_to_write()
        except (apsw.Error, UnicodeDecodeError, OSError) as error:
            told = self.failed(error)
            if isinstance(error, apsw.SQLError):  # our own queries: it has not the tables that it says it has
                told = damaged(path, str(error))
            self._untouched = isinstance(told, StoreDamaged)
            self.close()
            raise told from error
        except CallboardError as error:
            self._untouched = isinstance(error, StoreDamaged)
            self.close()
            raise
        _open.add(self)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, query: str, bindings: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query, on a connection that only reads: one statement, one snapshot, soon over."""
        self._here()
        if (held := getattr(self._held, "reader", None)) is not None:
            return self._rows(held, query, bindings)
        connection = self._borrowed()
        try:
            return self._rows(connection, query, bindings)
        finally:
            self._readers.give_back(connection)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What this thread reads meanwhile is of one moment. Not for long: the log cannot be copied back over it."""
        self._here()
        connection = self._borrowed()
        self._held.reader = connection
        try:
            self._rows(connection, "BEGIN")
            yield
        finally:
            self._held.reader = None
            roll_back(connection)
            self._readers.give_back(connection)

    def _borrowed(self) -> apsw.Connection:
        try:
            return self._readers.lend()
        except apsw.Error as error:
            raise translated(error, self.path) from error

    def _rows(self, connection: apsw.Connection, query: str, bindings: Sequence[Any] = ()) -> list[Row]:
        try:
            found: list[Row] = connection.execute(query, bindings).fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise translated(error, self.path) from error
        return found

    def row(self, query: str, bindings: Sequence[Any] = ()) -> Row | None:
        rows = self.rows(query, bindings)
        return rows[0] if rows else None

    def version(self) -> int:
        """A number that changes when any other connection, of this process too, has committed."""
        self._here()
        try:
            if self._watcher is None:
                self._watcher = self._reader()
            found: int = self._watcher.pragma("data_version")
        except apsw.Error as error:
            raise translated(error, self.path) from error
        return found

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def lock(self) -> WriteLock:
        self._here()
        if self._lock is None:
            raise StoreRefused(f"{self.path} was opened for reading only")
        return self._lock

    @property
    def writer(self) -> apsw.Connection:
        """The connection that writes; only under `lock`."""
        if self._writer is None:
            raise StoreError(f"{self.path} is closed")
        if self._doubt:
            self._begin_anew()
        return self._writer

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """One synced transaction under the lock; errors roll it back and are translated."""
        with self.lock:
            writer = self.writer
            try:
                point("transaction.begin")
                writer.execute("BEGIN IMMEDIATE")
                yield writer
                point("transaction.commit")
                writer.execute("COMMIT")
                point("transaction.committed")
            except BaseException as error:
                roll_back(writer)
                if isinstance(error, apsw.Error | UnicodeError):
                    raise self.failed(error) from error
                raise

    def failed(self, error: BaseException) -> CallboardError:
        """`translated`, of a write; after an I/O error the next one begins on a new connection."""
        if isinstance(error, apsw.IOError):
            self._doubt.begin()
        return translated(error, self.path)

    def checkpoint(self) -> None:
        """Copy the log back into the file, if nobody is in the way: for when there is nothing else to do."""
        lock = self.lock
        if not lock.try_enter():
            return
        try:
            point("wal.checkpoint")
            self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            point("wal.checkpointed")
        except apsw.BusyError:
            pass
        except apsw.Error as error:
            raise self.failed(error) from error
        finally:
            lock.__exit__()

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file, in its words; empty when nothing is."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(100)")]
        except StoreDamaged as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Close all connections; in a forked child leave them alone."""
        _open.discard(self)
        if self._process != os.getpid():
            return
        self._close_all()
        self._witness.close()

    def _close_all(self) -> None:
        for connection in (*self._readers.idle, self._watcher):
            if connection is not None:
                self._close(connection)
        self._readers.idle.clear()
        self._watcher = None
        if self._lock is not None:
            if self._writer is not None:
                with self._lock:
                    if self._doubt and not self._untouched:
                        with suppress(apsw.Error):
                            self._empty_log()
                    point("store.close")
                    self._close(self._writer)
                    point("store.closed")
            self._lock.close()
        self._writer = self._lock = None

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

    def _open_to_read(self) -> None:
        if not self.path.exists():
            raise StoreError(f"there is no {self.path}")
        self._refuse_lone_log()
        self._settle_to_read()
        if mark := self._witness.before():
            self.faults.append(mark)
        reader = self._reader()
        self._readers.idle.append(reader)
        have, known = schema.version(reader), len(schema.MIGRATIONS)
        schema.check(reader, known)
        if self._witness.is_another(reader):
            raise damaged(self.path, "this is another database than the one that was here before")
        if have < known:
            raise StoreRefused(f"{self.path} has an older schema ({have} of {known}); open it for writing once")
        try:
            self._witness.after(reader)
            self._inspect(reader)
        except StoreDamaged as error:
            self.faults.append(str(error))

    def _settle_to_read(self) -> None:
        """What is shown must be on the disk: a log in doubt is written anew, which takes the turn of a writer."""
        if not self._doubt.is_marked:
            return self._doubt.sync()
        try:
            lock = WriteLock(self.path.parent / "run" / f"{self.path.name}.lock")
            try:
                with lock:
                    self._doubt.settle()
            finally:
                lock.close()
        except OSError as error:
            self.faults.append(f"a commit that failed is in its log, and may not be on the disk ({error})")

    def _open_to_write(self) -> None:
        folder = self.path.parent
        new = files.make_way(folder, 0o700)
        files.make_way(folder / "run", 0o700)
        self._lock = WriteLock(folder / "run" / f"{self.path.name}.lock")
        with self._lock:
            self._refuse_lone_log()
            if files.create(self.path):
                self._witness.forget()
            else:
                new = False
            self._doubt.settle()
            if mark := self._witness.before():
                raise damaged(self.path, mark)
            self._writer = writer = self._connect_to_write()
            schema.check(writer, len(schema.MIGRATIONS))
            if schema.version(writer):
                self._witness.after(writer)
                self._inspect(writer)
            if not new and not schema.version(writer):
                files.sync_way(self.path)
            schema.upgrade(writer, schema.MIGRATIONS, time.time(), self._backup_before_upgrade)
            writer.execute(q.RECOUNT)  # a queue whose count a damage made full would never be empty again
            self._grow()
            self._witness.note(writer)

    def _refuse_lone_log(self) -> None:
        if self._witness.log_is_alone():
            raise damaged(self.path, "nothing is left of it, and its log is there")

    def _inspect(self, connection: apsw.Connection) -> None:
        """Whether the file is one that we have made, page for page while it is small. Raises StoreDamaged."""
        found, have = list[str](), schema.version(connection)
        if have == len(schema.MIGRATIONS):
            found += schema.strange(connection)
        try:
            for what in ("5",) if self.path.stat().st_size <= INSPECTED else ("run", "standing"):
                found += [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({what})") if row[0] != "ok"]
        except apsw.CorruptError as error:
            found.append(str(error))
        if found:
            raise damaged(self.path, "; ".join(found[:3]))

    def _connect_to_write(self) -> apsw.Connection:
        with self._connected(apsw.SQLITE_OPEN_READWRITE) as writer:
            schema.version(writer)
            writer.execute("PRAGMA journal_mode = WAL").fetchall()
            writer.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, _PERSIST)
            writer.execute(q.VIEWS)
        return writer

    def _close(self, connection: apsw.Connection) -> None:
        if self._untouched:
            _leave_alone(connection)
        shut(connection)

    def _begin_anew(self) -> None:
        """Empty the log and write through a new connection from now on. Raises StoreError while the disk fails."""
        old = self._writer
        assert old is not None
        try:
            self._empty_log()
            self._writer = self._connect_to_write()
            shut(old)
            self._grow()
        except apsw.FullError:
            pass  # the log grows as it is written to
        except apsw.Error as error:
            self._doubt.begin()
            raise StoreError(f"the disk fails: nothing is recorded before it is well again ({error})") from error

    def _empty_log(self) -> None:
        assert self._writer is not None
        self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._doubt.end()

    def _reader(self) -> apsw.Connection:
        with self._connected(apsw.SQLITE_OPEN_READONLY if self.readonly else apsw.SQLITE_OPEN_READWRITE) as reader:
            reader.execute("PRAGMA query_only = ON")
        return reader

    @contextmanager
    def _connected(self, flags: int) -> Iterator[apsw.Connection]:
        """A connection, to be made ready. One of which nothing can be made is closed here, and copies nothing back:
        left to the collector of garbage it closes whenever that comes, and if another file has the name by then, it is
        the log of that one which it removes."""
        connection = apsw.Connection(str(self.path), flags=flags, vfs=self._vfs)
        try:
            connection.execute(SETTINGS).fetchall()
            yield connection
        except BaseException:
            _leave_alone(connection)
            shut(connection)
            raise

    def _grow(self) -> None:
        log = Path(f"{self.path}-wal")
        if log.exists() and log.stat().st_size >= GROWN:
            return
        point("wal.grow")
        with self.writer as writer:
            writer.execute(f"CREATE TABLE grown (b); INSERT INTO grown VALUES (zeroblob({GROWN})); DROP TABLE grown")
        point("wal.grown")
        self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)

    def _backup_before_upgrade(self, version: int) -> None:
        assert self._writer is not None
        folder = self.path.parent / "backups"
        backups.clear(folder, f"{self.path.stem}-schema{version}-")  # left by one who was killed: we have the lock
        name = f"{self.path.stem}-schema{version}-{backups.stamp(time.time())}.db"
        backups.copy(self._writer, folder / name, self._vfs)

    def _here(self) -> None:
        if os.getpid() != self._process:
            raise ForkedProcess(
                "this process was forked from one that has the project open; use spawn instead of fork, "
                "or open the project in the child only"
            )

    def _disown(self) -> None:
        """In a forked child: closing an inherited connection could write to the parent's file, so it never is."""
        for connection in (*self._readers.idle, self._watcher, self._writer):
            if connection is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        if self._lock is not None:
            self._lock.close()


def roll_back(connection: apsw.Connection) -> None:
    """End a transaction that has failed, if SQLite has not; that the disk fails in it changes nothing."""
    if connection.in_transaction:
        with suppress(apsw.Error):
            connection.execute("ROLLBACK")


def _leave_alone(connection: apsw.Connection) -> None:
    """Its end will neither copy the log back nor remove it."""
    with suppress(apsw.Error):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def shut(connection: apsw.Connection) -> None:
    """The last of a file copies the log back; when the disk fails in that, it is still in the log."""
    with suppress(apsw.Error):
        connection.close()


def _disown_all() -> None:
    for database in list(_open):
        database._disown()


_persist = ctypes.c_int(1)
_PERSIST = ctypes.addressof(_persist)
os.register_at_fork(after_in_child=_disown_all)
