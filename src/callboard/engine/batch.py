"""One step of one run, and the `Write` that records all of it.

A batch is a list of these, at most one for each run. What the step did not take up (the saves of an
answer that came too late) is left out; what was paid is recorded in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from callboard.core import machine
from callboard.core.facts import Produced, Published, Succeeded, encode
from callboard.ports import Write

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from callboard.core.admission import Admission
    from callboard.core.deadline import Now
    from callboard.core.facts import Fact
    from callboard.core.orders import Order
    from callboard.core.run import Run
    from callboard.engine.held import Held
    from callboard.ports import Done, Json

Row: TypeAlias = tuple[Any, ...]  # of a document, as `ports.Write` has it

#: Bytes of outcomes in one batch, more or less: it is closed by the run that passes this.
MOST_BYTES = 1 << 20
#: Facts of one step.
MOST_FACTS = 2000


class Stepped(NamedTuple):
    """A step that waits for its commit, with all that has to be put back if that fails."""

    held: Held
    facts: list[Fact]  # letters, then its own
    own: list[Fact]
    size: int
    orders: Sequence[Order]
    write: Write
    starts: int
    extras: dict[tuple[int, int, int], Done]  # taken up or dropped with this step
    published: Sequence[Row]  # documents that are in place
    documents: Sequence[tuple[str, str, str | None, int]]  # to be put in place once it is on disk
    paid: Sequence[asyncio.Future[None]]
    answers: Sequence[tuple[Fact, asyncio.Future[None]]]


def step(held: Held, now: Now, admission: Admission | None) -> Stepped:
    """Take what has gathered for a run, step it, and say what is to be written."""
    run = held.run
    assert run is not None
    mail, held.mail = held.mail, []
    facts, size = _take(held)
    told = [*(fact for _, fact in mail if fact is not None), *facts] if mail else facts
    decision = machine.step(run, told, now, held.drained and not held.facts, admission)
    extras = _extras(held, facts, decision.journal) if held.extras else _NO_EXTRAS
    published = _published(held, decision.journal) if held.published else ()
    write = Write(
        held.number,
        held.fence,
        now.wall,
        decision.journal,
        decision.status,
        decision.state,
        decision.executions,
        decision.outcomes,
        decision.items,
        decision.branches,
        _documents(run, published, decision.documents) if published or decision.documents else (),
        held.calls or (),
        extras.saves,
        mail[-1][0] if mail else None,
        held.logs or (),
        decision.contents,
    )
    stepped = Stepped(
        held, told, facts, size, decision.orders, write, decision.starts, extras.taken, published,
        _pending(decision.documents) if decision.documents else (), held.paid or (), held.answers or (),
    )  # fmt: skip
    _emptied(held)
    return stepped


def _documents(run: Run, published: Sequence[Row], made: Sequence[Row]) -> list[Row]:
    """In the order in which they hold: a version that was recorded again in the step that found it in place waits for
    nothing, so the row that says it does comes first."""
    placed = [row for row in made if row[4] == "pending" and row[0] not in run.pending] if published else ()
    return [*placed, *published, *(row for row in made if row not in placed)]


def put_back(stepped: Stepped) -> None:
    """The commit failed: everything waits again, in the order it came; letters are read again from the store."""
    held, write = stepped.held, stepped.write
    held.facts = stepped.own + held.facts
    held.size += stepped.size
    held.extras = stepped.extras | held.extras
    held.calls = [*write.ledger, *held.calls]
    held.logs = [*write.logs, *held.logs]
    held.published = [*stepped.published, *held.published]
    held.paid = [*stepped.paid, *held.paid]
    held.answers = [*stepped.answers, *held.answers]
    held.mail, held.read, held.drained = [], 0, True


def is_empty(write: Write) -> bool:
    """Nothing to record: every fact was old or refused."""
    return not write.journal and write.inbox is None and write.status is None and not any(write[3:])


def _take(held: Held) -> tuple[list[Fact], int]:
    if len(held.facts) <= MOST_FACTS and held.size <= MOST_BYTES:
        facts, size = held.facts, held.size
        held.facts, held.size = [], 0
        return facts, size
    size = most = 0
    for fact in held.facts[:MOST_FACTS]:
        size += len(getattr(fact, "outcome", ""))
        most += 1
        if size > MOST_BYTES:
            break
    facts, held.facts = held.facts[:most], held.facts[most:]
    held.size = max(0, held.size - size)
    return facts, size


def _emptied(held: Held) -> None:
    """What was taken belongs to the batch now: new lists, because the batch keeps the old ones.

    An empty list stays with the run and must not be in the batch as well: what comes while that is being committed
    would seem to be on disk.
    """
    if held.calls:
        held.calls = []
    if held.logs:
        held.logs = []
    if held.paid:
        held.paid = []
    if held.answers:
        held.answers = []


class _Extras(NamedTuple):
    taken: dict[tuple[int, int, int], Done]
    saves: Sequence[tuple[str, Mapping[str, Json]]]


_NO_EXTRAS = _Extras({}, ())


def _extras(held: Held, facts: Sequence[Fact], journal: Sequence[str]) -> _Extras:
    """The saves of the answers this step took up; those of answers that came too late are dropped."""
    taken: dict[tuple[int, int, int], Done] = {}
    saves: list[tuple[str, Mapping[str, Json]]] = []
    recorded = set(journal)
    for fact in facts:
        if type(fact) is not Succeeded and type(fact) is not Produced:
            continue
        name = fact[:3]
        done = held.extras.pop(name, None)
        if done is None:
            continue
        taken[name] = done
        if encode(fact) in recorded:
            saves += done.saves
    return _Extras(taken, saves)


def _published(held: Held, journal: Sequence[str]) -> list[Row]:
    """Rows of documents that are in place, as far as this step took that up. A version that another one has followed
    meanwhile is not the latest any more: its row would hide the pending one."""
    recorded = set(journal)
    waiting = {encode(fact) for fact in held.facts if type(fact) is Published}
    rows = {encode(Published(row[0], row[1])): row for row in held.published}
    held.published = [row for fact, row in rows.items() if fact in waiting]
    return [row for fact, row in rows.items() if fact in recorded]


def _pending(rows: Sequence[Row]) -> list[tuple[str, str, str | None, int]]:
    return [row[:4] for row in rows if row[4] == "pending"]
