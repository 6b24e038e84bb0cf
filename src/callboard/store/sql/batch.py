"""A batch of writes as the bindings of one statement: what `queries.VIEWS` unfolds again.

This is on the way of every task, so it is loops over tuples and no objects. Executions of a batch mostly share
everything but their id (two hundred that start now, a hundred that ended now): those travel as one flat array.
"""

from __future__ import annotations

import json
from itertools import chain as flatten
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.errors import FenceLost
from callboard.store import chain, seals, strict
from callboard.store.packing import MOST_NODES
from callboard.store.sql import queries as q

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from callboard.ports import Write

LARGE = 1 << 16  # bytes above which an outcome is kept as content
FEW = 8  # up to so many rows of a kind travel as themselves
FLAT = 12  # at most so many groups of executions travel as flat arrays
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

Row = tuple[Any, ...]


class Head(NamedTuple):
    """Where a run's journal ends; good as long as the fence is ours."""

    fence: int
    batch: int
    hash: bytes


class Batch(NamedTuple):
    statement: str
    bindings: Sequence[Any]
    heads: dict[int, Head]
    saves: Sequence[tuple[str, Mapping[str, Any]]] = ()


def encode(writes: Sequence[Write], head: Callable[[int, int], Head], keep: Callable[[bytes], str]) -> Batch:
    """The batch of these writes. `head(run, fence)` tells where a journal ends, `keep` takes contents and
    large outcomes.

    Raises FenceLost when two writes of a run disagree about its fence, NotJson.
    """
    heads: dict[int, Head] = {}
    for write in writes:
        for data in write.contents:
            keep(data)
    if len(writes) == 1 and _is_link(writes[0]):
        return Batch(q.INSERT_LINK, _link_row(writes[0], heads, head), heads)
    fences = _fences(writes)
    if len(writes) <= FEW:
        rows = [_step(write, heads, head) for write in writes]
    else:
        rows = _steps(writes, fences, heads, head)
    rows += _executions(writes)
    rows += _outcomes(writes, keep)
    if rest := [write for write in writes if _has_rest(write)]:
        rows += _rest(rest, heads, head)
    saves = [save for write in writes for save in write.saves]
    return Batch(q.insert_batch(len(rows)), list(flatten.from_iterable(rows)), heads, saves)


def _is_link(write: Write) -> bool:
    """One outcome, the execution it ends, the execution it frees, and nothing else."""
    if len(write.executions) != 2 or len(write.outcomes) != 1 or not write.journal or _has_rest(write):
        return False
    (id, _, text), ended = write.outcomes[0], write.executions[0]
    return ended[0] == id and len(text) * 4 <= LARGE and text[:1] == "{" and not _is_suspect(text)


def _is_suspect(text: str) -> bool:
    """There may be a lone surrogate in it: SQLite would take that, a strict parser does not."""
    return "\\ud" in text or "\\uD" in text


def _link_row(write: Write, heads: dict[int, Head], head: Callable[[int, int], Head]) -> Row:
    (id, status, attempt, began, at, reason, state), (_, revision, text) = write.executions[0], write.outcomes[0]
    next, next_status, next_attempt, next_began, next_at, next_reason, next_state = write.executions[1]
    return (
        write.run, write.fence, *_link(write, heads, head), id, status, attempt, began, at, _plain(reason), state,
        revision, text, next, next_status, next_attempt, next_began, next_at, _plain(next_reason), next_state,
    )  # fmt: skip


def _row(kind: int, a: Any, b: Any = None, *, n: int | None = None) -> Row:
    return (kind, a, b, None, None, None, None, None, n)


def _fences(writes: Iterable[Write]) -> dict[int, int]:
    fences: dict[int, int] = {}
    for write in writes:
        if fences.setdefault(write.run, write.fence) != write.fence:
            raise FenceLost((write.run,))
    return fences


def _link(write: Write, heads: dict[int, Head], head: Callable[[int, int], Head]) -> tuple[int, float, bytes, bytes]:
    """(id, wall, blob, hash) of the journal row of a write, which is the head of its run from now on."""
    run = write.run
    fence, batch, before = heads.get(run) or head(run, write.fence)
    batch += 1
    blob = chain.encode(write.journal)
    hash = chain.link(before, batch, write.at, blob)
    heads[run] = Head(fence, batch, hash)
    return run << 32 | batch, write.at, blob, hash


def _step(write: Write, heads: dict[int, Head], head: Callable[[int, int], Head]) -> Row:
    if not write.journal:
        return _row(q.STEP, write.run, write.fence)
    return (q.STEP, write.run, write.fence, *_link(write, heads, head), None, None)


def _steps(
    writes: Sequence[Write], fences: dict[int, int], heads: dict[int, Head], head: Callable[[int, int], Head]
) -> list[Row]:
    held = ",".join([f'"{run}":{fence}' for run, fence in fences.items()])
    entries, blobs, offset = list[str](), list[bytes](), 1
    for write in writes:
        if write.journal:
            id, at, blob, hash = _link(write, heads, head)
            entries.append(f'"{id}":[{offset},{len(blob)},{float(at)!r},"{hash.hex()}"]')
            blobs.append(blob)
            offset += len(blob)
    journal = _row(q.JOURNAL, "{" + ",".join(entries) + "}", b"".join(blobs), n=len(entries))
    return [_row(q.FENCES, "{" + held + "}", n=len(fences)), journal]


def _executions(writes: Sequence[Write]) -> list[Row]:
    rows = [row for write in writes for row in write.executions]
    if len(rows) <= FEW:
        return [(q.EXECUTION, *row[:5], _plain(row[5]), row[6], None) for row in rows]
    latest = {row[0]: row for row in rows}
    groups: dict[Row, list[str]] = {}
    for id, status, attempt, began, at, reason, state in latest.values():
        text = f'"{id}":{began}' if state is None else f'"{id}":{_encode(f"{began} {state}")}'
        groups.setdefault((status, attempt, at, reason), []).append(text)
    if len(groups) <= FLAT:
        return [_flat(same, texts) for same, texts in groups.items()]
    flat = sorted(groups, key=lambda same: -len(groups[same]))[:FLAT]
    large = set(flat)
    mixed = {
        row[0]: (*row[1:5], _plain(row[5]), row[6])
        for row in latest.values()
        if (row[1], row[2], row[4], row[5]) not in large
    }
    return [*(_flat(same, groups[same]) for same in flat), _row(q.MIXED, _encode(mixed), n=len(mixed))]


def _flat(same: Row, texts: list[str]) -> Row:
    status, attempt, at, reason = same
    return (q.EXECUTIONS, "{" + ",".join(texts) + "}", status, attempt, at, _plain(reason), None, None, len(texts))


def _plain(reason: str | None) -> str | None:
    return reason if reason is None or reason.isascii() else strict.plain(reason)


def _outcomes(writes: Sequence[Write], keep: Callable[[bytes], str]) -> list[Row]:
    found = [row for write in writes for row in write.outcomes]
    for place, (id, revision, text) in enumerate(found):
        if len(text) * 4 > LARGE or text[:1] != "{":
            found[place] = (id, revision, _moved(id, text, keep))
    if len(found) <= FEW:
        return [_outcome(*row) for row in found]
    revisions: dict[int, list[str]] = {}
    for id, revision, text in found:
        revisions.setdefault(revision, []).append(f'"{id}":{text}')
    rows = []
    for revision, texts in revisions.items():
        text = "{" + ",".join(texts) + "}"
        if _is_suspect(text):
            check_outcomes(writes)
        rows.append(_row(q.OUTCOMES, text, revision, n=len(texts)))
    return rows


def _outcome(id: int, revision: int, text: str) -> Row:
    if _is_suspect(text):
        strict.check(text, strict.outcome_of(id))
    return (q.OUTCOME_ROW, id, revision, text, None, None, None, None, None)


def _moved(id: int, text: str, keep: Callable[[bytes], str]) -> str:
    """What stands in the table for an outcome that is large. An outcome is always an object, a mark is an array."""
    strict.check_outcome(text, strict.outcome_of(id))
    data = text.encode()
    return text if len(data) <= LARGE else f'["{keep(data)}"]'


def check_outcomes(writes: Iterable[Write]) -> None:
    """Raises NotJson for the outcome that is none; the slow way, when there is a suspicion."""
    for write in writes:
        for id, _, text in write.outcomes:
            strict.check_outcome(text, strict.outcome_of(id))


def _has_rest(write: Write) -> bool:
    return write.status is not None or write.state is not None or any(write[8:])  # items and all that follows


def _rest(writes: Iterable[Write], heads: dict[int, Head], head: Callable[[int, int], Head]) -> Iterable[Row]:
    """What comes by the step and not by the task."""
    statuses, states, consumed = dict[int, Any](), dict[int, Any](), dict[int, int]()
    lists: dict[int, list[Sequence[Any]]] = {}
    for write in writes:
        run = write.run
        if write.status is not None:
            status, batch = int(write.status), (heads.get(run) or head(run, write.fence)).batch
            statuses[run] = (status, write.at, batch, seals.of_standing(run, status, write.at, batch))
        if write.state is not None:
            states[run] = write.state
        if write.inbox is not None:
            consumed[run] = max(write.inbox, consumed.get(run, 0))
        if write.items:
            lists.setdefault(q.ITEMS, []).extend((run * MOST_NODES + node, *row) for node, *row in write.items)
        if write.branches:
            lists.setdefault(q.BRANCHES, []).extend((run, *row) for row in write.branches)
        if write.documents:
            lists.setdefault(q.DOCUMENTS, []).extend((run, write.at, *row) for row in write.documents)
        if write.ledger:
            lists.setdefault(q.LEDGER, []).extend((*call, seals.of_call(call)) for call in write.ledger)
        if write.logs:
            lists.setdefault(q.LOGS, []).extend((run, *row[:4], strict.plain(row[4])) for row in write.logs)
    objects = ((q.STATUSES, statuses), (q.STATES, states), (q.CONSUMED, consumed))
    yield from (_row(kind, _encode(value)) for kind, value in objects if value)
    yield from (_row(kind, _encode(rows)) for kind, rows in lists.items())
