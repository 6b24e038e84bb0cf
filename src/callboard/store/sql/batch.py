"""A batch of writes as the bindings of one statement: what `queries.VIEW` unfolds again.

This is on the way of every task, so it is loops over tuples and no objects. Executions of a batch mostly share
everything but their id (two hundred that start now, a hundred that ended now): those travel as one flat array.
"""

from __future__ import annotations

import json
from itertools import chain as flatten
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.errors import FenceLost
from callboard.store import chain, strict
from callboard.store.packing import MOST_NODES
from callboard.store.sql import queries as q

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from callboard.ports import Write

LARGE = 1 << 16  # bytes above which an outcome is kept as content
FLAT = 12  # at most so many groups of executions travel as flat arrays
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

Row = tuple[Any, ...]


class Head(NamedTuple):
    """Where a run's journal ends; good as long as the fence is ours."""

    fence: int
    batch: int
    hash: bytes


class Batch(NamedTuple):
    rows: int
    bindings: list[Any]
    fences: dict[int, int]
    heads: dict[int, Head]


def encode(writes: Sequence[Write], head: Callable[[int, int], Head], keep: Callable[[bytes], str]) -> Batch:
    """The batch of these writes. `head(run, fence)` tells where a journal ends, `keep` takes large outcomes.

    Raises FenceLost when two writes of a run disagree about its fence, NotJson.
    """
    fences, steps = _fences(writes)
    journal, heads = _journal(writes, head)
    rows = [_fence_row(fences, steps, max(write.at for write in writes))]
    if journal:
        rows.append(journal)
    rows += _executions(writes)
    rows += _outcomes(writes, keep)
    rows += _rest(writes)
    return Batch(len(rows), list(flatten.from_iterable(rows)), fences, heads)


def _row(kind: int, a: Any, b: Any = None, *, n: int | None = None) -> Row:
    return (kind, a, b, None, None, None, None, None, n)


def _fences(writes: Iterable[Write]) -> tuple[dict[int, int], dict[int, int]]:
    fences, steps = dict[int, int](), dict[int, int]()
    for write in writes:
        run = write.run
        if fences.setdefault(run, write.fence) != write.fence:
            raise FenceLost((run,))
        steps[run] = steps.get(run, 0) + (1 if write.journal else 0)
    return fences, steps


def _fence_row(fences: dict[int, int], steps: dict[int, int], at: float) -> Row:
    text = ",".join([f'"{run}":{fence << 16 | steps[run]}' for run, fence in fences.items()])
    return _row(q.FENCES, "{" + text + "}", at, n=len(fences))


def _journal(writes: Iterable[Write], head: Callable[[int, int], Head]) -> tuple[Row | None, dict[int, Head]]:
    heads, entries, blobs, offset = dict[int, Head](), list[str](), list[bytes](), 1
    for write in writes:
        if not write.journal:
            continue
        run, at = write.run, float(write.at)
        fence, batch, before = heads.get(run) or head(run, write.fence)
        batch += 1
        blob = chain.encode(write.journal)
        hash = chain.link(before, batch, at, blob)
        heads[run] = Head(fence, batch, hash)
        entries.append(f'"{run << 32 | batch}":[{offset},{len(blob)},{at!r},"{hash.hex()}"]')
        blobs.append(blob)
        offset += len(blob)
    if not entries:
        return None, heads
    return _row(q.JOURNAL, "{" + ",".join(entries) + "}", b"".join(blobs), n=len(entries)), heads


def _executions(writes: Sequence[Write]) -> list[Row]:
    latest = {row[0]: row for write in writes for row in write.executions}
    groups: dict[Row, dict[int, int | str]] = {}
    for id, status, attempt, began, at, reason, state in latest.values():
        same = (status, attempt, at, reason)
        groups.setdefault(same, {})[id] = began if state is None else f"{began} {state}"
    if len(groups) <= FLAT:
        return [_flat(same, rows) for same, rows in groups.items()]
    by_size = sorted(groups.items(), key=lambda group: -len(group[1]))
    rare = [latest[id] for _, rows in by_size[FLAT:] for id in rows]
    mixed = {row[0]: (*row[1:5], _plain(row[5]), row[6]) for row in rare}
    return [*(_flat(same, rows) for same, rows in by_size[:FLAT]), _row(q.MIXED, _encode(mixed), n=len(mixed))]


def _flat(same: Row, rows: dict[int, int | str]) -> Row:
    status, attempt, at, reason = same
    return (q.EXECUTIONS, _encode(rows), status, attempt, at, _plain(reason), None, None, len(rows))


def _plain(reason: str | None) -> str | None:
    return reason if reason is None or reason.isascii() else strict.plain(reason)


def _outcomes(writes: Iterable[Write], keep: Callable[[bytes], str]) -> list[Row]:
    revisions: dict[int, list[str]] = {}
    for write in writes:
        for id, revision, text in write.outcomes:
            if len(text) * 4 > LARGE or text[:1] != "{":
                text = _moved(id, text, keep)
            revisions.setdefault(revision, []).append(f'"{id}":{text}')
    rows = []
    for revision, texts in revisions.items():
        text = "{" + ",".join(texts) + "}"
        if "\\ud" in text or "\\uD" in text:
            check_outcomes(writes)
        rows.append(_row(q.OUTCOMES, text, revision, n=len(texts)))
    return rows


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


def _rest(writes: Iterable[Write]) -> Iterable[Row]:
    """What comes by the step and not by the task."""
    statuses, states, consumed = dict[int, Any](), dict[int, Any](), dict[int, int]()
    lists: dict[int, list[Sequence[Any]]] = {}
    for write in writes:
        run = write.run
        if write.status is not None:
            statuses[run] = (int(write.status), write.at)
        if write.state is not None:
            states[run] = write.state
        if write.inbox is not None:
            consumed[run] = max(write.inbox, consumed.get(run, 0))
        if write.items:
            lists.setdefault(q.ITEMS, []).extend((run * MOST_NODES + node, *row) for node, *row in write.items)
        if write.branches:
            lists.setdefault(q.BRANCHES, []).extend((run, *row) for row in write.branches)
        if write.documents:
            lists.setdefault(q.DOCUMENTS, []).extend((run, *row, write.at) for row in write.documents)
        if write.ledger:
            lists.setdefault(q.LEDGER, []).extend(write.ledger)
        if write.logs:
            lists.setdefault(q.LOGS, []).extend((run, *row[:4], strict.plain(row[4])) for row in write.logs)
    objects = ((q.STATUSES, statuses), (q.STATES, states), (q.CONSUMED, consumed))
    yield from (_row(kind, _encode(value)) for kind, value in objects if value)
    yield from (_row(kind, _encode(rows)) for kind, rows in lists.items())
