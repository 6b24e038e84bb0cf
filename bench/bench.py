"""What Callboard costs, beside the bare limit: every figure is a ratio taken in one run, ours and the limit in turn.

    make bench                              all of it, a few minutes
    make bench BENCH=fanout N=10000         one line, which ends in the ratio
    python bench/bench.py --bench latency --repeat 3 --directory /on/the/disk/that/counts

A figure of its own says little on a shared machine; a ratio of medians, interleaved, says what our work adds.
Tasks here do nothing, so nothing hides the cost of recording them. Goals stand beside the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import limit
from callboard.core.facts import Heard, encode
from callboard.core.plan import EventIs, Plan, Rule, Task, dump
from callboard.engine.clock import SystemClock
from callboard.engine.doorbell import ring
from callboard.engine.engine import Engine
from callboard.engine.owner import LEASE, new_owner
from callboard.ports import Done
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from callboard.core.facts import Fact
    from callboard.core.orders import Order
    from callboard.ports import Json, RunRow, Work

_NOTHING = Done('{"value":null}')
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


class NoOp:
    """A backend whose tasks do nothing. `begun` is called at the first line of each."""

    def __init__(self, begun: Callable[[Work], None] | None = None) -> None:
        self._begun = begun

    async def carry_out(self, work: Work) -> Done:
        if self._begun is not None:
            self._begun(work)
        return _NOTHING

    async def list_page(self, work: Work, page: int) -> tuple[Sequence[tuple[str, Json]], bool]:
        return (), False

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


class Stand(NamedTuple):
    """A project of its own, with an engine on the running loop."""

    folder: Path
    store: SQLiteStore
    engine: Engine

    def create(self, *plans: str, names: str = "run") -> Sequence[RunRow]:
        new = [(f"{names}-{n}", "", plan, "{}", "bench", time.time(), None) for n, plan in enumerate(plans)]
        return self.store.create_runs(new, owner=self.engine.owner, lease=time.time() + LEASE)

    async def carry_out(self, rows: Sequence[RunRow]) -> None:
        await self.engine.submit(*rows)
        for row in rows:
            await self.engine.ended(row.number)


@contextlib.asynccontextmanager
async def stand(directory: Path | None, backend: NoOp | None = None) -> AsyncIterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="callboard-bench-", dir=directory) as name:
        folder = Path(name)
        store = SQLiteStore(folder / "callboard.db")
        engine = Engine(store, backend or NoOp(), SystemClock(), new_owner(), folder=folder / "run", report=_complain)
        await engine.start()
        try:
            yield Stand(folder, store, engine)
        finally:
            await engine.stop(interrupt=False)
            store.close()


def _complain(state: str, why: str) -> None:
    print(f"  engine: {state} {why}", file=sys.stderr)


def fan(n: int) -> str:
    return dump(Plan(tuple(Task(f"t{i}") for i in range(n))))


def line(n: int) -> str:
    return dump(Plan(tuple(Task(f"t{i}", needs=(f"t{i - 1}",) if i else ()) for i in range(n))))


async def _ours(plan: str, directory: Path | None) -> float:
    async with stand(directory) as here:
        rows = here.create(plan)
        began = time.perf_counter()
        await here.carry_out(rows)
        return time.perf_counter() - began


async def _our_runs(count: int, plan: str, directory: Path | None) -> float:
    async with stand(directory) as here:
        began = time.perf_counter()
        await here.carry_out(here.create(*[plan] * count))
        return time.perf_counter() - began


# ── ratios ──────────────────────────────────────────────────────────────────────────────────────────────


def _ratio(name: str, tasks: int, ours: Callable[[], float], bare: Callable[[], float], repeat: int, goal: str) -> None:
    pairs = [(bare(), ours()) for _ in range(repeat)]
    limits, own = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"{name:24} ours {tasks / own:9,.0f}/s  {own / tasks * 1e6:6.1f} µs a task  limit {tasks / limits:9,.0f}/s"
        f"  goal {goal:6}  ratio {limits / own:.2f}",
        flush=True,
    )


def fanout(args: Args) -> None:
    n = args.n or 10_000
    plan = fan(n)
    ours = lambda: asyncio.run(_ours(plan, args.directory))  # noqa: E731
    _ratio(f"fan-out of {n:,}", n, ours, lambda: limit.fanout(n, args.directory), args.repeat, "≥ 0.35")


def chain(args: Args) -> None:
    n = args.n or 1_000
    plan = line(n)
    ours = lambda: asyncio.run(_ours(plan, args.directory))  # noqa: E731
    _ratio(f"chain of {n:,}", n, ours, lambda: limit.chain(n, args.directory), args.repeat, "≥ 0.70")


def runs(args: Args) -> None:
    n = args.n or 1_000
    plan = fan(10)
    ours = lambda: asyncio.run(_our_runs(n, plan, args.directory))  # noqa: E731
    _ratio(f"{n:,} runs of 10", n * 10, ours, lambda: limit.runs(n, 10, args.directory), args.repeat, "≥ 0.20")


def size(args: Args) -> None:
    """The cost of a task must not grow with its run."""
    sizes = (1_000, 10_000, args.n or 100_000)
    plans = {n: fan(n) for n in sizes}
    taken: dict[int, list[float]] = {n: [] for n in sizes}
    for _ in range(args.repeat):
        for n in sizes:
            taken[n].append(asyncio.run(_ours(plans[n], args.directory)) / n)
    cost = {n: statistics.median(times) * 1e6 for n, times in taken.items()}
    each = "  ".join(f"{n:,}: {cost[n]:.1f} µs" for n in sizes)
    print(f"{'cost a task':24} {each}  goal ≤ 1.3  ratio {cost[sizes[-1]] / cost[sizes[0]]:.2f}", flush=True)


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


def busy(args: Args) -> None:
    n = args.n or 500
    plan = line(n)
    for name, company, goal in (("in a child", busy_children, "≥ 0.80"), ("in a thread", busy_thread, "≥ 120/s")):
        idle, beside = [], []
        for _ in range(args.repeat):
            idle.append(asyncio.run(_ours(plan, args.directory)))
            with company():
                beside.append(asyncio.run(_ours(plan, args.directory)))
        alone, together = statistics.median(idle), statistics.median(beside)
        print(
            f"{'chain, busy ' + name:24} ours {n / together:9,.0f}/s  alone {n / alone:9,.0f}/s"
            f"  goal {goal:6}  ratio {alone / together:.2f}",
            flush=True,
        )


# ── latency ─────────────────────────────────────────────────────────────────────────────────────────────


async def _latency(events: int, directory: Path | None, how: str) -> list[float]:
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


def latency(args: Args) -> None:
    n = args.n or 300
    for how, goal in (
        ("one process", "p50 ≤ 1.5 ms, p99 ≤ 5"),
        ("across processes", "p50 ≤ 3 ms, p99 ≤ 10"),
        ("beside a fan-out", "p50 ≤ 20 ms"),
    ):
        times = sorted(asyncio.run(_latency(n, args.directory, how)))
        p50, p99 = times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3
        print(f"{'event, ' + how:24} p50 {p50:.2f} ms  p99 {p99:.2f} ms  of {len(times)}  goal {goal}", flush=True)


# ── a large run, killed ─────────────────────────────────────────────────────────────────────────────────


async def _work_off(folder: Path, first: Callable[[], None] = lambda: None) -> None:
    """Carry out the run that is recorded in `folder`, to its end."""
    store = SQLiteStore(folder / "callboard.db")
    begun: list[int] = []

    def note(work: Work) -> None:
        if not begun:
            begun.append(work.node)
            first()

    engine = Engine(store, NoOp(note), SystemClock(), new_owner(), report=_complain)
    await engine.start()
    await engine.submit(1)
    await engine.ended(1)
    await engine.stop()
    store.close()


def worker(folder: Path) -> None:
    """In a process of its own: seconds to the first start, and the peak of memory in MB."""
    began = time.perf_counter()
    first: list[float] = []
    asyncio.run(_work_off(folder, lambda: first.append(time.perf_counter() - began)))
    print(first[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def restart(args: Args) -> None:
    """Peak memory of a large run; the first start after it was killed in the middle."""
    n = args.n or 100_000
    peaks, starts = [], []
    for _ in range(min(args.repeat, 3)):
        with tempfile.TemporaryDirectory(prefix="callboard-bench-", dir=args.directory) as name:
            store = SQLiteStore(Path(name) / "callboard.db")
            store.create_run(id="large", name="", plan=fan(n), params="{}", face="bench", at=time.time())
            command = [sys.executable, __file__, "--worker", name]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while store.version() >= 0 and len(store.journal(1)) < n // 500:
                time.sleep(0.02)
            child.kill()
            child.wait()
            store.close()
            start, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            starts.append(float(start))
            peaks.append(float(peak))
    print(
        f"{f'{n:,} tasks, killed':24} first start {statistics.median(starts):.2f} s  goal ≤ 0.6 s"
        f"  peak {statistics.median(peaks):.0f} MB  goal ≤ 200 MB",
        flush=True,
    )


# ── starting ────────────────────────────────────────────────────────────────────────────────────────────


def imports(args: Args) -> None:
    commands = {
        "bare interpreter": ["-c", "pass"],
        "import callboard": ["-c", "import callboard"],
        "callboard --help": ["-m", "callboard.cli.main", "--help"],
    }
    goals = {"import callboard": "≤ 80 ms", "callboard --help": "≤ 150 ms"}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.repeat):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            taken[name].append(time.perf_counter() - began)
    for name, times in taken.items():
        print(f"{name:24} {statistics.median(times) * 1e3:6.1f} ms  goal {goals.get(name, '-')}", flush=True)


BENCHES = {
    "fanout": fanout, "chain": chain, "runs": runs, "busy": busy, "latency": latency, "imports": imports, "size": size,
    "restart": restart,
}  # fmt: skip


class Args(argparse.Namespace):
    bench: str
    n: int
    repeat: int
    directory: Path | None
    worker: Path | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bench", choices=[*BENCHES, ""], default=os.environ.get("BENCH", ""), help="one of them; all")
    parser.add_argument("--n", type=int, default=int(os.environ.get("N") or 0), help="how many, instead of the usual")
    parser.add_argument("--repeat", type=int, default=5, help="times each is measured; the median counts")
    parser.add_argument("--directory", type=Path, help="where to write; must be on the disk that counts")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(namespace=Args())
    if args.worker is not None:
        worker(args.worker)
        return
    for name in [args.bench] if args.bench else BENCHES:
        BENCHES[name](args)


if __name__ == "__main__":
    main()
