"""Beside others: busy code next to a chain, an event next to a crowd; and how long something took, two ways."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from callboard.core.facts import Heard, encode
from callboard.core.plan import EventIs, Plan, Rule, Task, dump
from callboard.engine.doorbell import ring
from stand import NoOp, Stand, fan, stand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator
    from pathlib import Path

    from callboard.core.facts import Fact
    from callboard.core.orders import Order
    from callboard.ports import Work

_SPIN = "import os\nos.nice(10)\nwhile True: pass"
_PUBLISHER = """
import sys, time
from callboard.core.facts import Heard, encode
from callboard.engine.doorbell import ring
from callboard.store.sql.sqlite import SQLiteStore
path, folder, run, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = SQLiteStore(path)
for n in range(1, count + 1):
    time.sleep(0.01)
    store.append(run, [(f"e{n}", encode(Heard("go", n, time.monotonic())))], time.time())
    ring(folder)
"""


async def timed(work: Awaitable[None]) -> tuple[float, float]:
    """Seconds it took, and seconds of processor time among them."""
    began, processor = time.perf_counter(), time.process_time()
    await work
    return time.perf_counter() - began, time.process_time() - processor


# ── beside busy code ────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def busy_children() -> Iterator[None]:
    """One for each core, each in a process group of its own at nice 10: as user functions run."""
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN], process_group=0) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for child in spinning:
            child.kill()
            child.wait()


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# ── latency ─────────────────────────────────────────────────────────────────────────────────────────────


async def latency(events: int, directory: Path | None, how: str) -> list[float]:
    """Seconds from just before an event is published to the first line of the task that waits for it.

    Each event carries the time it was published at; one monotonic clock serves all processes of a machine.
    """
    seen: list[float] = []
    published = [0.0]

    def begun(work: Work) -> None:
        if work.attempt.task == "dependent":
            seen.append(time.monotonic() - published[0])

    def heard(run: int, facts: Iterable[Fact], orders: Iterable[Order]) -> None:
        published[0] = next((fact.value for fact in facts if isinstance(fact, Heard)), published[0])

    rules = (Rule("dependent", "START", EventIs("go")), Rule("never", "START", EventIs("never")))
    async with stand(directory, NoOp(begun)) as here:
        (row,) = here.create(dump(Plan((Task("dependent"), Task("never")), rules)), names="listening")
        await here.engine.submit(row.number)
        here.engine.watch(heard)
        if how == "across processes":
            arguments = [str(here.folder / "callboard.db"), str(here.folder / "run"), str(row.number), str(events)]
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", _PUBLISHER, *arguments)
            await child.wait()
            await _reached(seen, events)
            return seen
        crowd = here.create(fan(20_000), names="crowd") if how == "beside a fan-out" else ()
        company = asyncio.create_task(here.carry_out(crowd))
        for n in range(1, events + 1):
            await asyncio.sleep(0.002)
            if crowd and company.done():
                break
            await asyncio.to_thread(_publish, here, row.number, n)
            await _reached(seen, n)
        await company
    return seen


def _publish(here: Stand, run: int, n: int) -> None:
    now = time.monotonic()
    here.store.append(run, [(f"e{n}", encode(Heard("go", n, now)))], time.time())
    ring(here.folder / "run")


async def _reached(seen: list[float], count: int) -> None:
    while len(seen) < count:  # noqa: ASYNC110  the loop under measurement is the one that would set an event
        await asyncio.sleep(0.001)
