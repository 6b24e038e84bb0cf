"""DBOS's part in `peers.py`: steps of one workflow, in SQLite."""

from __future__ import annotations

import asyncio
import sys
import time

from dbos import DBOS

DBOS(config={"name": "bench", "system_database_url": "sqlite:///bench.sqlite", "log_level": "ERROR"})


@DBOS.step()
async def nothing(_: int) -> None:
    """The work of every task."""


@DBOS.workflow()
async def chain(count: int) -> None:
    for n in range(count):
        await nothing(n)


@DBOS.workflow()
async def fanout(count: int) -> None:
    await asyncio.gather(*(nothing(n) for n in range(count)))


async def main() -> None:
    shape, count = sys.argv[1], int(sys.argv[2])
    await chain(1)
    began = time.perf_counter()
    await {"chain": chain, "fanout": fanout}[shape](count)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    DBOS.launch()
    asyncio.run(main())
    DBOS.destroy()
