"""A backend and a model that do what a script says: for our own tests, and for yours.

    backend = ScriptedBackend({"draft": "a text", "check": [Transient("busy"), {"ok": True}]})

A script maps a task's name, or `task/item key`, to what its attempts do. A JSON value is what it answers; an
error is raised; a list is one of these for each attempt in order, the last for all further ones; a function is
called with the `Work` and gives any of these, or a `Done`, and may be async. `HANG` never answers until it is
cancelled; `hold` keeps attempts until the test lets them go. What is not in the script answers null. Every
attempt is noted in `begun`, every cancellation in `stopped`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard import errors
from callboard.errors import Permanent
from callboard.ports import Answer, Done, Json, Page, Request, Usage, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_NULL = Done('{"value":null}')


class _Hang:
    def __repr__(self) -> str:
        return "HANG"


#: In a script: never answer, until it is cancelled.
HANG: Final = _Hang()


class Begun(NamedTuple):
    """An attempt as the backend saw it."""

    run: int
    name: str  # task, or task/item key
    number: int
    attempt: int


class WorkerLost(errors.WorkerLost):
    """In a script: the worker dies in the middle of the attempt."""

    def __init__(self) -> None:
        super().__init__("")


class ScriptedBackend:
    """`ports.Backend` by script. `lists` maps a mapped task's name to its pages, each a list of (key, value)."""

    def __init__(
        self,
        script: Mapping[str, Any] | None = None,
        *,
        lists: Mapping[str, Sequence[Sequence[tuple[str, Json]]]] | None = None,
        cannot: Mapping[str, str] | None = None,
    ) -> None:
        self.script: dict[str, Any] = dict(script or {})
        self.lists = dict(lists or {})
        self.cannot = dict(cannot or {})  # executor → why it cannot be carried out here
        self.begun: list[Begun] = []
        self.works: list[Work] = []
        self.stopped: list[str] = []
        self.closed = False
        self._gates: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> Callable[[], None]:
        """Attempts of this task wait before they answer; call what is returned to let them go."""
        gate = self._gates[name] = asyncio.Event()
        return gate.set

    async def carry_out(self, work: Work) -> Done:
        name = _name(work)
        self.begun.append(Begun(work.run, name, work.number, work.attempt_number))
        self.works.append(work)
        try:
            if name in self._gates:
                await self._gates[name].wait()
            return await self._act(work, self._part(name, work))
        except asyncio.CancelledError:
            self.stopped.append(name)
            raise

    async def list_page(self, work: Work, page: int) -> Page:
        pages = self.lists.get(work.attempt.task)
        if pages is None:
            raise Permanent(f"no list is scripted for {work.attempt.task}")
        return Page(pages[page - 1] if page <= len(pages) else (), page < len(pages))

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        return self.cannot.get(executor)

    async def close(self) -> None:
        self.closed = True

    def _part(self, name: str, work: Work) -> Any:
        part = self.script.get(name, self.script.get(work.attempt.task, _NULL))
        if isinstance(part, list):
            seen = sum(one.name == name and one.run == work.run for one in self.begun)
            part = part[min(seen, len(part)) - 1]
        return part

    async def _act(self, work: Work, part: Any) -> Done:
        if callable(part) and not isinstance(part, type):
            part = part(work)
            if inspect.isawaitable(part):
                part = await part
        if part is HANG:
            await asyncio.Event().wait()
        if isinstance(part, BaseException) or (isinstance(part, type) and issubclass(part, BaseException)):
            raise part
        return part if isinstance(part, Done) else Done(_encode({"value": part}))


def _name(work: Work) -> str:
    return work.attempt.task if work.attempt.item is None else f"{work.attempt.task}/{work.attempt.item}"


class ScriptedModel:
    """`ports.Model` by script: answers (texts, JSON values, errors) one after another, the last again and again.

    With a function it is called with each `Request`. Requests are kept in `asked`.
    """

    def __init__(self, *answers: Any, name: str = "scripted", price: tuple[int, int] | None = None) -> None:
        self._answers = list(answers) or [""]
        self._name, self._price = name, price
        self.asked: list[Request] = []

    async def complete(self, request: Request, *, on_text: Callable[[str], None] | None = None) -> Answer:
        part = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append(request)
        if callable(part) and not isinstance(part, type):
            part = part(request)
        if isinstance(part, BaseException) or (isinstance(part, type) and issubclass(part, BaseException)):
            raise part
        text = part if isinstance(part, str) else _encode(part)
        if on_text is not None:
            on_text(text)
        usage = Usage(sum(len(message.text.split()) for message in request.messages), len(text.split()), True)
        cost = None if self._price is None else usage[0] * self._price[0] + usage[1] * self._price[1]
        data = None if request.schema is None else json.loads(text)
        return Answer(text, data, "scripted", self._name, usage, cost)

    def price(self, model: str) -> tuple[int, int] | None:
        return self._price
