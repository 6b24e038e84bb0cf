"""The eye of the stateful model: reads what a user can see in the store, and holds it against each run's promise.

It has a connection of its own, which only reads, sees past every fault of the disk and leaves nothing on it. What was
read once must stay: a journal only grows, and so do the letters.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from callboard.battery.course import Seen
from callboard.battery.scripts import LIMIT
from callboard.core.orders import Start
from callboard.core.status import ENDED, Status
from callboard.engine import recovery
from callboard.engine.held import Held
from callboard.store import chain
from callboard.store.packing import ids_of, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.battery import history
    from callboard.battery.perishable import Perishable
    from callboard.battery.promised import Promise
    from callboard.core.orders import Order
    from callboard.core.run import Run
    from callboard.ports import Letter
    from callboard.store.sql.sqlite import SQLiteStore

_JOURNAL = "SELECT id, facts, hash FROM journal WHERE id >= ? AND id < ? ORDER BY id"
_OUTCOMES = "SELECT id, revision, text FROM outcome WHERE id >= ? AND id < ?"

#: What changes nothing when it is said again, and is a yes all the same.
CANCEL = '["Cancelled"]'

Attempt = tuple[int, str, int, int]


class Known:
    """How far a run has been read."""

    def __init__(self, run: int) -> None:
        self.head, self.hash = run << 32, b""
        self.letters: list[Letter] = []
        self.consumed = 0
        self.loaded: Run | None = None


class Audience:
    """`promises` of each run, `letters` that were acknowledged by run; runs that were `asked` for and `created`, by id:
    a run that nobody has acknowledged may be there all the same, sooner or later."""

    def __init__(self, boards: Perishable, say: Callable[[str], None]) -> None:
        self._boards, self._say = boards, say
        self.asked: dict[str, Promise] = {}
        self.created: set[str] = set()
        self.promises: dict[int, Promise] = {}
        self.letters: dict[int, list[str]] = {}
        self._known: dict[int, Known] = {}
        self._started: dict[Attempt, float] = {}
        self._ordered: dict[Attempt, float] = {}
        self._shapes = recovery.Shapes()
        self.look_again()

    def look_again(self) -> None:
        """The disk is another one."""
        self._eye: SQLiteStore = self._boards.look()
        self._seen = -1

    def begins(self, run: int, name: str, number: int, attempt: int, elapsed: float) -> None:
        """An executor is called."""
        key = (run, name, number, attempt)
        if key in self._started:
            self._say(f"run {run}: {name} {number}.{attempt} begins twice")
        self._started[key] = elapsed

    def ordered(self, run: int, told: Sequence[Order], elapsed: float) -> None:
        """From here on the time limits of attempts count."""
        for order in told:
            if type(order) is Start and run in self.promises:
                self._ordered[run, self.promises[run].names[order.node], order.number, order.attempt] = elapsed

    @property
    def begun(self) -> list[history.Begun]:
        """All attempts that the outside has seen."""
        return [
            (run, self.promises[run].names.index(name), number, attempt) for run, name, number, attempt in self._started
        ]

    def observe(self, elapsed: float) -> None:
        """Everything that is new, of every run."""
        ops = len(self._boards.log.ops)
        if ops == self._seen:
            return
        self._seen = ops
        with self._boards.log.faults.away():
            for row in self._eye.runs():
                self.promises.setdefault(row.number, self.asked[row.id])
            for run, promise in self.promises.items():
                self._observe(run, promise, elapsed)
        for run, name, number, attempt in self._started:
            self.promises[run].begins(name, number, attempt)
        for run, promise in self.promises.items():
            for wrong in promise.wrong:
                self._say(f"run {run}: {wrong}")
            promise.wrong.clear()

    def _observe(self, run: int, promise: Promise, elapsed: float) -> None:
        known, eye = self._known.setdefault(run, Known(run)), self._eye
        letters = eye.inbox(run, known.letters[-1].offset if known.letters else 0)
        known.letters += letters
        for letter in letters:
            promise.told(letter.id, letter.fact)
        rows = eye.rows(_JOURNAL, (known.head, (run + 1) << 32))
        if known.hash and (not rows or rows[0][2] != known.hash):
            self._say(f"run {run}: what its journal has told is not there any more")
            return
        for id, facts, hash in rows[1:]:
            for text in chain.decode(facts):
                self._allow(run, promise, text, elapsed)
                promise.record(text)
            promise.step_over()
            known.head, known.hash = id, hash
        found = eye.load(run)
        held = Held(found.run, 0)
        known.loaded = loaded = recovery.put_in_memory(held, found, self._shapes)
        for letter in known.letters:
            if known.consumed < letter.offset <= found.consumed:
                promise.consumed(letter.id)
        known.consumed = found.consumed
        seen = {
            loaded.name_of(row.id): Seen(row.number, row.status.name, row.attempt, row.hold) for row in loaded.nodes
        }
        outcomes = {
            (promise.names[unpack(id)[1]], unpack(id)[2], revision): text
            for id, revision, text in eye.rows(_OUTCOMES, ids_of(run))
        }
        promise.see(Status(found.run.status).name, seen, outcomes)

    def _allow(self, run: int, promise: Promise, text: str, elapsed: float) -> None:
        """That a time limit was over, the outside need not say: the clock does."""
        kind, *fields = json.loads(text)
        if kind == "TimedOut":
            key = (promise.names[fields[0]], fields[1], fields[2])
            if elapsed - self._ordered.get((run, *key), 0.0) >= LIMIT - 1.0:
                promise.answered(*key, "TimedOut")

    @property
    def seen(self) -> dict[int, Run]:
        """Each run as it was seen last."""
        return {run: known.loaded for run, known in self._known.items() if known.loaded is not None}

    @property
    def unheard(self) -> list[str]:
        """Letters that nobody has taken up yet."""
        return [letter for promise in self.promises.values() for letter in promise.waiting]

    def unfinished(self) -> list[tuple[int, Run]]:
        return [(run, loaded) for run, loaded in self.seen.items() if loaded.status not in ENDED]

    def judge(self, acknowledged: Sequence[tuple[int, str]]) -> list[str]:
        """What was acknowledged and is nowhere; documents that are not what was recorded."""
        with self._boards.log.faults.away():
            wrong = [
                f"{id} was acknowledged, and is lost" for id in self.created - {row.id for row in self._eye.runs()}
            ]
        for run, known in self._known.items():
            kept = {letter.id for letter in known.letters}
            wrong += [
                f"run {run}: letter {one} was acknowledged, and is lost"
                for one in self.letters.get(run, ())
                if one not in kept
            ]
            said = Counter(text for number, text in acknowledged if number == run)
            wrong += [
                f"run {run}: {text} was acknowledged {times} times, and is recorded {found} times"
                for text, times in said.items()
                if (found := self.promises[run].recorded[text]) < (1 if text == CANCEL else times)
            ]
            for _, path, hash, _, _, status in self._eye.documents(run):
                place = self._boards.root / "documents" / path
                if status != "published" or place.read_bytes() != self._eye.get(hash):
                    wrong.append(f"run {run}: {path} is {status}, and not what was recorded")
        return wrong
