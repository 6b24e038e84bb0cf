"""Documents of a run: which version is the latest, what is not yet in place, who has read an older one.

Documents come with an outcome. Those of a draft wait with it: they become the run's when somebody approves it,
with the bytes of what was approved, and are never heard of again when it is rejected.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from callboard.core.encoding import encode
from callboard.core.executions import pack
from callboard.core.facts import Written
from callboard.core.run import Draft
from callboard.core.step import No

if TYPE_CHECKING:
    from callboard.core import facts as f
    from callboard.core.run import Node
    from callboard.core.step import Step

_pretty = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2).encode


def content(value: Any) -> bytes:
    """The bytes of a document that holds a step's output: a text is itself, anything else indented JSON."""
    return (value if isinstance(value, str) else _pretty(value) + "\n").encode()


def bring(work: Step, row: Node, brought: f.Succeeded | f.Known | Draft) -> None:
    """The documents of an outcome are those of the run from now on."""
    run, rows = work.run, work.decision.documents
    id = pack(run.number, row.id, row.number)
    for path, hash, replaces in brought.documents:
        run.documents[path] = hash
        rows.append((path, hash, replaces, id, "pending" if path in brought.pending else "published"))
    run.pending.update(brought.pending)


def revised(work: Step, draft: Draft, fact: f.Edited) -> Draft:
    """The draft as a person has edited it: documents that hold its output hold the edited one. Raises No."""
    value = _value(fact.outcome)
    first = draft.outcome if draft.first is None else draft.first
    if not draft.documents:
        return Draft(fact.hash, fact.outcome, first)
    was, now = content(_value(draft.outcome)), content(value)
    old, new = sha256(was).hexdigest(), sha256(now).hexdigest()
    documents = tuple(Written(one.path, new, one.replaces) if one.hash == old else one for one in draft.documents)
    if documents != draft.documents:
        work.decision.contents.append(now)
    index = [{"path": one.path, "hash": one.hash} for one in documents]
    outcome = encode({**json.loads(fact.outcome), "documents": index})
    return Draft(fact.hash, outcome, first, documents, draft.pending)


def _value(outcome: str) -> Any:
    """The value of an outcome that may be a stranger's. Raises No."""
    try:
        value = json.loads(outcome)["value"]
        content(value)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise No("that is no outcome: a JSON object with a `value`") from None
    return value


def document_edited(work: Step, fact: f.DocumentEdited) -> bool:
    """A person's version is recorded; what read another one is stale."""
    run = work.run
    if run.documents.get(fact.path) == fact.new:
        return False
    run.documents[fact.path] = fact.new
    work.decision.documents.append((fact.path, fact.new, fact.old or None, 0, "edited" if fact.new else "missing"))
    for row in run.nodes:
        if row.read is not None and fact.path in row.read:
            row.stale = next((path for path, hash in row.read.items() if run.documents[path] != hash), "")
            work.moved[row.id] = row
    return True


def published(work: Step, fact: f.Published) -> bool:
    """In place, unless another version of it has been recorded meanwhile."""
    run = work.run
    if fact.path not in run.pending or (fact.hash and run.documents[fact.path] != fact.hash):
        return False
    run.pending.discard(fact.path)
    return True
