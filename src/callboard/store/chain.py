"""The journal's rows: the facts of one step in a blob, and a hash that carries the one before.

A row that is changed, lost or put in another place breaks every hash after it, so damage is found and never
papered over. The row before the first is the run's birth: what it began with, so that it is bound by the chain as
the facts are, and stands in the file twice. Facts are joined by newlines (encoded JSON has none of its own), so
they come back to the letter, and compressed only where that pays: zlib costs ten microseconds to say hello, more
than a whole short step.
"""

from __future__ import annotations

import json
import zlib
from hashlib import sha256
from struct import pack
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.errors import NotJson, StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

START = bytes(32)
SMALL = 512  # bytes below which a blob is kept as it is
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(facts: Sequence[str]) -> bytes:
    """The blob of encoded facts. Raises NotJson for a fact with a line break or a lone surrogate in it."""
    text = "\n".join(facts)
    if text.count("\n") != len(facts) - 1:
        raise NotJson("a fact with a line break in its text: facts are compact JSON")
    try:
        blob = text.encode()
    except UnicodeEncodeError as error:
        raise NotJson(f"a fact is not strict JSON: {error}") from error
    return blob if len(blob) < SMALL else zlib.compress(blob, 1)


def decode(blob: bytes) -> list[str]:
    """The facts of a blob; one that is not compressed begins with the bracket of its first fact."""
    return (blob if blob[:1] == b"[" else zlib.decompress(blob)).decode().split("\n")


def link(before: bytes, batch: int, at: float, blob: bytes) -> bytes:
    """The hash of a row."""
    return sha256(b"".join((before, pack(">qd", batch, at), blob))).digest()


def fits(before: bytes, batch: int, at: object, blob: object, hash: object) -> bool:
    """Whether this is a row's hash. (A damaged row may have a column of another type.)"""
    return isinstance(at, int | float) and isinstance(blob, bytes) and link(before, batch, at, blob) == hash


def birth(at: float, fields: Sequence[object], plan: str | None) -> tuple[bytes, bytes]:
    """(blob, hash) of what a run begins with: the columns of its row, and the text of its plan if it is the first."""
    blob = encode([_json([*fields, plan])])
    return blob, link(START, 0, at, blob)


def born(run: int, at: float, blob: bytes, hash: bytes) -> list[Any]:
    """What `birth` was given, the plan last. Raises StoreDamaged."""
    if not fits(START, 0, at, blob, hash):
        raise StoreDamaged(f"what run {run} began with is damaged; its file is kept as it is")
    told: list[Any] = json.loads(decode(blob)[0])
    return told


def verified(
    run: int, rows: Iterable[tuple[int, float, bytes, bytes]], batches: int, before: bytes = START
) -> list[tuple[int, float, list[str], str]]:
    """Rows (batch, wall, blob, hash) as (batch, wall, facts, hash in hex). `before` is the hash of the birth, if it
    has one.

    Raises StoreDamaged where the chain breaks, and when fewer than `batches` rows are left of it.
    """
    good = list[tuple[int, float, list[str], str]]()
    for batch, at, blob, hash in rows:
        if batch != len(good) + 1 or not fits(before, batch, at, blob, hash):
            raise StoreDamaged(
                f"the journal of run {run} is damaged at batch {len(good) + 1}; its file is kept as it is"
            )
        good.append((batch, at, decode(blob), hash.hex()))
        before = hash
    if len(good) < batches:
        raise StoreDamaged(
            f"the journal of run {run} ends at batch {len(good)} of {batches}; its file is kept as it is"
        )
    return good


def longest(
    before: bytes, rows: Mapping[int, Sequence[tuple[float, bytes, bytes]]]
) -> list[tuple[float, bytes, bytes]]:
    """The longest sound chain behind the hash `before` that candidates (wall, blob, hash) by their batch can make.

    Two rows of a batch may both be sound: one of a transaction that was rolled back, and the one that took its place.
    What goes on furthest is what was recorded; where nothing does, the first candidate counts.
    """
    batch, ends = 0, [(before, _Link(None, None))]
    while True:
        batch += 1
        longer = [
            (row[2], _Link(row, link_before))
            for hash, link_before in ends
            for row in rows.get(batch, ())
            if link(hash, batch, row[0], row[1]) == row[2]
        ]
        if not longer:
            return ends[0][1].rows()
        ends = longer


class _Link(NamedTuple):
    row: tuple[float, bytes, bytes] | None
    before: _Link | None

    def rows(self) -> list[tuple[float, bytes, bytes]]:
        found, at = list[tuple[float, bytes, bytes]](), self
        while at.row is not None and at.before is not None:
            found.append(at.row)
            at = at.before
        return found[::-1]
