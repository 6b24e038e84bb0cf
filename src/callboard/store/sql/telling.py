"""What SQLite and the system say, in our words: what happened, what of it is recorded, what to do."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import apsw

from callboard.errors import Busy, CallboardError, Conflict, NotJson, StoreDamaged, StoreError
from callboard.store.room import no_room

if TYPE_CHECKING:
    from pathlib import Path


def translated(error: BaseException, path: Path) -> CallboardError:
    """Our error for one of SQLite's or the system's, saying what to do."""
    match error:
        case CallboardError():
            return error
        case UnicodeEncodeError():
            return NotJson(f"a text that is not Unicode cannot be recorded: {error.reason}")
        case apsw.CorruptError() | apsw.NotADBError() | UnicodeDecodeError():
            return damaged(path, str(error))
        case apsw.FullError():
            return no_room(OSError(errno.ENOSPC, ""), path.parent) or StoreError(str(error))
        case apsw.BusyError() | apsw.LockedError():
            return Busy(f"another program has held {path} for a minute", retry_after=10.0)
        case apsw.ReadOnlyError() if told := no_room(OSError(errno.EROFS, ""), path.parent):
            return told
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.CantOpenError():
            return StoreError(f"{path} cannot be opened for this ({error})")
        case apsw.ConstraintError():
            return _constraint(error)
        case apsw.IOError():
            return StoreError(f"the disk failed: nothing of this was recorded, all before it is safe ({path}: {error})")
        case OSError():
            return no_room(error, path.parent) or StoreError(f"{error.filename or path}: {error.strerror or error}")
    return StoreError(f"{path}: {type(error).__name__}: {error}")


def _constraint(error: apsw.ConstraintError) -> CallboardError:
    text = str(error)
    if "UNIQUE" in text:
        return Conflict(f"recorded already: {text.removeprefix('UNIQUE constraint failed: ')}")
    if "json_valid" in text:
        return NotJson(f"a text that is not strict JSON was refused: {text}")
    return StoreError(f"refused by the store: {text}")


def damaged(path: Path | str, what: str) -> StoreDamaged:
    return StoreDamaged(f"{path} is damaged: {what}. It is kept as it is; mend it with: callboard repair")
