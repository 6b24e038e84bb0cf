"""What else lies there that knows the database: whether its log is its own and whole, and whether it is the one
that was here before.

A commit stands in the write-ahead log until it is copied back. If the log is taken away, cut or exchanged, SQLite
sees a shorter log and believes it: what was acknowledged is gone without a word, or pages of another file are
written into ours. But the index of the log (`-shm`), which every process maps, remains when all of them are killed,
and says how far the log went. It is believed only within one boot, because it is never synced; the note beside the
lock says which boot that was, and which database (a number in its header) lay here.

To look into the index must not touch its locks: when a process closes any descriptor of a file, the kernel takes all
of its locks on that file away, those of SQLite too, and the next process that opens the database takes the index for
an old one and cuts it under everybody who has mapped it. So a descriptor of it stays open as long as this process has
the database open anywhere.

What was found stays said (`damaged`), since opening the database rewrites the index: it is written to by nobody
until `callboard repair` has taken the mark away.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import apsw

from callboard.crash import point
from callboard.errors import StoreDamaged
from callboard.store import chain, whole
from callboard.store.sql import queries as q

_HEADER = Struct("=IIIBBHII8s8s2I")  # of the index: …, mxFrame, nPage, aFrameCksum, aSalt, aCksum
_WORDS = Struct("=10I")
_BACKFILL = Struct("=I")
_BACKFILL_AT = 2 * _HEADER.size
_SALT = slice(16, 24)  # in the log's header
_LOG_HEADER = 32
_ANOTHERS = "is not the one that belongs to"
_NONE = bytes(8)  # the mark of a log in which nothing was found
_TRIES = 5  # readings of an index that a living process may be changing


_lock = threading.Lock()
_users: dict[str, int] = {}  # databases of this process that are open, by their file
_kept: dict[str, list[int]] = {}  # descriptors of their indices


class Index(NamedTuple):
    """How far a log went: frames in it, those copied back, the mark of its generation."""

    frames: int
    copied: int
    salt: bytes


def unfinished(database: Path) -> Path:
    """The note of a repair that was begun: as long as it is there, what lies here is neither the one nor the other."""
    return database.parent / "run" / f"{database.name}.mending"


def known_identity(database: Path) -> int | None:
    """The number of the database that was here last, where that is noted."""
    number = _told(_note(database)).get("database")
    return number if type(number) is int else None


def known_birth(database: Path) -> str | None:
    """The hash (hex) of what the first run of that database began with."""
    hash = _told(_note(database)).get("birth")
    return hash if isinstance(hash, str) else None


class Witness:
    """Of one database file. `before` it is opened, `after` it was read for the first time."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._log, self._index = Path(f"{database}-wal"), Path(f"{database}-shm")
        self._note = _note(database)
        self.mark = database.parent / "run" / f"{database.name}.damaged"
        self._seen: Index | None = None
        self._key: str | None = os.path.realpath(database)
        with _lock:
            _users[self._key] = _users.get(self._key, 0) + 1

    def close(self) -> None:
        """This database is closed: the last one of its file in this process lets go of the index."""
        with _lock:
            key, self._key = self._key, None
            if key is None:
                return
            _users[key] -= 1
            if not _users[key]:
                del _users[key]
                for descriptor in _kept.pop(key, ()):
                    os.close(descriptor)

    def before(self) -> str:
        """What is wrong already: "" or the words of the mark. Raises StoreDamaged for another database's log, and
        while a repair is under way."""
        if unfinished(self._database).exists():
            raise StoreDamaged(
                f"a repair of {self._database} was begun and is not finished; go on with it: callboard repair"
            )
        with suppress(OSError):
            return self.mark.read_text("utf-8")
        if self._known().get("boot") == whole.boot():
            for _ in range(_TRIES):
                self._seen = index = self._read_index()
                salt = self._salt()
                if index is None or not index.frames or not salt or salt == index.salt:
                    break
                if self._read_index() == index:
                    raise self._damaged(f"the log {self._log.name} {_ANOTHERS} {self._database.name}")
        return ""

    def log_is_alone(self) -> bool:
        """Whether there is a log and no database: SQLite would throw it away."""
        with suppress(OSError):
            is_there = self._database.exists() and self._database.stat().st_size > 0
            return not is_there and self._log.stat().st_size > _LOG_HEADER
        return False

    def log_is_anothers(self) -> bool:
        """Whether not one part of the log is of the generation that the index tells of, or told of when the mark was
        made. (A log whose header alone was changed is not another's.)"""
        index = self._read_index() if self._known().get("boot") == whole.boot() else None
        try:
            log = self._log.read_bytes()
        except OSError:
            return False
        with suppress(OSError):
            if _ANOTHERS in self.mark.read_text("utf-8"):
                return log[_SALT] in log[_LOG_HEADER:]
        return index is not None and index.frames > 0 and len(log) > _LOG_HEADER and index.salt not in log

    def after(self, connection: apsw.Connection) -> None:
        """Raises StoreDamaged when commits are missing, or when this is not the database that was here."""
        seen, now = self._seen, self._read_index()
        if seen is not None and seen.frames > seen.copied:
            left = 0 if now is None or now.salt == _NONE else now.frames if now.salt == seen.salt else seen.frames
            if left < seen.frames:
                raise self._damaged(f"its log went to page {seen.frames} and ends at {left}: commits are missing")
        known, number = self._known().get("database"), connection.pragma("user_version")
        if known and number and known != number:
            raise self._damaged("this is another database than the one that was here before")

    def is_another(self, connection: apsw.Connection) -> bool:
        """Whether this is surely another database. Its first run tells: with our log beside it, it has our number."""
        known, birth = self._known(), _first_birth(connection)
        if known.get("birth"):
            return birth is not None and birth != known["birth"]
        return bool(known.get("database")) and known["database"] != connection.pragma("user_version")

    def note(self, connection: apsw.Connection) -> None:
        """From now on this database and this boot are known. Lossy: it is a help and no record."""
        number = connection.pragma("user_version")
        told = {"boot": whole.boot(), "database": number, "birth": _first_birth(connection)}
        if self._known() != told:
            with suppress(OSError):
                whole.replace(self._note.parent, self._note.name, json.dumps(told).encode(), synced=False)

    def forget(self) -> None:
        """The database is a new one, or was mended."""
        for path in (self.mark, self._note):
            point("file.clear")
            path.unlink(missing_ok=True)

    def _damaged(self, what: str) -> StoreDamaged:
        with suppress(OSError):
            whole.replace(self.mark.parent, self.mark.name, what.encode())
        return StoreDamaged(f"{self._database} is damaged: {what}. It is kept as it is; mend it with: callboard repair")

    def _known(self) -> dict[str, object]:
        return _told(self._note)

    def _salt(self) -> bytes:
        try:
            with self._log.open("rb") as log:
                return log.read(32)[_SALT]
        except OSError:
            return b""

    def _read_index(self) -> Index | None:
        """None where there is none, or one that is not whole."""
        try:
            data = os.pread(self._descriptor(), _BACKFILL_AT + 4, 0)
        except OSError:
            return None
        header = data[: _HEADER.size]
        if len(data) < _BACKFILL_AT + 4 or header != data[_HEADER.size : _BACKFILL_AT]:
            return None
        fields = _HEADER.unpack(header)
        if not fields[3] or _checksum(_WORDS.unpack(header[: _WORDS.size])) != fields[-2:]:
            return None
        return Index(fields[6], _BACKFILL.unpack_from(data, _BACKFILL_AT)[0], fields[9])

    def _descriptor(self) -> int:
        """One of the index as it lies there now, kept open. Raises OSError."""
        with _lock:
            kept = _kept.setdefault(str(self._key), [])
            there = os.stat(self._index)
            for descriptor in kept:
                if os.path.samestat(os.fstat(descriptor), there):
                    return descriptor
            kept.append(os.open(self._index, os.O_RDONLY | os.O_CLOEXEC))
            return kept[-1]


def _checksum(words: tuple[int, ...]) -> tuple[int, int]:
    """SQLite's, over pairs of 32-bit words."""
    one = other = 0
    for place in range(0, len(words), 2):
        one = (one + words[place] + other) & 0xFFFFFFFF
        other = (other + words[place + 1] + one) & 0xFFFFFFFF
    return one, other


def _first_birth(connection: apsw.Connection) -> str | None:
    """The hash of what the first run began with, in hex; None where there is none, or none that is sound."""
    with suppress(apsw.CorruptError):  # of one page: that makes it no other database
        for at, facts, hash in connection.execute(q.FIRST_BIRTH):
            if chain.fits(chain.START, 0, at, facts, hash):
                return str(hash.hex())
    return None


def _note(database: Path) -> Path:
    return database.parent / "run" / f"{database.name}.known"


def _told(note: Path) -> dict[str, object]:
    try:
        told = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
