"""Deterministic simulation: the real machine, engine and store in a world of virtual time, and everything goes wrong.

Several engines share one store; what they carry out is random, as are the plans, the people and the faults: processes
die, freeze and wake late, the machine sleeps for days, its wall clock jumps, the disk is slow, full or fails (before
or after it has written), doorbells are lost. The same seed gives the same history to the last event, so a seed is a
finding that can be looked at again: `python -m callboard.battery.simulation SEED`.

Held against it, at every event: nobody writes under a fence that is not the last, no run is taken from a living owner
whose lease is not over, what is acknowledged is on the disk, every run in memory keeps the machine's invariants and is
the one that is recorded. Once everything is healed each run ends or rests within a bound. In the end the history
checker (`history.py`) reads what is left.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from callboard.battery import history
from callboard.battery.proof import Found
from callboard.battery.worlds import KEYS, Seeded, a_persons_fact, a_plan, one_of, percent
from callboard.core import facts as f
from callboard.core import plan as plans
from callboard.core import replay, rows
from callboard.core.invariants import check
from callboard.core.reasons import because
from callboard.core.status import ENDED, Status
from callboard.engine.apply import apply
from callboard.engine.clock import SystemClock
from callboard.engine.engine import Engine
from callboard.errors import CallboardError, FenceLost, Permanent, Refused, StoreError, Transient
from callboard.ports import Call, Done, Write
from callboard.store.memory import MemoryStore
from callboard.testing.loop import Halt
from callboard.testing.virtual import Host, Process, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.battery.proof import Proving
    from callboard.core.deadline import Deadline, Now
    from callboard.core.orders import Evaluate
    from callboard.core.plan import Plan
    from callboard.core.run import Run
    from callboard.ports import Json, Owner, Store, Work

T = TypeVar("T")

#: Seconds of a lease, here: a tenth of the real one, so that little virtual time shows much.
LEASE = 3.0
#: Faults and events at least, and the virtual seconds in which everything has to come to rest afterwards.
STORM, EVENTS, CALM = 25, 2_000, 150.0
#: Names of what a process asks of the store that writes.
_READS = {"load", "inbox", "waiting", "outcome", "outcomes", "find_run", "open_runs", "version", "documents", "journal"}


class Clock(SystemClock):
    """The real one's way of sleeping, on the clocks of a simulated host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def now(self) -> Now:
        return self._host.now()


class Claim(NamedTuple):
    fence: int
    process: Process
    until: float  # elapsed
    released: bool = False


class Reach:
    """What one process sees of the store: it takes time, it fails, and what it does is watched."""

    def __init__(self, simulation: Simulation, process: Process) -> None:
        self._simulation, self._process, self._store = simulation, process, simulation.store

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)
        if name not in _READS:
            return call

        def read(*args: Any, **kwargs: Any) -> Any:
            self._simulation.disk.reading(self._process)
            return call(*args, **kwargs)

        return read

    def commit(self, writes: Sequence[Write]) -> None:
        self._write(self._commit, writes)

    def try_commit(self, writes: Sequence[Write]) -> bool:
        if self._process.world.chance(5):
            return False
        self._write(self._commit, writes)
        return True

    def claim(self, run: int, owner: Owner, *args: Any, **kwargs: Any) -> int | None:
        return self._write(self._claim, run, owner, *args, **kwargs)

    def release(self, run: int, fence: int) -> None:
        self.release_all([(run, fence)])

    def release_all(self, runs: Sequence[tuple[int, int]]) -> None:
        self._write(self._release, runs)

    def renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        return self._write(self._renew, runs, lease)

    def append(self, run: int, facts: Sequence[tuple[str, str]], at: float, *, urgent: bool = False) -> int:
        return self._write(self._store.append, run, facts, at, urgent=urgent)

    def publish(self, events: Sequence[tuple[str, str, Json, str, Json]], at: float) -> Sequence[int]:
        return self._write(self._store.publish, events, at)

    def put(self, data: bytes) -> str:
        return self._write(self._store.put, data)

    def _write(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Before, or after it was written and before anybody knows, the disk may be slow or fail, or we may die."""
        disk, process = self._simulation.disk, self._process
        disk.writing(process)
        result = call(*args, **kwargs)
        disk.written(process)
        return result

    # ── what is done at one instant, and watched ────────────────────────────────────────────────────────

    def _commit(self, writes: Sequence[Write]) -> None:
        self._store.commit(writes)
        simulation = self._simulation
        for write in writes:
            claim = simulation.claims.get(write.run)
            if claim is None or (claim.fence, claim.process) != (write.fence, self._process) or claim.released:
                simulation.say(f"run {write.run}: {self._process.name} wrote under fence {write.fence}, {claim} holds")
            self._process.world.note(f"{self._process.name} commits {write.run} {write.journal} {write.executions}")

    def _claim(self, run: int, owner: Owner, lease: Deadline, *args: Any, **kwargs: Any) -> int | None:
        fence = self._store.claim(run, owner, lease, *args, **kwargs)
        if fence is not None:
            self._simulation.claimed(run, Claim(fence, self._process, lease.elapsed))
        return fence

    def _release(self, runs: Sequence[tuple[int, int]]) -> None:
        self._store.release_all(runs)
        for run, fence in runs:
            claim = self._simulation.claims.get(run)
            if claim is not None and claim.fence == fence:
                self._simulation.claims[run] = claim._replace(released=True)

    def _renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        lost = self._store.renew(runs, lease)
        for run, _ in runs:
            if run not in lost:
                claim = self._simulation.claims[run]
                self._simulation.claims[run] = claim._replace(until=lease.elapsed)
        return lost


class Disk:
    """Where the store lies: how slow it is, and how it fails."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.slow = 1.0
        self.full = False
        self.failing = 0  # writes to come that fail …
        self.after = False  # … when they are on it already

    def reading(self, process: Process) -> None:
        if self._world.chance(4 if self.slow == 1.0 else 30):
            self._world.spend(process, self._world.between(0.0, 0.0005) * self.slow)
        elif process.dead:
            raise Halt

    def writing(self, process: Process) -> None:
        self._world.spend(process, self._world.between(0.0, 0.002) * self.slow)
        if self.full:
            raise StoreError("the disk is full")
        if self.failing and not self.after:
            self.failing -= 1
            raise StoreError("the disk failed")

    def written(self, process: Process) -> None:
        if self.failing and self.after:
            self.failing -= 1
            raise StoreError("the disk failed, and it is written")
        if self._world.chance(20):
            self._world.spend(process, self._world.between(0.0, 0.002) * self.slow)

    def heal(self) -> None:
        self.slow, self.full, self.failing = 1.0, False, 0


class Outside:
    """A backend of one process: what it carries out takes any time and comes to any end."""

    def __init__(self, simulation: Simulation, player: Player) -> None:
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
            raise Lost
        documents = []
        if kind >= 70:
            text = f"{work.attempt.task} {world.random.randrange(3)}".encode()
            documents = [(f"{work.attempt.task}.md", self._simulation.store.put(text), None)]
        events = [(one_of(self._simulation.chance, KEYS), None)] if world.chance(15) else []
        value = json.dumps({"value": world.random.randrange(100)})
        return Done(value, documents, calls, events)

    async def list_page(self, work: Work, page: int) -> tuple[Sequence[tuple[str, Json]], bool]:
        await asyncio.sleep(self._time(work.number))
        world = self._world
        kind = 0 if self._simulation.calm else world.random.randrange(100)
        if kind >= 95:
            raise Transient("busy")
        if kind >= 90:
            raise Permanent("no list")
        keys = world.random.sample("uvwxyz", world.random.randrange(4))
        return [(key, {"page": page}) for key in keys], page < 3 and world.chance(30)

    def can(self, executor: str, inputs: Any) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing to close."""


class Lost(Exception):
    """The worker dies in the middle of the attempt."""

    worker_lost = True


class Player:
    """A process with an engine."""

    def __init__(self, simulation: Simulation, process: Process) -> None:
        self.simulation, self.process = simulation, process
        self.clock = Clock(process.host)
        threads: Any = process
        store: Any = Reach(simulation, process)
        self.engine = Engine(
            store, Outside(simulation, self), self.clock, process.owner, capacity=simulation.capacity,
            put_document=self._put, serve=True, project="p", lease=LEASE, probe=self._probe, report=self._hear,
            threads=threads, alive=simulation.world.alive,
        )  # fmt: skip
        self.engine.watch(self._moved)
        self.stopping = False
        process.loop.spawn(self.engine.start())

    @property
    def plays(self) -> bool:
        return not (self.process.dead or self.stopping)

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
            self.simulation.acknowledged.append((run, f.encode(fact)))

    def _put(self, run: int, path: str, hash: str, replaces: str | None) -> None:
        simulation, world = self.simulation, self.process.world
        world.spend(self.process, world.between(0.0, 0.01) * simulation.disk.slow)
        if simulation.disk.full or (not simulation.calm and world.chance(5)):
            raise OSError("the disk is full")
        simulation.files[run, path] = hash

    async def _probe(self, run: int, order: Evaluate) -> f.Judged:
        world = self.process.world
        await asyncio.sleep(world.between(0.0, 0.5))
        met = None if world.chance(10) else world.chance(50)
        return f.Judged(order.rule, order.offset, met, None if world.chance(50) else {"n": world.random.randrange(9)})

    def _hear(self, state: str, why: str) -> None:
        self.process.world.note(f"{self.process.name} is {state}: {why}")
        if state == "set aside":
            self.simulation.say(f"{self.process.name} set a run aside: {why}")

    def _moved(self, run: int, facts: object, orders: object) -> None:
        held = self.engine.runs.get(run)
        claim = self.simulation.claims.get(run)
        if held is None or held.run is None or claim is None or claim.process is not self.process:
            return
        try:
            check(held.run, drained=False)
        except AssertionError as error:
            self.simulation.say(f"run {run}: {error}")
        if self.process.world.chance(10):
            self._compare(run, held.run)

    def _compare(self, run: int, own: Run) -> None:
        """A run in memory is the one that is recorded."""
        loaded, memory = replay.stored(loaded_from(self.simulation.store, run)), replay.stored(own)
        for told in (loaded, memory):
            del told["used"]
        if loaded != memory:
            said = [name for name in memory if memory[name] != loaded[name]]
            self.simulation.say(f"run {run}: what {self.process.name} has in memory is not on disk: {said}")


def loaded_from(store: Store, run: int) -> Run:
    found = store.load(run)
    return rows.load(
        run, found.run.id, plans.load(found.plan), status=found.run.status, state=found.run.state,
        executions=found.executions, items=found.items, branches=found.branches, documents=found.documents,
    )  # fmt: skip


class Simulation:
    """One seed, from its beginning to its end. `said` is what was wrong."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.chance = Seeded(seed)
        self.store = MemoryStore()
        self.disk = Disk(self.world)
        self.host = Host(self.world, "host")
        self.capacity = {"db": 1} if percent(self.chance, 50) else {}
        self.players: list[Player] = []
        self.claims: dict[int, Claim] = {}
        self.begun: dict[int, set[tuple[int, int, int]]] = {}
        self.files: dict[tuple[int, str], str] = {}
        self.acknowledged: list[tuple[int, str]] = []
        self.letters: list[tuple[int, str]] = []
        self.said: list[str] = []
        self.calm = False
        self._count = 0
        self.faults = 0

    def say(self, text: str) -> None:
        if len(self.said) < 20:
            self.said.append(f"{self.world.time:.3f} {text}")

    def claimed(self, run: int, claim: Claim) -> None:
        """Nobody takes a run from a living owner before his lease is over."""
        was, fence, process = self.claims.get(run), claim.fence, claim.process
        if was is not None and fence <= was.fence:
            self.say(f"run {run}: claimed with fence {fence} after {was.fence}")
        if was is not None and not was.released and not was.process.dead and was.process is not process:
            is_seen = was.process.owner.host == process.owner.host and not was.process.frozen
            if is_seen or self.host.now().elapsed < was.until:
                self.say(f"run {run}: {process.name} stole it from {was.process.name}, whose lease is not over")
        self.claims[run] = claim
        self.world.note(f"{process.name} claims {run} with {fence}")

    # ── who is there ────────────────────────────────────────────────────────────────────────────────────

    def process(self, name: str) -> Process:
        """A process in one of two pid namespaces of the machine, which cannot see each other's."""
        self._count += 1
        process = self.world.process(f"{name}{self._count}", self.host)
        space = "" if self.world.chance(60) else " elsewhere"
        process.owner = process.owner._replace(host=self.host.name + space)
        return process

    def play(self) -> None:
        self.players = [player for player in self.players if not player.process.dead]
        self.players.append(Player(self, self.process("engine")))

    def play_again(self) -> None:
        if not self.calm:
            self.play()

    def runs(self) -> list[int]:
        return [row.number for row in self.store.runs(most=1000)][::-1]

    def begin(self, plan: Plan) -> None:
        number = len(self.runs()) + 1
        self.store.create_run(
            id=f"run{number}", name="", plan=plans.dump(plan), params="{}", face="test", at=self.host.now().wall
        )
        self.ring()

    def ring(self) -> None:
        """The doorbells of all engines: each late, or lost."""
        for player in self.players:
            if player.plays and not self.world.chance(20):
                self.world.after(self.world.between(0.0, 0.05), lambda player=player: self._heard(player))  # type: ignore[misc]

    def _heard(self, player: Player) -> None:
        if player.plays and hasattr(player.engine, "_mail"):
            player.engine.look()

    def command(self, run: int, *told: f.Fact) -> None:
        """What a person says on a command line: a process of its own, which may die in the middle."""
        process = self.process("person")
        self.world.after(0.0, lambda: self._apply(process, run, told), process)

    def _apply(self, process: Process, run: int, told: Sequence[f.Fact]) -> None:
        store: Any = Reach(self, process)
        name = process.name
        try:
            apply(store, Clock(self.host), run, told, id=name, owner=process.owner, alive=self.world.alive)
        except Halt:
            return
        except (Refused, StoreError, FenceLost):
            return
        finally:
            process.kill()
        self.letters += [(run, f"{name}.{place}") for place in range(len(told))]
        self.ring()

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────

    def live(self) -> list[str]:
        """All of it; what was wrong."""
        world = self.world
        try:
            for _ in range(2 + world.random.randrange(3)):
                self.play()
            for _ in range(1 + world.random.randrange(3)):
                self.begin(self._plan())
            self._meddle()
            self._harm()
            world.run(until=1e9, done=lambda: self.faults >= STORM and world.events >= EVENTS)
            self._heal()
            self._rest()
            self._judge()
        finally:
            world.close()
        return self.said

    def _plan(self) -> Plan:
        plan = a_plan(self.chance)
        tasks = tuple(task._replace(timeout=self.world.between(5.0, 60.0)) for task in plan.tasks)
        return plan._replace(tasks=tasks)

    def _meddle(self) -> None:
        """People, from now on."""
        if self.calm:
            return
        world = self.world
        run = world.random.choice(self.runs())
        kind = world.random.randrange(10)
        if kind == 0 and len(self.runs()) < 5:
            self.begin(self._plan())
        elif kind <= 3 and self.players:
            player = world.random.choice(self.players)
            held = player.engine.runs.get(run) if player.plays and hasattr(player.engine, "_mail") else None
            if held is not None and held.run is not None:
                player.post(run, a_persons_fact(self.chance, held.run))
        else:
            self.command(run, a_persons_fact(self.chance, loaded_from(self.store, run)))
        world.after(world.between(0.0, 3.0), self._meddle)

    def _harm(self) -> None:
        """Faults, from now on."""
        if self.calm:
            return
        world = self.world
        self.faults += 1
        harm = world.random.choice(HARMS)
        world.note(harm.__name__)
        harm(self)
        if not any(player.plays for player in self.players) and not world.chance(20):
            self.play()
        world.after(world.between(0.0, 3.0), self._harm)

    def somebody(self) -> Player | None:
        playing = [player for player in self.players if player.plays]
        return self.world.random.choice(playing) if playing else None

    def _heal(self) -> None:
        self.calm = True
        self.disk.heal()
        for player in self.players:
            player.process.thaw()
        if self.host.asleep:
            self.world.run(until=self.world.time + 1e6, done=lambda: not self.host.asleep)
        if not any(player.plays for player in self.players):
            self.play()

    def _rest(self) -> None:
        """Everything answers, people answer what is asked of them: each run ends, or says what it waits for."""
        world, end = self.world, self.world.time + CALM
        while world.time < end:
            world.run(until=world.time + 4 * LEASE)
            unfinished = [run for run in self.runs() if not self._rests(run)]
            if not unfinished:
                return
            for run in unfinished:
                self._help(run)
        for run in self.runs():
            loaded = loaded_from(self.store, run)
            if loaded.status not in ENDED:
                if not (loaded.plan.rules or any(task.every for task in loaded.plan.tasks)):
                    self.say(f"run {run}: everything answers, and it neither ends nor rests: {because(loaded)}")
                self.command(run, f.Cancelled())
        world.run(until=world.time + CALM, done=self._all_ended)
        for run in self.runs():
            loaded = loaded_from(self.store, run)
            if loaded.status not in ENDED:
                self.say(f"run {run}: cancelled, and it does not end: {because(loaded)}")

    def _all_ended(self) -> bool:
        return all(Status(row.status) in ENDED for row in self.store.runs(most=1000))

    def _rests(self, run: int) -> bool:
        loaded = loaded_from(self.store, run)
        waiting = dict(self.store.waiting())
        if run in waiting:
            return False
        return loaded.status in ENDED or (not loaded.open and because(loaded).startswith(("listening", "tick")))

    def _help(self, run: int) -> None:
        loaded = loaded_from(self.store, run)
        if loaded.holds:
            hold: dict[str, f.Fact] = {"paused": f.Resumed(), "interrupted": f.Continued(), "budget": f.Raised(9.0)}
            self.command(run, hold[min(loaded.holds)])
        for node in sorted(loaded.held):
            row = loaded.nodes[node]
            name = loaded.name_of(node)
            if row.hold == "review" and row.draft is not None:
                self.command(run, f.Approved(name, row.number, row.draft.hash))
            else:
                self.command(run, f.Decided(name, row.number, "done"))

    def _judge(self) -> None:
        """What is left when it is over."""
        for fault in self.world.faults:
            self.say(fault)
        for run in self.runs():
            self.said += history.check_run(self.store, run, begun=self.begun.get(run, ()), content=True)
            recorded = {text for _, _, told, _ in self.store.journal(run) for text in told}
            for acknowledged, text in self.acknowledged:
                if acknowledged == run and text not in recorded:
                    self.say(f"run {run}: {text} was acknowledged, and is not recorded")
            known = {letter.id for letter in self.store.inbox(run, 0, 1 << 30)}
            for told, letter in self.letters:
                if told == run and letter not in known:
                    self.say(f"run {run}: letter {letter} was acknowledged, and is lost")
            for _, path, hash, _, _, status in self.store.documents(run):
                if status == "published" and self.files.get((run, path)) != hash:
                    self.say(f"run {run}: {path} is called published, and {self.files.get((run, path))} stands there")


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────


def _crash(simulation: Simulation) -> None:
    player = simulation.somebody()
    if player is not None:
        player.process.kill()
        simulation.world.after(simulation.world.between(0.0, 5.0), simulation.play_again)


def _freeze(simulation: Simulation) -> None:
    player = simulation.somebody()
    if player is not None:
        player.process.freeze()
        simulation.world.after(simulation.world.between(0.1, 3.0) * LEASE, player.process.thaw)


def _swizzle(simulation: Simulation) -> None:
    """All stop one by one, and wake in another order."""
    world = simulation.world
    for player in simulation.players:
        world.after(world.between(0.0, LEASE), player.process.freeze)
        world.after(world.between(LEASE, 4 * LEASE), player.process.thaw)


def _suspend(simulation: Simulation) -> None:
    world = simulation.world
    if not simulation.host.asleep:
        simulation.host.suspend(10 ** world.between(0.0, 5.5))


def _reboot(simulation: Simulation) -> None:
    simulation.host.reboot()
    simulation.world.after(simulation.world.between(0.0, 5.0), simulation.play_again)


def _jump(simulation: Simulation) -> None:
    seconds = simulation.world.random.choice((-315e6, -3600.0, -1.0, 1.0, 3600.0, 86400.0, 2.1e9))
    simulation.host.jump(seconds)


def _slow(simulation: Simulation) -> None:
    simulation.disk.slow = 10 ** simulation.world.between(0.5, 3.0)
    simulation.world.after(simulation.world.between(0.0, 6.0), simulation.disk.heal)


def _full(simulation: Simulation) -> None:
    simulation.disk.full = True
    simulation.world.after(simulation.world.between(0.0, 6.0), simulation.disk.heal)


def _fail(simulation: Simulation) -> None:
    simulation.disk.failing = 1 + simulation.world.random.randrange(4)
    simulation.disk.after = simulation.world.chance(50)


def _stop(simulation: Simulation) -> None:
    player = simulation.somebody()
    if player is not None and hasattr(player.engine, "_mail"):
        player.stop(interrupt=simulation.world.chance(50))
        simulation.world.after(simulation.world.between(0.0, 5.0), simulation.play_again)


def _join(simulation: Simulation) -> None:
    if len(simulation.players) < 4:
        simulation.play()


HARMS = (
    _crash, _crash, _crash, _freeze, _freeze, _freeze, _swizzle, _suspend, _reboot, _jump, _slow, _slow, _full,
    _fail, _fail, _fail, _stop, _stop, _join,
)  # fmt: skip


# ── the proof ───────────────────────────────────────────────────────────────────────────────────────────


def simulate(seed: int) -> Simulation:
    """The world of one seed, lived to its end."""
    simulation = Simulation(seed)
    simulation.live()
    return simulation


def prove_simulation(proving: Proving) -> Found:
    """`size` seeds, from `seed` on."""
    failures: list[str] = []
    events = least = faults = 0
    for place in range(proving.size):
        seed = proving.seed * 1_000_000 + place
        simulation = simulate(seed)
        failures += [f"seed {seed}: {text}" for text in simulation.said]
        events += simulation.world.events
        faults += simulation.faults
        least = min(least or simulation.world.events, simulation.world.events)
        if place % 100 == 99:
            proving.say(f"{place + 1} of {proving.size} seeds, {len(failures)} findings")
    figures = {"events": float(events), "events of the shortest": float(least), "faults": float(faults)}
    return Found(proving.size, failures[:100], figures)


def main(seed: int) -> int:
    """Look at one seed again."""
    simulation = simulate(seed)
    for text in simulation.said:
        print(text)
    print(f"{simulation.world.events} events, {simulation.faults} faults, trace {simulation.world.trace}")
    return 1 if simulation.said else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
