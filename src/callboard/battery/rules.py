"""The rules by which Hypothesis plays the stateful model: what may happen next, and with which small numbers.

A failing play is made as small as it goes and printed as lines that call the methods of `Playhouse`. This file is
imported where Hypothesis is installed.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable  # noqa: TC003  of a class variable, which is looked at
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from callboard.battery import history
from callboard.battery.playhouse import Playhouse

#: A line of every example, after every step.
_OFTEN = ("state.all_is_as_was_promised()",)
_few = st.integers(0, 3)
_seconds = st.sampled_from([0.3, 1.0, 3.5, 5.0, 13.0, 40.0])


class Rules(RuleBasedStateMachine):
    """`folder` (with the `template` of a project in it) is where it is played."""

    folder: ClassVar[Path]
    template: ClassVar[Path]
    tally: ClassVar[Counter[str]]
    say: ClassVar[Callable[[str], None]]
    is_broken = False

    @initialize(seed=st.integers(0, 1 << 16), plan=st.integers(0, 1 << 16))
    def begin(self, seed: int, plan: int) -> None:
        at = self.folder / "play"
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir()
        self.house = Playhouse(at, self.template, seed)
        self.house.submit(plan)
        self.house.play()

    @invariant()
    def all_is_as_was_promised(self) -> None:
        if hasattr(self, "house"):
            self.is_broken = True
            self.house.observe()
            self.is_broken = False

    def teardown(self) -> None:
        if hasattr(self, "house"):
            try:
                if not self.is_broken:
                    self.house.rest()
                    self._count()
            finally:
                self.house.close()

    def _count(self) -> None:
        tally, house = self.tally, self.house
        tally.update({"examples": 1, "runs": len(house.audience.promises), "attempts": len(house.audience.begun)})
        tally.update({"letters": sum(map(len, house.audience.letters.values())), "events": house.world.events})
        tally.update(house.boards.deaths)
        if tally["examples"] % 100 == 0:
            type(self).say(f"{tally['examples']} examples")

    # ── people ──────────────────────────────────────────────────────────────────────────────────────────

    @rule(plan=st.integers(0, 1 << 16))
    def submit(self, plan: int) -> None:
        self.house.submit(plan)

    @rule(run=_few, what=st.sampled_from(["pause", "resume", "resume", "cancel"]), here=st.booleans())
    def hold(self, run: int, what: str, here: bool) -> None:
        self.house.person(run, what, 0, here)

    @rule(run=_few, what=st.sampled_from(["START", "RESTART", "STOP"]), task=st.integers(0, 4), here=st.booleans())
    def ask(self, run: int, what: str, task: int, here: bool) -> None:
        self.house.person(run, what, task, here)

    @rule(run=_few, what=st.sampled_from(["retry", "restart"]), task=st.integers(0, 4))
    def reopen(self, run: int, what: str, task: int) -> None:
        self.house.person(run, what, task, False)

    @rule(run=_few, what=st.sampled_from(["approve", "approve", "edit", "reject"]), task=_few, here=st.booleans())
    def review(self, run: int, what: str, task: int, here: bool) -> None:
        self.house.person(run, what, task, here)

    @rule(run=_few, what=st.sampled_from(["done", "redo", "failed"]), task=_few)
    def decide(self, run: int, what: str, task: int) -> None:
        self.house.person(run, what, task, False)

    # ── attempts ────────────────────────────────────────────────────────────────────────────────────────

    @rule(which=_few, value=_few)
    def succeed(self, which: int, value: int) -> None:
        self.house.answer(which, "success", value)

    @rule(which=_few, value=_few)
    def bring_a_document(self, which: int, value: int) -> None:
        self.house.answer(which, "document", value)

    @rule(which=_few, how=st.sampled_from(["transient", "transient", "permanent", "skip", "lost"]))
    def fail(self, which: int, how: str) -> None:
        self.house.answer(which, how)

    @rule(how=st.sampled_from(["success", "transient", "lost"]))
    def answer_all(self, how: str) -> None:
        self.house.answer_all(how)

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────

    @rule()
    def play(self) -> None:
        self.house.play()

    @rule(which=_few, interrupt=st.booleans())
    def stop(self, which: int, interrupt: bool) -> None:
        self.house.stop(which, interrupt)

    @rule(points=st.integers(0, 40), all=st.booleans())
    def kill(self, points: int, all: bool) -> None:
        self.house.die(points, all)

    @rule(points=st.integers(0, 40), seed=st.integers(0, 1 << 16))
    def cut_power(self, points: int, seed: int) -> None:
        self.house.die(points, power=seed)

    @rule(which=_few)
    def freeze(self, which: int) -> None:
        self.house.freeze(which)

    @rule()
    def thaw(self) -> None:
        self.house.thaw()

    # ── disks and clocks ────────────────────────────────────────────────────────────────────────────────

    @rule()
    def fill_the_disk(self) -> None:
        self.house.boards.fill()

    @rule()
    def break_the_disk(self) -> None:
        self.house.boards.fail()

    @rule()
    def mend_the_disk(self) -> None:
        self.house.boards.heal()

    @rule(seconds=_seconds)
    def wait(self, seconds: float) -> None:
        self.house.pass_time(seconds)

    @rule(seconds=st.sampled_from([-315e6, -3600.0, -1.0, 1.0, 3600.0, 86400.0, 2.1e9]))
    def jump(self, seconds: float) -> None:
        self.house.host.jump(seconds)

    @rule(seconds=st.sampled_from([2.0, 100.0, 3e5]))
    def suspend(self, seconds: float) -> None:
        self.house.suspend(seconds)


def play(
    folder: Path,
    examples: int,
    steps: int,
    seed: int,
    *,
    smaller: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[str], dict[str, float]]:
    """Play so many examples: what the smallest failing one found, with the lines that do it again, and figures."""
    template, tally = folder / "template", Counter[str]()
    database = template / history.DATABASE
    history.watch(database)
    Path(f"{database}-shm").unlink()  # SQLite maps it: on the disk of a process that begins there is none
    rules: type[Rules] = type("Rules", (Rules,), {"folder": folder, "template": template, "tally": tally, "say": say})
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, database=None, deadline=None, print_blob=False,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False, verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink) if smaller else (Phase.generate,),
    )  # fmt: skip
    failures: list[str] = []
    try:
        run_state_machine_as_test(seeded(seed)(rules), settings=chosen)
    except Exception as error:
        lines = [line for note in getattr(error, "__notes__", ()) for line in note.splitlines() if line not in _OFTEN]
        failures.append("\n".join([f"seed {seed}: {type(error).__name__}: {error}", *lines]))
    return failures, {what: float(count) for what, count in tally.items()}
