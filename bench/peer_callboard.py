"""Callboard's part in `peers.py`: coroutine functions through `callboard.run`."""

from __future__ import annotations

import sys
import time
from typing import Any

import callboard


async def nothing(**needs: Any) -> None:
    """The work of every task."""


def main() -> None:
    shape, count = sys.argv[1], int(sys.argv[2])
    chained = shape == "chain"
    callboard.run(nothing)  # the engine is there, as the others' are
    plan = callboard.plan(
        *(callboard.task(f"t{n}", nothing, needs=[f"t{n - 1}"] if chained and n else ()) for n in range(count))
    )
    began = time.perf_counter()
    callboard.run(plan)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
