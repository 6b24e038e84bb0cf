"""A large run, killed in the middle: how soon the next engine starts something of it, and what memory it takes.

python bench/large.py FOLDER            carry out the run that is recorded there, to its end
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.engine.clock import SystemClock
from callboard.engine.engine import Engine
from callboard.engine.owner import new_owner
from callboard.store.sql.sqlite import SQLiteStore
from stand import NoOp, complain

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.ports import Work


def killed(plan: str, steps: int, directory: Path | None) -> tuple[float, float, float]:
    """Seconds to the first start after a kill at so many steps, seconds of processor time in it, peak memory in MB."""
    with tempfile.TemporaryDirectory(prefix="callboard-bench-", dir=directory) as name:
        store = SQLiteStore(Path(name) / "callboard.db")
        store.create_run(id="large", name="", plan=plan, params="{}", face="bench", at=time.time())
        command = [sys.executable, __file__, name]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while child.poll() is None and len(store.journal(1)) < steps:
            time.sleep(0.02)
        child.kill()
        child.wait()
        store.close()
        start, processor, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(start), float(processor), float(peak)


async def work_off(folder: Path, first: Callable[[], None]) -> None:
    """Carry out the run that is recorded in `folder`, to its end; `first` is called at its first start."""
    store = SQLiteStore(folder / "callboard.db")
    begun: list[int] = []

    def note(work: Work) -> None:
        if not begun:
            begun.append(work.node)
            first()

    engine = Engine(store, NoOp(note), SystemClock(), new_owner(), report=complain)
    await engine.start()
    await engine.submit(1)
    await engine.ended(1)
    await engine.stop()
    store.close()


def peak() -> float:
    """MB of memory that this program has had at most. (`ru_maxrss` counts what began it, too.)"""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    began, processor = time.perf_counter(), time.process_time()
    took: list[float] = []
    asyncio.run(
        work_off(Path(sys.argv[1]), lambda: took.extend((time.perf_counter() - began, time.process_time() - processor)))
    )
    print(*took, peak())


if __name__ == "__main__":
    main()
