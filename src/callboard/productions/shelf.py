"""What stands in a production's directory: instances, steps, documents. Knows paths and names, no index.

An instance is a directory whose name `id_format` can have produced. One that was renamed through us carries its id
in a small file of its own (`.instance`), so that the folder alone still says which one it is. Whatever else lies
there (links, hidden entries, strangers' folders) is not looked at.

An id is taken by `mkdir`, which fails when the name exists: two processes cannot both succeed. The largest number
on disk is found by listing the directory, and kept while the directory has not changed since our own last `mkdir`.
"""

from __future__ import annotations

import secrets
from pathlib import Path  # noqa: TC003  a field of a NamedTuple
from typing import TYPE_CHECKING, NamedTuple

from callboard.crash import point
from callboard.errors import InvalidName, NotFound
from callboard.productions import folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from callboard.productions.names import Names

IDENTITY = ".instance"
TRASH = ".trash"
STALE = 3600.0  # seconds after which a temporary file belongs to no living writer


class Document(NamedTuple):
    """A file in a step of an instance. Also a path: `open(document)` and `os.fspath(document)` work."""

    path: Path
    instance_id: str
    step: str
    document_type: str
    suffix: str

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    def read_bytes(self) -> bytes:
        return self.path.read_bytes()

    def read_text(self) -> str:
        return self.path.read_text("utf-8")


class Seen(NamedTuple):
    """An instance as the disk tells it; times in epoch seconds."""

    number: int
    name: str
    has_documents: bool
    oldest: float
    newest: float


class Shelf:
    """The directory of one production."""

    def __init__(self, root: Path, names: Names, settings: str, steps: tuple[str, ...]) -> None:
        self.root, self.names, self.settings, self.steps = root, names, settings, steps
        self._largest: tuple[int, int] | None = None  # (when the directory had last changed, largest number in it)

    def stands(self) -> bool:
        """Whether the production's directory exists."""
        return self.root.is_dir()

    def build(self) -> None:
        """Make the production's directory and its settings directory, and whatever is above them."""
        missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
        for path in reversed(missing):
            with folder.opened(path.parent) as parent:
                folder.make_directory(parent, path.name)
        with folder.opened(self.root) as root:
            folder.make_directory(root, self.settings)
        with folder.opened(self.root, self.settings):
            pass  # refuses a link that stands there already

    # ── instances ───────────────────────────────────────────────────────────────────────────────────────

    def instances(self) -> dict[int, str]:
        """The directory of each instance by number. Where two claim one number, the one `id_format` names has it."""
        found: dict[int, str] = {}
        if not self.stands():
            return found
        with folder.opened(self.root) as root:
            others = []
            for name in folder.directories(root):
                number = self.names.number_of(name)
                if number is None:
                    others.append(name)
                else:
                    found[number] = name
        for name in sorted(others):
            number = self._identity(name)
            if number is not None:
                found.setdefault(number, name)
        return found

    def _identity(self, name: str) -> int | None:
        """The number that a renamed directory carries."""
        if name == self.settings or name.startswith("."):
            return None
        try:
            with folder.opened(self.root, name) as inside:
                text = folder.read(inside, IDENTITY).decode("ascii").strip()
            return self.names.number(text)
        except (NotFound, InvalidName, UnicodeDecodeError):
            return None

    def holds(self, name: str) -> bool:
        """Whether `name` is a directory here."""
        if not self.stands():
            return False
        with folder.opened(self.root) as root:
            return folder.holds_directory(root, name)

    def find(self, number: int, hint: str | None = None) -> str | None:
        """The directory of an instance, None when it has none; `hint` is where the index believes it."""
        usual = self.names.instance(number)
        if self.holds(usual):
            return usual
        if hint is not None and hint != usual and self.holds(hint) and self._identity(hint) == number:
            return hint
        return self.instances().get(number)

    def allocate(self, after: int) -> tuple[int, str]:
        """Take the next number larger than `after` and any on disk: (number, directory), with all its steps."""
        number = self.next(after)
        with folder.opened(self.root) as root:
            while not folder.make_directory(root, self.names.instance(number)):
                number += 1
            self._largest = (folder.modified(root), number)
        return number, self._furnish(number)

    def make(self, number: int) -> str:
        """The directory of an instance, made when it has none, with all its steps."""
        if self.find(number) is None:
            with folder.opened(self.root) as root:
                folder.make_directory(root, self.names.instance(number))
        return self._furnish(number)

    def _furnish(self, number: int) -> str:
        name = self.find(number) or self.names.instance(number)
        point("instance.taken")
        with folder.opened(self.root, name) as inside:
            for step in self.steps:
                folder.make_directory(inside, step)
        point("instance.steps")
        return name

    def next(self, after: int) -> int:
        """The next number larger than `after` and any on disk."""
        return max(after, self._largest_number()) + 1

    def _largest_number(self) -> int:
        with folder.opened(self.root) as root:
            changed = folder.modified(root)
        if self._largest is None or self._largest[0] != changed:
            self._largest = (changed, max(self.instances(), default=0))
        return self._largest[1]

    def rename(self, number: int, old: str, new: str) -> None:
        """Give a directory another name; it carries its id from now on. Raises Conflict, NotFound."""
        with folder.opened(self.root, old) as inside:
            folder.write(inside, IDENTITY, self.names.pad(number).encode("ascii") + b"\n")
        with folder.opened(self.root) as root:
            folder.move_directory(root, old, root, new)

    def remove(self, name: str) -> None:
        """Remove a directory: it is gone from the production at once, whole; its bytes follow."""
        rubbish = f"{TRASH}-{secrets.token_hex(8)}"
        with folder.opened(self.root) as root, folder.opened(self.root, self.settings) as settings:
            folder.move_directory(root, name, settings, rubbish)

    # ── documents ───────────────────────────────────────────────────────────────────────────────────────

    def write(self, name: str, step: str, file: str, data: bytes, *, replace: bool) -> Path:
        """Put a document in place, whole or not at all. Raises Conflict, NotFound."""
        with folder.opened(self.root, name) as inside:
            folder.make_directory(inside, step)
        with folder.opened(self.root, name, step) as place:
            folder.write(place, file, data, replace=replace)
        return self.root / name / step / file

    def read(self, document: Document) -> bytes:
        """Raises NotFound, InvalidName (a link)."""
        with folder.opened(self.root, document.path.parent.parent.name, document.step) as place:
            return folder.read(place, document.path.name)

    def documents(self, number: int, name: str, steps: Iterable[str]) -> Iterator[Document]:
        """The documents of an instance, in the order of steps, then names; files that are none are left out."""
        for step in steps:
            for file in sorted(self._files(name, step)):
                told = self.names.told_by(number, file)
                if told is not None:
                    yield Document(self.root / name / step / file, self.names.pad(number), step, *told)

    def _files(self, name: str, step: str) -> list[str]:
        try:
            with folder.opened(self.root, name, step) as place:
                return [name for name in folder.files(place) if not folder.is_leftover(name)]
        except (NotFound, InvalidName):
            return []

    # ── looking around ──────────────────────────────────────────────────────────────────────────────────

    def survey(self, now: float) -> list[Seen]:
        """Every instance, by number. Clears away what killed writers left behind, when it is older than an hour."""
        with folder.opened(self.root, self.settings) as settings:
            _clear(settings, folder.entries(settings), now)
            inner = [name for name in folder.directories(settings) if not name.startswith(TRASH)]
        for name in inner:
            with folder.opened(self.root, self.settings, name) as records:
                _clear(records, folder.entries(records), now)
        return [self.see(number, name, now) for number, name in sorted(self.instances().items())]

    def see(self, number: int, name: str, now: float) -> Seen:
        """One instance, with the times of its directories and documents."""
        with folder.opened(self.root, name) as inside:
            times, documents = [folder.modified(inside) / 1e9], False
        for step in self.steps:
            try:
                with folder.opened(self.root, name, step) as place:
                    times.append(folder.modified(place) / 1e9)
                    files = _clear(place, folder.entries(place), now)
            except (NotFound, InvalidName):
                continue
            files = [entry for entry in files if entry.is_file and self.names.told_by(number, entry.name)]
            times.extend(entry.modified for entry in files)
            documents = documents or bool(files)
        return Seen(number, name, documents, min(times), max(times))

    def empty_trash(self) -> None:
        """Remove the bytes of removed instances."""
        with folder.opened(self.root, self.settings) as settings:
            for name in folder.directories(settings):
                if name.startswith(f"{TRASH}-"):
                    folder.remove_tree(settings, name)


def _clear(place: int, entries: list[folder.Entry], now: float) -> list[folder.Entry]:
    """Remove stale temporary files from an open directory; what else is in it."""
    rest = []
    for entry in entries:
        if not folder.is_leftover(entry.name):
            rest.append(entry)
        elif entry.is_file and now - entry.modified > STALE:
            folder.remove(place, entry.name)
    return rest
