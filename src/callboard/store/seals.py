"""Seals: a checksum in the row it is about, for what no journal can be held against at a glance.

SQLite sees a page that is no page, not a digit that has changed in one. Of a run's own row and of a paid answer that
digit would be believed: a run listed as done that is not, an answer never given. What the journal tells (executions,
outcomes) needs no seal, see `sql/sound.py`. A checksum is no signature: it finds a disk's damage, not a forger's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from callboard.ports import Call


def of_standing(run: int, status: int, at: float, batches: int) -> int:
    """Where a run stands: its status, since when, and how many journal rows there were then."""
    return crc32(f"{run} {status} {float(at)!r} {batches}".encode())


def of_call(call: Call) -> int:
    """A paid call: whose it was, what was asked and what was answered."""
    return crc32(f"{call.key} {call.prompt_hash} {call.answer}".encode(errors="replace"))
