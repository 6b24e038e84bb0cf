"""`function`: a user's own Python function, sync or async.

User code never runs on the engine's loop, so this executor does not decide where: wiring passes how a sync
function is run (a thread of this process, or this thread in a child) and how an async one is awaited. The parts
are offered singly (`find`, `bound`, and `value`), because a child calls a sync function straight from its worker
thread: going over an event loop and back costs more than the call.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from callboard.errors import Permanent, UsageError
from callboard.executors.registry import Function, Registry, home_file, imported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping

    from callboard.ports import Context, Json

T = TypeVar("T")
_MISSING = object()


class OffLoop(Protocol):
    """Runs a blocking call somewhere it blocks nobody, and waits for it."""

    def __call__(self, call: Callable[[], Any]) -> Awaitable[Any]: ...


class OnLoop(Protocol):
    """Awaits a user's coroutine on the loop it belongs to."""

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]: ...


async def here(coroutine: Coroutine[Any, Any, T]) -> T:
    """An `OnLoop` for those who own their loop: awaits the coroutine where it stands."""
    return await coroutine


class Functions:
    """Implements `ports.Executor`. `root`: import a plain function's module from below this directory (children)."""

    kind = "function"
    version = "1"
    effect = "keyed"

    def __init__(
        self, registry: Registry, *, off_loop: OffLoop, on_loop: OnLoop = here, root: str | None = None
    ) -> None:
        self._registry, self._off_loop, self._on_loop, self._root = registry, off_loop, on_loop, root

    def can(self, inputs: Mapping[str, Json]) -> str | None:
        """None when the function is here, else the reason in words."""
        try:
            self.find(inputs)
        except Permanent:
            file = inputs.get("file") or "another process"
            return f"its functions live in {file}; run it again"
        return None

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        function = self.find(inputs)
        call, data = self.bound(function, ctx, inputs)
        result = await (self._on_loop(call()) if function.is_async else self._off_loop(call))
        return value(result, data)

    def find(self, inputs: Mapping[str, Json]) -> Function:
        """Raises Permanent when there is no such function."""
        name = str(inputs.get("function", ""))
        found = self._registry.find(name)
        if found is None and self._root is not None:
            try:
                found = imported(name, self._root)
            except UsageError as error:
                raise Permanent(str(error)) from None
        if found is None:
            raise Permanent(self._registry.missing(name))
        return found

    def bound(
        self, function: Function, ctx: Context, inputs: Mapping[str, Json]
    ) -> tuple[Callable[[], Any], PipeData | None]:
        """The call with its arguments in place, and the pipe data it may write into."""
        if function.style == "plain":
            arguments = _arguments(function, ctx, inputs)
            return (lambda: function.call(**arguments)), None
        data, params = _pipe_data(ctx, inputs), _params(inputs)
        if _takes(function) < 2:
            return (lambda: function.call(data)), data
        return (lambda: function.call(data, params)), data


def value(result: Any, data: PipeData | None) -> Json:
    """The value of what a function returned; `data` is what `bound` gave it to write into."""
    return result if data is None else _from_pipe(result, data)


class PipeData(dict[str, Any]):
    """What a registered function reads and writes: `pipein_text` or `pipein-text`, as it likes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({_plain(key): value for key, value in values.items()})

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(_plain(key))

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(_plain(key), value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(_plain(key))

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_plain(key))

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(_plain(key), default)

    def pop(self, key: str, *default: Any) -> Any:
        return super().pop(_plain(key), *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        return super().setdefault(_plain(key), default)

    def update(self, *values: Any, **named: Any) -> None:
        for key, value in dict(*values, **named).items():
            self[key] = value


def _plain(key: Any) -> Any:
    return key.replace("-", "_") if isinstance(key, str) else key


def _pipe_data(ctx: Context, inputs: Mapping[str, Json]) -> PipeData:
    run = inputs.get("run") or {}
    return PipeData(
        {
            "pipein_text": inputs.get("pipe", ""),
            "item": inputs.get("item"),
            "key": ctx.attempt.item,
            "input": run.get("input", ""),
            "id": run.get("id"),
            "production": run.get("production"),
            "upstream": dict(inputs.get("upstream") or {}),
        }
    )


def _params(inputs: Mapping[str, Json]) -> PipeData:
    params = inputs.get("params")
    return PipeData(params if isinstance(params, dict) and params is not inputs.get("run") else {})


def _from_pipe(result: Any, data: PipeData) -> Json:
    """What a registered function has put into the pipe: text, or the data it was given, or anything else as it is."""
    if result is None:
        result = data
    if isinstance(result, dict):
        written = result if isinstance(result, PipeData) else PipeData(result)
        for key in ("pipeout_text", "pipein_text"):
            if key in written:
                return written[key]
        return dict(result)
    return result


def _takes(function: Function) -> int:
    """How many of (pipe_data, params) the function takes."""
    if function.signature is None:
        return 2
    kinds = [one.kind for one in function.signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 2
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _arguments(function: Function, ctx: Context, inputs: Mapping[str, Json]) -> dict[str, Any]:
    """Keyword arguments by the names of the parameters: `args`, upstream values, `item`, `key`, `ctx`."""
    named = dict(_named(ctx, inputs))
    if function.signature is None:
        return dict(inputs.get("args") or {})
    parameters = function.signature.parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        asked = {one.name for one in parameters}
        return {name: value for name, value in named.items() if name in asked or name not in ("ctx", "key")}
    found = {one.name: named.get(one.name, _MISSING) for one in parameters if one.kind not in _VARIADIC}
    lacking = [one.name for one in parameters if found.get(one.name) is _MISSING and one.default is one.empty]
    if lacking:
        have = ", ".join(sorted(named.keys() - {"ctx", "key"})) or "nothing"
        file = home_file(function.call)
        raise Permanent(
            f"{_spoken(function)} asks for {', '.join(lacking)}, but there is {have}", evidence={"file": file}
        )
    return {name: value for name, value in found.items() if value is not _MISSING}


def _spoken(function: Function) -> str:
    """Its name as it stands in its file: module and digest tell plans apart, not people."""
    return function.name.partition("@")[0].rpartition(":")[2].rpartition(".")[2]


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _named(ctx: Context, inputs: Mapping[str, Json]) -> Iterator[tuple[str, Any]]:
    """All that a plain function may ask for by name; what comes later wins."""
    yield "ctx", ctx
    yield "key", ctx.attempt.item
    upstream = inputs.get("upstream") or {}
    for task, value in upstream.items():
        yield task.replace("-", "_").replace(" ", "_"), value
    for name, task in (inputs.get("bind") or {}).items():
        yield name, upstream.get(task)
    if inputs.get("item") is not None:
        yield "item", inputs["item"]
    yield from (inputs.get("args") or {}).items()
