"""Taking up a run: what its rows say, and what was outside when whoever had it went away.

The same few lines serve a take-over from a dead engine, a run whose commit failed and a run that is new:
nothing is guessed, what is recorded as at work and is not outside here is lost. Recovery is what happens to a
run when it is taken up, not an event when a process starts.
"""

from __future__ import annotations

import contextlib
import gc
import json
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from callboard.core import rows
from callboard.core.deadline import after
from callboard.core.facts import LeaseLost, ListStopped, decode
from callboard.core.graph import Graph
from callboard.core.orders import Evaluate, Tick, Wake
from callboard.core.plan import Probe
from callboard.core.plan import load as load_plan
from callboard.core.status import STOPPING
from callboard.errors import InvalidPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from callboard.core.deadline import Now
    from callboard.core.facts import Fact
    from callboard.core.plan import Task
    from callboard.core.run import Run
    from callboard.engine.held import AtWork, Held
    from callboard.ports import Letter, Owner, RunRows, Store


#: Ends what dead engines of this project have left behind, at least what this one has.
Clear: TypeAlias = "Callable[[Owner | None], object]"


class Taken(NamedTuple):
    """A claimed run, as the store tells it."""

    rows: RunRows
    fence: int
    consumed: int  # offset of the last letter consumed
    letters: Sequence[Letter]
    documents: Sequence[tuple[str, str, str | None, int]]  # pending: (path, hash, hash it replaces, execution id)


#: Letters read at once.
MOST_LETTERS = 1000
#: New objects that are worth being put among the old.
_MANY_OBJECTS = 50_000


class Shapes:
    """Plans and what they mean, by hash: all runs of a plan share one graph. A few of the latest are kept."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._young: dict[str, tuple[str, Graph]] = {}
        self._old: dict[str, tuple[str, Graph]] = {}

    def get(self, hash: str, text: str) -> Graph:
        """Raises what `plan.load` and `Graph` raise for a text that is no plan."""
        known = self._young.get(hash) or self._old.get(hash) or (text, Graph(load_plan(text)))
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[hash] = known
        return known[1]

    def text(self, hash: str) -> str | None:
        """The text of a plan that is known."""
        known = self._young.get(hash) or self._old.get(hash)
        return None if known is None else known[0]

    def learn(self, found: RunRows) -> None:
        """Work a plan out before it is needed on the loop. A plan that cannot be read is found out there."""
        with contextlib.suppress(ValueError, KeyError, TypeError, InvalidPlan):
            self.get(found.run.plan, found.plan)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """The garbage collector rests while a run comes into memory: nothing of that is garbage.

    It would walk all of a large run again and again, which is a third of what loading takes. Afterwards what came is
    put among what is old (freeze and unfreeze move lists, not objects), so that the next round does not walk it either.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > _MANY_OBJECTS and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def take(
    store: Store,
    run: int,
    owner: Owner,
    lease: float,
    now: Now,
    alive: Callable[[Owner], bool | None],
    clear: Clear = lambda had: None,
) -> Taken | None:
    """Claim a run for `lease` seconds (unless it is ours already) and read it; None while its owner lives. Blocks.

    What whoever had it has left at work is ended by `clear` before anybody can do it again. Raises StoreError,
    NotFound, and StoreDamaged before anything of a damaged run is touched.
    """
    store.verify(run)
    before = store.find_run(run)
    is_still = _is_still(before.owner, owner, alive)
    found = store.load(run)
    if found.run.owner == owner:
        return _taken(store, found, found.run.fence)
    fence = store.claim(run, owner, after(now, lease), now, alive=alive)
    if fence is None:
        return None
    if fence != before.fence + 1:
        clear(None)  # somebody had it in between
    elif before.owner is not None:
        clear(before.owner)
    if fence != before.fence + 1 or not is_still:  # what was read may be old: read what nobody can change any more
        found = store.load(run)
    return _taken(store, found, fence)


def _is_still(had: Owner | None, owner: Owner, alive: Callable[[Owner], bool | None]) -> bool:
    """Whether nobody can write to a run any more, since who had it has let it go or is dead."""
    return had is None or (had.host == owner.host and had != owner and alive(had) is False)


def read(store: Store, run: int, fence: int) -> Taken:
    """Read a run that is ours. Blocks. Raises StoreError."""
    return _taken(store, store.load(run), fence)


def _taken(store: Store, found: RunRows, fence: int) -> Taken:
    run = found.run.number
    pending: list[tuple[str, str, str | None, int]] = []
    if any(status == "pending" for _, _, status in found.documents):
        pending = [(p, hash, old, id) for _, p, hash, old, id, status in store.documents(run) if status == "pending"]
    return Taken(found, fence, found.consumed, store.inbox(run, found.consumed, MOST_LETTERS), pending)


def fact_of(letter: Letter) -> Fact | None:
    """The fact in a letter; None when there is none that could be read. Such a letter stops nothing."""
    try:
        return decode(json.loads(letter.fact))
    except Exception:  # whatever it is: lists in lists in lists are a RecursionError
        return None


def put_in_memory(held: Held, found: RunRows, shapes: Shapes) -> Run:
    """The machine's run behind the rows. Outcomes stay where they are."""
    graph = shapes.get(found.run.plan, found.plan)
    held.run = run = rows.loaded(found, graph)
    held.settings = run.plan.settings
    held.values = {node: value for node, _, _, _, value in found.items}
    return run


def left_behind(run: Run, held: Held, inside: Callable[[Task], bool]) -> list[Fact]:
    """Facts for all that the rows call at work and that is not outside here.

    `inside` says of a task that it runs in its engine's own process, where a dead engine may be its doing.
    """
    lost: list[Fact] = []
    for node in run.nodes:
        if node.at_work:
            if not _is(held.works.get(node.id), node.number, node.attempt):
                how = ("worker", "the process it ran in died with its engine") if inside(node.task) else ("engine",)
                lost.append(LeaseLost(node.id, node.number, node.attempt, *how))
        elif node.mapped is not None and node.mapped.asked:
            if not _is(held.lists.get(node.id), node.number, node.mapped.page):
                lost.append(ListStopped(node.id, node.number))
    return lost


def to_be_stopped(run: Run, held: Held) -> list[AtWork]:
    """Works whose Stop was recorded and may never have been carried out."""
    works = [at for node, at in held.works.items() if run.nodes[node].status is STOPPING]
    return works + [at for node, at in held.lists.items() if run.nodes[node].status is STOPPING]


def timers(run: Run) -> list[Wake | Tick]:
    """The instants a run waits for, from its rows."""
    waiting: list[Wake | Tick] = []
    for node in run.nodes:
        if node.wake is not None:
            waiting.append(Wake(node.id, node.number, node.attempt, node.wake_what, node.wake))
        if node.tick is not None:
            waiting.append(Tick(node.id, node.tick))
    return waiting


def probes(run: Run) -> list[Evaluate]:
    """Probes that were asked about the event a run waits with, and have not answered."""
    if run.probing is None:
        return []
    event, answers = run.probing
    branches = (run.graph.branches[number] for number in run.graph.by_key.get(event.key, ()))
    asked = {
        branch.rule
        for branch in branches
        if not run.branches[branch.number].off
        and any(type(one) is Probe and event.key in one.keys for one in branch.conditions)
    }
    return [Evaluate(rule, event.offset) for rule in sorted(asked - set(answers))]


def _is(at: AtWork | None, number: int, attempt: int) -> bool:
    return at is not None and (at.number, at.attempt) == (number, attempt)
