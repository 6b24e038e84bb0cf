"""Facts: what happened, past tense. The only things that ever move a run.

A fact names its execution by (node, number, attempt): the node is a task or item, the number its n-th
execution, the attempt counts the starts inside a number. Facts of people name a task as a person does,
`task` or `task/item key`; the machine resolves the name. Outcomes travel as encoded JSON text, once encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from callboard.core import encoding

if TYPE_CHECKING:
    from collections.abc import Callable


class Notice(NamedTuple):
    """An event an attempt has published: its offset in the event log, key and value (any JSON)."""

    key: str
    offset: int
    value: Any = None


class Written(NamedTuple):
    """A document an outcome brings: its bytes by their hash, and the version its writer meant to replace."""

    path: str
    hash: str
    replaces: str | None = None


class Begun(NamedTuple):
    """The run starts."""


class Admitted(NamedTuple):
    """Admission's pick: these nodes start now. Journalled so that a replay starts the same."""

    nodes: tuple[int, ...]


class Undrained(NamedTuple):
    """The run is quiet, and nothing was judged, as more letters wait. Journalled so that a replay judges nothing."""


class Drained(NamedTuple):
    """None of those letters meant anything, and what had been withheld was judged: a step that moves something is
    journalled, also when nothing was told in it."""


class Succeeded(NamedTuple):
    node: int
    number: int
    attempt: int
    outcome: str = '{"value":null}'  # JSON text of an object, at least {"value": …}
    published: tuple[Notice, ...] = ()
    documents: tuple[Written, ...] = ()  # that this outcome brings
    pending: tuple[str, ...] = ()  # the paths among them not yet put in place
    reads: tuple[tuple[str, str], ...] = ()  # documents it was made from: (path, hash of the bytes that were read)


class Failed(NamedTuple):
    """`kind`: transient (retried), permanent, unknown (a once effect may have happened)."""

    node: int
    number: int
    attempt: int
    kind: str = "permanent"
    why: str = "failed"
    error: Any = None  # evidence, JSON
    retry_after: float | None = None  # seconds, what the provider asked for


class TimedOut(NamedTuple):
    node: int
    number: int
    attempt: int


class Skipped(NamedTuple):
    """The task found its `when` false (or its output already there) when it began."""

    node: int
    number: int
    attempt: int
    why: str = "skipped"
    reads: tuple[tuple[str, str], ...] = ()


class Stopped(NamedTuple):
    """What was asked to stop has stopped (a child run that a person cancelled, too)."""

    node: int
    number: int
    attempt: int


class ListStopped(NamedTuple):
    node: int
    number: int


class LeaseLost(NamedTuple):
    """The worker is lost; `by` is "engine" when its engine died with it (no step towards poison)."""

    node: int
    number: int
    attempt: int
    by: str = "worker"
    why: str = ""  # how the worker ended, as far as anybody knows
    error: Any = None  # evidence, JSON


class Halted(NamedTuple):
    """Halted in good order by a shutdown."""

    node: int
    number: int
    attempt: int


class Refused(NamedTuple):
    """The purse refused the reservation."""

    node: int
    number: int
    attempt: int
    why: str = "budget"


class Raised(NamedTuple):
    """A budget limit was raised."""

    limit: float


class Produced(NamedTuple):
    """The draft of a reviewed task; `hash` names the version a person will approve."""

    node: int
    number: int
    attempt: int
    hash: str
    outcome: str = '{"value":null}'
    published: tuple[Notice, ...] = ()
    documents: tuple[Written, ...] = ()
    pending: tuple[str, ...] = ()
    reads: tuple[tuple[str, str], ...] = ()


class Edited(NamedTuple):
    node: int | str
    number: int
    hash: str
    outcome: str = '{"value":null}'


class Approved(NamedTuple):
    node: int | str
    number: int
    hash: str


class Rejected(NamedTuple):
    node: int | str
    number: int
    note: str = ""


class Decided(NamedTuple):
    """A person decides about a once effect of unknown end: done, redo or failed."""

    node: int | str
    number: int
    verdict: str
    outcome: str = '{"value":null}'


class Heard(NamedTuple):
    key: str
    offset: int
    value: Any = None


class Judged(NamedTuple):
    """A probe's answer; `met` is None when the probe raised or timed out. `state` is the rule's new state."""

    rule: int
    offset: int
    met: bool | None
    state: Any = None


class Woke(NamedTuple):
    """A timer is due; `what` is retry or review."""

    node: int
    number: int
    attempt: int
    what: str


class Ticked(NamedTuple):
    node: int
    at: float  # the instant as planned, seconds since the epoch


class Listed(NamedTuple):
    """A page of a mapped task's list: (stable key, value) pairs; `more` asks for another page later."""

    node: int
    number: int
    page: int
    items: tuple[tuple[str, Any], ...]
    more: bool = False
    reads: tuple[tuple[str, str], ...] = ()


class ListFailed(NamedTuple):
    node: int
    number: int
    why: str = "list failed"


class Asked(NamedTuple):
    """A person acts on a task or item: START, RESTART or STOP."""

    node: int | str
    action: str


class Paused(NamedTuple):
    pass


class Resumed(NamedTuple):
    pass


class Cancelled(NamedTuple):
    pass


class Interrupted(NamedTuple):
    pass


class Continued(NamedTuple):
    pass


class Reopened(NamedTuple):
    """A person reopens an ended run: `what` is retry, restart (of `node`) or stale."""

    what: str
    node: int | str | None = None


class Known(NamedTuple):
    """What came of an execution in the run that is adopted, of a task or, with `item`, of one of its items.

    `status`: SUCCESS, SKIPPED, FAILED (where that was allowed), `review` (a draft that waits, named by `hash`) or
    LISTED (a mapped task has the list that stands in `Adopted.lists`, or goes over another's). With `value` an item is
    laid by until its list is made anew: it counts if it comes with a value of that digest.
    """

    task: str
    item: str | None
    status: str
    outcome: str = '{"value":null}'
    why: str = ""
    hash: str = ""
    first: str | None = None  # what was produced, when the draft has been edited
    rounds: int = 0  # rejections so far
    documents: tuple[Written, ...] = ()
    pending: tuple[str, ...] = ()
    value: str = ""
    reads: tuple[tuple[str, str], ...] = ()


class KnownList(NamedTuple):
    """The pages of a mapped task's list that have been read; `more` when there may be another."""

    task: str
    page: int
    items: tuple[tuple[str, Any], ...]
    more: bool = False


class Adopted(NamedTuple):
    """The run begins in place of the run `of`, with what is known from there, each after what it needs.

    With `more` another such fact follows, and nothing starts before the last.
    """

    of: str
    known: tuple[Known, ...] = ()
    lists: tuple[KnownList, ...] = ()
    more: bool = False


class Replaced(NamedTuple):
    """The run `by` goes on in place of this one, which is over."""

    by: str


class DocumentEdited(NamedTuple):
    """A person's version of a document is there. `old` is the version it took the place of, the last that was known
    (empty: none of this run's); `new` is empty when the file is gone."""

    path: str
    old: str
    new: str


class Published(NamedTuple):
    """A pending document is in place; `hash` says which version of it."""

    path: str
    hash: str = ""


Fact: TypeAlias = (
    Begun | Admitted | Undrained | Drained | Succeeded | Failed | TimedOut | Skipped | Stopped | ListStopped
    | LeaseLost | Halted | Refused | Raised | Produced | Edited | Approved | Rejected | Decided | Heard | Judged
    | Woke | Ticked | Listed | ListFailed | Asked | Paused | Resumed | Cancelled | Interrupted | Continued | Reopened
    | Adopted | Replaced | DocumentEdited | Published
)  # fmt: skip

KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in Fact.__args__}

#: A person's facts: refused aloud when they cannot be carried out; all others are dropped in silence when late.
OF_PEOPLE = (
    Raised, Edited, Approved, Rejected, Decided, Asked, Paused, Resumed, Cancelled, Continued, Reopened, Replaced
)  # fmt: skip


#: Answers that may name what they were made from, their last field: left out where there is nothing to name.
_READERS = (Succeeded, Produced, Skipped, Listed)


def encode(fact: Fact) -> str:
    """The journal's form of a fact: a JSON array of its name and fields."""
    if type(fact) is Succeeded and not any(fact[4:]):  # nearly every one
        return f'["Succeeded",{fact.node},{fact.number},{fact.attempt},{encoding.quote(fact.outcome)},[],[],[]]'
    if not fact or fact[-1] or type(fact) not in _READERS:
        return encoding.encode([type(fact).__name__, *fact])
    return encoding.encode([type(fact).__name__, *fact[:-1]])


#: Where a fact holds tuples, and what their elements are made of. All other lists are a stranger's, and stay lists.
_TUPLES: dict[type[Any], dict[int, Callable[[Any], Any]]] = {
    Admitted: {0: int},
    Succeeded: {4: lambda notice: Notice(*notice), 5: lambda one: Written(*one), 6: str, 7: tuple},
    Produced: {5: lambda notice: Notice(*notice), 6: lambda one: Written(*one), 7: str, 8: tuple},
    Skipped: {4: tuple},
    Listed: {3: tuple, 5: tuple},
    Adopted: {1: lambda known: _known(known), 2: lambda one: _known_list(one)},
}


def _known(fields: list[Any]) -> Known:
    known = Known(*fields)
    documents, reads = (Written(*one) for one in known.documents), ((path, hash) for path, hash in known.reads)
    return known._replace(documents=tuple(documents), pending=tuple(known.pending), reads=tuple(reads))


def _known_list(fields: list[Any]) -> KnownList:
    known = KnownList(*fields)
    return known._replace(items=tuple(tuple(item) for item in known.items))


def decode(fields: list[Any]) -> Fact:
    """The fact behind the parsed form of `encode`. Raises KeyError for a name that is no fact."""
    kind = KINDS[fields[0]]
    values = fields[1:]
    for at, made in _TUPLES.get(kind, {}).items():
        if at < len(values):
            values[at] = tuple(made(one) for one in values[at])
    fact: Fact = kind(*values)
    return fact
