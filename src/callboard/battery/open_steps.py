"""How soon a run with thousands of open steps goes on through the command line, when everything of it was killed.

Every step waits for an answer of the model that takes longer than the proof, so all of them are at work when the kill
comes: recorded as RUNNING, with nobody behind them. Then the run is resumed and killed again, as often as one likes.
What counts is what a person waits for: from the start of the process to the first call that it makes again, by the
provider's own books. In the end the run is cancelled, and its history is held against the rules.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery import history
from callboard.battery.aftermath import asked, known
from callboard.battery.crowd import until
from callboard.battery.history import DATABASE
from callboard.battery.processes import Show
from callboard.battery.spawn import callboard
from callboard.battery.workloads import FILE, ID, LEDGER, Workload
from callboard.core.status import STOPPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PAGE = 1_000  # items that one task lists at once: more of them are asked for when these have ended
_FOREVER = 3_600.0
_PATIENCE = 300.0  # seconds in which all of them are at work, however busy the machine is
_STEP = """
  - name: step%d
    type: llm
    needs: []
    each: {glob: "notes/*.md"}
    tmpl: "%d: {{item.text}}"
    timeout: 2h"""


class Resumed(NamedTuple):
    """`waits` are the seconds of each restart until the first step was begun again."""

    waits: Sequence[float]
    wrong: Sequence[str]


def resumed(root: Path, steps: int, times: int) -> Resumed:
    """Begin so many steps at once, kill, go on, kill …; the last one is cancelled."""
    show = Show(_workload(steps).lay_out(root), latency=_FOREVER)
    command = callboard("run", FILE, "text", "--id", ID)
    _killed(show, command, steps)
    waits = [_killed(show, callboard("resume", ID), 1) for _ in range(times)]
    return Resumed(waits, list(_cancelled(show)))


def _workload(steps: int) -> Workload:
    """As few tasks as can have so many items open at once."""
    tasks = -(-steps // _PAGE)
    lines = "".join(_STEP % (n, n) for n in range(tasks))
    notes = {f"notes/{n:04}.md": f"note {n}\n" for n in range(steps // tasks)}
    return Workload("open", {FILE: f"name: Open\npipe:{lines}\n", **notes}, "text")


def _killed(show: Show, command: Sequence[str], steps: int) -> float:
    """Give a command and kill it when it has asked the model so many times; seconds until it did so for the first."""
    had, began = _calls(show), time.time()
    process = show.begin(command)
    try:
        until(
            f"{steps} steps are at work",
            lambda: _calls(show) >= had + steps or process.poll() is not None,
            seconds=_PATIENCE,
        )
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    calls = asked(show.root)[had:]
    return float(calls[0]["at"]) - began if calls else float("inf")


def _calls(show: Show) -> int:
    """How many the provider has booked; to read them would keep the processor from those we wait for."""
    return (show.root / LEDGER).read_bytes().count(b"\n")


def _cancelled(show: Show) -> Iterator[str]:
    left = show.lived(callboard("cancel", ID))
    if left.code or known(show.root).status != STOPPED:
        yield f"it was cancelled with {left.code}, and its run is {known(show.root).status}: {left.out[-500:]}"
    yield from history.check(show.root / DATABASE)
