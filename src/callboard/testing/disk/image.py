"""What a disk may hold after a cut: rebuilt from a log, at random, and as unkindly as the rules allow.

The log is played once; at each place where the power is to be cut, images are taken of what is durable by then
and of a random part of what is not. A write that was not synced is kept or lost sector by sector; a size or a name
that was not synced as a whole. What lies between sectors that were kept shows zeros or leavings.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from callboard.testing.disk.log import (
    ROOT,
    Exchanged,
    Log,
    Named,
    NotSynced,
    Renamed,
    Resized,
    Synced,
    Unnamed,
    Wrote,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from callboard.testing.disk.log import Naming, Op

SECTOR = 512
_PENDING, _OWED_NOTHING, _DURABLE = range(3)

Tree = dict[str, "bytes | None"]  # by path relative to the root; None: a directory


class Image(NamedTuple):
    """What is left after a cut behind the first `cut` operations. `seed` makes the same image again."""

    cut: int
    seed: str
    tree: Mapping[str, bytes | None]

    def write(self, to: Path) -> Path:
        """Lay it out below a directory that does not exist yet."""
        to.mkdir(mode=0o700)
        for path, data in self.tree.items():
            if data is None:
                (to / path).mkdir(mode=0o700)
            else:
                (to / path).write_bytes(data)
                os.chmod(to / path, 0o600)
        return to


def images(log: Log, cuts: Iterable[int], *, seed: object) -> Iterator[Image]:
    """An image for each cut (how many operations happened before it). The same seed gives the same images."""
    surface, done = _Surface(log.folders), 0
    for number, cut in enumerate(sorted(cuts)):
        for op in log.ops[done:cut]:
            surface.take(op)
        done = cut
        name = f"{seed}:{number}:{cut}"
        random = Random(name)
        chance = random.choice((0.0, 0.0, 1.0, 0.5, 0.1, 0.9, random.random()))
        yield Image(cut, name, surface.image(random, chance))


def kills(log: Log, cuts: Iterable[int]) -> Iterator[Image]:
    """What is there when every process dies behind so many operations, for each cut, in their order: all of them."""
    surface, done = _Surface(log.folders), 0
    for cut in sorted(cuts):
        for op in log.ops[done:cut]:
            surface.take(op)
        done = cut
        yield Image(cut, "killed", surface.image(Random(0), 1.0))


def whole(log: Log) -> Tree:
    """What lies there when nothing is lost. Equal to the directory itself, or the log has missed something."""
    return _played(log, len(log.ops)).image(Random(0), 1.0)


def killed(log: Log, cut: int, to: Path) -> Log:
    """Lay out below `to` what is there when every process dies behind the first `cut` operations, and log on there.

    The power stays on, so all that was written can be read; what was not synced is as perishable as it was.
    """
    surface = _played(log, cut)
    Image(cut, "killed", surface.image(Random(0), 1.0)).write(to)
    later = Log(to)
    later.go_on_from(log, cut, {path: file for path, file in surface.files(Random(0), 1.0)})
    return later


def _played(log: Log, cut: int) -> _Surface:
    surface = _Surface(log.folders)
    for op in log.ops[:cut]:
        surface.take(op)
    return surface


class _Change:
    """A write or a new size of a file, and what the disk owes for it."""

    __slots__ = ("op", "owed")

    def __init__(self, op: Wrote | Resized) -> None:
        self.op, self.owed = op, _PENDING


class _Naming:
    """A change of names, and what the disk owes for it."""

    __slots__ = ("op", "owed")

    def __init__(self, op: Naming) -> None:
        self.op, self.owed = op, _PENDING

    def touches(self, place: int) -> bool:
        # a move between two directories is one transaction of a file system: either's sync makes it durable
        return self.op.place == place or (type(self.op) is Renamed and self.op.to_place == place)

    def names(self) -> set[tuple[int, str]]:
        names = {(self.op.place, self.op.name)}
        if type(self.op) is Exchanged:
            return names | {(self.op.place, self.op.to_name)}
        return names | {(self.op.to_place, self.op.to_name)} if type(self.op) is Renamed else names


class _Surface:
    """What is durable and what is not, behind the operations taken so far."""

    def __init__(self, folders: set[int]) -> None:
        self._folders = folders
        self._data: dict[int, bytearray] = {}
        self._changes: dict[int, list[_Change]] = {}
        self._names: dict[tuple[int, str], int] = {}
        self._namings: list[_Naming] = []

    def take(self, op: Op) -> None:
        match op:
            case Wrote() | Resized():
                self._changes.setdefault(op.file, []).append(_Change(op))
            case Named() | Unnamed() | Renamed() | Exchanged():
                self._namings.append(_Naming(op))
            case Synced(file):
                self._sync_names(file) if file in self._folders else self._sync_data(file)
            case NotSynced(file):
                owed = [one for one in self._namings if one.touches(file)] + self._changes.get(file, [])
                for one in owed:
                    if one.owed == _PENDING:
                        one.owed = _OWED_NOTHING

    def image(self, random: Random, chance: float) -> Tree:
        leavings = random.random() < 0.5
        return {
            path: None if file in self._folders else self._content(file, random, chance, leavings)
            for path, file in self.files(random, chance)
        }

    def files(self, random: Random, chance: float) -> list[tuple[str, int]]:
        """(path, file) of all that has a name; a directory stands before what is in it."""
        names = dict(self._names)
        for one in self._namings:
            if random.random() < chance:
                _rename(names, one.op)
        inside: dict[int, list[tuple[str, int]]] = {}
        for (place, name), file in names.items():
            inside.setdefault(place, []).append((name, file))
        found, ways = list[tuple[str, int]](), [("", ROOT)]
        while ways:
            way, place = ways.pop()
            for name, file in inside.get(place, ()):
                found.append((way + name, file))
                if file in self._folders:
                    ways.append((f"{way}{name}/", file))
        return found

    def _content(self, file: int, random: Random, chance: float, leavings: bool) -> bytes:
        data = bytearray(self._data.get(file, b""))
        for one in self._changes.get(file, ()):
            kept = 1.0 if one.owed == _DURABLE else chance
            if type(one.op) is Resized:
                if random.random() < kept:
                    _resize(data, one.op.size, random if leavings else None)
            else:
                assert type(one.op) is Wrote
                _tear(data, one.op, random, kept, leavings)
        return bytes(data)

    def _sync_data(self, file: int) -> None:
        changes = self._changes.get(file, [])
        for one in changes:
            if one.owed == _PENDING:
                one.owed = _DURABLE
        settled = next((place for place, one in enumerate(changes) if one.owed != _DURABLE), len(changes))
        data = self._data.setdefault(file, bytearray())
        for one in changes[:settled]:
            op = one.op
            if type(op) is Resized:
                _resize(data, op.size, None)
            else:
                assert type(op) is Wrote
                _write(data, op.offset, op.data)
        del changes[:settled]

    def _sync_names(self, place: int) -> None:
        left: list[_Naming] = []
        for one in self._namings:
            if one.owed == _PENDING and one.touches(place):
                _rename(self._names, one.op)
                settled = one.names()  # what an older sync should have done to these names no longer matters
                left = [other for other in left if other.owed == _PENDING or not other.names() & settled]
            else:
                left.append(one)
        self._namings = left


def _rename(names: dict[tuple[int, str], int], op: Naming) -> None:
    if type(op) is Named or type(op) is Exchanged:
        names[op.place, op.name] = op.file
        if type(op) is Exchanged:
            names[op.place, op.to_name] = op.to_file
        return
    names.pop((op.place, op.name), None)
    if type(op) is Renamed:
        names[op.to_place, op.to_name] = op.file


def _tear(data: bytearray, op: Wrote, random: Random, chance: float, leavings: bool) -> None:
    """Write the sectors of `op` that were kept."""
    if chance <= 0.0:
        return
    if chance >= 1.0:
        _write(data, op.offset, op.data)
        return
    begin, end = op.offset, op.offset + len(op.data)
    while begin < end:
        after = min(end, (begin // SECTOR + 1) * SECTOR)
        if random.random() < chance:
            if begin > len(data):
                _resize(data, begin, random if leavings else None)
            _write(data, begin, op.data[begin - op.offset : after - op.offset])
        begin = after


def _write(data: bytearray, offset: int, new: bytes) -> None:
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(new)] = new


def _resize(data: bytearray, size: int, random: Random | None) -> None:
    """Cut or grow; what grows shows zeros, or with `random` leavings."""
    if size < len(data):
        del data[size:]
    elif size > len(data):
        grown = size - len(data)
        data.extend(bytes(grown) if random is None else random.randbytes(grown))
