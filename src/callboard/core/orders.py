"""Orders: what is to be done, imperative. They leave the engine only after the step that gave them is on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from callboard.core.deadline import Deadline
    from callboard.core.facts import Fact
    from callboard.core.status import Status


class Start(NamedTuple):
    """Carry out this attempt. RUNNING is recorded with the order."""

    node: int
    number: int
    attempt: int


class Stop(NamedTuple):
    node: int
    number: int
    attempt: int


class List(NamedTuple):
    """Ask for a page of a mapped task's list; pages count from 1."""

    node: int
    number: int
    page: int


class StopList(NamedTuple):
    node: int
    number: int


class Evaluate(NamedTuple):
    """Run the probe of rule `rule` on the event with this offset."""

    rule: int
    offset: int


class Wake(NamedTuple):
    """Bring `Woke(node, number, attempt, what)` when `at` is due."""

    node: int
    number: int
    attempt: int
    what: str
    at: Deadline


class Tick(NamedTuple):
    """Bring `Ticked(node, at.wall)` when `at` is due."""

    node: int
    at: Deadline


class Finish(NamedTuple):
    status: Status


class Refuse(NamedTuple):
    """Tell a person no. Nothing was changed."""

    fact: Fact
    why: str


Order: TypeAlias = Start | Stop | List | StopList | Evaluate | Wake | Tick | Finish | Refuse
