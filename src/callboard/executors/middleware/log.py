"""What people read afterwards: how long the real work of a step took, and why it failed.

Innermost, so that what was cached, kept or skipped leaves no such line. A step that was quick and fine leaves
none either: ten thousand lines that say nothing hide the one that does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.ports import Context, Done, Handler, Work

_QUICK = 0.05  # seconds


async def log(work: Work, ctx: Context, handler: Handler) -> Done:
    began = time.monotonic()
    try:
        done = await handler(work, ctx)
    except Exception as error:
        ctx.log(f"{work.executor} failed after {time.monotonic() - began:.2f} s: {error}", "error")
        raise
    if (took := time.monotonic() - began) >= _QUICK:
        ctx.log(f"{work.executor} took {took:.2f} s")
    return done
