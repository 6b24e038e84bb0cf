"""The main of a child process: wires the one executor that runs user code, and serves the wire.

User modules are imported here and nowhere else: the files of the project's `function/` folder, only when a
project root was named, and only real files below it. One that cannot be imported takes away its own functions
and nothing more; before each the engine is told, so that it knows which one has ended a child. The engine starts
this with `python -I`, an environment of its own making, and the wire on descriptors of its own, under a supervisor
that has set the group, the niceness and the parent-death signal.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import os
import sys
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from callboard.backends import wire
from callboard.backends.inside import Inside
from callboard.errors import Permanent, StepError
from callboard.executors.failures import step_error, trace
from callboard.executors.function import Functions, value
from callboard.executors.registry import REGISTRY, Function
from callboard.executors.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.backends.far import ChildContext
    from callboard.ports import Json

FOLDER = "function"  # of a project: modules that register functions
_SWITCH = 0.001  # seconds after which one thread lets the next run; the engine's own interpreter keeps Python's


def main(argv: Sequence[str]) -> NoReturn:
    """`argv`: descriptors of the wire in and out, the project's root ("" for none), files that are left out."""
    read, write, root, without = int(argv[0]), int(argv[1]), argv[2], argv[3:]
    for descriptor in (read, write):
        os.set_inheritable(descriptor, False)
    os.umask(0o077)
    sys.setswitchinterval(_SWITCH)
    faulthandler.enable(2, all_threads=False)  # a crash leaves its traceback as evidence
    faults = import_folder(Path(root), without, lambda file: _tell(write, file)) if root else {}
    for fault in faults.values():
        os.write(2, fault.encode(errors="replace"))
    carrier = Carried(root or None, faults)
    gc.collect()
    gc.freeze()
    ready = time.clock_gettime(time.CLOCK_BOOTTIME)  # what begins below us from now on, a call has begun
    Inside(read, write, carrier).serve(wire.pack("hello", REGISTRY.names(), ready))


class Carried:
    """The `function` executor as `inside.Carrier` wants it."""

    def __init__(self, root: str | None, faults: Mapping[str, str]) -> None:
        self._functions = Functions(REGISTRY, off_loop=_never, root=root)
        self._faults = faults

    def is_async(self, inputs: Mapping[str, Json]) -> bool:
        return self._find(inputs).is_async

    def call(self, ctx: ChildContext, inputs: Mapping[str, Json]) -> str:
        call, data = self._functions.bound(self._find(inputs), ctx, inputs)
        return encode(value(call(), data), f"task {ctx.attempt.task!r}")

    async def awaited(self, ctx: ChildContext, inputs: Mapping[str, Json]) -> str:
        call, data = self._functions.bound(self._find(inputs), ctx, inputs)
        return encode(value(await call(), data), f"task {ctx.attempt.task!r}")

    def failure(self, error: BaseException) -> StepError:
        return step_error(error, of_user=True)

    def _find(self, inputs: Mapping[str, Json]) -> Function:
        try:
            return self._functions.find(inputs)
        except Permanent as error:
            if self._faults:
                broken = "; ".join(f"{FOLDER}/{name} could not be imported" for name in self._faults)
                raise Permanent(f"{error}; {broken}", evidence=dict(self._faults)) from None
            raise


def _tell(write: int, file: str) -> None:
    os.write(write, wire.pack("importing", f"{FOLDER}/{file}"))


def import_folder(
    root: Path, without: Sequence[str] = (), begin: Callable[[str], None] = lambda file: None
) -> dict[str, str]:
    """Import every module of the project's `function` folder but those `without`, as `function/FILE`; the traceback by
    file name of those that failed. `begin` hears of each before."""
    folder = root / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return {}
    sys.path.append(str(folder))
    package = types.ModuleType(FOLDER)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(FOLDER, package)
    faults: dict[str, str] = {}
    for file in sorted(folder.glob("*.py")):
        if file.is_symlink() or not file.is_file() or not file.stem.isidentifier():
            continue
        if f"{FOLDER}/{file.name}" in without:
            faults[file.name] = f"{FOLDER}/{file.name} ends the process that imports it, and is left out"
            continue
        begin(file.name)
        try:
            _import(f"{FOLDER}.{file.stem}", file)
        except BaseException as error:
            faults[file.name] = trace(error)
    return faults


def _import(name: str, file: Path) -> None:
    if name in sys.modules:
        return  # another module of the folder has imported it
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


async def _never(call: Any) -> Any:
    raise Permanent("sync functions do not run over the loop of a child")
