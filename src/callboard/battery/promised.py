"""What a user is promised of a run, as a model of its own: nothing here comes from the machine, or knows it.

It hears what was asked for (`Wanted`), what the outside has said (`answers`), which letters are on disk, and the facts
that the journal has recorded, in their order. From these alone it says where each task must stand, which outcome is
fixed for ever, what is held, and whether the run is over (how tasks follow each other is `course.py`); whatever was
recorded and nobody has said, or was said, acknowledged and neither recorded nor to be refused, it calls wrong. Plans of
the model have needs, tries, reviews, `once` effects, limits; an optional need stands below a task without needs.
Rules, lists and ticks have a model of their own in the machine's golden histories.

A task that a person starts before its needs are met may run again when they are. From there on the model only says
what *may* be (`loose`), until the run has ended.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from callboard.battery.course import (
    ENDED,
    FAILED,
    INIT,
    QUEUED,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPED,
    STOPPING,
    SUCCESS,
    Course,
    Life,
    Seen,
    Wanted,
)

#: Workers lost in a row that are poison.
POISON = 3


class Promise(Course):
    """One run. `wrong` is what breaks the promise."""

    def __init__(self, wanted: tuple[Wanted, ...], capacity: dict[str, int]) -> None:
        super().__init__(wanted)
        self.names = [one.name for one in wanted]
        self.capacity = capacity
        self.answers: dict[tuple[str, int, int], list[list[Any]]] = {}  # what the outside has said of an attempt
        self.said: Counter[str] = Counter()  # facts of people that have reached us
        self.recorded: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()  # those that a letter has brought
        self.waiting: dict[str, tuple[str, bool]] = {}  # letters not consumed; whether one could have been refused

    # ── what is said ────────────────────────────────────────────────────────────────────────────────────

    def answered(self, name: str, number: int, attempt: int, *fact: Any) -> None:
        """What the outside has done with an attempt, by the name of the fact and what it carries."""
        self.answers.setdefault((name, number, attempt), []).append(list(fact))

    def told(self, letter: str, fact: str) -> None:
        """A letter is on disk: it will have an effect, or be refused."""
        self.said[fact] += 1
        self.waiting[letter] = (fact, self._is_refused(json.loads(fact)))

    def begins(self, name: str, number: int, attempt: int) -> None:
        """An executor is called: the record must have said so before."""
        life = self.lives[name]
        known = (life.number, life.attempt) >= (number, attempt)
        if not known:
            self.wrong.append(f"{name} {number}.{attempt} begins, and no record of it: {life.seen}")

    def consumed(self, letter: str) -> None:
        """A letter was taken up: then it is recorded, or it was refused with reason."""
        fact, refused = self.waiting.pop(letter)
        if self.recorded[fact] > self.taken[fact]:
            self.taken[fact] += 1
        elif not refused:
            self.wrong.append(f"the letter {letter}, {fact}, had no effect, and nothing refused it")

    # ── what is recorded ────────────────────────────────────────────────────────────────────────────────

    def record(self, text: str) -> None:
        """The next fact of the journal."""
        kind, *fields = json.loads(text)
        take = getattr(self, f"_{kind.lower()}", None)
        if take is None:
            self.wrong.append(f"{text}: nothing of the kind was asked for")
            return
        if kind == "Reopened":
            self._finish()
        if kind in _BY_LETTER:
            self.recorded[text] += 1
            if self.recorded[text] > self.said[text]:
                self.wrong.append(f"{text} is recorded more often than it was said")
            if self._is_refused([kind, *fields]):
                self.wrong.append(f"{text} is recorded, and should have been refused: {self.status} {self.holds}")
        take(*fields)
        self._spread()
        self._note_refusals()

    def step_over(self) -> None:
        """The facts of one step have all been told: what it starts has left, and whether the run is over is judged."""
        self.fresh.clear()
        if not self.loose:
            self._finish()
        self._note_refusals()

    def _note_refusals(self) -> None:
        for letter, (fact, refused) in self.waiting.items():
            if not refused and self._is_refused(json.loads(fact)):
                self.waiting[letter] = (fact, True)

    def _answer(self, node: int, number: int, attempt: int, *fact: Any) -> Life:
        """The task that has answered; with `fact`, what the outside must have said for it."""
        life = self.lives[self.names[node]]
        name = life.wanted.name
        if not life.at_work or (life.number, life.attempt) != (number, attempt):
            self.wrong.append(f"{name} {number}.{attempt} answers {fact}, and is not at work: {life.seen}")
        if fact and list(fact) not in self.answers.get((name, number, attempt), []):
            self.wrong.append(f"{name} {number}.{attempt} is recorded as {fact}, and nobody has said so")
        return life

    def _begun(self) -> None:
        if self.status == INIT:
            self.status = RUNNING
            for life in self.lives.values():
                if not life.wanted.needs and not life.wanted.optional:
                    self._begin(life)

    def _admitted(self, nodes: list[int]) -> None:
        for node in nodes:
            life = self.lives[self.names[node]]
            if self.loose and (life.status in ENDED or life.status == INIT):
                self._begin(life)
            if life.status != QUEUED or self.holds or not self._acts:
                self.wrong.append(f"{life.wanted.name} was admitted: {life.seen}, run {self.status} {self.holds}")
            life.status, life.attempt = RUNNING, life.attempt + 1
            self.fresh.add(life.wanted.name)
        for limit, most in self.capacity.items():
            used = [life.wanted.name for life in self.lives.values() if life.at_work and limit in life.wanted.limits]
            if len(used) > most:
                self.wrong.append(f"limit {limit} of {most} is used by {used}")

    def _succeeded(self, node: int, number: int, attempt: int, outcome: str, *more: Any) -> None:
        life = self._answer(node, number, attempt, "Succeeded", outcome)
        self._end(life, SUCCESS, outcome)
        self._bring(more[1])

    def _produced(self, node: int, number: int, attempt: int, hash: str, outcome: str, *more: Any) -> None:
        life = self._answer(node, number, attempt, "Succeeded", outcome)
        if life.status == STOPPING:
            return self._end(life, STOPPED)
        life.hold, life.draft, life.first, life.brings = "review", (hash, outcome), None, more[1]
        return None

    def _bring(self, documents: list[list[str]]) -> None:
        for path, hash, _ in documents:
            self.pending[path] = hash

    def _failed(self, node: int, number: int, attempt: int, kind: str, *more: Any) -> None:
        said = () if kind == "unknown" else ("Failed", kind)  # an interrupted effect has an end that nobody knows
        life = self._answer(node, number, attempt, *said)
        life.losses = 0
        if life.status == STOPPING:
            return self._end(life, STOPPED)
        if kind == "unknown" and life.wanted.once:
            life.hold = "decision"
            return None
        return self._again(life, kind != "permanent")

    def _timedout(self, node: int, number: int, attempt: int) -> None:
        life = self._answer(node, number, attempt, "TimedOut")
        life.losses = 0
        if life.status == STOPPING:
            self._end(life, STOPPED)
        elif life.wanted.once:
            life.hold = "decision"
        else:
            self._again(life, True)

    def _again(self, life: Life, retriable: bool) -> None:
        life.tries += 1
        if retriable and life.tries < life.wanted.tries:
            life.status = RETRYING
        else:
            self._end(life, FAILED)

    def _leaselost(self, node: int, number: int, attempt: int, by: str = "worker", *more: Any) -> None:
        life = self._answer(node, number, attempt, *(("LeaseLost",) if by == "worker" else ()))
        life.losses += by == "worker"
        if life.status == STOPPING:
            self._end(life, STOPPED)
        elif life.wanted.once:
            life.hold = "decision"
        elif life.losses >= POISON:
            self._end(life, FAILED)
        else:
            life.status = QUEUED

    def _halted(self, node: int, number: int, attempt: int) -> None:
        life = self._answer(node, number, attempt)
        if life.status == STOPPING:
            self._end(life, STOPPED)
        else:
            life.status = QUEUED

    def _skipped(self, node: int, number: int, attempt: int, *more: Any) -> None:
        life = self._answer(node, number, attempt, "Skipped")
        self._end(life, STOPPED if life.status == STOPPING else SKIPPED)

    def _stopped(self, node: int, number: int, attempt: int) -> None:
        life = self._answer(node, number, attempt)
        if life.status != STOPPING:
            self.wrong.append(f"{life.wanted.name} {number} stopped, and nobody had asked for it")
        self._end(life, STOPPED)

    def _woke(self, node: int, number: int, attempt: int, what: str) -> None:
        life = self.lives[self.names[node]]
        if (life.status, life.number, life.attempt, what) != (RETRYING, number, attempt, "retry"):
            self.wrong.append(f"{life.wanted.name} woke for {number}.{attempt}: {life.seen}")
        life.status = QUEUED

    def _published(self, path: str, hash: str = "") -> None:
        if self.pending.pop(path, None) != hash:
            self.wrong.append(f"{path} was put in place, and was not pending")

    # ── what people say ─────────────────────────────────────────────────────────────────────────────────

    def _is_refused(self, fact: list[Any]) -> bool:
        """Whether this would be refused, or would change nothing, just now."""
        kind, *fields = fact
        life = self.lives.get(fields[0]) if fields and kind != "Reopened" else None
        match kind:
            case "Begun":
                return self.status != INIT
            case "Paused":
                return not self._acts
            case "Resumed":
                return self.status != RUNNING or not self.holds & {"paused", "budget"}
            case "Continued":
                return self.status != RUNNING or "interrupted" not in self.holds
            case "Cancelled":
                return self.status in ENDED or self.cancelling
            case "Reopened":
                return self.status not in ENDED or not self._to_reopen(*fields)
            case "Asked":
                return not self._acts or life is None
            case "Approved":
                return life is None or life.hold != "review" or life.number != fields[1] or _hash(life) != fields[2]
            case "Edited" | "Rejected":
                return life is None or life.hold != "review" or life.number != fields[1]
            case "Decided":
                return life is None or life.hold != "decision" or life.number != fields[1]
        return False

    def _paused(self) -> None:
        self.holds.add("paused")

    def _resumed(self) -> None:
        self.holds -= {"paused", "budget"}

    def _interrupted(self) -> None:
        self.holds.add("interrupted")

    def _continued(self) -> None:
        self.holds.discard("interrupted")

    def _cancelled(self) -> None:
        if self.status == INIT:
            self.status = STOPPED
            return
        self.cancelling = True
        self.holds.clear()
        for life in self.lives.values():
            self._stop(life)

    def _asked(self, name: str, action: str) -> None:
        life = self.lives[name]
        self.loose |= action != "STOP" and not self._is_met(life)
        if action == "STOP":
            self._stop(life)
        elif life.status == INIT or life.status in ENDED:
            self._begin(life)
        elif life.status == STOPPING:
            life.next = True
        elif action == "RESTART" and not (life.status == QUEUED and not life.attempt):
            self._stop(life)
            self._follow(life)

    def _edited(self, name: str, number: int, hash: str, outcome: str) -> None:
        life = self.lives[name]
        assert life.draft is not None
        life.first = life.draft[1] if life.first is None else life.first
        if life.brings:
            index = [{"path": path, "hash": kept} for path, kept, _ in life.brings]
            outcome = json.dumps({**json.loads(outcome), "documents": index}, separators=(",", ":"))
        life.draft = (hash, outcome)

    def _approved(self, name: str, number: int, hash: str) -> None:
        life = self.lives[name]
        assert life.draft is not None
        if life.first is not None:
            self._fix(life, 0, life.first)
        self._end(life, SUCCESS, life.draft[1], int(life.first is not None))
        self._bring(life.brings)

    def _rejected(self, name: str, number: int, note: str) -> None:
        life = self.lives[name]
        rounds = life.rounds
        if rounds >= (life.wanted.rounds or 0):
            return self._end(life, FAILED)
        life.next = False
        self._end(life, STOPPED)
        self._begin(life)
        life.rounds = rounds + 1
        return None

    def _decided(self, name: str, number: int, verdict: str, outcome: str) -> None:
        life = self.lives[name]
        if verdict == "redo":
            life.status, life.hold = QUEUED, ""
        else:
            self._end(life, SUCCESS if verdict == "done" else FAILED, outcome if verdict == "done" else None)

    def _to_reopen(self, what: str, name: str | None = None) -> list[Life]:
        if what == "restart":
            return [self.lives[name]] if name in self.lives else []
        again = [life for life in self.lives.values() if life.status in (FAILED, STOPPED)]
        below = {life.wanted.name for life in self.lives.values() if self._above(life) & {o.wanted.name for o in again}}
        first = [life for life in again if life.wanted.name not in below]
        roots = (life for life in self.lives.values() if not (life.wanted.needs or life.wanted.optional))
        return first + [life for life in roots if not life.number]

    def _reopened(self, what: str, name: str | None = None) -> None:
        chosen = self._to_reopen(what, name)
        self.status = RUNNING
        for life in chosen:
            self.loose |= not self._is_met(life)
            self._begin(life)

    # ── what is seen ────────────────────────────────────────────────────────────────────────────────────

    def see(self, status: str, seen: dict[str, Seen], outcomes: dict[tuple[str, int, int], str]) -> None:
        """What the store says now, held against all this."""
        for name, at in seen.items():
            life = self.lives[name]
            if life.seen == at:
                continue
            if self.loose and self._may(life, at):
                life.number, life.status, life.attempt = at.number, at.status, at.attempt
            else:
                self.wrong.append(f"{name} is {at}, and should be {life.seen}")
        if self.loose and status in ENDED:
            self._finish()
        if status != self.status:
            self.wrong.append(f"the run is {status}, and should be {self.status}")
        if outcomes != self.outcomes:
            differ = {key for key, _ in outcomes.items() ^ self.outcomes.items()}
            self.wrong.append(f"outcomes that differ from what was said: {sorted(differ)}")

    def _may(self, life: Life, at: Seen) -> bool:
        """Where the model does not say exactly: it may have begun again because its needs were met."""
        again = at.number > life.number and at.attempt == 0 and at.status in (QUEUED, STOPPED)
        return again and (life.status in ENDED or life.status == INIT)


_BY_LETTER = {
    "Begun", "Paused", "Resumed", "Continued", "Cancelled", "Reopened", "Asked", "Approved", "Edited", "Rejected",
    "Decided",
}  # fmt: skip


def _hash(life: Life) -> str | None:
    return None if life.draft is None else life.draft[0]
