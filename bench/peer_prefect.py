"""Prefect's part in `peers.py`: tasks of a flow whose results are kept, with its temporary server and its SQLite."""

from __future__ import annotations

import os
import sys
import time

# Prefect reads its settings when it is imported.
os.environ |= {"PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

from prefect import flow, task


@task(persist_result=True)
def nothing(before: object = None) -> None:
    """The work of every task."""


@flow
def chain(count: int) -> None:
    last = None
    for _ in range(count):
        last = nothing(last)


@flow
def fanout(count: int) -> None:
    for future in [nothing.submit() for _ in range(count)]:
        future.result()


def main() -> None:
    shape, count = sys.argv[1], int(sys.argv[2])
    chain(1)  # its server is there
    began = time.perf_counter()
    {"chain": chain, "fanout": fanout}[shape](count)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
