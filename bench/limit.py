"""The bare limit: what asyncio and SQLite cost when nothing else is done, as the measure for everything else.

Every no-op task is an asyncio task; its intent is committed before it runs and its outcome after it; whatever
waits is committed together; every commit is synced (WAL, `synchronous=FULL`). No machine, no journal, no fences,
no inbox: an honest minimum, with the same care for the disk that the store takes (flat JSON into few statements,
a log grown in advance), so that a ratio to it tells what our own work costs and nothing else.

    python bench/limit.py [--directory DIR]      # on the disk that counts; a tmpfs syncs nothing
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

_SCHEMA = """
CREATE TABLE run (id INTEGER PRIMARY KEY, status INTEGER NOT NULL) STRICT;
CREATE TABLE intent (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE outcome (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
"""
_RUNS = """INSERT INTO run SELECT CAST(key AS INTEGER), value FROM json_each(?) WHERE true
    ON CONFLICT DO UPDATE SET status = excluded.status"""
_INTENTS = "INSERT INTO intent SELECT value FROM json_each(?)"
_OUTCOMES = "INSERT INTO outcome SELECT CAST(key AS INTEGER), value FROM json_each(?)"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Recorder:
    """Group commit: what is recorded in one turn of the loop, or while a commit runs, is one synced transaction."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection = apsw.Connection(str(path))
        connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()
        connection.execute(_SCHEMA)
        connection.execute("CREATE TABLE grown (b); INSERT INTO grown VALUES (zeroblob(4000000)); DROP TABLE grown")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        self._committed: asyncio.Future[None] | None = None
        self._runs: dict[int, int] = {}
        self._intents: list[int] = []
        self._outcomes: list[str] = []

    def record(
        self, *, intents: Iterable[int] = (), outcome: tuple[int, Any] | None = None, run: tuple[int, int] | None = None
    ) -> asyncio.Future[None]:
        """Await what it returns: then all of it is on disk."""
        self._intents += intents
        if outcome is not None:
            self._outcomes.append(f'"{outcome[0]}":{_encode({"value": outcome[1]})}')
        if run is not None:
            self._runs[run[0]] = run[1]
        if self._committed is None:
            self._committed = self._loop.create_future()
            self._loop.call_soon(self._commit)
        return self._committed

    def close(self) -> None:
        self._connection.close()

    def _commit(self) -> None:
        committed, self._committed = self._committed, None
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        if self._runs:
            execute(_RUNS, (_encode(self._runs),))
            self._runs = {}
        if self._intents:
            execute(_INTENTS, (str(self._intents),))
            self._intents = []
        if self._outcomes:
            execute(_OUTCOMES, ("{" + ",".join(self._outcomes) + "}",))
            self._outcomes = []
        execute("COMMIT")
        assert committed is not None
        committed.set_result(None)


async def no_op() -> Any:
    """The work of every task."""
    return None


async def _task(recorder: Recorder, id: int) -> None:
    await recorder.record(intents=(id,))
    await recorder.record(outcome=(id, None))


async def _fanout(recorder: Recorder, n: int, first: int = 1) -> None:
    tasks = [asyncio.create_task(_task(recorder, id)) for id in range(first, first + n)]
    for task in tasks:
        await task


async def _chain(recorder: Recorder, n: int, first: int = 1) -> None:
    """One commit per link: an outcome and the intent of what follows are recorded together."""
    await recorder.record(intents=(first,))
    for id in range(first, first + n):
        value = await asyncio.create_task(no_op())
        await recorder.record(outcome=(id, value), intents=() if id == first + n - 1 else (id + 1,))


async def _graph(recorder: Recorder, needs: Sequence[tuple[int, ...]]) -> None:
    """What a task frees is intended in the commit that records its outcome."""
    waiting = [len(above) for above in needs]
    below: list[list[int]] = [[] for _ in needs]
    for task, above in enumerate(needs):
        for one in above:
            below[one].append(task)
    left, over = len(needs), asyncio.get_running_loop().create_future()
    running: set[asyncio.Task[None]] = set()

    def begin(tasks: Iterable[int]) -> None:
        for task in tasks:
            running.add(started := asyncio.create_task(carry_out(task)))
            started.add_done_callback(running.discard)

    async def carry_out(task: int) -> None:
        nonlocal left
        value = await no_op()
        freed: list[int] = []
        for one in below[task]:
            waiting[one] -= 1
            if not waiting[one]:
                freed.append(one)
        await recorder.record(outcome=(task + 1, value), intents=[one + 1 for one in freed])
        begin(freed)
        left -= 1
        if not left:
            over.set_result(None)

    roots = [task for task, above in enumerate(needs) if not above]
    await recorder.record(intents=[task + 1 for task in roots])
    begin(roots)
    await over


async def _run(recorder: Recorder, number: int, tasks: int, chained: bool) -> None:
    await recorder.record(run=(number, 2))
    await (_chain if chained else _fanout)(recorder, tasks, number << 20)
    await recorder.record(run=(number, 5))


async def _runs(recorder: Recorder, count: int, tasks: int, chained: bool) -> None:
    running = [asyncio.create_task(_run(recorder, number, tasks, chained)) for number in range(1, count + 1)]
    for run in running:
        await run


def _measure(work: Callable[[Recorder], Coroutine[Any, Any, None]], directory: Path | None) -> float:
    async def main(folder: str) -> float:
        recorder = Recorder(Path(folder) / "limit.db")
        began = time.perf_counter()
        await work(recorder)
        took = time.perf_counter() - began
        recorder.close()
        return took

    with tempfile.TemporaryDirectory(prefix="callboard-limit-", dir=directory) as folder:
        return asyncio.run(main(folder))


def fanout(n: int, directory: Path | None = None) -> float:
    """Seconds for `n` independent tasks."""
    return _measure(lambda recorder: _fanout(recorder, n), directory)


def chain(n: int, directory: Path | None = None) -> float:
    """Seconds for `n` tasks, each synced before the next starts."""
    return _measure(lambda recorder: _chain(recorder, n), directory)


def graph(needs: Sequence[tuple[int, ...]], directory: Path | None = None) -> float:
    """Seconds for tasks of which each names the ones it needs."""
    return _measure(lambda recorder: _graph(recorder, needs), directory)


def runs(count: int, tasks: int, directory: Path | None = None, *, chained: bool = False) -> float:
    """Seconds for `count` runs at once of `tasks` tasks each, independent or in a chain, their ends recorded too."""
    return _measure(lambda recorder: _runs(recorder, count, tasks, chained), directory)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--directory", type=Path, help="where to write; must be on the disk that counts")
    directory = arguments.parse_args().directory
    shapes = (
        ("fan-out of 10,000", 10_000, partial(fanout, 10_000, directory)),
        ("chain of 1,000", 1_000, partial(chain, 1_000, directory)),
        ("1,000 runs of 10", 10_000, partial(runs, 1_000, 10, directory)),
        ("1,000 runs of chains of 10", 10_000, partial(runs, 1_000, 10, directory, chained=True)),
    )
    for name, tasks, work in shapes:
        seconds = sorted(work() for _ in range(5))[2]
        print(f"{name:28} {seconds:7.3f} s  {tasks / seconds:9,.0f} tasks/s")


if __name__ == "__main__":
    main()
