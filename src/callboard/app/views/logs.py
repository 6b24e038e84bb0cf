"""What did it say? Lines of a run or of one of its tasks, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app.views.words import iso
from callboard.errors import NotFound

if TYPE_CHECKING:
    from callboard.core.run import Run
    from callboard.ports import RunRow, Store


def logs(store: Store, row: RunRow, run: Run, task: str | None = None, most: int = 1000) -> list[dict[str, Any]]:
    """`[{at, level, task, number, text}]`. Raises NotFound for a task the run does not have."""
    node = None
    if task is not None and (node := run.find(task)) is None:
        raise NotFound(f"run {row.id} has no task {task!r}; it has {', '.join(run.graph.names)}")
    return [
        {"at": iso(at), "level": level, "task": run.name_of(where), "number": number, "text": text}
        for where, number, at, level, text in store.logs(row.number, node, most)
        if where < len(run.nodes)
    ]
