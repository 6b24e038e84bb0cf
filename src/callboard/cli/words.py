"""The verbs that say one thing to a run: their facts, and how it is told that they were heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app.commands.post import post
from callboard.app.commands.waiting import meant
from callboard.app.views import run as views
from callboard.app.views.held import choices, rounds_left
from callboard.app.views.words import waits
from callboard.cli.context import Told
from callboard.cli.draft import excerpt
from callboard.cli.table import symbols
from callboard.core.facts import Approved, Decided, Edited, Rejected
from callboard.text.strict import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.facts import Fact
    from callboard.core.run import Node, Run

_VERDICTS = {"done": "it happened", "redo": "it is done again, under the same key", "failed": "it fails"}
_SHOWN = 10  # lines of what was approved


def say(
    obj: dict[str, Any], run: str | None, as_json: bool, facts: Callable[[Run], Sequence[Fact]], hold: str = ""
) -> None:
    """Post what `facts` makes of the run as it stands, then tell how it stands. Raises Refused, NotFound.

    Without a name the newest run is meant that has not ended and, with `hold`, waits for that.
    """
    told = Told(obj, as_json)
    house = told.house()
    try:
        row = meant(house, run, hold)
        state = views.in_memory(house.store, row)
        said = list(facts(state))
        heard = [line for fact in said for line in _heard(state, fact, said)]
        post(house, row, said)
        if not told.json:
            for line in heard:
                told.note(line)
        shown = views.show(house.store, house.store.find_run(row.id), alive=house.is_alive, base=house.base)
        because = f" ({symbols(waits(shown['because']))})" if shown["because"] else ""
        told.out(shown, lambda: f"{shown['id']}  {shown['status']}{because}")
        told.next(shown["next"] or f"callboard show {row.id}")
    finally:
        house.close()


def _heard(run: Run, fact: Fact, all: list[Fact]) -> list[str]:
    """What has been approved or decided, or what a rejection does, for whoever said so."""
    if isinstance(fact, Rejected):
        left = rounds_left(_node(run, fact.node))
        return [f"rejected {fact.node}: " + (f"it is made again ({left - 1} left after this)" if left else "it fails")]
    if isinstance(fact, Edited):
        if choices(_node(run, fact.node)):
            return [f"chosen for {fact.node}: {decode(fact.outcome)['value']}"]
        return [f"approved for {fact.node}, in place of the draft:", *excerpt(decode(fact.outcome)["value"], _SHOWN)]
    if isinstance(fact, Decided):
        return [f"decided about {fact.node}: {_VERDICTS[fact.verdict]}"]
    if not isinstance(fact, Approved) or len(all) > 1:
        return []
    drafted = _node(run, fact.node).draft
    text = excerpt(decode(drafted.outcome).get("value"), _SHOWN) if drafted is not None else []
    return [f"approved {fact.node}, version {fact.hash[:12]}:", *text]


def _node(run: Run, name: int | str) -> Node:
    node = name if isinstance(name, int) else run.find(name)
    assert node is not None
    return run.nodes[node]
