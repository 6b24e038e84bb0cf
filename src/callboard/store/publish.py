"""Putting documents in place: whole or not at all, as often as you like, never over a user's version.

A document is recorded as *pending* before anything here happens, so after a crash `publish` is simply called
again. It writes a temporary file in the same directory, syncs it, moves it into place and syncs the directory.
A file on disk is a user's when we have not written these bytes to this very place, nor were they to be replaced: then
ours is written beside it and the caller is told. The temporary name is derived from the document, so that a replay
clears what a crash left behind; a random one gathered litter.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from callboard.crash import point
from callboard.errors import InvalidName, NotFound, StoreError
from callboard.store import exchange, paths, whole

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

    `replaces` is the version its writer knew of and means to replace; `recorded` says of a hash whether we wrote that
    to this very place; `read` gets bytes by hash. On "conflict" ours lies beside it, see `beside`.
    Safe to call again at any time. Raises InvalidName, StoreError (a full or broken disk), and what `read` raises.
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
        for number in _numbers(parent, name):
            seen = _look(parent, _ours(name, number))
            if seen is not None and seen.hash == data_hash:
                return path[: len(path) - len(name)] + _ours(name, number)
    return None


def _publish(parent: int, name: str, hash: str, ours: Callable[[str], bool], read: Callable[[str], bytes]) -> str:
    _restore(parent, name, hash, ours)
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


def _restore(parent: int, name: str, hash: str, ours: Callable[[str], bool]) -> None:
    """A crash may have left a person's version where an older one of ours was to be thrown away: it is given back, or
    lies beside what the person has made since."""
    swap = _swap(name, hash)
    left = _look(parent, swap)
    if left is not None and left.hash != hash and not (left.hash and ours(left.hash)):
        seen = _look(parent, name)
        if seen is not None and seen.hash == hash:
            _give_back(parent, swap, name, hash, left.hash)
        else:
            _put_first(parent, swap, name)
    if left is not None:
        _clear(parent, swap)


def _give_back(parent: int, swap: str, name: str, put: str, took: str) -> None:
    """We have put `put` where `took` was, which is a person's: back with it, until what comes out is what we put."""
    point("publish.back")
    while exchange.exchange(parent, swap, name):
        came = _look(parent, swap)
        if came is None or came.hash == put:
            return
        put, took = took, came.hash
    _put_first(parent, swap, name)  # somebody has removed what was there


def _put_beside(parent: int, name: str, hash: str, read: Callable[[str], bytes]) -> None:
    """Once: a version that lies under one of our names already stays there, whichever that is."""
    point("publish.beside")
    while True:
        numbers = _numbers(parent, name)
        for number in numbers:
            seen = _look(parent, _ours(name, number))
            if seen is not None and seen.hash == hash:
                if not whole.doubtful(parent):
                    _clear(parent, _temporary(_ours(name, number), hash))
                    return whole.sync(parent)
                if _put(parent, _ours(name, number), hash, seen, read):
                    return None
        free = next(number for number in range(1, len(numbers) + 2) if number not in numbers)
        if _put(parent, _ours(name, free), hash, None, read):
            return None


def _put_first(parent: int, file: str, name: str) -> None:
    """Link a person's file beside `name`, under the first number that is free."""
    point("publish.link")
    for number in range(1, 1000):
        with suppress(FileExistsError):
            return os.link(file, _ours(name, number, "yours"), src_dir_fd=parent, dst_dir_fd=parent)


def _numbers(parent: int, name: str) -> list[int]:
    """The numbers of our versions that lie beside a file."""
    found = (re.search(r" \(ours ([1-9][0-9]{0,8})\)", entry) for entry in os.listdir(parent))
    return sorted(int(one[1]) for one in found if one is not None and one.string == _ours(name, int(one[1])))


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
        return _replace(parent, temporary, name, hash, seen)
    finally:
        _clear(parent, temporary)


def _replace(parent: int, temporary: str, name: str, hash: str, seen: _Seen) -> bool:
    """Both change their names at once, and what came out is looked at: a version that somebody saved in the last
    moment goes back. A plain rename would destroy it; not all file systems can do better."""
    swap = _swap(name, hash)
    os.replace(temporary, swap, src_dir_fd=parent, dst_dir_fd=parent)
    point("publish.replace")
    if exchange.exchange(parent, swap, name):
        point("publish.exchanged")
        came = _look(parent, swap)
        kept = came is not None and came.hash != seen.hash
        if came is not None and kept:
            _give_back(parent, swap, name, hash, came.hash)
    else:
        kept = _stamp(parent, name) != seen.stamp
        if not kept:
            os.replace(swap, name, src_dir_fd=parent, dst_dir_fd=parent)
    point("publish.named")
    whole.sync(parent)
    _clear(parent, swap)
    return not kept


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


def _swap(name: str, hash: str) -> str:
    return _temporary(name, hash).removesuffix(".tmp") + ".old"


def _ours(name: str, number: int, whose: str = "ours") -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    mark = f" ({whose} {number}){dot}{suffix}"
    while len(os.fsencode(stem + mark)) > paths.LONGEST and len(stem) > 1:
        stem = stem[:-1]
    return stem + mark
