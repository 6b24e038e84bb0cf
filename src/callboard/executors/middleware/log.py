"""What people read afterwards: how long the real work of a step took, and why it failed.

Innermost, so that what was cached, kept or skipped leaves no such line. A step that was quick and fine leaves
none either: ten thousand lines that say nothing hide the one that does.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from callboard.errors import WorkerLost

if TYPE_CHECKING:
    from callboard.ports import Context, Done, Handler, Work

_QUICK = 0.05  # seconds


async def log(work: Work, ctx: Context, handler: Handler) -> Done:
    began = time.monotonic()
    try:
        done = await handler(work, ctx)
    except asyncio.CancelledError:
        ctx.log(f"{work.executor} was ended after {time.monotonic() - began:.2f} s, before it had an answer", "error")
        raise
    except WorkerLost as lost:
        _tell_end(ctx, lost)
        ctx.log(f"{work.executor} was lost after {time.monotonic() - began:.2f} s: {lost}", "error")
        raise
    except Exception as error:
        ctx.log(f"{work.executor} failed after {time.monotonic() - began:.2f} s: {error}", "error")
        raise
    if (took := time.monotonic() - began) >= _QUICK:
        ctx.log(f"{work.executor} took {took:.2f} s")
    return done


def _tell_end(ctx: Context, lost: WorkerLost) -> None:
    """What a child wrote last outside of its calls: there a crash leaves its traceback."""
    said = lost.evidence.get("output") if isinstance(lost.evidence, dict) else None
    if said:
        ctx.log(str(said), "stderr")
