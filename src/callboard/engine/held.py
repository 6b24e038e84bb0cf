"""A run as the engine that owns it holds it: the machine's run, and all that is under way around it.

`run` is None while a run is not in memory: its last commit failed, or it is being loaded. Facts gather here all
the same, because works go on; they are judged on what the store says once it has been read again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from callboard.core.facts import Fact
    from callboard.core.run import Run
    from callboard.ports import Call, Done, Json, RunRow


#: Log lines that are kept of one attempt in a second.
MOST_LINES = 4.0


class AtWork:
    """An attempt (or a page of a list) that is outside. `why` says what ended it: stop, timeout, halt, lost."""

    __slots__ = ("attempt", "begun", "due", "heard", "held", "node", "number", "over", "run", "said", "task", "why")

    def __init__(self, held: Held, run: Run, node: int, number: int, attempt: int) -> None:
        self.held, self.run = held, run  # as it was in memory then; `held.run` may be loaded anew meanwhile
        self.node, self.number, self.attempt = node, number, attempt
        self.task: asyncio.Task[None] | None = None
        self.begun = False  # its coroutine runs; one that never ran cannot tell that it was cancelled
        self.over = False
        self.why = ""
        self.due = 0.0
        self.said = 0.0  # log lines that still count …
        self.heard = 0.0  # … at this elapsed time

    def may_say(self, elapsed: float) -> bool:
        """Whether one more log line of this attempt is kept: four at once, then four a second."""
        self.said = max(0.0, self.said - (elapsed - self.heard) * MOST_LINES)
        self.heard = elapsed
        if self.said > MOST_LINES - 1:
            return False
        self.said += 1
        return True


class Held:
    """One run that this engine owns."""

    __slots__ = (
        "answers", "calls", "dir", "drained", "extras", "facts", "failures", "fence", "id", "lists", "loading", "logs",
        "lost", "mail", "number", "paid", "params", "published", "read", "ready", "run", "settings", "size", "values",
        "works",
    )  # fmt: skip

    def __init__(self, row: RunRow, fence: int, params: Mapping[str, Json] | None = None) -> None:
        self.number, self.id, self.fence = row.number, row.id, fence
        self.params: Mapping[str, Json] = json.loads(row.params or "{}") if params is None else params
        self.dir = str(self.params.get("dir") or ".")
        self.settings: Any = {}
        self.run: Run | None = None
        # What gathers here is bounded by what it comes from: of each task at work one answer, of each deadline one
        # wake, of people those who wait for their answer; letters by the store's bound of what a run has not consumed;
        # ledger rows by calls that were made and paid. Log lines beyond a thousand are dropped.
        self.facts: list[Fact] = []  # from works, timers and people, in the order they came
        self.mail: list[tuple[int, Fact | None]] = []  # letters read and not yet consumed; None: no fact could be read
        self.size = 0  # bytes of outcomes among them
        self.ready = False  # it is in the engine's queue
        self.loading = False
        self.lost = False  # another engine owns it now
        self.failures = 0  # steps or commits in a row that failed for a reason of its own
        self.read = 0  # offset of the last letter read
        self.drained = True  # it was the last one there
        self.works: dict[int, AtWork] = {}
        self.lists: dict[int, AtWork] = {}
        self.values: dict[int, str] = {}  # item → its value, JSON text
        self.extras: dict[tuple[int, int, int], Done] = {}  # saves of outcomes not yet recorded
        self.calls: list[Call] = []  # ledger rows not yet recorded
        self.paid: list[asyncio.Future[None]] = []  # who waits for them
        self.published: list[tuple[Any, ...]] = []  # document rows not yet recorded
        self.logs: list[tuple[int, int, float, str, str]] = []
        self.answers: list[tuple[Fact, asyncio.Future[None]]] = []  # people who wait for a yes or no
