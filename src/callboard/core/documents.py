"""Documents of a run: which version is the latest, what is not yet in place, what was made from which version.

Only a person makes stale: `Run.edits` holds, by path, the versions that a person's has taken the place of, and whoever
has read one of those is stale. A version that a later one of our own has followed is not older in that sense: what
was made from it is brought up to date by the needs, or was never meant to be. Nor is what has read a document that is
gone now, since there is nothing newer to read. So staleness follows from what is stored, and an edit costs the same
however many have read.

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
from callboard.core.status import SKIPPED, SUCCESS
from callboard.core.step import No

if TYPE_CHECKING:
    from callboard.core import facts as f
    from callboard.core.run import Node, Run
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
        if run.edits:
            _set_edits(work, path, (), hash)
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


def made_from(work: Step, row: Node, answer: f.Succeeded | f.Produced | f.Skipped | f.Listed | f.Known) -> None:
    """What an attempt has really read is what its outcome was made from, whatever its task said it would read; of a
    mapped task all that the pages of its list were made from.

    A document that it wrote itself is its own now: it has not read an older version of it, it has replaced it. What is
    read and not known yet was written by no step, and is a source from now on.
    """
    own = {one.path for one in getattr(answer, "documents", ())}
    read = {path: hash for path, hash in answer.reads if path not in own}
    row.read = {**(row.read or {}), **read} if row.mapped is not None else read
    for path, hash in read.items():
        if path not in work.run.documents:
            work.run.documents[path] = hash
            work.decision.documents.append((path, hash, None, 0, "source"))


def stale(run: Run, row: Node) -> str:
    """The first document of which a person has made a newer version than the one this was made from; else empty. What
    failed or was stopped has made nothing."""
    if row.read is None or not run.edits or row.status not in (SUCCESS, SKIPPED):
        return ""
    return next((path for path, hash in row.read.items() if hash in run.edits.get(path, ())), "")


def document_edited(work: Step, fact: f.DocumentEdited) -> bool:
    """A person's version is the latest; the one that it took the place of is an older one from now on.

    While ours is not yet in place whoever puts it there finds the person's version, and tells.
    """
    run = work.run
    if fact.path in run.pending or run.documents.get(fact.path) == fact.new:
        return False
    run.documents[fact.path] = fact.new
    work.decision.documents.append((fact.path, fact.new, fact.old or None, 0, "edited" if fact.new else "missing"))
    if fact.new:
        _set_edits(work, fact.path, (fact.old,), fact.new)
    return True


def _set_edits(work: Step, path: str, more: tuple[str, ...], latest: str) -> None:
    """Of a document: `more` versions are older than a person's; the `latest` is not, even if it was once."""
    edits = work.run.edits
    had = edits.get(path, ())
    older = tuple(hash for hash in dict.fromkeys((*had, *more)) if hash and hash != latest)
    if older != had:
        work.state_moved = True
        edits[path] = older
        if not older:
            del edits[path]


def published(work: Step, fact: f.Published) -> bool:
    """In place, unless another version of it has been recorded meanwhile."""
    run = work.run
    if fact.path not in run.pending or (fact.hash and run.documents[fact.path] != fact.hash):
        return False
    run.pending.discard(fact.path)
    return True
