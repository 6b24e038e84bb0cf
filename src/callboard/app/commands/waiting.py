"""Which run, and which task of it, does a person mean? The one that was named, or the newest that can be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.app.views.run import in_memory
from callboard.app.views.standing import reason
from callboard.core.status import FAILED
from callboard.errors import NotFound, Refused

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.core.run import Node, Run
    from callboard.ports import RunRow


def meant(house: House, name: str | None, hold: str = "") -> RunRow:
    """The run that was named, else the newest that has not ended and, with `hold`, has something held for it.

    Raises NotFound.
    """
    if name is not None or not hold:
        return house.find_run(name, open=True)
    rows: list[RunRow] = sorted(house.store.open_runs(), key=lambda row: row.number, reverse=True)
    for row in rows:
        run = in_memory(house.store, row)
        if any(run.nodes[node].hold == hold for node in run.held):
            return row
    raise NotFound(f"no run waits for a {hold}")


class Resumable(NamedTuple):
    """A run that can go on, why it does not, and how many others have not ended either."""

    row: RunRow
    because: str
    others: int


#: What keeps a run from going on, from what `resume` mends to what it cannot: first those that only need somebody to
#: carry them out, then what a person holds, what waits for an answer, and last what another process carries out.
_RANKS = {"no": 0, "interrupted": 0, "paused": 1, "budget": 1}
_ASKED, _WAITS, _OWNED = 100, 2, 3


def to_resume(house: House) -> Resumable:
    """The run that `resume` without a name means: the newest of those it helps most. Raises NotFound."""
    found: list[RunRow] = sorted(house.store.open_runs(), key=lambda row: row.number, reverse=True)
    best: tuple[int, RunRow, str] | None = None
    for row in found[:_ASKED]:
        owned = house.is_owned(row)
        because = reason(in_memory(house.store, row), owned=owned)
        rank = _OWNED if owned else _RANKS.get(because.partition(" ")[0], _WAITS)
        if best is None or rank < best[0]:
            best = (rank, row, because)
        if rank == 0:
            break
    if best is None:
        raise NotFound(f"there is no run that has not ended{_failed(house)}")
    return Resumable(best[1], best[2], len(found) - 1)


def _failed(house: House) -> str:
    """What whoever says `resume` to a run that has failed may have meant."""
    newest: RunRow | None = next(iter(house.store.runs(most=1)), None)
    if newest is None or newest.status != FAILED:
        return ""
    return f"; the newest, {newest.id}, has failed: callboard resume {newest.id} --retry"


def waiting(run: Run, hold: str, name: str | None) -> Node:
    """The execution held for `hold` (review or decision). Raises NotFound for an unknown name, Refused."""
    if name is not None:
        node = run.find(name)
        if node is None:
            raise NotFound(f"run {run.id} has no task {name!r}")
        return run.nodes[node]
    held = [run.nodes[node] for node in sorted(run.held) if run.nodes[node].hold == hold]
    if not held:
        raise Refused(f"nothing of run {run.id} waits for a {hold}")
    if len(held) > 1:
        names = ", ".join(run.name_of(row.id) for row in held[:10])
        raise Refused(f"several tasks of run {run.id} wait for a {hold}: {names}. Name one with --task")
    return held[0]
