"""Taking a run over: what is believed of it is what nobody can change any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from callboard.core.facts import Begun, encode
from callboard.engine.recovery import take
from callboard.ports import Owner, RunRows, Write
from callboard.store.memory import MemoryStore
from callboard.testing.kits.bench import ME, YOU, Bench, at

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING, SUCCESS = 2, 5


class Overtaken(MemoryStore):
    """A store in which something happens just after a run was first loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], Any] | None = None

    def load(self, run: int) -> RunRows:
        found = super().load(run)
        then, self.then = self.then, None
        if then is not None:
            then()
        return found


@pytest.mark.parametrize("then", ["releases it", "is killed"])
def test_what_its_owner_still_did_while_it_was_read_counts(then: str) -> None:
    store, living = Overtaken(), {ME, YOU}
    number, fence = Bench(lambda: store, reopen=False).owned()  # type: ignore[arg-type, return-value]

    def alive(owner: Owner) -> bool:
        return owner in living

    def ends() -> None:
        store.commit([Write(number, fence, 20.0, [encode(Begun())], status=SUCCESS)])
        if then == "releases it":
            store.release(number, fence)
        living.discard(ME)

    store.then = ends
    taken = take(store, number, YOU, 30.0, at(1100.0), alive)
    assert taken is not None and taken.fence == fence + 1
    assert taken.rows.run.status == SUCCESS


def test_the_rows_of_a_run_whose_owner_was_dead_are_read_once() -> None:
    store = Overtaken()
    number, _ = Bench(lambda: store, reopen=False).owned()  # type: ignore[arg-type, return-value]
    loads: list[int] = []
    load = store.load
    store.load = lambda run: loads.append(run) or load(run)  # type: ignore[func-returns-value, method-assign]
    taken = take(store, number, YOU, 30.0, at(1100.0), lambda owner: owner != ME)
    assert taken is not None and loads == [number]
