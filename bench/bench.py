"""What Callboard costs, beside the bare limit: every figure is a ratio taken in one run, ours and the limit in turn.

    make bench                              all of it, a few minutes
    make bench BENCH=fanout N=10000         one line, which ends in the ratio
    make bench JSON=1                       the same as JSON lines
    make bench PEERS="dbos luigi"           others beside us, each that is installed (INSTALL=1 installs them)
    python bench/bench.py --bench latency --repeat 3 --directory /on/the/disk/that/counts

A figure of its own says little on a shared machine; a ratio of medians, interleaved, says what our work adds.
Goals stand beside the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import beside
import large
import limit
import starting
from stand import fan, graph, layers, line, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Goal(NamedTuple):
    sign: str  # ≥ or ≤
    value: float

    def met(self, figure: float) -> bool:
        return figure >= self.value if self.sign == "≥" else figure <= self.value


class Row(NamedTuple):
    """One line: what was measured of us, of the limit beside us, and the figure that has a goal."""

    name: str
    figure: float
    unit: str  # of the figure; "" for a ratio
    goal: Goal | None = None
    ours: float | None = None  # per second
    limit: float | None = None  # per second
    note: str = ""

    def text(self) -> str:
        said = f"{self.name:28}"
        said += f" ours {self.ours:9,.0f}/s" if self.ours is not None else ""
        said += f"  limit {self.limit:9,.0f}/s" if self.limit is not None else ""
        said += f"  {self.note}" if self.note else ""
        if self.goal is not None:
            value = f"{self.goal.value:g}{f' {self.unit}' if self.unit else ''}"
            said += f"  goal {self.goal.sign} {value} {'met' if self.goal.met(self.figure) else 'MISSED'}"
        return f"{said}  {self.unit or 'ratio'} {self.figure:.2f}"

    def json(self) -> str:
        told = {name: round(value, 4) if isinstance(value, float) else value for name, value in self._asdict().items()}
        if self.goal is not None:
            told["goal"], told["met"] = f"{self.goal.sign} {self.goal.value:g}", self.goal.met(self.figure)
        return json.dumps({name: value for name, value in told.items() if value not in (None, "")}, ensure_ascii=False)


async def _one_run(plan: str, directory: Path | None) -> float:
    """Seconds, from submitting it to its end."""
    return (await _timed_run(plan, directory))[0]


async def _timed_run(plan: str, directory: Path | None) -> tuple[float, float]:
    async with stand(directory) as here:
        rows = here.create(plan)
        return await beside.timed(here.carry_out(rows))


async def _many_runs(count: int, plan: str, directory: Path | None) -> float:
    async with stand(directory) as here:
        return (await beside.timed(here.carry_out(here.create(*[plan] * count))))[0]


# ── ratios to the limit ─────────────────────────────────────────────────────────────────────────────────


def _ratio(
    name: str, tasks: int, ours: Callable[[], float], bare: Callable[[], float], repeat: int, goal: Goal | None
) -> Row:
    pairs = [(bare(), ours()) for _ in range(repeat)]
    limits, own = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Row(name, limits / own, "", goal, tasks / own, tasks / limits, f"{own / tasks * 1e6:6.1f} µs a task")


def fanout(args: Args) -> Iterator[Row]:
    n = args.n or 10_000
    plan = fan(n)
    ours = lambda: asyncio.run(_one_run(plan, args.directory))  # noqa: E731
    bare = lambda: limit.fanout(n, args.directory)  # noqa: E731
    yield _ratio(f"fan-out of {n:,}", n, ours, bare, args.repeat, Goal("≥", 0.35))


def chain(args: Args) -> Iterator[Row]:
    n = args.n or 1_000
    plan = line(n)
    ours = lambda: asyncio.run(_one_run(plan, args.directory))  # noqa: E731
    bare = lambda: limit.chain(n, args.directory)  # noqa: E731
    yield _ratio(f"chain of {n:,}", n, ours, bare, args.repeat, Goal("≥", 0.70))


def layered(args: Args) -> Iterator[Row]:
    """As many layers as tasks in each; every task needs three of the layer above."""
    side = args.n or 100
    needs = layers(side, side)
    plan = graph(needs)
    ours = lambda: asyncio.run(_one_run(plan, args.directory))  # noqa: E731
    bare = lambda: limit.graph(needs, args.directory)  # noqa: E731
    yield _ratio(f"{side} layers of {side}", len(needs), ours, bare, args.repeat, None)


def runs(args: Args) -> Iterator[Row]:
    n = args.n or 1_000
    plan = fan(10)
    ours = lambda: asyncio.run(_many_runs(n, plan, args.directory))  # noqa: E731
    bare = lambda: limit.runs(n, 10, args.directory)  # noqa: E731
    yield _ratio(f"{n:,} runs of 10", n * 10, ours, bare, args.repeat, Goal("≥", 0.20))


def size(args: Args) -> Iterator[Row]:
    """The cost of a task must not grow with its run. Processor time, which a busy machine does not change much."""
    sizes = (1_000, 10_000, args.n or 100_000)
    plans = {n: fan(n) for n in sizes}
    taken: dict[int, list[float]] = {n: [] for n in sizes}
    for _ in range(args.repeat):
        for n in sizes:
            taken[n].append(asyncio.run(_timed_run(plans[n], args.directory))[1] / n)
    cost = {n: statistics.median(times) * 1e6 for n, times in taken.items()}
    each = "  ".join(f"{n:,}: {cost[n]:.1f} µs" for n in sizes)
    yield Row("cost of a task by size", cost[sizes[-1]] / cost[sizes[0]], "", Goal("≤", 1.3), note=each)


# ── beside others ───────────────────────────────────────────────────────────────────────────────────────


def busy(args: Args) -> Iterator[Row]:
    n = args.n or 500
    plan = line(n)
    for name, company in (("child", beside.busy_children), ("thread", beside.busy_thread)):
        idle, together = [], []
        for _ in range(args.repeat):
            idle.append(asyncio.run(_one_run(plan, args.directory)))
            with company():
                together.append(asyncio.run(_one_run(plan, args.directory)))
        alone, busy = n / statistics.median(idle), n / statistics.median(together)
        said = f"alone {alone:9,.0f}/s"
        if name == "child":
            yield Row("chain, busy in a child", busy / alone, "", Goal("≥", 0.80), busy, note=said)
        else:
            yield Row("chain, busy in a thread", busy, "/s", Goal("≥", 120), note=said)


def latency(args: Args) -> Iterator[Row]:
    n = args.n or 300
    for how, p50, p99 in (
        ("one process", Goal("≤", 1.5), Goal("≤", 5)),
        ("across processes", Goal("≤", 3), Goal("≤", 10)),
        ("beside a fan-out", Goal("≤", 20), None),
    ):
        times = sorted(asyncio.run(beside.latency(n, args.directory, how)))
        for name, goal, place in (("p50", p50, len(times) // 2), ("p99", p99, int(len(times) * 0.99))):
            yield Row(f"event, {how}, {name}", times[place] * 1e3, "ms", goal, note=f"of {len(times)}")


def restart(args: Args) -> Iterator[Row]:
    n = args.n or 100_000
    found = [large.killed(fan(n), n // 500, args.directory) for _ in range(min(args.repeat, 3))]
    start, processor, peak = (statistics.median(figures) for figures in zip(*found, strict=True))
    note = f"{processor:.2f} s of processor time"
    yield Row(f"{n:,}, killed: first start", start, "s", Goal("≤", 0.6), note=note)
    yield Row(f"{n:,}: peak of memory", peak, "MB", Goal("≤", 200))


def imports(args: Args) -> Iterator[Row]:
    goals = {"import callboard": Goal("≤", 80), "callboard --help": Goal("≤", 150)}
    for name, took in starting.measured(args.repeat).items():
        yield Row(name, took * 1e3, "ms", goals.get(name))


BENCHES: dict[str, Callable[[Args], Iterator[Row]]] = {
    "fanout": fanout, "chain": chain, "layered": layered, "runs": runs, "busy": busy, "latency": latency,
    "imports": imports, "size": size, "restart": restart,
}  # fmt: skip


class Args(argparse.Namespace):
    bench: str
    n: int
    repeat: int
    directory: Path | None
    json: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bench", choices=[*BENCHES, ""], default=os.environ.get("BENCH", ""), help="one of them; all")
    parser.add_argument("--n", type=int, default=int(os.environ.get("N") or 0), help="how many, instead of the usual")
    parser.add_argument("--repeat", type=int, default=5, help="times each is measured; the median counts")
    parser.add_argument("--directory", type=Path, help="where to write; must be on the disk that counts")
    parser.add_argument("--json", action="store_true", help="a JSON object for each line")
    args = parser.parse_args(namespace=Args())
    for name in [args.bench] if args.bench else BENCHES:
        for row in BENCHES[name](args):
            print(row.json() if args.json else row.text(), flush=True)


if __name__ == "__main__":
    main()
