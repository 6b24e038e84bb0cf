"""The bench on which stores are tried: how one is opened anew, the values cases use, and what a case is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from callboard.core.deadline import Deadline, Now
from callboard.core.executions import pack
from callboard.core.facts import Heard, encode
from callboard.core.plan import Plan, Task, dump
from callboard.ports import Call, Owner, Records, RunRow, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAN = dump(Plan((Task("first"), Task("second", needs=("first",)))))
ME = Owner("here", "boot", 100, 1.5, "me")
YOU = Owner("here", "boot", 200, 2.5, "you")
FAR = Owner("there", "boot", 100, 1.5, "far")
FACT = encode(Heard("key", 1, "value"))
WORDS = 'Grüße, 東京 \U0001f3ad "quoted" \\ back\u2028slash\x7f'
NAME = "Grüße, 東京 \U0001f3ad"
RUNNING, SUCCESS = 2, 5


class Both(Store, Records, Protocol):
    """A store under test."""


def at(elapsed: float, wall: float = 0.0, boot: str = ME.boot) -> Now:
    """A moment by the elapsed clock; the wall says what it likes."""
    return Now(wall, boot, elapsed)


def lease(elapsed: float) -> Deadline:
    """One of 30 seconds that is over then."""
    return Deadline(30.0, ME.boot, elapsed, 30.0)


class Bench:
    """Opens the store under test; `again` closes it and opens what was recorded anew."""

    def __init__(self, open: Callable[[], Both], *, reopen: bool = True) -> None:
        self._open, self._reopen = open, reopen
        self.store = open()

    def again(self) -> Both:
        if self._reopen:
            self.store.close()
            self.store = self._open()
        return self.store

    def run(self, id: str = "show-1", **changes: Any) -> RunRow:
        fields = {"name": "Show", "plan": PLAN, "params": '{"input":"text"}', "face": "pipelines", "at": 10.5}
        return self.store.create_run(id=id, **{**fields, **changes})

    def owned(self, id: str = "show-1", **changes: Any) -> tuple[int, int]:
        """A run that we own: (number, fence)."""
        number = self.run(id, **changes).number
        fence = self.store.claim(number, ME, lease(1000.0), at(11.0), alive=alive)
        assert fence is not None
        return number, fence


Case: TypeAlias = "Callable[[Bench], None]"


class Cases(list[Case]):
    """Cases in the order they were written; calling it adds one."""

    def __call__(self, function: Case) -> Case:
        self.append(function)
        return function


@contextmanager
def refused(error: type[Exception]) -> Iterator[list[Exception]]:
    """The block raises `error`; it is the one element of the list afterwards."""
    raised: list[Exception] = []
    try:
        yield raised
    except error as one:
        raised.append(one)
        return
    raise AssertionError(f"{error.__name__} was not raised")


def alive(owner: Owner) -> bool:
    return True


def dead(owner: Owner) -> bool:
    return False


def packed(run: int, node: int, number: int = 1) -> int:
    return pack(run, node, number)


def row_of(run: int, node: int, number: int = 1, status: int = RUNNING, began: int = 1, **more: Any) -> tuple[Any, ...]:
    return (packed(run, node, number), status, more.get("attempt", 1), began, more.get("at", 12.25), more.get("reason"),
            more.get("state"))  # fmt: skip


def a_call(run: int, index: int = 0, **changes: Any) -> Call:
    call = Call(run, 0, 1, 1, index, f"key-{run}-{index}", "offline", "model", "hash", 10, 5, 250, 0.125, 13.5)
    return call._replace(**changes)
