"""What did it say? Lines of a run or of one of its tasks, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app.views.words import iso
from callboard.errors import NotFound

if TYPE_CHECKING:
    from callboard.core.run import Run
    from callboard.ports import RunRow, Store

_MOST = 100_000  # lines that are looked through for those that are wanted


def logs(
    store: Store, row: RunRow, run: Run, task: str | None = None, most: int = 1000, *, progress: bool = True
) -> list[dict[str, Any]]:
    """`[{at, level, task, number, text}]`, the newest `most`; of a task that maps, its items' lines too.

    Without `progress` the lines that only tell how far something had come are left out. Raises NotFound for a task
    the run does not have.
    """
    nodes = None if task is None else _nodes(row, run, task)
    one = next(iter(nodes)) if nodes is not None and len(nodes) == 1 else None
    lines = store.logs(row.number, one, most if progress and (nodes is None or one is not None) else _MOST)
    found = [
        {"at": iso(at), "level": level, "task": run.name_of(where), "number": number, "text": text}
        for where, number, at, level, text in lines
        if where < len(run.nodes) and (nodes is None or where in nodes) and (progress or level != "progress")
    ]
    return found[-most:] if most else []


def _nodes(row: RunRow, run: Run, task: str) -> set[int]:
    node = run.find(task)
    if node is None:
        raise NotFound(f"run {row.id} has no task {task!r}; it has {', '.join(run.graph.names)}")
    mapped = run.nodes[node].mapped
    return {node, *(mapped.items if mapped is not None else ())}
