"""Deterministic simulation: the real machine, engine and store in a world of virtual time, and everything goes wrong.

Several engines share one store; what they carry out is random, as are the plans, the people and the faults: processes
die, freeze and wake late, machines sleep for days, clocks jump, disks fail, bells are lost (`harms.py`). The same seed
gives the same history to the last event, so a seed is a finding that can be looked at again:
`python -m callboard.battery.simulation SEED`.

Held against it, at every event: nobody writes under a fence that is not the last, no run is taken from a living owner
whose lease is not over, what is acknowledged is on the disk, every run in memory keeps the machine's invariants and is
the one that is recorded. Once everything is healed each run ends or rests within a bound. In the end the history
checker (`history.py`) reads what is left.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from callboard.battery import history
from callboard.battery.harms import HARMS
from callboard.battery.outside import Outside
from callboard.battery.player import Clock, Player
from callboard.battery.proof import Found
from callboard.battery.reach import Claims, Disk, Reach
from callboard.battery.worlds import Seeded, a_persons_fact, a_plan, percent, what_helps
from callboard.core import facts as f
from callboard.core import plan as plans
from callboard.core import rows
from callboard.core.reasons import because
from callboard.core.status import ENDED, Status
from callboard.engine.apply import apply
from callboard.errors import FenceLost, Refused, StoreError
from callboard.store.memory import MemoryStore
from callboard.testing.loop import Halt
from callboard.testing.virtual import Host, Process, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.battery.harms import Harms
    from callboard.battery.proof import Proving
    from callboard.battery.worlds import Chance
    from callboard.core.orders import Evaluate
    from callboard.core.plan import Plan
    from callboard.core.run import Run
    from callboard.ports import Backend, Store

#: Seconds of a lease, here: a tenth of the real one, so that little virtual time shows much.
LEASE = 3.0
#: Faults and events at least, and the virtual seconds in which everything has to come to rest afterwards.
STORM, EVENTS, CALM = 25, 2_000, 150.0
#: Seconds after which a bell is heard, at most.
BELLS = 0.05


class Simulation:
    """One seed, from its beginning to its end. `said` is what was wrong."""

    compared = 10.0

    def __init__(self, seed: int, harms: Harms = HARMS) -> None:
        self.seed, self.harms = seed, harms
        self.world = World(seed)
        self.chance: Chance = Seeded(seed)
        self.store: Store = MemoryStore()
        self.disk = Disk(self.world)
        self.claims = Claims(self.world, self.say)
        self.lease, self.bells = LEASE, BELLS
        self.host = Host(self.world, "host")
        self.capacity: Mapping[str, int] = {"db": 1} if percent(self.chance, 50) else {}
        self.players: list[Player] = []
        self.begun: dict[int, set[tuple[int, int, int]]] = {}
        self.files: dict[tuple[int, str], str] = {}
        self.acknowledged: list[tuple[int, str]] = []
        self.letters: list[tuple[int, str]] = []
        self.said: list[str] = []
        self.calm = False
        self._count = 0
        self.harmed = Counter[str]()

    @property
    def faults(self) -> int:
        return self.harmed.total()

    def say(self, text: str) -> None:
        if len(self.said) < 20:
            self.said.append(f"{self.world.time:.3f} {text}")

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
        self.players.append(Player(self, self.process("engine"), self.store))

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
            if player.plays and not self.world.chance(20) and self.bells:
                self.world.after(self.world.between(0.0, self.bells), player.look)

    def hear_again(self) -> None:
        self.bells = BELLS

    def command(self, run: int, *told: f.Fact) -> None:
        """What a person says on a command line: a process of its own, which may die in the middle."""
        process = self.process("person")
        self.world.after(0.0, lambda: self._apply(process, run, told), process)

    def _apply(self, process: Process, run: int, told: Sequence[f.Fact]) -> None:
        store: Any = Reach(self.store, process, self.disk, self.claims)
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

    # ── what players ask of their stage ─────────────────────────────────────────────────────────────────

    def backend(self, player: Player) -> Backend:
        return Outside(self, player)

    def put(self, player: Player, run: int, path: str, hash: str, replaces: str | None) -> None:
        self.world.spend(player.process, self.world.between(0.0, 0.01) * self.disk.slow)
        if self.disk.full or (not self.calm and self.world.chance(5)):
            raise OSError("the disk is full")
        latest = self.store.document(run, path)
        if latest is None or not latest.is_ours or latest.hash == hash:  # else a later version of ours is there
            self.files[run, path] = hash

    async def probe(self, run: int, order: Evaluate) -> f.Judged:
        world = self.world
        await asyncio.sleep(world.between(0.0, 0.5))
        met = None if world.chance(10) else world.chance(50)
        return f.Judged(order.rule, order.offset, met, None if world.chance(50) else {"n": world.random.randrange(9)})

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
            held = player.engine.runs.get(run) if player.plays and player.has_begun else None
            if held is not None and held.run is not None:
                player.post(run, a_persons_fact(self.chance, held.run))
        else:
            self.command(run, a_persons_fact(self.chance, self._loaded(run)))
        world.after(world.between(0.0, 3.0), self._meddle)

    def _harm(self) -> None:
        """Faults, from now on."""
        if self.calm:
            return
        world = self.world
        harm = world.random.choice(self.harms)
        self.harmed[harm.__name__] += 1
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
        self.hear_again()
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
                for fact in what_helps(self._loaded(run)):
                    self.command(run, fact)
        for run in self.runs():
            loaded = self._loaded(run)
            if loaded.status not in ENDED:
                if not (loaded.plan.rules or any(task.every for task in loaded.plan.tasks)):
                    self.say(f"run {run}: everything answers, and it neither ends nor rests: {because(loaded)}")
                self.command(run, f.Cancelled())
        world.run(until=world.time + CALM, done=self._all_ended)
        for run in self.runs():
            loaded = self._loaded(run)
            if loaded.status not in ENDED:
                self.say(f"run {run}: cancelled, and it does not end: {because(loaded)}")

    def _all_ended(self) -> bool:
        return all(Status(row.status) in ENDED for row in self.store.runs(most=1000))

    def _rests(self, run: int) -> bool:
        loaded = self._loaded(run)
        waiting = dict(self.store.waiting())
        if run in waiting:
            return False
        return loaded.status in ENDED or (not loaded.open and because(loaded).startswith(("listening", "tick")))

    def _loaded(self, run: int) -> Run:
        return rows.loaded(self.store.load(run))

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


# ── the proof ───────────────────────────────────────────────────────────────────────────────────────────


def simulate(seed: int, harms: Harms = HARMS) -> Simulation:
    """The world of one seed, lived to its end."""
    simulation = Simulation(seed, harms)
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
