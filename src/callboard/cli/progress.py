"""Progress on standard error: one line that is rewritten on a terminal, a line now and then elsewhere.

It is told what moved after it is on disk, so what it shows as done is done. It counts; it decides nothing.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from callboard.cli.context import symbols
from callboard.cli.table import money
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

#: Seconds between two drawings on a terminal, and between two lines elsewhere.
ON_TERMINAL, ELSEWHERE = 0.1, 2.0


class Progress:
    """Counts what ends of one run."""

    def __init__(self, house: House, run: int, *, quiet: bool = False) -> None:
        self._house, self._number, self._quiet = house, run, quiet
        self._terminal = sys.stderr.isatty()
        self._engine: Engine | None = None
        self._begun = self._drawn = time.monotonic()
        self._cached = self._ended = 0
        self._now: str = ""
        self._width = 0

    def watch(self, engine: Engine) -> None:
        """Be told by an engine from now on."""
        self._engine = engine
        engine.watch(self.told)

    def told(self, run: int, facts: Iterable[Fact], orders: Iterable[Order]) -> None:
        if run != self._number or self._quiet:
            return
        state = self._run()
        moved = False
        for fact in facts:
            if isinstance(fact, Succeeded | Skipped | Failed | TimedOut):
                self._ended += 1
                self._cached += isinstance(fact, Succeeded) and _is_cached(fact.outcome)
                moved = True
                if state is not None and not self._terminal:
                    self._say_task(state, fact.node)
            moved = moved or isinstance(fact, Listed)
        for order in orders:
            if isinstance(order, Start) and state is not None:
                self._now = state.name_of(order.node)
                moved = True
        pause = ON_TERMINAL if self._terminal else ELSEWHERE
        if moved and time.monotonic() - self._drawn >= pause:
            self.draw()

    def _run(self) -> Run | None:
        held = self._engine.runs.get(self._number) if self._engine else None
        return held.run if held is not None else None

    def _say_task(self, run: Run, node: int) -> None:
        """Off a terminal: a line for each task, not for each item."""
        row = run.nodes[node]
        if row.parent < 0:
            reason = f" ({row.reason})" if row.reason else ""
            click.echo(f"  {symbols(run.name_of(node))}: {row.status.name.lower()}{symbols(reason)}", err=True)

    def draw(self) -> None:
        """One line: done of all, failed, cached, money, time, time left, what is at work."""
        run = self._run()
        if run is None or self._quiet:
            return
        self._drawn = time.monotonic()
        text = self.line(run)
        if not self._terminal:
            click.echo(f"  {text}", err=True)
            return
        columns = click.get_current_context(silent=True)
        width = (columns.max_content_width or 110) if columns else 110
        shown = symbols(text)[:width]
        click.echo("\r" + shown + " " * max(0, self._width - len(shown)), err=True, nl=False)
        self._width = len(shown)

    def line(self, run: Run) -> str:
        done, failed, count = counts(run)
        passed = time.monotonic() - self._begun
        parts = [f"{done}/{count} done"]
        if failed:
            parts.append(f"{failed} failed")
        if self._cached:
            parts.append(f"{self._cached} cached")
        cost = self._house.store.totals(self._number)["cost"]
        parts.append(money((cost or 0) / 1e9))
        parts.append(_span(passed))
        if self._ended and done < count:
            parts.append(f"about {_span(passed / self._ended * (count - done))} left")
        return " · ".join(parts) + (f" · {self._now}" if self._now else "")

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._width:
            click.echo("\r" + " " * self._width + "\r", err=True, nl=False)
            self._width = 0


def counts(run: Run) -> tuple[int, int, int]:
    """(ended, failed among them, all) of what carries out work: items instead of the tasks that list them."""
    rows = [row for row in run.nodes if row.mapped is None]
    ended = [row for row in rows if row.has_ended]
    return len(ended), sum(row.status is FAILED for row in ended), len(rows)


def _is_cached(outcome: str) -> bool:
    if '"cached"' not in outcome:
        return False
    found: Any = json.loads(outcome)
    return bool(found.get("cached"))


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
