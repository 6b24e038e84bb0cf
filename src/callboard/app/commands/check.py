"""Check a pipeline file: what it says, and whether all it needs is around. Nothing is run, imported, made or reached.

What is right here can begin here: `run` asks the same questions. All that is wrong is told at once.
"""

from __future__ import annotations

import glob
import os
import shutil
from typing import TYPE_CHECKING, Any

from callboard.app.commands.registered import registered
from callboard.app.wiring import load
from callboard.errors import InvalidFile, NotFound, Permanent, UsageError
from callboard.text.names import close

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from callboard.app.wiring import House
    from callboard.core.plan import Task

_MOST_FILE = 1 << 20  # bytes of a pipeline or template file


def read_pipeline(
    house: House,
    file: Path,
    *,
    vars: Mapping[str, Any] | None = None,
    has_begun: bool = False,
    remark: Callable[[InvalidFile], None] = lambda remark: None,
) -> Any:
    """A pipeline file, checked; `remark` hears what is odd and no fault. A run that `has_begun` may have variables that
    the file has no use for any more.

    Raises NotFound, InvalidFile with all faults.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror or error}. Name a pipeline file") from None
    if len(data) > _MOST_FILE:
        raise InvalidFile("larger than 1 MiB", file=str(file), fix="move texts to files of their own")
    faults = load("faces.pipelines.faults", "Faults")()
    examine = load("faces.pipelines.language", "examine")
    parsed = examine(data, faults, file=str(file), read=_text_of, vars=tuple(vars or ()))
    if parsed is not None:
        missing, remarks = load("faces.pipelines.around", "look")(parsed, World(house, os.getcwd()))
        for one in missing:
            faults.add(one)
        for name in () if has_begun or faults.found else parsed.scope.unread:
            faults.add(_unread(file, name, parsed.vars))
        for one in remarks:
            remark(one)
    faults.demand_none()
    return parsed


def _unread(file: Path, name: str, had: Mapping[str, Any]) -> InvalidFile:
    """A variable that changes nothing is a word that somebody has written wrongly."""
    what = f"nothing in this file reads the variable {name!r}{close(name, had)}"
    return InvalidFile(what, file=str(file), fix=f"its variables: {', '.join(had) or 'none'}")


def check(house: House, file: Path, *, vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`{name, description, production, tasks: [{name, executor, needs, each}], models, warnings}`: what it would do.

    Raises NotFound, InvalidFile.
    """
    remarks: list[InvalidFile] = []
    parsed = read_pipeline(house, file, vars=vars, remark=remarks.append)
    plan = load("faces.pipelines.compile", "compile")(parsed, production=parsed.production or {})
    models = {step.fields.get("model") or parsed.model or "" for step in parsed.steps if step.type == "llm"}
    return {
        "name": plan.name,
        "description": parsed.description,
        "production": plan.settings["production"] or None,
        "tasks": [
            {
                "name": task.name,
                "executor": task.executor,
                "needs": [*task.needs, *(f"{name}?" for name in task.optional)],
                "each": _each(task),
            }
            for task in plan.tasks
        ],
        "models": sorted({house.settings.model} if house.settings.model and models else models - {""}),
        "warnings": [as_data(one) for one in remarks],
    }


def as_data(fault: InvalidFile) -> dict[str, Any]:
    """A fault as JSON."""
    return {"what": fault.what, "file": fault.file, "line": fault.line, "column": fault.column, "fix": fault.fix}


def _each(task: Task) -> str:
    if task.map is None:
        return ""
    if task.map.over:
        return f"over {task.map.over}"
    return " ".join(f"{what} {value}" for what, value in task.inputs.get("each", {}).items() if what != "key")


def _text_of(path: str) -> str | None:
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _MOST_FILE:
            return None
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, ValueError):
        return None


class World:
    """What is around a pipeline whose run will be in `directory`. Implements `faces.pipelines.around.Around`."""

    def __init__(self, house: House, directory: str) -> None:
        self._house, self._directory = house, directory
        self._lacks_model = False
        self._functions: tuple[frozenset[str], bool] | None = None

    def is_file(self, path: str) -> bool:
        return os.path.isfile(os.path.join(self._directory, path))

    def matches(self, pattern: str) -> bool:
        found = glob.iglob(pattern, root_dir=self._directory, recursive=True)
        return any(self.is_file(path) and ".callboard" not in path.split("/") for path in found)

    def no_function(self, name: str) -> tuple[str, str, bool] | None:
        if self._house.registry.find(name) is not None:
            return None
        if self._functions is None:
            self._functions = registered(self._house.root / "function")
        names, is_all = self._functions
        same = name.replace("-", "_")
        if any(one.replace("-", "_") == same for one in names):
            return None
        known = ", ".join([*sorted(names), *load("faces.pipelines.keys", "FUNCTIONS")])
        folder = os.path.relpath(self._house.root / "function")
        fix = f'write @register("{name}") above it, in a file of the folder {folder}; known functions: {known}'
        return f"names {name!r:.80}, which nobody registers{close(name, names)}", fix, is_all

    def no_model(self, model: str | None, provider: str) -> tuple[str, str] | None:
        if self._house.settings.model:
            return None  # the one that was named instead is asked once, by `check_override`
        if not model:
            if self._lacks_model:
                return None  # said once, it is said for all
            self._lacks_model = True
            return "is missing, and the file names none", "write model: in the step or the file, or say --model offline"
        gateway = self._house.gateway
        return _told(lambda: gateway.check(model, provider=provider))

    def no_secret(self, name: str) -> tuple[str, str] | None:
        if name in self._house.settings.secrets:
            return None
        return f"names {name!r:.80}, which is not granted", f"export CALLBOARD_SECRET_{name}=… where you start the run"

    def is_program(self, name: str) -> bool:
        return shutil.which(name) is not None


def check_override(house: House) -> None:
    """Whether the model that was named for every step can be asked. Raises UsageError."""
    if not house.settings.model:
        return
    gateway = house.gateway
    if (missing := _told(lambda: gateway.check("", provider=""))) is not None:
        raise UsageError(f"the model {house.settings.model!r:.80} {missing[0]}. {missing[1]}")


def _told(ask: Callable[[], None]) -> tuple[str, str] | None:
    """(why, fix) of what the gateway refuses."""
    try:
        ask()
    except (Permanent, UsageError) as error:
        why, _, fix = str(error).partition(": ")
        return f"cannot be asked: {why}", fix or "name another model, or say --model offline"
    return None
