"""Which task of a run waits for a person? The one that was named, or the only one there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.errors import NotFound, Refused

if TYPE_CHECKING:
    from callboard.core.run import Node, Run


def waiting(run: Run, hold: str, name: str | None) -> Node:
    """The execution held for `hold` (review or decision). Raises NotFound for an unknown name, Refused."""
    if name is not None:
        node = run.find(name)
        if node is None:
            raise NotFound(f"run {run.id} has no task {name!r}")
        return run.nodes[node]
    held = [run.nodes[node] for node in sorted(run.held) if run.nodes[node].hold == hold]
    if not held:
        raise Refused(f"nothing of run {run.id} waits for a {hold}")
    if len(held) > 1:
        names = ", ".join(run.name_of(row.id) for row in held[:10])
        raise Refused(f"several tasks of run {run.id} wait for a {hold}: {names}. Name one with --task")
    return held[0]
