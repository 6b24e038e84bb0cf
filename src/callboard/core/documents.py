"""Documents of a run: which version is the latest, what is not yet in place, who has read an older one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.core import facts as f
    from callboard.core.step import Step


def bring(work: Step, fact: f.Succeeded | f.Produced) -> None:
    """The documents of an outcome are those of the run from now on."""
    work.run.documents.update(fact.documents)
    work.run.pending.update(fact.pending)


def document_edited(work: Step, fact: f.DocumentEdited) -> bool:
    """A person's version is recorded; what read another one is stale."""
    run = work.run
    run.documents[fact.path] = fact.new
    for row in run.nodes:
        if row.read is not None and fact.path in row.read:
            row.stale = next((path for path, hash in row.read.items() if run.documents[path] != hash), "")
            work.moved[row.id] = row
    return True


def published(work: Step, fact: f.Published) -> bool:
    if fact.path not in work.run.pending:
        return False
    work.run.pending.discard(fact.path)
    return True
