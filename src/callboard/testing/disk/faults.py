"""Which operation fails, and how: the n-th, once or from then on, with no space, with a broken disk, half done.

Every operation on a watched directory asks first. What cannot fail in a way is not failed in it: a full disk
refuses to write and to make names, it does not refuse to read, to sync or to delete.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Kinds of operations.
READ, WRITE, SYNC, RESIZE, NAME, DELETE = "read", "write", "sync", "resize", "name", "delete"
GROWING = frozenset((WRITE, NAME))


class Fault(NamedTuple):
    """An error to raise; `half` of a write is done before."""

    error: int
    half: bool = False

    def raised(self, path: object = None) -> OSError:
        return OSError(self.error, os.strerror(self.error), None if path is None else str(path))


class Faults:
    """Fails the operation `at` (counted from 1; 0: none), and with `lasting` all later ones, until `heal`.

    `kinds` are those that can fail; None: all, or for a full disk those that need space. `seen` lists the kinds of
    all operations so far.
    """

    def __init__(
        self,
        at: int = 0,
        error: int = errno.EIO,
        *,
        half: bool = False,
        lasting: bool = False,
        kinds: frozenset[str] | None = None,
    ) -> None:
        self._at, self._lasting, self._fault = at, lasting, Fault(error, half)
        self._kinds = kinds or (GROWING if error in (errno.ENOSPC, errno.EDQUOT) else None)
        self._away = False
        self.seen: list[str] = []
        self.hits = 0

    def next(self, kind: str) -> Fault | None:
        """How the operation that is about to happen fails, if it does."""
        if self._away:
            return None
        self.seen.append(kind)
        now = len(self.seen)
        if not self._at or not (now == self._at or (self._lasting and now > self._at)):
            return None
        if self._kinds is not None and kind not in self._kinds:
            return None
        self.hits += 1
        return self._fault._replace(half=self._fault.half and kind == WRITE)

    @property
    def lasts(self) -> bool:
        """Whether everything goes on failing."""
        return self._lasting and 0 < self._at <= len(self.seen)

    def heal(self) -> None:
        """Nothing fails any more."""
        self._at = 0

    @contextmanager
    def away(self) -> Iterator[None]:
        """What happens meanwhile is not counted and does not fail."""
        before, self._away = self._away, True
        try:
            yield
        finally:
            self._away = before
