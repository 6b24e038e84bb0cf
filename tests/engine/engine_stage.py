"""A small stage for engines: a store, a clock that moves when told, a scripted backend, and faults on order."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from callboard.core import plan as plans
from callboard.core import rows
from callboard.core.facts import encode
from callboard.core.plan import Plan, Task
from callboard.core.status import Status
from callboard.engine.engine import Engine
from callboard.engine.owner import new_owner
from callboard.engine.threads import Threads
from callboard.errors import StoreError
from callboard.testing.clock import FakeClock
from callboard.testing.scripted import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.facts import Fact
    from callboard.core.run import Run
    from callboard.ports import Store, Write


class AtOnce(Executor):
    """No thread at all."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        done = Future[Any]()
        try:
            done.set_result(call(*args, **more))
        except BaseException as error:
            done.set_exception(error)
        return done


class Calm(Threads):
    """Nothing is slow, what goes to a thread is done at once, and beats come when a test says so: how many turns of the
    loop something takes, while the test's own time goes on, must not depend on how busy the machine is."""

    def __init__(self) -> None:
        self.beats: dict[str, tuple[float, Callable[[], None]]] = {}

    def worker(self, name: str) -> Executor:
        return AtOnce()

    def beat(self, every: float, call: Callable[[], None], name: str) -> Callable[[], None]:
        self.beats[name] = every, call
        return lambda: None

    def seconds(self) -> float:
        return 0.0


class Stage:
    """Engines over one store. `said` is what they reported, `moved` what their watchers heard."""

    def __init__(self, store: Store, backend: ScriptedBackend | None = None) -> None:
        self.store = store
        self.clock = FakeClock()
        self.backend = backend or ScriptedBackend()
        self.said: list[tuple[str, str]] = []
        self.engines: list[Engine] = []

    async def engine(self, store: Store | None = None, backend: ScriptedBackend | None = None, **more: Any) -> Engine:
        def report(state: str, why: str) -> None:
            self.said.append((state, why))

        more = {"report": report, "project": "p", "threads": Calm()} | more
        engine = Engine(store or self.store, backend or self.backend, self.clock, new_owner(), **more)
        self.engines.append(engine)
        await engine.start()
        return engine

    def run(self, *tasks: Task | str, id: str = "show", params: str = "{}", **more: Any) -> int:
        """A run of a plan of these tasks; its number."""
        plan = Plan(tuple(task if isinstance(task, Task) else Task(task) for task in tasks), **more)
        row = self.store.create_run(
            id=id, name=id, plan=plans.dump(plan), params=params, face="test", at=self.clock.now().wall
        )
        return row.number

    def letter(self, run: int, *facts: Fact, id: str = "letter") -> None:
        """What another process does: facts into the inbox."""
        self.store.append(run, [(f"{id}.{n}", encode(fact)) for n, fact in enumerate(facts)], self.clock.now().wall)

    def statuses(self, run: int) -> dict[str, str]:
        """Latest statuses by name, from the disk."""
        loaded = reload(self.store, run)
        return {loaded.name_of(node.id): node.status.name for node in loaded.nodes}

    def status(self, run: int) -> Status:
        return Status(self.store.find_run(run).status)

    def value(self, run: int, node: int = 0, number: int = 1) -> str | None:
        return self.store.outcome(run, node, number)

    async def close(self) -> None:
        for engine in self.engines:
            if not engine.stopped:
                await engine.stop(interrupt=False)

    async def kill(self, engine: Engine) -> None:
        """The engine's process is gone: nothing of it happens any more, nothing is released."""
        engine._taking.closing = True
        dispatcher = engine._parts.dispatcher
        for held in list(engine.runs.values()):
            dispatcher.end_all(held, "lost")
        await dispatcher.idle()
        await engine._close()


class Kill(BaseException):
    """The process is gone, here: nothing after this line happens."""


class Faulty:
    """A store whose commits fail as told. `at` counts commits from 1; `after` fails when it is on disk already."""

    def __init__(
        self, inner: Store, *, fails: Callable[[int], BaseException | None] = lambda n: None, after: bool = False
    ) -> None:
        self.inner, self.fails, self.after = inner, fails, after
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def try_commit(self, writes: Sequence[Write]) -> bool:
        self.commit(writes)
        return True

    def commit(self, writes: Sequence[Write]) -> None:
        self.commits += 1
        error = self.fails(self.commits)
        if error is None or self.after:
            self.inner.commit(writes)
        if error is not None:
            raise error


def full(*numbers: int) -> Callable[[int], BaseException | None]:
    """The disk is full at these commits."""
    return lambda n: StoreError("the disk is full") if n in numbers else None


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop (and the engine's threads) go on until something is so; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def passing(clock: FakeClock, condition: Callable[[], Any], seconds: float = 0.3) -> None:
    """As `until`, with time going on meanwhile; what has not come after so many turns never comes."""
    for _ in range(3000):
        if condition():
            return
        await turn()
        clock.advance(seconds)
    raise AssertionError("time went on, and it did not happen")


async def turn(times: int = 50) -> None:
    """Let the loop go on a little."""
    for _ in range(times):
        await asyncio.sleep(0)


def reload(store: Store, run: int) -> Run:
    return rows.loaded(store.load(run))


def told(run: Run) -> dict[str, Any]:
    """Everything that decides what a run does next, as plain values."""
    nodes = {
        run.name_of(n.id): (
            n.status.name, n.number, n.attempt, n.tries, n.losses, n.revision, n.hold, n.wake, n.note,
            n.parent < 0 and n.current, n.waiting, n.movers, n.may, n.meets, n.next,
            run.inputs(n.id) if n.number else (),
        )
        for n in run.nodes
    }  # fmt: skip
    names = ("status", "holds", "cancelling", "failing", "open", "at_work", "held", "queued", "failures", "stops")
    return {"nodes": nodes, "hopeful": run.hopeful, "pending": run.pending} | {n: getattr(run, n) for n in names}
