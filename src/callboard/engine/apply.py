"""A person's command to a run, whoever carries it out, or nobody.

The facts go into the run's inbox, synced: from then on they will be judged. When an engine has the run, its bell
is rung and that is all. When nobody does, the run is claimed here, what its dead owner left is recovered, and
it is stepped once *without admission*: the command shows its effect at once, and what would start stays QUEUED,
*no engine*, until an engine comes. One function, so that no door has a rule of its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from callboard.core import machine
from callboard.core.facts import OF_PEOPLE, encode
from callboard.core.orders import Refuse
from callboard.core.status import Status
from callboard.engine import recovery
from callboard.engine.doorbell import ring
from callboard.engine.held import Held
from callboard.engine.owner import LEASE, alive, new_owner, retire
from callboard.errors import FenceLost, Refused
from callboard.ports import Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from callboard.core.deadline import Now
    from callboard.core.facts import Fact
    from callboard.core.plan import Task
    from callboard.core.step import Decision
    from callboard.ports import Clock, Owner, Store


class Applied(NamedTuple):
    """What became of a command. `judged` is False while it waits in the inbox of a living engine."""

    judged: bool
    status: Status


def apply(
    store: Store,
    clock: Clock,
    run: int,
    facts: Sequence[Fact],
    *,
    folder: Path | str | None = None,
    id: str = "",
    owner: Owner | None = None,
    alive: Callable[[Owner], bool | None] = alive,
    clear: recovery.Clear = lambda had: None,
) -> Applied:
    """Give `facts` to a run. `id` makes the command idempotent: given twice it acts once. Blocks.

    `owner` is who owns the run meanwhile (this process), `alive` says whether another owner of this host lives, `clear`
    ends what a dead one has left at work.
    Raises Refused when a fact was judged here and cannot be carried out, NotFound, StoreError; Busy when a thousand
    commands wait.
    """
    name = id or uuid4().hex
    letters = [(f"{name}.{place}", encode(fact)) for place, fact in enumerate(facts)]
    store.append(run, letters, clock.now().wall, urgent=True)  # a queue that is full of events has room for it
    try:
        applied = _judge_here(store, clock, run, {letter for letter, _ in letters}, owner or new_owner(), alive, clear)
    except FenceLost:
        applied = None  # an engine came in between: it has the letters
    if applied is not None:
        return applied
    if folder is not None:
        ring(folder)
    return Applied(False, Status(store.load(run).run.status))


def _judge_here(
    store: Store,
    clock: Clock,
    run: int,
    own: set[str],
    owner: Owner,
    alive: Callable[[Owner], bool | None],
    clear: recovery.Clear,
) -> Applied | None:
    """Step the run here if nobody has it; None when somebody does."""
    try:
        taken = recovery.take(store, run, owner, LEASE, clock.now(), alive, clear)
        if taken is None:
            return None
        try:
            return step_once(store, clock, taken, own)
        finally:
            with contextlib.suppress(FenceLost):
                store.release(run, taken.fence)
    finally:
        retire(owner)


def step_once(store: Store, clock: Clock, taken: recovery.Taken, own: set[str]) -> Applied:
    """Recover what the run's dead owner left, and judge its letters, of which those in `own` are refused aloud."""
    held = Held(taken.rows.run, taken.fence)
    run = recovery.put_in_memory(held, taken.rows, recovery.Shapes(1))
    told: dict[int, str] = {}
    facts: list[Fact] = recovery.left_behind(run, held, _nothing_inside)
    for letter in taken.letters:
        fact = recovery.fact_of(letter)
        if fact is not None:
            told[id(fact)] = letter.id
            facts.append(fact)
    drained = len(taken.letters) < recovery.MOST_LETTERS
    now = clock.now()
    decision = machine.step(run, facts, now, drained, None)
    store.commit([write_of(taken, decision, now)])
    for order in decision.orders:
        if type(order) is Refuse and isinstance(order.fact, OF_PEOPLE) and told.get(id(order.fact)) in own:
            raise Refused(order.why)
    return Applied(True, run.status)


def _nothing_inside(task: Task) -> bool:
    return False


def write_of(taken: recovery.Taken, decision: Decision, now: Now) -> Write:
    """What a step of a run that was taken here writes; its letters are consumed with it."""
    return Write(
        taken.rows.run.number,
        taken.fence,
        now.wall,  # the moment of the step, so that its replay gives the same rows
        decision.journal,
        decision.status,
        decision.state,
        decision.executions,
        decision.outcomes,
        decision.items,
        decision.branches,
        decision.documents,
        contents=decision.contents,
        inbox=taken.letters[-1].offset if taken.letters else None,
    )
