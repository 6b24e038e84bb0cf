"""What a person answers to a run that waits: yes to a draft, another text, a choice, no, or what became of an effect.

Each answer is a fact or two, made from the run as it stands. A step with `choices` wants one of them; the choice is
then its output. The files of a draft wait with it (`core/documents.py`), so they hold what was approved.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from callboard.app.commands.waiting import waiting
from callboard.app.views.held import choices
from callboard.core.facts import Approved, Decided, Edited, Rejected
from callboard.errors import NotJson, Refused, UsageError
from callboard.text.names import close
from callboard.text.strict import decode, encode

if TYPE_CHECKING:
    from callboard.core.facts import Fact
    from callboard.core.run import Node, Run


def approval(
    run: Run, task: str | None, *, version: str | None = None, text: str | None = None, choice: str | None = None
) -> list[Fact]:
    """Approve the draft (of `version`, or its beginning), or `text` or a `choice` in its place. Raises Refused."""
    row = waiting(run, "review", task)
    name = run.name_of(row.id)
    hash = row.draft[0] if row.draft else ""
    if version is not None and not hash.startswith(version):
        raise Refused(f"{name} of run {run.id} waits with version {hash[:12]}, not {version[:12]}: look at it again")
    chosen = _chosen(run, row, choice if choice is not None else text)
    if chosen is None and choice is not None:
        raise Refused(f"{name} of run {run.id} has no choices: approve it, or another text with --edit FILE")
    text = text if chosen is None else chosen
    if text is None:
        return [Approved(name, row.number, hash)]
    outcome = encode({"value": _as_drafted(row, text)})
    edited = hashlib.sha256(outcome.encode()).hexdigest()
    return [Edited(name, row.number, edited, outcome), Approved(name, row.number, edited)]


def rejection(run: Run, task: str | None, note: str) -> list[Fact]:
    """Send the draft back, or say no where no round is left. Raises Refused."""
    row = waiting(run, "review", task)
    return [Rejected(run.name_of(row.id), row.number, note)]


def decision(run: Run, task: str | None, verdict: str) -> list[Fact]:
    """What became of an effect whose end is unknown: done, redo or failed. Raises Refused."""
    row = waiting(run, "decision", task)
    return [Decided(run.name_of(row.id), row.number, verdict)]


def _chosen(run: Run, row: Node, said: str | None) -> str | None:
    """The choice that was made; None where there is nothing to choose from. Raises Refused."""
    among = choices(row)
    if not among:
        return None
    name = run.name_of(row.id)
    if said is None:
        raise Refused(f"{name} of run {run.id} wants a choice: --choose with one of {', '.join(among)}")
    meant = [one for one in among if one == said.strip()] or [
        one for one in among if one.casefold() == said.strip().casefold()
    ]
    if len(meant) != 1:
        near = close(said.strip(), among)
        raise Refused(f"{said.strip()[:80]!r} is no choice of {name}{near}: one of {', '.join(among)}")
    return meant[0]


def _as_drafted(row: Node, text: str) -> Any:
    """A text as the kind of value the draft is: where that is data, the text has to be JSON. Raises UsageError."""
    if row.draft is None or choices(row) or isinstance(decode(row.draft.outcome).get("value"), str):
        return text
    try:
        return decode(text)
    except NotJson as error:
        raise UsageError(f"the draft is data, so another one has to be JSON: {error}") from None
