"""Putting documents in place: whole or not at all, as often as you like, never over a user's version.

A document is recorded as *pending* before anything here happens, so after a crash `publish` is simply called
again. It writes a temporary file in the same directory, syncs it, moves it into place and syncs the directory.
A file on disk is a user's when its hash is neither recorded nor the one that was to be replaced: then ours is
written beside it and the caller is told. The temporary name is derived from the document, so that a replay
clears what a crash left behind; a random one gathered litter.
"""

from __future__ import annotations

import errno
import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from callboard.crash import point
from callboard.errors import InvalidName, NotFound, StoreError
from callboard.store import paths, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PUBLISHED, CONFLICT = "published", "conflict"
_PATIENCE = 8  # times that a file may change under us before it counts as a user's


class _Seen(NamedTuple):
    """A file as it stood when it was read; `hash` is empty for what is no regular file."""

    hash: str
    stamp: tuple[int, int, int, int]
    mode: int


def publish(
    root: Path,
    path: str,
    data_hash: str,
    replaces: str | None,
    recorded: Callable[[str], bool],
    read: Callable[[str], bytes],
) -> str:
    """Put the content `data_hash` at `path` under `root`: "published", or "conflict" when a user's file is there.

    `replaces` is the version its writer knew of and means to replace; `recorded` says of a hash whether we wrote
    it; `read` gets bytes by hash. On "conflict" ours lies beside it, see `beside`. Safe to call again at any time.
    Raises InvalidName, StoreError (a full or broken disk), and what `read` raises.
    """
    try:
        with paths.place(root, path, create=True) as (parent, name):
            return _publish(parent, name, data_hash, lambda hash: hash == replaces or recorded(hash), read)
    except OSError as error:
        if isinstance(error, NotFound):
            raise
        raise StoreError(f"{path} could not be written: {error.strerror or error}; nothing was changed") from error


def beside(root: Path, path: str, data_hash: str) -> str | None:
    """Where `publish` has put our version after a conflict: `draft (ours 1).md`; None when there is none."""
    with paths.place(root, path) as (parent, name):
        for number in range(1, 1000):
            seen = _look(parent, _ours(name, number))
            if seen is None:
                return None
            if seen.hash == data_hash:
                return path[: len(path) - len(name)] + _ours(name, number)
    return None


def _publish(parent: int, name: str, hash: str, ours: Callable[[str], bool], read: Callable[[str], bytes]) -> str:
    for _ in range(_PATIENCE):
        seen = _look(parent, name)
        if seen is not None and seen.hash == hash and not whole.doubtful(parent):
            _clear(parent, _temporary(name, hash))
            whole.sync(parent)
            return PUBLISHED
        if seen is not None and seen.hash != hash and not (seen.hash and ours(seen.hash)):
            break
        if _put(parent, name, hash, seen, read):
            return PUBLISHED
    _put_beside(parent, name, hash, read)
    return CONFLICT


def _put_beside(parent: int, name: str, hash: str, read: Callable[[str], bytes]) -> None:
    number = 1
    point("publish.beside")
    while True:
        place = _ours(name, number)
        seen = _look(parent, place)
        if seen is None or (seen.hash == hash and whole.doubtful(parent)):
            if _put(parent, place, hash, seen, read):
                return
        elif seen.hash == hash:
            _clear(parent, _temporary(place, hash))
            whole.sync(parent)
            return
        else:
            number += 1


def _put(parent: int, name: str, hash: str, seen: _Seen | None, read: Callable[[str], bytes]) -> bool:
    """Move our bytes to `name` if it still stands as it was `seen`; whether that was so."""
    temporary = _temporary(name, hash)
    _clear(parent, temporary)
    data = read(hash)
    point("publish.write")
    try:
        paths.write_at(parent, temporary, data, 0o666)
        if seen is None:
            return _put_new(parent, temporary, name)
        os.chmod(temporary, stat.S_IMODE(seen.mode), dir_fd=parent)
        if _stamp(parent, name) != seen.stamp:
            return False
        point("publish.replace")
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        point("publish.named")
        whole.sync(parent)
        return True
    finally:
        _clear(parent, temporary)


def _put_new(parent: int, temporary: str, name: str) -> bool:
    """A link never replaces anything, so a file that a user made just now stays; not all file systems have them."""
    point("publish.link")
    try:
        os.link(temporary, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if _stamp(parent, name) is not None:
            return False
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    point("publish.named")
    whole.sync(parent)
    return True


def _look(parent: int, name: str) -> _Seen | None:
    stamp = _stamp(parent, name)
    if stamp is None:
        return None
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    try:
        return _Seen(sha256(paths.read_at(parent, name)).hexdigest(), stamp, mode)
    except NotFound:
        return None
    except (InvalidName, IsADirectoryError):
        return _Seen("", stamp, mode)


def _stamp(parent: int, name: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _clear(parent: int, name: str) -> None:
    point("publish.clear")
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _temporary(name: str, hash: str) -> str:
    return f".callboard-{sha256(name.encode()).hexdigest()[:12]}-{hash[:12]}.tmp"


def _ours(name: str, number: int) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    mark = f" (ours {number}){dot}{suffix}"
    while len(os.fsencode(stem + mark)) > paths.LONGEST and len(stem) > 1:
        stem = stem[:-1]
    return stem + mark
