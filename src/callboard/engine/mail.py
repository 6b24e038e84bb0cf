"""Letters: facts that others have put into the inboxes of runs, and runs that nobody takes care of.

The bell says that there may be something; every quarter of a second the store's version says the same, should a
ring be lost. Then the store is asked which runs have letters. Once a second a serving engine looks for runs whose owner
is dead, and for letters once more: whoever had their run may have gone, and no commit tells of that. A letter that
cannot be read is consumed and shown; it stops nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from callboard.core.deadline import holds
from callboard.core.status import ENDED, Status
from callboard.engine.recovery import MOST_LETTERS, fact_of
from callboard.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.deadline import Now
    from callboard.core.facts import Fact
    from callboard.engine.held import Held
    from callboard.engine.taking import Parts, Taking
    from callboard.ports import Letter, RunRow

#: Seconds between two looks at the store's version.
POLL = 0.25
#: Looks after which orphans are sought.
_ORPHANS_EVERY = 4
#: Looks without a commit after which the log is copied back.
_QUIET_LOOKS = 4


class Mailroom:
    """Reads inboxes for an engine; with `serve`, takes up every run that has letters or is open and has no owner."""

    def __init__(self, parts: Parts, taking: Taking, *, serve: bool) -> None:
        self._parts, self._taking, self._serve = parts, taking, serve
        self._claiming = self._again = False
        self._version, self._looks = -1, 0
        self._seen = self._copied = self._quiet = 0
        self.closed = False

    async def watch(self) -> None:
        """Look, four times a second, whatever a look runs into."""
        clock = self._parts.clock
        while not self.closed:
            try:
                await self._watch_once()
            except Exception as error:  # an error is told and never ends the looking
                self._parts.tell.fault("inboxes cannot be read", error)
            await clock.sleep_until(clock.now().elapsed + POLL)

    async def _watch_once(self) -> None:
        """See what others have written, and let log lines ride that found no company."""
        version = self._parts.store.version()
        if version != self._version or (self._serve and self._looks % _ORPHANS_EVERY == 0):
            self._version = version
            self.look()
        if self._taking.awaited():
            self._see_ends()
        if self._serve and self._looks % _ORPHANS_EVERY == 0:
            await self._seek_orphans()
        self._looks += 1
        for held in list(self._parts.runs.values()):
            if held.logs:
                self._parts.turns.ready(held)
        await self._rest()

    async def _rest(self) -> None:
        """Copy the store's log back when nothing has been committed for a second."""
        seen = self._parts.turns.commits
        self._quiet = self._quiet + 1 if seen == self._seen else 0
        self._seen = seen
        if self._quiet == _QUIET_LOOKS and seen != self._copied:
            self._copied = seen
            with contextlib.suppress(StoreError):
                await self._parts.committer.aside(self._parts.store.checkpoint)

    def look(self) -> None:
        """Find out who has letters, now."""
        if self.closed:
            return
        claims: list[int] = []
        try:
            waiting = self._parts.store.waiting()
        except StoreError as error:
            return self._parts.tell("waiting", f"inboxes cannot be read: {error}")
        for run, last in waiting:
            held = self._parts.runs.get(run)
            if held is not None:
                if last > held.read and held.run is not None:
                    self._read_on(held)
            elif run not in self._taking.refused and (self._serve or run in self._taking.wanted):
                claims.append(run)
        if claims and self._claiming:
            self._again = True
        elif claims:
            self._taking.spawn(self._claim(claims))
        return None

    def _read_on(self, held: Held) -> None:
        """Letters of one run that cannot be read keep nobody else's from being read."""
        try:
            self.read(held, self._parts.store.inbox(held.number, held.read, MOST_LETTERS))
        except Exception as error:
            self._parts.tell.fault(f"letters to run {held.id} cannot be read", error)

    def read(self, held: Held, letters: Sequence[Letter]) -> None:
        """Hand letters to their run, in order."""
        for letter in letters:
            held.mail.append((letter.offset, self._fact(held, letter)))
            held.read = letter.offset
        held.drained = len(letters) < MOST_LETTERS
        if letters:
            self._parts.turns.ready(held)

    def _fact(self, held: Held, letter: Letter) -> Fact | None:
        fact = fact_of(letter)
        if fact is None:
            self._parts.tell("waiting", f"letter {letter.id} to run {held.id} is no fact")
        return fact

    async def _claim(self, runs: Sequence[int]) -> None:
        if self._parts.room.short:
            return
        self._claiming = True
        try:
            await self._taking.take_up(runs)
        except Exception as error:
            self._parts.tell.fault("runs cannot be taken up", error)
        finally:
            self._claiming = False
        if self._again:
            self._again = False
            self.look()

    async def _seek_orphans(self) -> None:
        try:
            rows = await self._parts.committer.aside(self._parts.store.open_runs)
        except StoreError:
            return
        now = self._parts.clock.now()
        orphans = [row.number for row in rows if self._is_orphan(row, now)]
        if orphans and not self._claiming and not self.closed:
            await self._claim(orphans)

    def _is_orphan(self, row: RunRow, now: Now) -> bool:
        mine, owner = self._parts.owner, row.owner
        if row.number in self._parts.runs or row.number in self._taking.refused:
            return False
        if owner is None or owner == mine:
            return True
        lives = self._parts.alive(owner) if owner.host == mine.host else None
        return row.lease is None or not holds(row.lease, now) if lives is None else not lives

    def _see_ends(self) -> None:
        """Runs that another engine carries out, and whose end somebody waits for here."""
        for run in self._taking.awaited():
            status = Status(self._parts.store.find_run(run).status)
            if status in ENDED:
                self._taking.tell_end(run, status)
