"""Outermost: what an attempt gathered leaves with its outcome, and whatever was raised becomes a StepError.

A failed attempt leaves nothing behind: its events, saves and staged files are dropped with its context. Only its
paid calls stay, see `budget`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.errors import StepError, WorkerLost
from callboard.executors.failures import step_error
from callboard.executors.values import with_field

if TYPE_CHECKING:
    from callboard.executors.context import AttemptContext
    from callboard.ports import Context, Done, Handler, Work


async def collect(work: Work, ctx: Context, handler: Handler) -> Done:
    """Needs a context that wiring's `Contexts` made. Raises StepError, TimeoutError and a backend's own loss."""
    try:
        done = await handler(work, ctx)
    except (StepError, TimeoutError, WorkerLost):
        raise
    except Exception as error:
        raise step_error(error) from error
    done = _with_reads(done, ctx)
    return done if done.skipped else _with_all(done, ctx)


def _with_reads(done: Done, ctx: Context) -> Done:
    """What it was made from, also where it was skipped."""
    seen = getattr(ctx.documents, "seen", None)
    return done._replace(reads=tuple(seen.items()), edits=tuple(ctx.documents.edits)) if seen else done  # type: ignore[attr-defined]


def _with_all(done: Done, ctx: Context) -> Done:
    gathered = _gathered(ctx)
    if gathered is not None and (gathered.gathered.events or gathered.gathered.saves):
        done = done._replace(events=tuple(gathered.gathered.events), saves=tuple(gathered.gathered.saves))
    written = getattr(ctx.documents, "written", ())
    if written:
        index = [{"path": path, "hash": hash} for path, hash, _ in written]
        done = done._replace(documents=tuple(written), outcome=with_field(done.outcome, "documents", index))
    return done


def _gathered(ctx: Context) -> AttemptContext | None:
    return ctx if hasattr(ctx, "gathered") else None  # type: ignore[return-value]
