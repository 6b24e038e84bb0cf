"""Whether there is room for what somebody brings: a look at the counts that the file's triggers keep (`schema.py`).

It is asked twice. First outside of the writers' lock: while a queue is full everybody who comes is sent away by one
reader's row, and nobody who works has to wait for the lock because of it. Then inside the transaction that would bring
it in, where nobody else can come in between. What is known already (a run's id, a letter's) takes no room.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from callboard.store.bounds import too_many_letters, too_many_runs
from callboard.store.sql import queries as q

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.ports import Bounds

Ask: TypeAlias = "Callable[[str, Sequence[Any]], tuple[Any, ...] | None]"


def for_runs(ask: Ask, bounds: Bounds, ids: Sequence[str]) -> None:
    """Raises Busy when these runs, as far as they are new, would be more than may be open."""
    (open,) = ask(q.OPEN, ()) or (0,)
    if open + len(ids) <= bounds.runs:
        return
    new = sum(ask(q.IS_RUN, (id,)) is None for id in set(ids))
    if new and open + new > bounds.runs:
        raise too_many_runs(bounds.runs, new)


def for_letters(ask: Ask, bounds: Bounds, run: int, ids: Sequence[str], *, urgent: bool) -> None:
    """Raises Busy when these letters, as far as they are new, would be more than may wait."""
    everywhere, here = ask(q.UNREAD, (run,)) or (0, 0)
    kept = bounds.kept if urgent else 0
    most, most_here = bounds.all_letters + kept, bounds.letters + kept
    if here + len(ids) <= most_here and everywhere + len(ids) <= most:
        return
    names = list(set(ids))
    (known,) = ask(q.KNOWN_LETTERS, (run, json.dumps(names))) or (0,)
    new = len(names) - known
    if new and here + new > most_here:
        raise too_many_letters(bounds.letters, run, urgent=urgent)
    if new and everywhere + new > most:
        raise too_many_letters(bounds.all_letters, None, urgent=urgent)
