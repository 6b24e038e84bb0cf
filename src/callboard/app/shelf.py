"""Where the documents of runs lie, and how they get there: put in place, looked at, told from what people wrote.

A file is a person's when no run of the project has written these bytes to this very place. What a person has written
is never written over, and kept by its content before anything is recorded of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.app import places
from callboard.errors import InvalidName, NotFound
from callboard.executors.staged import ANOTHER, PERSON, RUN
from callboard.ports import Placed
from callboard.store import paths
from callboard.store.content import digest
from callboard.store.publish import beside, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callboard.ports import Json, RunRow, Store


class _Superseded(Exception):
    """There is a later version of the document."""


class Shelf:
    """Puts documents of runs in place; tells when one had been edited, and keeps what a person made of it.

    `begun` tells what a run began with, its directories where they lie now.
    """

    def __init__(
        self,
        store: Store,
        begun: Callable[[RunRow], Mapping[str, Json]],
        report: Callable[[str, str], None] = lambda state, why: None,
    ) -> None:
        self._store, self._begun, self._report = store, begun, report
        self._roots: dict[int, tuple[Path, ...]] = {}

    def put(self, run: int, path: str, hash: str, replaces: str | None) -> Placed:
        """A version that a later one of ours has followed is not put over it, however late we come."""
        root, below = self._split(run, path)

        def is_ours(seen: str) -> bool:
            self._check_latest(run, path, hash)
            return self.is_ours(run, path, seen)

        try:
            self._check_latest(run, path, hash)
            if publish(root, below, hash, replaces, is_ours, self._store.get) == "published":
                return Placed()
        except _Superseded:
            return Placed()
        ours = os.path.join(os.path.dirname(path), os.path.basename(beside(root, below, hash) or below))
        self._report("edited", f"{path} is yours, and stays; ours is {ours}")
        try:
            return Placed(ours, self._store.keep(paths.read(root, below)))
        except (NotFound, InvalidName):
            return Placed(ours)

    def see(self, run: int, path: str, known: str, *, keep: bool = True) -> str:
        """The hash of what lies at a document's place, empty where there is no file. Bytes of another version than the
        `known` one are kept. What cannot be read cannot be told from what is known, and what another run has written
        there since is no person's."""
        root, below = self._split(run, path)
        try:
            data = paths.read(root, below)
        except (NotFound, InvalidName):
            return "" if below.isprintable() and not os.path.isabs(below) else known
        except OSError:
            return known
        hash = digest(data)
        if hash == known or self.whose(run, path, hash) == ANOTHER:
            return known
        return self._store.keep(data) if keep else hash

    def _check_latest(self, run: int, path: str, hash: str) -> None:
        latest = self._store.document(run, path)
        if latest is not None and latest.is_ours and latest.hash != hash:
            raise _Superseded

    def is_ours(self, run: int, path: str, hash: str) -> bool:
        """Whether any run of the project has written this content to this very place."""
        return self.whose(run, path, hash) != PERSON

    def whose(self, run: int, path: str, hash: str) -> str:
        """Who has written this content to this very place: this run, another run of the project, or a person."""
        place = self._place(run, path)
        runs = [one[0] for one in self._store.ours(hash, os.path.basename(path)) if self._place(*one) == place]
        return RUN if run in runs else ANOTHER if runs else PERSON

    def _place(self, run: int, path: str) -> str:
        return os.path.normpath(self._roots_of(run)[0] / path)

    def _roots_of(self, run: int) -> tuple[Path, ...]:
        if run not in self._roots:
            self._roots[run] = _roots(self._begun(self._store.find_run(run)))
        return self._roots[run]

    def _split(self, run: int, path: str) -> tuple[Path, str]:
        roots = self._roots_of(run)
        full = Path(self._place(run, path))
        for root in roots:
            if full.is_relative_to(root):
                return root, str(full.relative_to(root))
        return roots[0], path


def _roots(begun: Mapping[str, Any]) -> tuple[Path, ...]:
    production = places.playing(begun)
    return (Path(begun.get("dir") or "."), *((Path(production["dir"]),) if production else ()))
