"""Files of one attempt: read under the run's directory, written to the content store and put in place later.

What is read is remembered by its hash, because that is what the outcome was made from: one open and one read a file,
and in one attempt one version of it, however often it is asked for. A version that is not the one the run has recorded
is a person's: its bytes are kept before they are used.

Every path is opened by the same steps: normalised as text, then walked from a directory we hold, never following
a link, so that neither `..` nor a link planted meanwhile leads outside. What is written is only staged: its bytes
go to the content store at once, the file itself appears after the outcome is recorded.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from callboard import walk
from callboard.errors import InvalidName, NotFound, Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.ports import Recorded

_MOST = 1 << 30  # bytes of a file that may be read
_MOST_HELD = 64 << 20  # bytes that are held for who asks again
_LONGEST = 255  # bytes of one part of a path
#: Who has written what lies at a place.
RUN, ANOTHER, PERSON = "this run", "another run", "a person"
OURS = ".callboard"  # a project's own folder, which no step reads or writes: it holds the state, logs and cache


class Staged:
    """Implements `ports.Documents` for one attempt.

    `root` is the run's directory; `more` are further directories that absolute paths may lie in (a production
    elsewhere). `put(bytes) -> hash` keeps content, `get(hash)` brings it back; `recorded(path)` is the version this
    run has recorded for a path already, whether or not it is in place yet; `whose(path, hash)` says who has written
    that content there (RUN, ANOTHER, PERSON); `pinned` are the versions that the attempt began with. With `replace` a
    file that is there is replaced whoever wrote it; else a version that is not ours stays, and ours is put beside it.
    Directories inside of `base` move together, so what lies there is recorded as seen from the run's directory, else
    in full.
    """

    def __init__(
        self,
        root: str,
        *,
        put: Callable[[bytes], str],
        get: Callable[[str], bytes],
        recorded: Callable[[str], Recorded | None] = lambda path: None,
        whose: Callable[[str, str], str] = lambda path, hash: PERSON,
        pinned: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
        replace: bool = False,
        base: str | None = None,
    ) -> None:
        self._roots = [os.path.abspath(one) for one in (root, *more)]
        self._put, self._get, self._recorded, self._replace = put, get, recorded, replace
        self._together = [root for root in self._roots if root == self._roots[0] or _inside(base, root, self._roots[0])]
        self._whose, self._pinned = whose, pinned or {}
        self._written: dict[str, tuple[str, str | None]] = {}
        self._read: dict[str, str] = {}
        self._edits: dict[str, tuple[str, str]] = {}
        self._held: dict[str, bytes] = {}

    @property
    def written(self) -> list[tuple[str, str, str | None]]:
        """(path, hash, hash it replaces) of what was staged; paths as recorded: relative to the run's directory,
        absolute when they lie in one that does not move with it."""
        return [(path, *hashes) for path, hashes in self._written.items()]

    @property
    def seen(self) -> dict[str, str]:
        """Hash by path of what was read."""
        return dict(self._read)

    @property
    def edits(self) -> list[tuple[str, str, str]]:
        """(path, the version it took the place of, hash) of each version of a person's that was come upon."""
        return [(path, *hashes) for path, hashes in self._edits.items()]

    def read(self, path: str) -> bytes:
        """Raises NotFound, InvalidName for a path outside, Permanent for what is no regular file."""
        name = self.name(path, written=False)
        if name in self._written:
            return self._get(self._written[name][0])
        if name in self._held:
            return self._held[name]
        data = self._get(self._pinned[name]) if name in self._pinned else self._version(name)
        if data is None:
            raise NotFound(f"there is no file {path!r} in {self._roots[0]}")
        hash = hashlib.sha256(data).hexdigest()
        if self._read.setdefault(name, hash) != hash:
            raise Transient(f"{path!r} was edited while this step was reading it")
        if sum(map(len, self._held.values())) + len(data) <= _MOST_HELD:
            self._held[name] = data
        return data

    def _version(self, name: str) -> bytes | None:
        """What is to be read under a name: what lies there, unless a version of ours is on its way there; of a document
        that is gone the last version that was kept."""
        recorded, data = self._recorded(name), self._bytes(name)
        hash = None if data is None else hashlib.sha256(data).hexdigest()
        if recorded is None or hash == recorded.hash:
            return data
        whose = PERSON if hash is None else self._whose(name, hash)
        if self._recorded(name) != recorded:
            return self._version(name)  # it was recorded meanwhile: what lies there may be that
        if recorded.status == "pending":
            is_older = hash is None or hash == recorded.replaces or whose != PERSON
            return self._get(recorded.hash) if is_older else data
        last = recorded.hash or recorded.replaces or ""
        if data is not None and whose != ANOTHER:
            self._put(data)
        if (data is not None or recorded.hash) and whose != ANOTHER:
            self._edits[name] = (last, hash or "")
        return data if data is not None else self._kept(last)

    def _kept(self, hash: str) -> bytes | None:
        try:
            return self._get(hash) if hash else None
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> str:
        """Stage `data` for `path`. Raises InvalidName."""
        name = self.name(path)
        if name in self._written:
            replaced = self._written[name][1]
        else:
            replaced = self._replaced(name)
        hash = self._put(data)
        self._written[name] = (hash, replaced)
        return hash

    def _replaced(self, name: str) -> str | None:
        """The version that may be written over: ours, or with `replace` whatever is there."""
        if self._replace:
            return self._hash(name)
        recorded = self._recorded(name)
        return recorded.hash if recorded is not None and recorded.is_ours else None

    def name(self, path: str, *, written: bool = True) -> str:
        """The path as it is recorded. Raises InvalidName when it leads outside, or to a name we would not give.

        What is there already may be read whatever its name: a line break in one is odd, not wrong.
        """
        odd = any(ord(char) < 32 or char == "\x7f" for char in path) if written else "\0" in path
        if not path or odd:
            raise InvalidName(f"not a path, or one with control characters: {path!r:.80}")
        if any(len(part.encode(errors="replace")) > _LONGEST for part in path.split("/")):
            raise InvalidName(f"{path!r:.80}… has a part that is longer than {_LONGEST} bytes")
        parts = path.split("/")
        if ".." in parts:
            raise InvalidName(f"{path!r} climbs with '..'. Fix: name a file from where the run began, or in full")
        if OURS in parts:
            raise InvalidName(f"{path!r} is among Callboard's own files. Fix: name another place")
        full = os.path.normpath(os.path.join(self._roots[0], path))
        for root in self._roots:
            if full.startswith(root.rstrip("/") + "/"):
                return os.path.relpath(full, self._roots[0]) if root in self._together else full
        raise InvalidName(f"{path!r} is outside of {self._roots[0]}. Fix: name a file inside it")

    def _hash(self, name: str) -> str | None:
        data = self._bytes(name)
        return None if data is None else hashlib.sha256(data).hexdigest()

    def _bytes(self, name: str) -> bytes | None:
        root, below = self._split(name)
        try:
            with walk.opened(root, below[:-1]) as parent:
                data = walk.read_file(parent, below[-1], _MOST + 1)
        except NotFound:
            return None
        if len(data) > _MOST:
            raise Permanent(f"{name!r} is larger than {_MOST >> 20} MiB")
        return data

    def _split(self, name: str) -> tuple[str, list[str]]:
        """The directory a recorded path starts from, and the parts below it."""
        full = os.path.normpath(os.path.join(self._roots[0], name))
        for root in self._roots:
            if full.startswith(root.rstrip("/") + "/"):
                return root, full[len(root.rstrip("/")) + 1 :].split("/")
        return self._roots[0], name.split("/")


def _inside(base: str | None, *paths: str) -> bool:
    return base is not None and all(path == base or path.startswith(base.rstrip("/") + "/") for path in paths)
