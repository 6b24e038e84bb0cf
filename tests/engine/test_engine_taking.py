"""Taking a run over: what is believed of it is what nobody can change any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from callboard.core.facts import Begun, encode
from callboard.engine.recovery import take
from callboard.ports import Owner, RunRows, Write
from callboard.store.memory import MemoryStore
from callboard.testing.kits.bench import ME, YOU, Bench, at, lease

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


def test_what_a_dead_owner_has_left_is_ended_before_its_run_is_anybodys() -> None:
    store, heard = Overtaken(), list[Any]()
    number, _ = Bench(lambda: store, reopen=False).owned()  # type: ignore[arg-type, return-value]

    def clear(had: Owner | None) -> None:
        row = store.find_run(number)
        heard.append((had, row.owner))

    assert take(store, number, YOU, 30.0, at(1000.0), lambda owner: True, clear) is None
    assert not heard  # its owner lives
    taken = take(store, number, YOU, 30.0, at(1100.0), lambda owner: owner != ME, clear)
    assert taken is not None
    assert heard == [(ME, YOU)]  # nobody else can have it by now
    store.release(number, taken.fence)
    assert take(store, number, ME, 30.0, at(1200.0), lambda owner: True, clear) is not None
    assert len(heard) == 1  # nobody had it


def test_of_whom_nobody_knows_everything_is_looked_for() -> None:
    """Somebody takes the run and dies while it is read: then its row tells of the one before."""
    store, heard, living = Overtaken(), list[Any](), {ME, YOU}
    number, fence = Bench(lambda: store, reopen=False).owned()  # type: ignore[arg-type, return-value]
    store.release(number, fence)
    third = YOU._replace(pid=YOU.pid + 1, token="third")

    def comes_and_dies() -> None:
        assert store.claim(number, third, lease(1130.0), at(1100.0), alive=lambda owner: owner in living)

    store.then = comes_and_dies
    assert take(store, number, YOU, 30.0, at(1100.0), lambda owner: owner in living, heard.append) is not None
    assert heard == [None]
