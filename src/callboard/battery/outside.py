"""What simulated engines carry out: an outside at random, which takes any time and comes to any end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Protocol

from callboard.battery.worlds import KEYS, one_of
from callboard.errors import Permanent, Transient, WorkerLost
from callboard.ports import Call, Done, Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.battery.player import Player
    from callboard.battery.worlds import Chance
    from callboard.ports import Store, Work
    from callboard.testing.virtual import World


class Around(Protocol):
    """What an outside knows of the world that it is a part of."""

    world: World
    chance: Chance
    store: Store
    calm: bool  # all goes well from now on
    begun: dict[int, set[tuple[int, int, int]]]

    def say(self, text: str) -> None: ...


class Outside:
    """The backend of one process."""

    def __init__(self, simulation: Around, player: Player) -> None:
        self._simulation, self._player, self._world = simulation, player, simulation.world

    async def carry_out(self, work: Work) -> Done:
        simulation, world = self._simulation, self._world
        attempt = (work.node, work.number, work.attempt_number)
        simulation.begun.setdefault(work.run, set()).add(attempt)
        world.note(f"{self._player.process.name} begins {work.run} {attempt} {work.upstream}")
        try:
            await asyncio.sleep(self._time(work.number))
            calls = await self._paid(work)
        except asyncio.CancelledError:
            if simulation.calm or not world.chance(30):
                raise
            await asyncio.sleep(world.between(0.0, 2.0))
            if world.chance(50):
                raise
            calls = ()
        return self._end(work, calls)

    def _time(self, number: int) -> float:
        world = self._world
        if number > 20:
            return world.between(2.0, 5.0)  # rules that start each other for ever need not do it all the time
        kind = world.random.randrange(100)
        if kind < 60 or self._simulation.calm:
            return world.between(0.0, 0.05)
        return world.between(0.0, 3.0) if kind < 92 else world.between(0.0, 60.0)

    async def _paid(self, work: Work) -> Sequence[Call]:
        """A call of a model: its row is recorded before its answer is used, or rides with the outcome."""
        if not self._world.chance(20):
            return ()
        call = Call(
            work.run, work.node, work.number, work.attempt_number, 0, f"{work.key} {work.attempt_number}",
            "p", "m", "h", 1, 1, 5, 0.1, self._player.clock.now().wall,
        )  # fmt: skip
        if self._world.chance(50):
            return (call,)
        await self._player.engine.paid([call])
        if all(one.key != call.key for one in self._simulation.store.calls(work.run, work.node)):
            self._simulation.say(f"run {work.run}: a call of {work.attempt.task} was acknowledged, and is not recorded")
        return ()

    def _end(self, work: Work, calls: Sequence[Call]) -> Done:
        world = self._world
        kind = 0 if self._simulation.calm else world.random.randrange(100)
        if kind >= 94:
            raise Transient("busy", retry_after=world.between(0.0, 3.0) if kind >= 97 else None)
        if kind >= 88:
            raise Permanent("broken")
        if kind >= 86:
            return Done('{"value":null}', calls=calls, skipped="not now")
        if kind >= 84:
            raise WorkerLost("")
        documents = []
        if kind >= 70:
            text = f"{work.attempt.task} {world.random.randrange(3)}".encode()
            documents = [(f"{work.attempt.task}.md", self._simulation.store.put(text), None)]
        events = [(one_of(self._simulation.chance, KEYS), None)] if world.chance(15) else []
        value = json.dumps({"value": world.random.randrange(100)})
        return Done(value, documents, calls, events)

    async def list_page(self, work: Work, page: int) -> Page:
        await asyncio.sleep(self._time(work.number))
        world = self._world
        kind = 0 if self._simulation.calm else world.random.randrange(100)
        if kind >= 95:
            raise Transient("busy")
        if kind >= 90:
            raise Permanent("no list")
        keys = world.random.sample("uvwxyz", world.random.randrange(4))
        return Page([(key, {"page": page}) for key in keys], page < 3 and world.chance(30))

    def can(self, executor: str, inputs: Any) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing to close."""
