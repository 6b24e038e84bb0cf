"""A run made anew from its journal alone has the rows that were recorded, whatever happened to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from random_world import Seeded, World, percent

from callboard.core import machine, rebuilt

if TYPE_CHECKING:
    from callboard.core import facts as f


class Recorded(World):
    """A world that keeps its journal as a store does, and every row ever written."""

    def __init__(self, chance: Seeded) -> None:
        super().__init__(chance)
        self.journal: list[tuple[float, list[str]]] = []
        self.every: dict[int, tuple[Any, ...]] = {}

    def step(self, facts: list[f.Fact], *, drained: bool = True, admitted: bool = True) -> machine.Decision:
        decision = super().step(facts, drained=drained, admitted=admitted)
        if decision.journal:
            self.journal.append((self.now.wall, decision.journal))
        self.every.update({row[0]: row for row in decision.executions})
        return decision

    def compare(self) -> None:
        self.compare_with_the_journal()
        self.find_it_at_rest()

    def find_it_at_rest(self) -> None:
        """Whoever takes it up and has nothing to tell it changes nothing, unless letters had waited."""
        if not self.journal or self.journal[-1][1][-1] != machine.UNDRAINED:
            still = machine.step(self.loaded(), [], self.now)
            assert not (still.journal or still.executions or still.branches or still.state), still

    def compare_with_the_journal(self) -> None:
        told = rebuilt.rebuild(1, "run", self.plan, self.journal, status=self.status)
        assert told.status == self.status and rebuilt.same_state(self.state, told.state)
        assert told.executions.keys() == self.every.keys()
        for id, row in self.every.items():
            assert rebuilt.same(row, told.executions[id]), (row, told.executions[id])
        assert told.outcomes == self.outcomes
        assert told.items == self.items
        assert told.branches.keys() == self.branches.keys()
        for branch, text in self.branches.items():
            assert rebuilt.same_branch(text, told.branches[branch]), (text, told.branches[branch])
        assert {path: versions[-1].hash for path, versions in told.documents.items()} == self.run.documents
        pending = {path for path, versions in told.documents.items() if versions[-1].status == "pending"}
        assert pending == self.run.pending


def live(seed: int, steps: int = 30) -> None:
    world = Recorded(Seeded(seed))
    try:
        world.begin()
        for _ in range(world.chance.below(steps)):
            world.happen()
            if percent(world.chance, 20):
                world.compare()
        world.compare()
        world.cancel()
        world.compare()
    except BaseException as error:
        error.add_note(
            "\n".join([f"seed {seed}", *map(str, world.plan), *world.told[-30:], *map(str, world.journal[-8:])])
        )
        raise


@pytest.mark.parametrize("part", range(4))
def test_a_run_rebuilt_from_its_journal_has_the_rows_that_were_recorded(part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        live(seed)


if __name__ == "__main__":
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            live(seed)
        except Exception as error:
            print(seed, str(error)[:300])
