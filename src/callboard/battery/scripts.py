"""What engines carry out in the stateful model: plans of its kind, and an outside that answers when a rule says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from callboard.battery.course import Wanted
from callboard.battery.worlds import one_of, percent
from callboard.core.plan import Plan, Retry, Review, Task
from callboard.errors import StoreError

if TYPE_CHECKING:
    from callboard.battery.player import Player
    from callboard.battery.worlds import Chance
    from callboard.ports import Done, Page, Work
    from callboard.testing.virtual import World

#: Seconds of one attempt.
LIMIT = 30.0


def a_plan(chance: Chance) -> Plan:
    """Up to five tasks with needs, tries, reviews, effects, limits: what `promised.py` knows."""
    tasks: list[Task] = []
    for place in range(1 + chance.below(5)):
        above = [one for one in tasks if percent(chance, 45)]
        is_root = {one.name: not (one.needs or one.optional) for one in above}
        optional = tuple(one.name for one in above if is_root[one.name] and percent(chance, 25))
        tasks.append(
            Task(
                f"t{place}",
                needs=tuple(one.name for one in above if one.name not in optional),
                optional=optional,
                retry=Retry(2 + chance.below(2), float(chance.below(3) * 4)) if percent(chance, 30) else Retry(),
                timeout=LIMIT,
                limits=one_of(chance, ((), (), ("db",), ("gpu",), ("db", "gpu"))),
                critical=not percent(chance, 15),
                effect="once" if percent(chance, 15) else "keyed",
                review=Review(chance.below(2)) if percent(chance, 20) else None,
            )
        )
    return Plan(tuple(tasks), limits={"gpu": 1})


def wanted(plan: Plan) -> tuple[Wanted, ...]:
    """The same in the words of the model."""
    return tuple(
        Wanted(
            task.name, task.needs, task.optional, task.retry.tries, task.review.again if task.review else None,
            task.effect == "once", task.critical, task.limits,
        )
        for task in plan.tasks
    )  # fmt: skip


class Outside(NamedTuple):
    """An attempt that has begun and not ended; who resolves `end` ends it."""

    player: Player
    end: asyncio.Future[Any]


class Around(Protocol):
    """What a script knows of the world that it is a part of."""

    world: World
    calm: bool
    outside: dict[tuple[int, str, int, int], Outside]

    def begins(self, run: int, name: str, number: int, attempt: int) -> None: ...


class Script:
    """The backend of one process: an attempt lasts until a rule ends it. One in ten does not heed a cancellation."""

    def __init__(self, around: Around, player: Player) -> None:
        self._around, self._player = around, player

    async def carry_out(self, work: Work) -> Done:
        key = (work.run, work.attempt.task, work.number, work.attempt_number)
        self._around.begins(*key)
        heeds = not self._around.world.chance(10)
        while True:
            end = asyncio.get_running_loop().create_future()
            self._around.outside[key] = Outside(self._player, end)
            try:
                answer = await end
                break
            except asyncio.CancelledError:
                if heeds or self._around.calm:
                    raise
            finally:
                self._around.outside.pop(key, None)
        if isinstance(answer, Exception):
            raise answer
        done: Done = answer
        return done._replace(documents=[(path, await self._kept(text), None) for path, text, _ in done.documents])

    async def _kept(self, text: str) -> str:
        """A full disk is waited for, as a person with a text in his hands would."""
        while True:
            try:
                return self._player.store.put(text.encode())
            except StoreError:
                await asyncio.sleep(1.0)

    async def list_page(self, work: Work, page: int) -> Page:
        raise AssertionError("no plan of the model has lists")

    def can(self, executor: str, inputs: Any) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing to close."""
