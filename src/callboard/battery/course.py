"""How the tasks of a run follow each other, as a user is promised it: the half of the model that no fact tells.

A task begins when its needs are met by executions that are current, ends once with one outcome, stops when it is told
to, and the run is over when nothing of it is open. Nothing here comes from the machine, or knows it.
"""

from __future__ import annotations

from typing import NamedTuple

INIT, QUEUED, RUNNING, STOPPING, RETRYING, SUCCESS, FAILED, STOPPED, SKIPPED = (
    "INIT QUEUED RUNNING STOPPING RETRYING SUCCESS FAILED STOPPED SKIPPED".split()
)
ENDED, OPEN = {SUCCESS, FAILED, STOPPED, SKIPPED}, {QUEUED, RUNNING, STOPPING, RETRYING}


class Wanted(NamedTuple):
    """A task, as it was submitted. `rounds` of review (None: no review)."""

    name: str
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    tries: int = 1
    rounds: int | None = None
    once: bool = False
    critical: bool = True
    limits: tuple[str, ...] = ()


class Seen(NamedTuple):
    """Where a task stands, as a user sees it."""

    number: int
    status: str
    attempt: int
    hold: str


class Life:
    """One task: its latest execution."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.number = 0
        self.status = INIT
        self.hold = ""
        self.attempt = self.tries = self.losses = self.rounds = 0
        self.next = False  # another number follows when this one has ended
        self.ran_on: dict[str, int] = {}  # the numbers of its needs
        self.fired: dict[str, int] = {}  # those for which it was begun last
        self.draft: tuple[str, str] | None = None  # hash and outcome
        self.first: str | None = None  # the draft before it was edited
        self.brings: list[list[str]] = []  # the documents that come with it

    @property
    def at_work(self) -> bool:
        return self.status in (RUNNING, STOPPING) and not self.hold

    @property
    def seen(self) -> Seen:
        return Seen(self.number, self.status, self.attempt, self.hold)


class Course:
    """The tasks of one run, and where the run itself stands. `wrong` is what breaks the promise."""

    def __init__(self, wanted: tuple[Wanted, ...]) -> None:
        self.lives = {one.name: Life(one) for one in wanted}
        self.status = INIT
        self.holds: set[str] = set()
        self.pending: dict[str, str] = {}
        self.cancelling = self.loose = False
        self.fresh: set[str] = set()  # admitted in this step: their orders have not left
        self.outcomes: dict[tuple[str, int, int], str] = {}  # task, number, revision: fixed for ever
        self.wrong: list[str] = []

    @property
    def _acts(self) -> bool:
        return self.status == RUNNING and not self.cancelling

    def _begin(self, life: Life) -> None:
        life.number += 1
        life.status, life.hold, life.next = QUEUED, "", False
        life.attempt = life.tries = life.losses = life.rounds = 0
        life.draft = life.first = None
        life.ran_on = self._numbers(life)

    def _end(self, life: Life, status: str, outcome: str | None = None, revision: int = 0) -> None:
        life.status, life.hold, life.draft = status, "", None
        if outcome is not None:
            self._fix(life, revision, outcome)
        if life.next and self._acts:
            self._spread()  # what the end brings comes first
            self._begin(life)

    def _fix(self, life: Life, revision: int, outcome: str) -> None:
        key = (life.wanted.name, life.number, revision)
        if key in self.outcomes:
            self.wrong.append(f"{key} has a second outcome")
        self.outcomes[key] = outcome

    def _follow(self, life: Life) -> None:
        """Another number follows this one."""
        if life.status in ENDED:
            self._spread()  # what the end brings comes first
            self._begin(life)
        else:
            life.next = True

    def _stop(self, life: Life) -> None:
        life.next = False
        if life.status in (QUEUED, RETRYING) or life.hold or (life.at_work and life.wanted.name in self.fresh):
            self._end(life, STOPPED)
        elif life.status == RUNNING:
            life.status = STOPPING

    def _above(self, life: Life) -> set[str]:
        near = {*life.wanted.needs, *life.wanted.optional}
        return near.union(*(self._above(self.lives[name]) for name in near))

    def _numbers(self, life: Life) -> dict[str, int]:
        return {name: self.lives[name].number for name in (*life.wanted.needs, *life.wanted.optional)}

    def _is_current(self, life: Life) -> bool:
        """It ran on the latest of what it needs, which did so, too."""
        return life.ran_on == self._numbers(life) and all(self._is_current(self.lives[n]) for n in life.ran_on)

    def _is_met(self, life: Life) -> bool:
        needs = (self.lives[name] for name in life.wanted.needs)
        optional = (self.lives[name] for name in life.wanted.optional)
        return all(one.status in (SUCCESS, SKIPPED) and self._is_current(one) for one in needs) and all(
            one.status in ENDED for one in optional
        )

    def _spread(self) -> None:
        """What is begun because its needs are met, as soon as they are; and the end, when nothing is left to do."""
        for life in self.lives.values():
            numbers = self._numbers(life)
            if not self._acts or self.loose or not numbers or not self._is_met(life) or life.fired == numbers:
                continue
            life.fired = numbers
            if life.status == QUEUED and not life.attempt:
                life.ran_on = numbers
            elif life.status in OPEN:
                life.next = True
            else:
                self._begin(life)

    def _finish(self) -> None:
        """The run is over when nothing of it is open."""
        if self.status != RUNNING or self.pending or any(life.status in OPEN for life in self.lives.values()):
            return
        lives = self.lives.values()
        failed = any(life.status == FAILED and life.wanted.critical for life in lives)
        stopped = self.cancelling or any(life.status == STOPPED for life in lives)
        self.status = STOPPED if self.cancelling else FAILED if failed else STOPPED if stopped else SUCCESS
        self.cancelling = False
        self.holds.clear()
