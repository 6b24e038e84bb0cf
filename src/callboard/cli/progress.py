"""Progress on standard error: one line that is rewritten on a terminal, a line now and then elsewhere.

It is told what moved after it is on disk, so what it shows as done is done. It counts; it decides nothing. Drawing
looks at every task and item, so the pauses between two drawings grow with what one has cost: a run of a hundred
thousand items spends no twentieth of its time on being watched.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from callboard.app.views.words import brief
from callboard.cli.table import columns, cut, money, span, symbols, width
from callboard.core.facts import Failed, Listed, Skipped, Succeeded, TimedOut
from callboard.core.orders import Start
from callboard.core.status import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.app.wiring import House
    from callboard.core.facts import Fact
    from callboard.core.orders import Order
    from callboard.core.run import Run
    from callboard.engine.engine import Engine

#: Seconds between two drawings on a terminal when something moves, and when nothing does.
MOVING, STILL = 0.1, 1.0
#: Seconds before the first line elsewhere, and the longest pause between two; each is twice the one before.
FIRST, LONGEST = 2.0, 60.0
_SHARE = 20  # pauses are at least this many times as long as a drawing took
_TOLD = {"waiting", "paused", "running", "edited"}  # what an engine reports that a person can do something about


class Progress:
    """Counts what ends of one run; `cached` of it was answered from the cache. Draws nothing when `quiet`."""

    def __init__(self, house: House, run: int, *, quiet: bool = False) -> None:
        self._house, self._number, self._quiet = house, run, quiet
        self._terminal = sys.stderr.isatty()
        self._engine: Engine | None = None
        self._state: Run | None = None
        self._begun = self._drawn = time.monotonic()
        self._pause = MOVING if self._terminal else FIRST
        self._before: int | None = None  # what had ended when we came
        self.cached = self._width = 0
        self._now = self._said = ""
        self._ended: set[int] = set()  # tasks that were said to have ended
        self._timer: asyncio.TimerHandle | None = None

    @property
    def passed(self) -> float:
        """Seconds since this began."""
        return time.monotonic() - self._begun

    def watch(self, engine: Engine) -> None:
        """Be told by an engine from now on. To be called on its loop."""
        self._engine = engine
        engine.watch(self.told)
        if not self._quiet:
            self._beat()

    def report(self, state: str, why: str) -> None:
        """What the engine meets: a full disk, room again, a document that somebody has edited."""
        if state in _TOLD and why and why != self._said:
            self._said = why
            self._leave()
            click.echo(f"  {symbols(why)}", err=True)

    def told(self, run: int, facts: Iterable[Fact], orders: Iterable[Order]) -> None:
        state = self._run()
        if run != self._number or state is None:
            return
        moved = False
        for fact in facts:
            if isinstance(fact, Succeeded | Skipped | Failed | TimedOut):
                self.cached += isinstance(fact, Succeeded) and _is_cached(fact.outcome)
                moved = True
                if not self._terminal and not self._quiet:
                    self._say_task(state, fact.node)
            moved = moved or isinstance(fact, Listed)
        for order in orders:
            if isinstance(order, Start):
                self._now = state.name_of(order.node)
                moved = True
        if moved and time.monotonic() - self._drawn >= self._pause:
            self.draw()

    def draw(self) -> None:
        """One line: done of all, failed, cached, money, time, time left, what was begun last."""
        run = self._run()
        if run is None or self._quiet:
            return
        began = time.monotonic()
        text = symbols(self.line(run))
        if self._terminal:
            shown = cut(text, (columns(sys.stderr) or 80) - 1)
            click.echo("\r" + shown + " " * max(0, self._width - width(shown)), err=True, nl=False)
            self._width = width(shown)
        else:
            click.echo(f"  {text}", err=True)
        self._drawn = time.monotonic()
        least = MOVING if self._terminal else min(LONGEST, 2 * self._pause)
        self._pause = max(least, _SHARE * (self._drawn - began))

    def line(self, run: Run) -> str:
        done, failed, all = counts(run)
        if self._before is None:
            self._before = done
        parts = [f"{done}/{all} done"]
        if failed:
            parts.append(f"{failed} failed")
        if self.cached:
            parts.append(f"{self.cached} cached")
        totals = self._house.store.totals(self._number)
        known = totals["cost"] / 1e9 if totals["cost"] or not totals["unpriced"] else None
        parts += [money(known, totals["unpriced"]), span(self.passed)]
        if (ours := done - self._before) > 0 and done < all:
            parts.append(f"about {span(self.passed / ours * (all - done))} left")
        return " · ".join(parts) + (f" · {self._now}" if self._now else "")

    def end(self) -> None:
        """Leave the line, and draw no more by itself."""
        if self._timer is not None:
            self._timer.cancel()
        self._leave()

    def _leave(self) -> None:
        """Leave the line to somebody else."""
        if self._terminal and self._width:
            click.echo("\r" + " " * self._width + "\r", err=True, nl=False)
            self._width = 0

    def _beat(self) -> None:
        """Draw while nothing moves too: a clock that stands still looks like a program that hangs."""
        idle = time.monotonic() - self._drawn
        pause = max(STILL, self._pause) if self._terminal else self._pause
        if idle >= pause:
            self.draw()
            idle = 0.0
        self._timer = asyncio.get_running_loop().call_later(max(0.05, pause - idle), self._beat)

    def _run(self) -> Run | None:
        """The run in memory; after its last step, when the engine has let go of it, as it was then."""
        held = self._engine.runs.get(self._number) if self._engine else None
        if held is not None and held.run is not None:
            self._state = held.run
        return self._state

    def _say_task(self, run: Run, node: int) -> None:
        """Off a terminal: a line for each task, not for each item; what it maps over ends with its last item."""
        row = run.nodes[node] if run.nodes[node].parent < 0 else run.nodes[run.nodes[node].parent]
        if row.mapped is not None and (not row.has_ended or row.id in self._ended):
            return
        self._ended.add(row.id)
        reason = f" ({brief(row.reason)})" if row.reason else ""
        click.echo(symbols(f"  {run.name_of(row.id)}: {row.status.name.lower()}{_items(row)}{reason}"), err=True)


def counts(run: Run) -> tuple[int, int, int]:
    """(ended, failed among them, all) of what carries out work: items instead of the tasks that list them."""
    rows = [row for row in run.nodes if row.mapped is None]
    ended = [row for row in rows if row.has_ended]
    return len(ended), sum(row.status is FAILED for row in ended), len(rows)


def _items(row: Any) -> str:
    if row.mapped is None:
        return ""
    failed = f", {len(row.mapped.failed)} failed" if row.mapped.failed else ""
    return f", {row.mapped.good} of {len(row.mapped.items)}{failed}"


def _is_cached(outcome: str) -> bool:
    if '"cached"' not in outcome:
        return False
    found: Any = json.loads(outcome)
    return bool(found.get("cached"))
