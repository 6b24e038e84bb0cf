"""A person who works on the same files as a run: saves in every way that editors know, moves, deletes, restores.

Acts come from a seeded chance. Each is noted in a diary with exactly what it took the place of: a save exchanges two
names and looks at what came out, so that the diary is right even when the program replaces the file in that instant.
Only a save in place cannot know; a person does that while nothing of ours is between two calls of its own. From the
diary follows what the proof holds the program to: which versions were lost by nobody's will, and which are older than
a person's.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.store.exchange import exchange

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Sequence

_ASIDE = "by hand"  # where a person puts what is moved away


class Act(NamedTuple):
    """What was done to a path: the version that was there (empty: none), and the one that is."""

    what: str
    path: str
    old: str
    new: str


class Person:
    """`paths` are what the person knows of, the `filled` of them never become empty; `texts` holds the bytes of every
    version by hash, ours as far as seen."""

    def __init__(self, folder: Path, paths: Sequence[str], filled: Collection[str], chance: random.Random) -> None:
        self._folder, self._paths, self._filled, self._chance = folder, list(paths), filled, chance
        self._aside = folder / _ASIDE
        self.diary: list[Act] = []
        self.texts: dict[str, bytes] = {}
        self._saved = 0

    def act(self, *, in_place: bool = False) -> None:
        """Do something. `in_place` says that nobody is just replacing a file."""
        ways = [*_WAYS, *([_in_place] * 3 if in_place else [])]
        self._chance.choice(ways)(self, self._chance.choice(self._paths))

    def check_out(self) -> None:
        """Several files at once, each as it was at some time or as it never was."""
        for one in self._chance.sample(self._paths, 3):
            had = [act.old for act in self.diary if act.path == one and act.old]
            back = bool(had) and self._chance.random() < 0.5
            self._save(one, self.texts[self._chance.choice(had)] if back else self._text(one), "check out")

    def mend(self, paths: Sequence[str]) -> None:
        """Put something where nothing is, or no file."""
        for path in paths:
            if self._there(path) is None:
                self._save(path, self._text(path))

    # ── the diary ───────────────────────────────────────────────────────────────────────────────────────

    def lost(self, has: Callable[[str], bool]) -> list[str]:
        """Of each path the version that the person has left there, where it is neither on the disk nor kept. (One that
        another save has followed is the person's own to lose, whatever lay there in that instant.)"""
        last = {act.path: act.new for act in self.diary}
        there = {_digest(file.read_bytes()) for file in self._folder.rglob("*") if _is_file(file)}
        return sorted(hash for hash in set(last.values()) - there - {""} if not has(hash))

    def is_older(self, path: str, hash: str, last: str) -> bool:
        """Whether what lies at `path` has come from this version by the person's hands alone; where nothing lies, the
        `last` that was known."""
        latest = self.hash_of(path) or last
        if hash == latest:
            return False
        seen, todo = {hash}, [hash]
        while todo:
            one = todo.pop()
            for new in (act.new for act in self.diary if act.path == path and act.old == one):
                if new == latest:
                    return True
                if new not in seen:
                    seen.add(new)
                    todo.append(new)
        return False

    def hash_of(self, path: str) -> str:
        """Of what lies there; empty where no file is."""
        data = self._there(path)
        return "" if data is None else _digest(data)

    def _note(self, what: str, path: str, old: bytes | None, new: bytes | None) -> None:
        """A file that comes where one of the person's doing was not follows the last that was there."""
        hashes = ["" if data is None else _digest(data) for data in (old, new)]
        self.texts |= {hash: data for hash, data in zip(hashes, (old, new), strict=True) if data is not None}
        if not hashes[0]:
            hashes[0] = next((act.old for act in reversed(self.diary) if act.path == path and not act.new), "")
        self.diary.append(Act(what, path, *hashes))

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def _there(self, path: str) -> bytes | None:
        file = self._folder / path
        return file.read_bytes() if _is_file(file) else None

    def _text(self, path: str) -> bytes:
        """A version that there never was, but for the empty one."""
        self._saved += 1
        text = f"version {self._saved} by hand ä\nand a second line\n"
        kind = self._chance.randrange(8)
        if kind == 0 and path not in self._filled:
            return b""
        if kind == 1:
            return text.replace("\n", "\r\n").encode()
        if kind == 2:
            return b"\xef\xbb\xbf" + text.encode()
        return (text * (2000 if kind == 3 else 1)).encode()

    def _save(self, path: str, data: bytes, what: str = "save") -> None:
        """As editors do: the whole file under another name, then the name."""
        place = self._folder / path
        place.parent.mkdir(exist_ok=True)
        fresh = place.with_name(f"{place.name}.part")
        fresh.write_bytes(data)
        parent = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            old = self._exchanged(parent, fresh, place.name)
        finally:
            os.close(parent)
        self._note(what, path, old, data)

    def _exchanged(self, parent: int, fresh: Path, name: str) -> bytes | None:
        """Put `fresh` under `name`; what was there, which is gone then."""
        while True:
            if exchange(parent, fresh.name, name):
                old = fresh.read_bytes() if _is_file(fresh) else None
                fresh.unlink()
                return old
            try:
                os.link(fresh, fresh.with_name(name))
            except FileExistsError:
                continue
            fresh.unlink()
            return None

    def _taken(self, path: str, to: Path) -> bytes | None:
        """Move a file away; what it was."""
        try:
            os.rename(self._folder / path, to)
        except FileNotFoundError:
            return None
        return to.read_bytes() if _is_file(to) else None

    def _away(self, path: str) -> Path:
        self._aside.mkdir(exist_ok=True)
        return self._aside / f"{len(self.diary)} {Path(path).name}"


def _rename_over(person: Person, path: str) -> None:
    person._save(path, person._text(path))


def _in_place(person: Person, path: str) -> None:
    """Opened, and written in two pieces: who reads in between has read a version that there was."""
    old, new = person._there(path), person._text(path)
    if old is None:
        return person._save(path, new)
    half = b"half of " + new
    person._note("begin", path, old, half)
    with (person._folder / path).open("r+b") as file:
        file.write(half)
        file.truncate()
        file.flush()
        file.seek(0)
        file.write(new)
        file.truncate()
    return person._note("write", path, half, new)


def _delete(person: Person, path: str) -> None:
    away = person._away(path)
    old = person._taken(path, away)
    if old is not None:
        person._note("delete", path, old, None)
        away.unlink()


def _move(person: Person, path: str) -> None:
    old = person._taken(path, person._away(path))
    if old is not None:
        person._note("move", path, old, None)


def _case(person: Person, path: str) -> None:
    place = Path(path)
    old = person._taken(path, person._folder / place.with_name(place.name.upper()))
    if old is not None:
        person._note("case", path, old, None)


def _chmod(person: Person, path: str) -> None:
    if person._there(path) is not None:
        (person._folder / path).chmod(person._chance.choice((0o600, 0o444, 0o755)))


def _link(person: Person, path: str) -> None:
    """The file is a link now, to a copy of it somewhere else."""
    away = person._away(path)
    old = person._taken(path, away)
    if old is not None:
        person._note("link", path, old, None)
        (person._folder / path).symlink_to(away)


def _check_out(person: Person, path: str) -> None:
    person.check_out()


_WAYS: tuple[Callable[[Person, str], None], ...] = (
    _rename_over, _rename_over, _rename_over, _rename_over, _delete, _move, _case, _chmod, _link, _check_out,
)  # fmt: skip


def _is_file(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
