"""Statuses are few, and the legal moves between them are one table.

The manual's diagrams are drawn from `MOVES`, and the invariants hold every change against it. Whatever else
there is to say about a task (paused, blocked, held for review …) is a reason, never a status.
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Of a task or an item; a run uses INIT, RUNNING, SUCCESS, FAILED and STOPPED. Stored as its number."""

    INIT = 0
    QUEUED = 1
    RUNNING = 2
    STOPPING = 3
    RETRYING = 4
    SUCCESS = 5
    FAILED = 6
    STOPPED = 7
    SKIPPED = 8


INIT, QUEUED, RUNNING, STOPPING, RETRYING, SUCCESS, FAILED, STOPPED, SKIPPED = Status

OPEN = frozenset({QUEUED, RUNNING, STOPPING, RETRYING})
ENDED = frozenset({SUCCESS, FAILED, STOPPED, SKIPPED})

MOVES: dict[Status, frozenset[Status]] = {
    INIT: frozenset({QUEUED}),
    QUEUED: frozenset({RUNNING, STOPPED, SKIPPED, FAILED}),
    RUNNING: frozenset({SUCCESS, FAILED, SKIPPED, STOPPED, STOPPING, RETRYING, QUEUED}),
    RETRYING: frozenset({QUEUED, STOPPED, FAILED}),
    STOPPING: frozenset({SUCCESS, STOPPED, FAILED}),  # FAILED: a rule loop only
    SUCCESS: frozenset({QUEUED, RUNNING}),  # RUNNING: a mapped task, one item again
    FAILED: frozenset({QUEUED, RUNNING}),
    STOPPED: frozenset({QUEUED, RUNNING}),
    SKIPPED: frozenset({QUEUED, RUNNING}),
}
