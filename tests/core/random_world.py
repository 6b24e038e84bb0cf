"""A world at random: plans nobody would write, an outside that answers late, twice or never, people who meddle.

After every step the run is held against the invariants, a run loaded from the rows must equal the one in memory,
and a replay of the journal must equal both. `python tests/core/random_world.py 1000000` looks at that many
worlds, `--from N` begins with another seed; a broken one is told with its seed and the lines that led to it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from callboard.battery.worlds import KEYS, Chance, Seeded, a_persons_fact, a_plan, one_of, percent
from callboard.core import facts as f
from callboard.core import handover, machine, orders, replay, rows
from callboard.core.admission import Admission
from callboard.core.deadline import Now, left
from callboard.core.graph import Graph
from callboard.core.invariants import Recorder, check
from callboard.core.plan import DEFAULTS, Plan, Task
from callboard.core.reasons import because, why
from callboard.core.run import Run
from callboard.core.status import ENDED, RUNNING

PATHS, VERSIONS = ("p", "q"), ("h0", "h1", "h2")

# ── the world ───────────────────────────────────────────────────────────────────────────────────────────


class World:
    """One run with all that is outside it: works, pages, probes, timers, documents, and rows on a disk."""

    def __init__(self, chance: Chance, plan: Plan | None = None) -> None:
        self.chance = chance
        self.plan = plan or a_plan(chance)
        self.graph = Graph(self.plan)
        self.run = Run(1, "run", self.plan, self.graph)
        self.capacity = {"db": 1} if percent(chance, 50) else {}
        self.admission = Admission(self.capacity)
        self.mirror = Run(1, "run", self.plan, self.graph)
        self.recorder = Recorder(self.run)
        self.time, self.boot, self.booted = 100.0, 1, 0.0
        self.offset = 0
        self.probes: list[orders.Evaluate] = []
        self.timers: list[orders.Wake | orders.Tick] = []
        self.late: list[f.Fact] = []
        self.told: list[str] = []
        self.status, self.state = 0, "{}"
        self.executions: dict[int, tuple[Any, ...]] = {}
        self.items: dict[int, tuple[Any, ...]] = {}
        self.branches: dict[int, str] = {}
        self.outcomes: dict[tuple[int, int], str] = {}

    @property
    def now(self) -> Now:
        return Now(1000.0 + self.time, f"boot{self.boot}", self.time - self.booted)

    # ── one step ────────────────────────────────────────────────────────────────────────────────────────

    def step(self, facts: list[f.Fact], *, drained: bool = True, admitted: bool = True) -> machine.Decision:
        now = self.now
        self.told.append(f"{self.time:g} {'' if drained else 'undrained '}{'' if admitted else 'alone '}{facts}")
        before = replay.picture(self.run) if len(facts) == 1 and self.quiet else None
        decision = machine.step(self.run, facts, now, drained, self.admission if admitted else None)
        self.told.append(f"    {decision.orders}")
        self._keep(decision)
        self._notice(decision)
        self.recorder.see(facts, decision)
        check(self.run, self.admission if admitted else None, drained=drained)
        refused = any(type(order) is orders.Refuse for order in decision.orders)
        assert (
            not refused
            or isinstance(facts[0], f.OF_PEOPLE)
            or len(facts) > 1
            or type(facts[0]) in (f.Paused, f.Cancelled)
        ), "only people are refused"
        if before is not None and (refused or not decision.journal):
            assert before == replay.picture(self.run), "what is refused or late changes nothing"
        self.quiet = drained and admitted
        mirrored = replay.step(self.mirror, decision.journal, now, drained)
        _same(replay.picture(self.mirror), replay.picture(self.run), "replayed")
        assert mirrored.executions == decision.executions, "a replay writes the same rows"
        told = [order for order in decision.orders if type(order) is not orders.Refuse]
        assert mirrored.orders == told, (mirrored.orders, told)
        self.loaded()
        for row in self.run.nodes:
            why(self.run, row.id, self.admission)
        return decision

    quiet = False

    def loaded(self) -> Run:
        """The run behind the rows, which must be the one in memory."""
        loaded = rows.load(
            1, "run", self.plan, status=self.status, state=self.state, graph=self.graph,
            executions=self.executions.values(), items=self.items.values(), branches=self.branches.items(),
            documents=[(path, hash, "pending" if path in self.run.pending else "published")
                       for path, hash in self.run.documents.items()],
        )  # fmt: skip
        loaded.used = dict(self.run.used) if self.admission.kept(1) else loaded.used
        _same(replay.stored(loaded), replay.stored(self.run), "loaded")
        return loaded

    def _keep(self, decision: machine.Decision) -> None:
        self.status = self.status if decision.status is None else decision.status
        self.state = self.state if decision.state is None else decision.state
        for row in decision.executions:
            node = row[0] >> 20
            assert node not in self.executions or row[0] >= self.executions[node][0]
            self.executions[node] = row
        self.items.update({row[0]: row for row in decision.items})
        self.branches.update(decision.branches)
        self.outcomes.update({(id, revision): text for id, revision, text in decision.outcomes})

    def _notice(self, decision: machine.Decision) -> None:
        for order in decision.orders:
            if type(order) is orders.Evaluate:
                self.probes.append(order)
            elif type(order) in (orders.Wake, orders.Tick):
                self.timers.append(order)

    # ── what may happen ─────────────────────────────────────────────────────────────────────────────────

    def answer(self, attempt: tuple[int, int, int], *, good: bool = False) -> f.Fact:
        """One of the answers that this attempt may give."""
        chance, row = self.chance, self.run.nodes[attempt[0]]
        stopping = self.recorder.outside.get(attempt)
        kind = 0 if good else chance.below(12)
        if stopping and kind < 6:
            return f.Stopped(*attempt)
        if kind <= 4:
            brought: dict[str, Any] = {}
            if percent(chance, 15):
                self.offset += 1
                brought["published"] = (f.Notice(one_of(chance, KEYS), self.offset),)
            if percent(chance, 15):
                path = one_of(chance, PATHS)
                brought["documents"] = (f.Written(path, one_of(chance, VERSIONS)),)
                brought["pending"] = (path,) if percent(chance, 60) else ()
            brought["reads"] = self._reads()
            if row.task.review is not None and percent(chance, 80):
                return f.Produced(*attempt, f"h{chance.below(2)}", **brought)
            return f.Succeeded(*attempt, **brought)
        if kind <= 7:
            return f.Failed(*attempt, one_of(chance, ("permanent", "transient", "unknown")), "broken")
        return one_of(chance, (
            f.TimedOut(*attempt), f.Skipped(*attempt, reads=self._reads()), f.LeaseLost(*attempt),
            f.LeaseLost(*attempt, "engine"), f.Halted(*attempt), f.Refused(*attempt), f.Stopped(*attempt),
        ))  # fmt: skip

    def page(self, asked: tuple[int, int, int], *, good: bool = False) -> f.Fact:
        chance, (node, number, page) = self.chance, asked
        if self.recorder.lists.get(asked) and percent(chance, 80):
            return f.ListStopped(node, number)
        if not good and percent(chance, 15):
            return one_of(chance, (f.ListFailed(node, number), f.ListStopped(node, number)))
        keys = dict.fromkeys(one_of(chance, ("x", "y", "z")) for _ in range(chance.below(4)))
        return f.Listed(node, number, page, tuple((key, 1) for key in keys), percent(chance, 30), self._reads())

    def _reads(self) -> tuple[tuple[str, str], ...]:
        """Mostly the version that is there, sometimes one that was, of no, one or two documents."""
        chance, read = self.chance, dict[str, str]()
        while percent(chance, 20):
            path = one_of(chance, PATHS)
            is_latest = percent(chance, 70)
            read[path] = (is_latest and self.run.documents.get(path)) or one_of(chance, VERSIONS)
        return tuple(read.items())

    def person(self) -> f.Fact:
        return a_persons_fact(self.chance, self.run)

    def due(self) -> f.Fact | None:
        """The next timer that is due; the clock goes on to it."""
        if not self.timers:
            return None
        timer = min(self.timers, key=lambda one: left(one.at, self.now))
        self.timers.remove(timer)
        wait = left(timer.at, self.now)
        self.time += wait
        if type(timer) is orders.Tick:
            return f.Ticked(timer.node, timer.at.wall)
        return f.Woke(timer.node, timer.number, timer.attempt, timer.what)

    def something(self) -> f.Fact:
        """Any fact at all that may reach this run now."""
        chance = self.chance
        found: f.Fact | None = None
        match chance.below(20):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 if self.recorder.outside:
                found = self.answer(one_of(chance, sorted(self.recorder.outside)))
            case 9 | 10 if self.recorder.lists:
                found = self.page(one_of(chance, sorted(self.recorder.lists)))
            case 11 | 12:
                found = self.due()
            case 13 if self.probes:
                asked = self.probes.pop(chance.below(len(self.probes)))
                found = f.Judged(
                    asked.rule, asked.offset, one_of(chance, (True, False, None)), one_of(chance, (None, 1))
                )
            case 14 if self.late:
                found = one_of(chance, self.late)
            case 15 if self.run.pending:
                found = f.Published(one_of(chance, sorted(self.run.pending)))
            case 16:
                path = one_of(chance, PATHS)
                found = f.DocumentEdited(path, self.run.documents.get(path, ""), one_of(chance, (*VERSIONS, "")))
            case 17 | 18:
                return self.person()
        if found is None:
            self.offset += 1
            found = f.Heard(one_of(chance, KEYS), self.offset, one_of(chance, (None, "go")))
        if not isinstance(found, f.ListStopped | f.ListFailed):
            self.late = [*self.late[-8:], found]
        return found

    def happen(self) -> None:
        """One random step of the world."""
        chance = self.chance
        self.time += chance.below(3) * 2
        if percent(chance, 3):
            self.boot, self.booted = self.boot + 1, self.time - 3
        if percent(chance, 4):
            return self.reload()
        if self.run.status in ENDED and percent(chance, 60):
            what = one_of(chance, ("retry", "restart", "stale"))
            self.step(
                [f.Reopened(what, self.run.name_of(chance.below(len(self.run.nodes))) if what == "restart" else None)]
            )
            return None
        facts = [self.something()]
        while percent(chance, 15):
            facts.append(self.something())
        self.step(facts, drained=not percent(chance, 10))
        return None

    def reload(self) -> None:
        """The engine dies; somebody may command the run meanwhile; another engine takes it up."""
        self._load()
        if percent(self.chance, 50):
            self.step([self.something()], admitted=False)
        self.take_up()

    def take_up(self) -> None:
        """An engine has it from now on."""
        self._load()
        self.admission.adopt(self.run)
        self.step([])

    def _load(self) -> None:
        self.told.append(f"{self.time:g} reloaded")
        loaded = self.loaded()
        loaded.used = {}
        for row in loaded.nodes:
            if row.at_work:
                for name in row.limits:
                    if name in self.plan.limits:
                        loaded.used[name] = loaded.used.get(name, 0) + 1
        self.run = self.recorder.run = loaded
        self.admission = Admission(self.capacity)
        self.mirror = self.loaded()
        self.quiet = False

    def begin(self) -> None:
        self.step([f.Begun()])

    def settle(self) -> None:
        """All that is outside answers, time goes on, nobody meddles: the run ends, listens, ticks or is held."""
        for _ in range(400):
            if self.run.status in ENDED:
                return
            if self.run.holds:
                holds = self.run.holds
                self.step([f.Continued() if "interrupted" in holds else f.Resumed()])
            elif self.recorder.outside:
                self.step([self.answer(min(self.recorder.outside), good=True)])
            elif self.recorder.lists:
                self.step([self.page(min(self.recorder.lists), good=True)])
            elif self.run.probing is not None and self.probes:
                asked = self.probes.pop()
                self.step([f.Judged(asked.rule, asked.offset, False)])
            elif self.run.pending:
                self.step([f.Published(min(self.run.pending))])
            elif self.run.held:
                row = self.run.nodes[min(self.run.held)]
                name = self.run.name_of(row.id)
                if row.hold == "review":
                    assert row.draft is not None
                    self.step([f.Approved(name, row.number, row.draft[0])])
                else:
                    self.step([f.Decided(name, row.number, "done")])
            elif self.run.open:
                woke = self.due()
                assert woke is not None, f"open, and nothing is outside: {because(self.run)}"
                self.step([woke])
            else:
                self.step([])
                if self.run.open and not self.run.held:
                    continue  # the step before was not drained, and this one has judged what that left
                assert self.run.status in ENDED or because(self.run).startswith(("listening", "tick")), "it stands"
                return
        assert self._loops(), "everything answers, and it neither ends nor rests"

    def _loops(self) -> bool:
        """Rules that start each other for ever, one answer at a time, are no fault of the machine."""
        return bool(self.plan.rules) or any(task.every for task in self.plan.tasks)

    def hand_over(self) -> World:
        """The run is over, another one begins in its place with what is known from here."""
        chance = self.chance
        same = {task.name: task.name for task in self.plan.tasks if percent(chance, 85)}
        partly = {name: name for name in same if self.run.nodes[self.graph.names[name]].mapped and percent(chance, 30)}
        for name in partly:
            del same[name]
        left = handover.left(
            self.run, self.graph, same, partly,
            lambda node, number, revision: self.outcomes.get((1 << 40 | node << 20 | number, revision)),
            {row[0]: row[4] for row in self.items.values()},
        )  # fmt: skip
        self.step([f.Replaced("next")])
        assert self.run.status in ENDED and self.run.replaced == "next"
        self.step([f.Reopened("retry")])
        assert self.run.status in ENDED, "what was replaced is over"
        heir = World(chance, self.plan)
        facts: list[f.Fact] = list(handover.facts("run", left, one_of(chance, (1, 60, 10_000))))
        while facts:
            many = 1 + chance.below(len(facts))
            admitted = percent(chance, 50)
            heir.step(facts[:many], admitted=admitted)
            facts = facts[many:]
            if not admitted:
                heir.take_up()
        if not (self.plan.rules or any(task.every for task in self.plan.tasks)):
            heir.has(left)
        heir.step([f.Adopted("run", left.known)] if percent(chance, 50) else [])
        return heir

    def has(self, left: handover.Left) -> None:
        """What was handed over is in its place."""
        for known in left.known:
            node = self.run.find(known.task if known.item is None else f"{known.task}/{known.item}")
            assert node is not None, known
            row = self.run.nodes[node]
            if known.status in ("SUCCESS", "SKIPPED", "FAILED"):
                assert (row.status.name, row.number, row.attempt) == (known.status, 1, 0), (known, row.status)
            elif known.status == "review":
                assert row.hold == "review" and row.draft is not None and row.draft.outcome == known.outcome
        for name in left.whole:
            row = self.run.nodes[self.graph.names[name]]
            assert row.has_ended and row.number == 1, name

    def cancel(self) -> None:
        """A cancel always ends it, once what is at work has answered."""
        if self.run.status in ENDED:
            return
        self.step([f.Cancelled()])
        while self.recorder.outside:
            self.step([self.answer(min(self.recorder.outside))])
        while self.recorder.lists:
            self.step([self.page(min(self.recorder.lists))])
        while self.run.pending:
            self.step([f.Published(min(self.run.pending))])
        assert self.run.status in ENDED, f"cancelled, and it does not end: {because(self.run)}"


def _same(got: dict[str, Any], want: dict[str, Any], how: str) -> None:
    if got == want:
        return
    told = [f"{name}: {got[name]!r}, not {want[name]!r}" for name in want
            if name not in ("nodes", "branches") and got[name] != want[name]]  # fmt: skip
    for part in ("nodes", "branches"):
        for place, (one, other) in enumerate(zip(got[part], want[part], strict=True)):
            told += [f"{part} {place} {n}: {one[n]!r}, not {other[n]!r}" for n in other if one[n] != other[n]]
    raise AssertionError(f"{how} otherwise: {'; '.join(told)}")


def live(chance: Chance, steps: int = 30) -> World:
    """One world from its beginning to its end."""
    world = World(chance)
    try:
        if percent(chance, 95):
            world.begin()
        for _ in range(chance.below(steps)):
            world.happen()
        if world.run.status == 0:
            world.begin()
        if percent(chance, 50):
            world.settle()
        if percent(chance, 40) and not (world.recorder.outside or world.recorder.lists or world.run.pending):
            world = world.hand_over()
            for _ in range(chance.below(10)):
                world.happen()
        world.cancel()
    except BaseException as error:
        lines = [_brief(task) for task in world.plan.tasks] + [str(rule) for rule in world.plan.rules]
        error.add_note("\n".join([*lines, str(world.plan.limits), world.plan.on_failure, *world.told[-30:]]))
        raise
    assert world.run.status in ENDED or world.run.status is RUNNING
    return world


def _brief(task: Task) -> str:
    options = {name: value for name, value in task._asdict().items() if value != DEFAULTS[name]}
    return f"{task.name}: {options}"


def main(worlds: int, first: int) -> int:
    began = time.monotonic()
    broken: dict[str, int] = {}
    for seed in range(first, first + worlds):
        try:
            live(Seeded(seed))
        except Exception as error:
            name = f"{type(error).__name__}: {error}"[:110]
            if name not in broken:
                print(f"seed {seed}: {name}", flush=True)
            broken[name] = broken.get(name, 0) + 1
    print(f"{worlds} worlds in {time.monotonic() - began:.0f} s, {sum(broken.values())} broken, {len(broken)} ways")
    return 1 if broken else 0


if __name__ == "__main__":
    first = int(sys.argv[sys.argv.index("--from") + 1]) if "--from" in sys.argv else 0
    if "--one" in sys.argv:
        live(Seeded(int(sys.argv[sys.argv.index("--one") + 1])))
    else:
        sys.exit(main(int(sys.argv[1]), first))
