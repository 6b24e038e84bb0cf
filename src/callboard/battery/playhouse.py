"""The world of the stateful model: real engines on a real SQLite store, and all that may happen to them.

Each method down to `suspend` is a thing that a rule does: people who submit, pause, cancel, approve; attempts that
end; processes that come, die, freeze; disks and clocks that go wrong. Arguments are small numbers, so that what was
found can be written down and done again. After each, `observe` reads what a user can see, by the store's own words,
and holds it against the promise of each run (`promised.py`), which knows nothing of the machine.

`rest` heals everything and answers whatever is asked: then all runs end, and the history checker reads what is left.
"""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

from callboard.battery import history
from callboard.battery.audience import Audience
from callboard.battery.perishable import Death, Perishable
from callboard.battery.player import Clock, Player
from callboard.battery.promised import Promise
from callboard.battery.reach import Claims, Disk, Reach
from callboard.battery.scripts import Script, a_plan, wanted
from callboard.battery.show import Wrong
from callboard.battery.worlds import Seeded, what_helps
from callboard.core import facts as f
from callboard.core import plan as plans
from callboard.engine.apply import apply
from callboard.errors import FenceLost, Permanent, Refused, StoreError, Transient, WorkerLost
from callboard.ports import Done
from callboard.store.publish import publish
from callboard.testing.virtual import Host, Process, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from callboard.battery.audience import Attempt
    from callboard.battery.scripts import Outside
    from callboard.core.orders import Evaluate
    from callboard.core.run import Run
    from callboard.ports import Backend
    from callboard.store.sql.sqlite import SQLiteStore

LEASE = 3.0
MOST_RUNS, MOST_PLAYERS = 4, 3
#: Seconds that what a rule has done is given to become visible, and rounds in which everything comes to its end.
MOMENT, ROUNDS = 0.06, 150
#: Looks at a project in which nobody plays.
PATIENCE = 2


class Playhouse:
    """`said` is what was wrong."""

    compared = 25.0

    def __init__(self, folder: Path, template: Path, seed: int = 0) -> None:
        self.world = World(seed)
        self.disk = Disk(self.world)
        self.claims = Claims(self.world, self.say)
        self.host = Host(self.world, "host")
        self.lease = LEASE
        self.capacity: Mapping[str, int] = {"db": 1}
        self.acknowledged: list[tuple[int, str]] = []
        self.players: list[Player] = []
        self.outside: dict[Attempt, Outside] = {}
        self.said: list[str] = []
        self.calm = False
        self.boards = Perishable(folder, template, self.host)
        self.audience = Audience(self.boards, self.say)
        self._desk: SQLiteStore | None = None
        self._count = self._alone = 0

    def say(self, text: str) -> None:
        if len(self.said) < 20:
            self.said.append(f"{self.world.time:.3f} {text}")

    def close(self) -> None:
        self.world.close()
        self.boards.close()

    def observe(self) -> None:
        """What has become of it a moment later, as a user sees it. Raises Wrong.

        When nobody has played for a while, somebody begins: what can happen to a project that lies there is soon told.
        """
        self._alone = 0 if any(player.plays for player in self.players) else self._alone + 1
        if self._alone > PATIENCE:
            self.play()
        self._run(MOMENT)
        self.audience.observe(self.host.now().elapsed)
        for fault in (*self.world.faults, *self.said):
            raise Wrong(fault)

    # ── people ──────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, plan: int) -> None:
        """A run of the plan that this number draws."""
        if len(self.audience.asked) >= MOST_RUNS:
            return
        made, id = a_plan(Seeded(plan)), f"run{len(self.audience.asked) + 1}"
        self.audience.asked[id] = Promise(wanted(made), {"db": 1, "gpu": 1})

        def create(store: Any) -> None:
            store.create_run(id=id, name="", plan=plans.dump(made), params="{}", face="test", at=1.0)

        if self._by_a_person(create)[1]:
            self.audience.created.add(id)
        self._ring()

    def command(self, run: int, *told: f.Fact) -> None:
        """What a person says on a command line; it is acknowledged when that returns."""

        def say(store: Any) -> None:
            process = store.process
            apply(store, Clock(self.host), run, told, id=process.name, owner=process.owner, alive=self.world.alive)

        name, acknowledged = self._by_a_person(say)
        if acknowledged:
            self.audience.letters.setdefault(run, []).extend(f"{name}.{place}" for place in range(len(told)))
        self._ring()

    def post(self, run: int, fact: f.Fact) -> None:
        """The same at the process that has the run, if there is one."""
        for player in self.players:
            if player.plays and player.has_begun and run in player.engine.runs:
                self.audience.promises[run].said[f.encode(fact)] += 1
                return player.post(run, fact)
        return self.command(run, fact)

    def person(self, run: int, word: str, which: int, here: bool) -> None:
        """What a person says to one of the runs: on a command line, or at the process that has it."""
        seen = self.audience.seen
        if not seen:
            return
        run = sorted(seen)[run % len(seen)]
        fact = _fact(seen[run], word, which)
        if fact is not None:
            self.post(run, fact) if here else self.command(run, fact)

    def _by_a_person(self, act: Callable[[Any], None]) -> tuple[str, bool]:
        """In a process of its own: its name, and whether what it did was acknowledged (a refusal is an answer)."""
        process, done = self._process("person"), list[bool]()

        def carry_out() -> None:
            store, self._desk = self._desk, None
            try:
                store = store or self.boards.open()
                act(Reach(store, process, self.disk, self.claims))
                done.append(not process.dead)
            except Refused:
                done.append(not process.dead)
            except (StoreError, FenceLost):
                pass
            if not process.dead:  # of people no two are there at once, so one connection does for all, until one dies
                self._desk = store
                process.kill()

        self.world.after(0.0, carry_out, process)
        self._run(1.0, lambda: process.dead)
        return process.name, any(done)

    # ── attempts ────────────────────────────────────────────────────────────────────────────────────────

    def begins(self, run: int, name: str, number: int, attempt: int) -> None:
        self.audience.begins(run, name, number, attempt, self.host.now().elapsed)

    def answer(self, which: int, how: str, value: int = 0) -> None:
        """One of the attempts outside ends: succeeds (with a document), fails, skips itself, loses its worker."""
        waiting = [key for key, one in sorted(self.outside.items()) if not (one.end.done() or one.player.process.dead)]
        if waiting:
            self._answer(waiting[which % len(waiting)], how, value)

    def answer_all(self, how: str) -> None:
        for key, one in sorted(self.outside.items()):
            if not (one.end.done() or one.player.process.dead):
                self._answer(key, how, 0)

    def _answer(self, key: Attempt, how: str, value: int) -> None:
        outcome = json.dumps({"value": value})
        done: Any = Done(outcome)
        fact: list[Any] = ["Succeeded", outcome]
        match how:
            case "document":
                done = Done(outcome, [(f"{key[0]}/{key[1]}.md", f"{key} {value}", None)])
            case "skip":
                done, fact = Done(outcome, skipped="not now"), ["Skipped"]
            case "lost":
                done, fact = WorkerLost("killed"), ["LeaseLost"]
            case "transient":
                done, fact = Transient("busy"), ["Failed", "transient"]
            case "permanent":
                done, fact = Permanent("broken"), ["Failed", "permanent"]
        self.audience.promises[key[0]].answered(*key[1:], *fact)
        self.outside[key].end.set_result(done)

    # ── processes, disks, clocks ────────────────────────────────────────────────────────────────────────

    def play(self) -> None:
        """One more process with an engine, if it can open the project."""
        if len(self.players) < MOST_PLAYERS:
            process = self._process("engine")
            self.world.after(0.0, lambda: self._begin(process), process)
            self._run(0.001)

    def _begin(self, process: Process) -> None:
        try:
            player = Player(self, process, self.boards.open())
        except StoreError:
            return process.kill()
        player.engine.watch(lambda run, facts, told: self.audience.ordered(run, told, self.host.now().elapsed))
        return self.players.append(player)

    def stop(self, which: int, interrupt: bool) -> None:
        if (player := self._player(which)) is not None and player.plays and player.has_begun:
            player.stop(interrupt=interrupt)

    def die(self, points: int, all: bool = False, power: int | None = None) -> None:
        """At the n-th crash point from now on, at 0 now: somebody, all, or with the power."""
        death = Death(points, all, power)
        if points:
            self.boards.death = death
        elif all or power is not None:
            self.boards.fall(death)
        elif (player := self._player(0)) is not None:
            player.process.kill()

    def freeze(self, which: int) -> None:
        if (player := self._player(which)) is not None:
            player.process.freeze()

    def thaw(self) -> None:
        for player in self.players:
            player.process.thaw()

    def pass_time(self, seconds: float) -> None:
        self._run(seconds)

    def suspend(self, seconds: float) -> None:
        if not self.host.asleep:
            self.host.suspend(seconds)
            self._run(seconds)

    def _player(self, which: int) -> Player | None:
        return self.players[which % len(self.players)] if self.players else None

    def _process(self, name: str) -> Process:
        self._count += 1
        return self.world.process(f"{name}{self._count}", self.host)

    def _ring(self) -> None:
        for player in self.players:
            if not self.world.chance(30):
                player.look()

    def _run(self, seconds: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let the world go on; the dead are put away."""
        boards = self.boards
        self.world.run(until=self.world.time + seconds, done=lambda: boards.has_fallen or done())
        if boards.settle():
            self._desk = None
            self.audience.look_again()
        self.players = [player for player in self.players if not player.process.dead]
        self.outside = {key: one for key, one in self.outside.items() if not one.player.process.dead}

    # ── what players ask of their stage ─────────────────────────────────────────────────────────────────

    def backend(self, player: Player) -> Backend:
        return Script(self, player)

    def put(self, player: Player, run: int, path: str, hash: str, replaces: str | None) -> object:
        store = player.store
        name = path.rpartition("/")[2]
        recorded = lambda hash: any(path == other for _, other in store.ours(hash, name))  # noqa: E731
        said = publish(self.boards.root, f"documents/{path}", hash, replaces, recorded, store.get)
        if said != "published":
            self.say(f"run {run}: {path}: {said}")
        return said

    async def probe(self, run: int, order: Evaluate) -> f.Judged:
        raise AssertionError("no plan of the model has probes")

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────

    def rest(self) -> None:
        """All is well from now on, and whoever is asked answers: each run ends. Raises Wrong."""
        self.calm, self.boards.death = True, None
        self.boards.heal()
        self.thaw()
        for _ in range(ROUNDS):
            if not any(player.plays for player in self.players):
                self.play()
            for key, one in sorted(self.outside.items()):
                if not one.end.done():
                    self._answer(key, "success", 0)
            for run, loaded in self.audience.unfinished():
                self.command(run, *islice(what_helps(loaded), 1))
            self._run(1.0)
            self.observe()
            if not (self.audience.unfinished() or self.audience.unheard):
                return self._judge()
        unfinished, unheard = [run for run, _ in self.audience.unfinished()], self.audience.unheard
        raise Wrong(f"everything answers, and runs {unfinished} do not end, letters {unheard} are not taken up")

    def _judge(self) -> None:
        """What is left when it is over. Raises Wrong."""
        for player in self.players:
            player.stop(interrupt=False)
        self._run(3.0)
        wrong = self.audience.judge(self.acknowledged)
        wrong += history.check(self.boards.root / history.DATABASE, begun=self.audience.begun)
        for fault in (*wrong, *self.said, *self.world.faults):
            raise Wrong(fault)


def _fact(run: Run, word: str, which: int) -> f.Fact | None:
    """What a person who has looked at a run says; None when there is nothing to say it about."""
    plain: dict[str, f.Fact] = {"pause": f.Paused(), "resume": f.Resumed(), "cancel": f.Cancelled()}
    name = run.name_of(which % len(run.nodes))
    if word == "resume" and "interrupted" in run.holds:
        return f.Continued()
    if word in plain:
        return plain[word]
    if word in ("START", "RESTART", "STOP"):
        return f.Asked(name, word)
    if word in ("retry", "restart"):
        return f.Reopened(word, name if word == "restart" else None)
    kind = "decision" if word in ("done", "redo", "failed") else "review"
    held = [node for node in sorted(run.held) if run.nodes[node].hold == kind]
    if not held:
        return None
    row = run.nodes[held[which % len(held)]]
    name, hash = run.name_of(row.id), row.draft.hash if row.draft else ""
    match word:
        case "approve":
            return f.Approved(name, row.number, hash)
        case "edit":
            outcome = json.dumps({"value": f"edited {which}"})
            return f.Edited(name, row.number, sha256(outcome.encode()).hexdigest(), outcome)
        case "reject":
            return f.Rejected(name, row.number, "shorter")
    return f.Decided(name, row.number, word)
