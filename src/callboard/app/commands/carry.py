"""Carry runs out in this process, until each has ended or waits for somebody.

A run that waits for a person, an event or a purse is left as it is: recorded, owned by nobody, and taken up again
by whoever resumes it. An interruption halts what is at work in good order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from callboard.app.commands.noticing import notice_at_the_end
from callboard.app.commands.playing import promise, tell_production, tell_rest
from callboard.core.orders import Finish
from callboard.core.reasons import because
from callboard.core.status import ENDED, Status
from callboard.errors import Conflict, Refused, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from callboard.app.wiring import House
    from callboard.core.facts import Fact
    from callboard.core.orders import Order
    from callboard.engine.engine import Engine


class Left(NamedTuple):
    """How a run was left: its status, and what it waits for when it has not ended."""

    status: Status
    because: str = ""


async def carry_out(
    house: House,
    runs: Sequence[int],
    *,
    watch: Callable[[Engine], None] = lambda engine: None,
    report: Callable[[str, str], None] = lambda state, why: None,
    stop: Stop | None = None,
) -> dict[int, Left]:
    """Take runs up, wait, and let go of them. When `stop` is pulled what is at work is halted: *interrupted*.

    `watch` gets the engine once it has started; `report` hears what it meets, as `Engine` says. Raises Conflict when
    another living process carries a run out, Refused when its executors are not here, StoreError when one had to be set
    aside.
    """
    stop = stop or Stop()
    carrier = Carrier(house, report)
    await carrier.engine.start()
    try:
        watch(carrier.engine)
        tell_rest(house)
        for run in runs:
            promise(house, run, carrier.engine.owner)
        left = await carrier.carry(runs, stop)
    except BaseException:
        await carrier.engine.stop(interrupt=True)
        raise
    else:
        await carrier.engine.stop(interrupt=stop.is_pulled)
    finally:
        await house.hang_up()
    for run, how in left.items():
        notice_at_the_end(house, run)
        if why := tell_production(house, run, how.status, how.because):
            report("waiting", why)
    return left


class Stop:
    """A cord to pull: those who wait are told at once. Only to be pulled on the loop they wait on."""

    def __init__(self) -> None:
        self.is_pulled = False
        self._told: list[Callable[[], None]] = []

    def tell(self, told: Callable[[], None]) -> None:
        self._told.append(told)
        if self.is_pulled:
            told()

    def pull(self) -> None:
        if not self.is_pulled:
            self.is_pulled = True
            for told in self._told:
                told()


class Carrier:
    """An engine, and the waits for its runs."""

    def __init__(self, house: House, report: Callable[[str, str], None] = lambda state, why: None) -> None:
        self._house, self._report = house, report
        self._waits: dict[int, list[asyncio.Future[Left]]] = {}
        self.engine: Engine = house.engine(report=self._reported)
        self.engine.watch(self._moved)

    async def carry(self, runs: Sequence[int], stop: Stop) -> dict[int, Left]:
        """How each run was left: ended, waiting, or interrupted because `stop` was pulled."""
        waits = {run: self._wait(run) for run in runs}
        try:
            ours = await self.engine.submit(*runs)
            for run in runs:
                if run not in ours and not waits[run].done():
                    self._not_ours(run, waits[run])
                self._look(run)
            stop.tell(lambda: _interrupt(waits.values()))
            return {run: await wait for run, wait in waits.items()}
        finally:
            self._forget(waits)

    def _forget(self, waits: Mapping[int, asyncio.Future[Left]]) -> None:
        for run, wait in waits.items():
            others = [one for one in self._waits.pop(run, ()) if one is not wait]
            if others:
                self._waits[run] = others

    def _wait(self, run: int) -> asyncio.Future[Left]:
        future: asyncio.Future[Left] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(run, []).append(future)
        return future

    def _not_ours(self, run: int, wait: asyncio.Future[Left]) -> None:
        row = self._house.store.find_run(run)
        if Status(row.status) in ENDED:
            return _settle(wait, Left(Status(row.status)))
        if run in self.engine.refused:
            raise Conflict(f"run {row.id} is not carried out: {self.engine.refused[run]}")
        raise Conflict(f"run {row.id} is being carried out by process {row.owner.pid if row.owner else '?'}")

    def _moved(self, run: int, facts: Iterable[Fact], orders: Iterable[Order]) -> None:
        if run in self._waits:
            for order in orders:
                if type(order) is Finish:
                    return self._tell(run, Left(order.status))
            self._look(run)
        return None

    def _look(self, number: int) -> None:
        """Whether nothing of a run is at work, and something outside has to happen."""
        held = self.engine.runs.get(number)
        run = held.run if held is not None else None
        if run is not None and run.status not in ENDED and not run.at_work and (run.holds or not run.queued):
            reason = because(run)
            if reason and not reason.startswith(("tick", "cancelling", "failed")):
                self._tell(number, Left(Status.RUNNING, reason))

    def _tell(self, run: int, left: Left) -> None:
        for wait in self._waits.pop(run, ()):
            _settle(wait, left)

    def _reported(self, state: str, why: str) -> None:
        """The engine has something to say; a run that it had to set aside has nobody to wait for."""
        error = {"set aside": StoreError, "not here": Refused, "lost": Conflict}.get(state)
        if error is not None:
            gone = self.engine.lost if state == "lost" else self.engine.refused
            for run in [run for run in self._waits if run in gone]:
                for wait in self._waits.pop(run):
                    if not wait.done():
                        wait.set_exception(error(why))
        self._report(state, why)  # at last: whoever listens may fail


def _interrupt(waits: Iterable[asyncio.Future[Left]]) -> None:
    for wait in waits:
        _settle(wait, Left(Status.RUNNING, "interrupted"))


def _settle(wait: asyncio.Future[Left], left: Left) -> None:
    if not wait.done():
        wait.set_result(left)
