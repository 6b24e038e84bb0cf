"""Why did it happen? The recorded facts of a run, in order, each with its time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.app.views.words import iso

if TYPE_CHECKING:
    from callboard.core.run import Run
    from callboard.ports import RunRow, Store


#: Facts of attempts that did not end well; `why` is their fifth field.
_HAVE_WHY = ("Failed", "LeaseLost")


def story(store: Store, row: RunRow, run: Run) -> list[dict[str, Any]]:
    """`[{at, fact, task?, number?, why?}]`, as the journal has them."""
    told = []
    for _, at, facts, _ in store.journal(row.number):
        for text in facts:
            name, *fields = json.loads(text)
            told.append({"at": iso(at), "fact": name, **_about(run, name, fields)})
    return told


def _about(run: Run, name: str, fields: list[Any]) -> dict[str, Any]:
    if name == "Admitted":
        return {"tasks": [run.name_of(node) for node in fields[0]]}
    if name == "Adopted":
        return {"of": fields[0], "tasks": [task if item is None else f"{task}/{item}" for task, item, *_ in fields[1]]}
    if name == "Replaced":
        return {"by": fields[0]}
    if fields and type(fields[0]) is int and fields[0] < len(run.nodes):
        told: dict[str, Any] = {"task": run.name_of(fields[0])}
        if len(fields) > 1 and type(fields[1]) is int:
            told["number"] = fields[1]
        if name in _HAVE_WHY and len(fields) > 4 and fields[4]:
            told["why"] = str(fields[4])
        return told
    return {"about": fields[:2]} if fields else {}
