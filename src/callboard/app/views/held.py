"""What is a person waited for with? The question, the draft and its version, what there is to choose from; or an
effect that may have happened, and what is known of its end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.core.plan import Review

if TYPE_CHECKING:
    from callboard.core.run import Node, Run
    from callboard.ports import Store

_GONE, _TIMED_OUT = "the process that carried it out is gone", "its time limit was over"
_LINES = 1000  # of a task's log that are looked through for the question it asks


def held(store: Store, run: Run, row: Node) -> dict[str, Any]:
    """`{task, for, question?, hash?, choices?, rounds_left?, value?, why?}` of an execution that is held."""
    told: dict[str, Any] = {"task": run.name_of(row.id), "for": row.hold}
    if row.hold == "decision":
        return {**told, "why": _end(store, run, row)}
    if row.hold != "review" or row.draft is None:
        return told
    lines = store.logs(run.number, row.id, _LINES)
    asked = [text for _, number, _, level, text in lines if level == "question" and number == row.number]
    return {
        **told,
        "question": asked[-1].removesuffix(one_of(choices(row))) or None if asked else None,
        "hash": row.draft[0],
        "choices": choices(row),
        "rounds_left": rounds_left(row),
        "value": json.loads(row.draft[1]).get("value"),
    }


def _end(store: Store, run: Run, row: Node) -> str:
    """What is known of the end of an effect, as the journal has it."""
    for _, _, facts, _ in reversed(store.journal(run.number)):
        for text in reversed(facts):
            name, *fields = json.loads(text)
            if name in ("LeaseLost", "Failed", "TimedOut") and fields[:2] == [row.id, row.number]:
                return _TIMED_OUT if name == "TimedOut" else (len(fields) > 4 and str(fields[4])) or _GONE
    return _GONE


def one_of(among: list[str]) -> str:
    """How the question of a step ends that has choices; who shows them besides leaves it away."""
    return f"\n\nOne of: {', '.join(among)}" if among else ""


def choices(row: Node) -> list[str]:
    """What a person is to choose from; empty where any text will do."""
    return [str(one) for one in row.task.inputs.get("choices") or ()]


def rounds_left(row: Node) -> int:
    """How often the draft can still be sent back."""
    return max(0, (row.task.review or Review()).again - row.rounds)
