"""Files of one attempt: read under the run's directory, written to the content store and put in place later.

Every path is opened by the same steps: normalised as text, then walked from a directory we hold, never following
a link, so that neither `..` nor a link planted meanwhile leads outside. What is written is only staged: its bytes
go to the content store at once, the file itself appears after the outcome is recorded.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from callboard import walk
from callboard.errors import InvalidName, NotFound, Permanent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.ports import Recorded

_MOST = 1 << 30  # bytes of a file that may be read
_LONGEST = 255  # bytes of one part of a path
OURS = ".callboard"  # a project's own folder, which no step reads or writes: it holds the state, logs and cache


class Staged:
    """Implements `ports.Documents` for one attempt.

    `root` is the run's directory; `more` are further directories that absolute paths may lie in (a production
    elsewhere). `put(bytes) -> hash` keeps content, `get(hash)` brings it back; `recorded(path)` is the version this
    run has recorded for a path already, whether or not it is in place yet. With `replace` a file that is there is
    replaced whoever wrote it; else a version that is not ours stays, and ours is put beside it. Directories inside of
    `base` move together, so what lies there is recorded as seen from the run's directory, else in full.
    """

    def __init__(
        self,
        root: str,
        *,
        put: Callable[[bytes], str],
        get: Callable[[str], bytes],
        recorded: Callable[[str], Recorded | None] = lambda path: None,
        more: Sequence[str] = (),
        replace: bool = False,
        base: str | None = None,
    ) -> None:
        self._roots = [os.path.abspath(one) for one in (root, *more)]
        self._put, self._get, self._recorded, self._replace = put, get, recorded, replace
        self._together = [root for root in self._roots if root == self._roots[0] or _inside(base, root, self._roots[0])]
        self._written: dict[str, tuple[str, str | None]] = {}
        self._read: dict[str, str] = {}

    @property
    def written(self) -> list[tuple[str, str, str | None]]:
        """(path, hash, hash it replaces) of what was staged; paths as recorded: relative to the run's directory,
        absolute when they lie in one that does not move with it."""
        return [(path, *hashes) for path, hashes in self._written.items()]

    @property
    def seen(self) -> dict[str, str]:
        """Hash by path of what was read."""
        return dict(self._read)

    def read(self, path: str) -> bytes:
        """Raises NotFound, InvalidName for a path outside, Permanent for what is no regular file."""
        name = self.name(path, written=False)
        if name in self._written:
            return self._get(self._written[name][0])
        recorded = self._recorded(name)
        data = self._bytes(name)
        if data is None and recorded is not None and recorded.is_ours:
            data = self._get(recorded.hash)
        if data is None:
            raise NotFound(f"there is no file {path!r} in {self._roots[0]}")
        self._read[name] = hashlib.sha256(data).hexdigest()
        return data

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
