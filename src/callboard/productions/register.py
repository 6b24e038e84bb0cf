"""The instances as index and disk together tell them, and every change of the index.

Reading never waits and never fails for the index's sake: one that is damaged, or gone while instances stand, is
built anew on the spot. A change is made under the lock, on a copy of the rows that is written when it is complete.
An instance that is only on disk has a row all the same: the one that a scan would give it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidFile, InvalidName, NotFound
from callboard.productions import diagnostics, scan
from callboard.productions.index import Index
from callboard.productions.sheet import Row, Sheet
from callboard.productions.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from callboard.productions.site import Site


class Register:
    """The instances of one production. `clock` gives epoch seconds."""

    def __init__(self, site: Site, clock: Callable[[], float]) -> None:
        config = site.config
        self._site, self._clock, self.names = site, clock, config.names()
        self.shelf = Shelf(site.root, self.names, config.settings_dir, config.steps)
        self.index = Index(site.root, config.settings_dir, self.names.identify)

    def now(self) -> str:
        return scan.stamp(self._clock())

    def build(self) -> None:
        """Make what is missing: directories, index, copy of the configuration."""
        self.shelf.build()
        with self.editing():
            self._site.keep()

    def update(self) -> dict[str, int]:
        """Bring the index up to date with the disk; how many rows were added, updated and found missing."""
        self.shelf.build()
        with self.editing() as rows:
            counts = self._reconcile(rows)
            if self._site.kept() is None:
                self._site.keep()
        self.shelf.empty_trash()
        return counts

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    def rows(self) -> Sheet:
        """The rows of the index, not to be changed."""
        if not self.shelf.stands():
            return Sheet()
        try:
            rows = self.index.read()
            if rows is not None or not self.shelf.instances():
                return rows or Sheet()
        except InvalidFile:
            pass
        self.update()
        return self.index.read() or Sheet()

    def number(self, id: str | int) -> int:
        """The number behind an id; a renamed instance is also known by its name. Raises InvalidName."""
        try:
            return self.names.number(id)
        except InvalidName:
            named = [row.instance_id for row in self.rows().rows.values() if row.name == id]
            if not named or not named[0].isdigit():
                raise
            return int(named[0])

    def known(self, rows: Sheet, number: int) -> Row:
        """The row of an instance, also of one whose directory vanished. Raises NotFound."""
        row = rows.rows.get(self.names.pad(number))
        return row if row is not None else self.standing(rows, number)

    def standing(self, rows: Sheet, number: int) -> Row:
        """The row of an instance whose directory stands, with the name it has on disk. Raises NotFound."""
        row = rows.rows.get(self.names.pad(number))
        name = self.shelf.find(number, row.name if row else None)
        if name is None:
            raise NotFound(f"there is no instance {self.names.pad(number)} in {self._site.root}")
        if row is None:
            return scan.new_row(self.shelf.see(number, name, self._clock()), self.names, self._site.prefix)
        return row if row.name == name else row._replace(name=name, path=self.path(name))

    def path(self, name: str) -> str:
        """The directory of an instance as the index writes it."""
        return f"{self._site.prefix}/{name}"

    # ── changing ────────────────────────────────────────────────────────────────────────────────────────

    def reserve(self) -> int:
        """A number that nobody else will get. Nothing is made yet: `make` does that."""
        with self.editing() as rows:
            number = self.shelf.next(max(_largest(rows), self.index.last()))
            self.index.note(number, durable=True)
        return number

    def make(self, number: int, metadata: str) -> Row:
        """The instance of a number that was reserved; the one that is there already, when there is one."""
        with self.editing() as rows:
            name = self.shelf.make(number)
            row = rows.rows.get(self.names.pad(number))
            if row is None:
                now = self.now()
                row = Row(self.names.pad(number), name, now, now, scan.CREATED, metadata, self.path(name))
                rows.put(row)
        return row

    def add(self, metadata: str) -> Row:
        """A new instance with an id that nobody had before."""
        with self.editing() as rows:
            known = _largest(rows)
            number, name = self.shelf.allocate(max(known, self.index.last()))
            self.index.note(number, durable=False)
            if number > known + 1:  # whoever made the one in between may have been killed before it had its row
                self._reconcile(rows)
            now = self.now()
            row = Row(self.names.pad(number), name, now, now, scan.CREATED, metadata, self.path(name))
            rows.put(row)
        return row

    def change(self, number: int, *, status: str | None = None, metadata: str | None = None) -> Row:
        """Give an instance another status or metadata. Raises NotFound."""
        if not self.shelf.stands():
            raise NotFound(f"there is no production at {self._site.root}")
        with self.editing() as rows:
            row = self.known(rows, number)._replace(updated_at=self.now())
            row = row if status is None else row._replace(status=status)
            row = row if metadata is None else row._replace(metadata=metadata)
            rows.put(row)
        return row

    def rename(self, number: int, name: str) -> Row:
        """Give the directory of an instance another name. Raises NotFound, Conflict."""
        with self.editing() as rows:
            row = self.standing(rows, number)
            if row.name != name:
                self.shelf.rename(number, row.name, name)
            row = row._replace(name=name, path=self.path(name), updated_at=self.now())
            rows.put(row)
        return row

    def remove(self, number: int) -> None:
        """Remove an instance with all that is in it; its id stays used. Raises NotFound."""
        with self.editing() as rows:
            row = self.known(rows, number)
            self.index.note(max(number, self.index.last()), durable=True)
            name = self.shelf.find(number, row.name)
            if name is not None:
                self.shelf.remove(name)
            rows.drop(row.instance_id)
        self.shelf.empty_trash()

    @contextmanager
    def editing(self) -> Iterator[Sheet]:
        """The rows, to be changed under the lock; what they are at the end is written."""
        with self.index.locked():
            rows = self._readable()
            yield rows
            self.index.write(rows)

    def _readable(self) -> Sheet:
        """A copy of the rows; when the index is gone or damaged, what the disk and the remains say."""
        try:
            rows = self.index.read()
            if rows is not None:
                return rows.copy()
            rows = Sheet()
        except InvalidFile as error:
            kept, rows = self.index.set_aside(re.sub(r"[^0-9T]", "", self.now().partition("+")[0]))
            self.record("index", None, {"error": str(error), "kept": str(kept), "readable": len(rows.rows)})
        self._reconcile(rows)
        return rows

    def _reconcile(self, rows: Sheet) -> dict[str, int]:
        return scan.reconcile(rows, self.shelf.survey(self._clock()), self.names, self._site.prefix)

    def record(self, kind: str, id: str | None, data: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Path:
        """Keep a record among the diagnostics; its path."""
        settings = self._site.config.settings_dir
        return diagnostics.keep(self._site.root, settings, kind, self.now(), id, data, secrets)


def _largest(rows: Sheet) -> int:
    return max((int(id) for id in rows.rows if id.isdigit() and len(id) < 19), default=0)
