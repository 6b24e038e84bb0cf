"""A simulated process with a real engine on its loop, and what is held against it at every step.

Whatever it has in memory keeps the machine's invariants and is what is recorded; what a person was told at this very
process is remembered as acknowledged. What it carries out, where documents go and which store it opens are the
stage's: everything that `Stage` names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from callboard.battery.reach import Reach
from callboard.core import facts as f
from callboard.core import replay, rows
from callboard.core.invariants import check
from callboard.engine.clock import SystemClock
from callboard.engine.engine import Engine
from callboard.errors import CallboardError, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.battery.reach import Claims, Disk
    from callboard.core.admission import Admission
    from callboard.core.deadline import Now
    from callboard.core.orders import Evaluate
    from callboard.core.run import Run
    from callboard.ports import Backend, Store
    from callboard.testing.virtual import Host, Process, World


class Clock(SystemClock):
    """The real one's way of sleeping, on the clocks of a simulated host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def now(self) -> Now:
        return self._host.now()


class Kept:
    """Of admission, what belongs to one run. Its own units no step of a run can be held against: a run that is taken
    over brings works that hold some, until they are found lost."""

    used: ClassVar[Mapping[str, int]] = {}

    def __init__(self, admission: Admission) -> None:
        self.kept = admission.kept


class Stage(Protocol):
    """The world that players play in."""

    world: World
    disk: Disk
    claims: Claims
    capacity: Mapping[str, int]
    lease: float
    compared: float  # percent of the steps after which memory and disk are compared
    acknowledged: list[tuple[int, str]]

    def say(self, text: str) -> None: ...

    def backend(self, player: Player) -> Backend: ...

    def put(self, player: Player, run: int, path: str, hash: str, replaces: str | None) -> object: ...

    async def probe(self, run: int, order: Evaluate) -> f.Judged: ...


class Player:
    """A process with an engine, on a store that it opened."""

    def __init__(self, stage: Stage, process: Process, store: Store) -> None:
        self.stage, self.process, self.store = stage, process, store
        self.clock = Clock(process.host)
        threads: Any = process
        reach: Any = Reach(store, process, stage.disk, stage.claims)
        self.engine = Engine(
            reach, stage.backend(self), self.clock, process.owner, capacity=stage.capacity, put_document=self._put,
            serve=True, project="p", lease=stage.lease, probe=stage.probe, report=self._hear, threads=threads,
            alive=stage.world.alive,
        )  # fmt: skip
        self.engine.watch(self._moved)
        self.stopping = False
        process.loop.spawn(self.engine.start())

    @property
    def plays(self) -> bool:
        return not (self.process.dead or self.stopping)

    @property
    def has_begun(self) -> bool:
        return hasattr(self.engine, "_mail")

    def look(self) -> None:
        """The bell rings."""
        if self.plays and self.has_begun:
            self.engine.look()

    def stop(self, *, interrupt: bool) -> None:
        self.stopping = True
        self.process.loop.spawn(self._stop(interrupt))

    async def _stop(self, interrupt: bool) -> None:
        await self.engine.stop(interrupt=interrupt)
        self.process.kill()

    def post(self, run: int, fact: f.Fact) -> None:
        """Somebody at this very process says something, and is told when it is on disk."""
        self.process.loop.spawn(self._post(run, fact))

    async def _post(self, run: int, fact: f.Fact) -> None:
        try:
            await self.engine.post(run, fact)
        except (Refused, CallboardError):
            return
        if isinstance(fact, f.OF_PEOPLE):  # others are dropped in silence when they change nothing
            self.stage.acknowledged.append((run, f.encode(fact)))

    def _put(self, run: int, path: str, hash: str, replaces: str | None) -> object:
        return self.stage.put(self, run, path, hash, replaces)

    def _hear(self, state: str, why: str) -> None:
        self.process.world.note(f"{self.process.name} is {state}: {why}")
        if state == "set aside":
            self.stage.say(f"{self.process.name} set a run aside: {why}")

    def _moved(self, run: int, facts: object, orders: object) -> None:
        held = self.engine.runs.get(run)
        if held is None or held.run is None or self.stage.claims.last(run) is not self.process:
            return
        kept: Any = Kept(self.engine._parts.admission)
        try:
            check(held.run, kept, drained=False)
        except AssertionError as error:
            self.stage.say(f"run {run}: {error}")
        if self.process.world.chance(self.stage.compared):
            self._compare(run, held.run)

    def _compare(self, run: int, own: Run) -> None:
        """A run in memory is the one that is recorded."""
        loaded, memory = replay.stored(rows.loaded(self.store.load(run))), replay.stored(own)
        for told in (loaded, memory):
            del told["used"]
        if loaded != memory:
            said = [name for name in memory if memory[name] != loaded[name]]
            self.stage.say(f"run {run}: what {self.process.name} has in memory is not on disk: {said}")
