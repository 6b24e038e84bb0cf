"""One run in place of another: claimed, caught up with, ended and followed by its successor in one transaction.

Whoever does this owns the run meanwhile, so nothing of it can move between what was looked at and what is recorded. A
kill before the transaction leaves the run as it was, a kill after it the successor; there is no third state. What the
run's last owner left is recovered first, as by any command, and documents of its outcomes that are not in place yet are
put there, because nobody will take the run up again to do it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from callboard.core import machine
from callboard.core.facts import DocumentEdited, Published, Replaced, encode
from callboard.core.orders import Refuse
from callboard.engine import recovery
from callboard.engine.apply import step_once, write_of
from callboard.engine.held import Held
from callboard.engine.owner import LEASE, alive, new_owner, retire
from callboard.errors import FenceLost, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.facts import Fact
    from callboard.core.run import Run
    from callboard.ports import Call, Clock, Owner, Placed, RunRow, RunRows, Store

Put: TypeAlias = "Callable[[int, str, str, str | None], Placed]"


class Successor(NamedTuple):
    """The run that is to go on: as `Store.adopt` has it. `facts` come from what is known of the other one."""

    id: str
    name: str
    plan: str
    params: str
    face: str
    facts: Sequence[Fact]
    calls: Sequence[Call] = ()


def replace(
    store: Store,
    clock: Clock,
    run: int,
    successor: Callable[[RunRows, Run], Successor | None],
    put: Put,
    *,
    owner: Owner | None = None,
    alive: Callable[[Owner], bool | None] = alive,
    clear: recovery.Clear = lambda had: None,
) -> RunRow | None:
    """End a run and begin the one that `successor` makes of it as it stands; None while another process has it.

    When the run was replaced already, or `successor` makes none, nothing is recorded and the run's row comes back.
    `clear` ends what its dead owner has left at work. Blocks. Raises Refused, StoreError, and whatever `successor`
    raises; then the run is as it was.
    """
    me = owner or new_owner()
    try:
        taken = recovery.take(store, run, me, LEASE, clock.now(), alive, clear)
        if taken is None:
            return None
        try:
            if taken.rows.run.status or taken.letters:
                step_once(store, clock, taken, set())
            _place(store, clock, run, taken.fence, put)
            return _replace(store, clock, recovery.read(store, run, taken.fence), successor)
        finally:
            with contextlib.suppress(FenceLost):
                store.release(run, taken.fence)
    finally:
        retire(me)


def _place(store: Store, clock: Clock, run: int, fence: int, put: Put) -> None:
    """Put in place what is pending, and record it."""
    taken = recovery.read(store, run, fence)
    facts: list[Fact] = []
    rows: list[tuple[object, ...]] = []
    for path, hash, replaces, execution in taken.documents:
        placed = put(run, path, hash, replaces)
        facts.append(Published(path, hash))
        if placed.beside:
            rows.append((path, hash, replaces, execution, "conflict", placed.beside))
            facts.append(DocumentEdited(path, hash, placed.theirs))
        else:
            rows.append((path, hash, replaces, execution, "published"))
    if facts:
        core, now = _in_memory(taken), clock.now()
        decision = machine.step(core, facts, now, True, None)
        store.commit([write_of(taken, decision, now)._replace(documents=[*rows, *decision.documents])])


def _replace(
    store: Store, clock: Clock, taken: recovery.Taken, successor: Callable[[RunRows, Run], Successor | None]
) -> RunRow:
    core = _in_memory(taken)
    new = None if core.replaced else successor(taken.rows, core)
    if new is None:
        return taken.rows.run
    now = clock.now()
    decision = machine.step(core, [Replaced(new.id)], now, True, None)
    for order in decision.orders:
        if type(order) is Refuse:
            raise Refused(f"run {taken.rows.run.id} cannot be replaced: {order.why}")
    letters = [(f"adopted.{place}", encode(fact)) for place, fact in enumerate(new.facts)]
    return store.adopt(
        write_of(taken, decision, now)._replace(inbox=None),
        id=new.id, name=new.name, plan=new.plan, params=new.params, face=new.face, facts=letters, calls=new.calls,
    )  # fmt: skip


def _in_memory(taken: recovery.Taken) -> Run:
    return recovery.put_in_memory(Held(taken.rows.run, taken.fence), taken.rows, recovery.Shapes(1))
