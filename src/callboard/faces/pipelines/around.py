"""What a checked file needs around it: files, lists, functions, programs, models, secrets. Asked before anything runs.

A path is looked for only where it is literal and no step before could have made the file. What is missing for sure is
a fault; a list that is empty now is only worth a word, because an empty list is an answer. Nothing is imported, run
or reached over a network here: the answers come from whoever calls.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Protocol

from callboard.faces.pipelines.faults import Faults
from callboard.faces.pipelines.keys import FUNCTIONS
from callboard.text.template import is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.errors import InvalidFile
    from callboard.faces.pipelines.kinds import Cursor
    from callboard.faces.pipelines.model import Pipeline, Step


class Around(Protocol):
    """The world as far as a pipeline can name it. Paths are relative to where the run will be."""

    def is_file(self, path: str) -> bool: ...
    def matches(self, pattern: str) -> bool:
        """Whether a glob matches any file."""
        ...

    def no_function(self, name: str) -> tuple[str, str, bool] | None:
        """(why, fix, whether that is sure) when nobody is seen to register this function."""
        ...

    def no_model(self, model: str | None, provider: str) -> tuple[str, str] | None:
        """(why, fix) when this model could not be asked."""
        ...

    def no_secret(self, name: str) -> tuple[str, str] | None: ...
    def is_program(self, name: str) -> bool: ...


def look(pipeline: Pipeline, around: Around) -> tuple[list[InvalidFile], list[InvalidFile]]:
    """(faults, remarks) about what is around a file, in the order of the file."""
    faults, remarks = Faults(), Faults()
    above = _above(pipeline)
    for index, step in enumerate(pipeline.steps):
        makers = [pipeline.steps[other] for other in above[index]]
        for fault in _of_step(pipeline, step, makers, around):
            faults.add(fault)
        for remark in _remarks(pipeline, step, makers, around):
            remarks.add(remark)
    return faults.found, remarks.found


def _above(pipeline: Pipeline) -> list[set[int]]:
    """The steps before each step. Without an order (a need is wrong) all others are taken to be."""
    count = len(pipeline.steps)
    if len(pipeline.scope.order) != count:
        return [set(range(count)) - {index} for index in range(count)]
    found: list[set[int]] = [set() for _ in range(count)]
    for index in pipeline.scope.order:
        for need in (*pipeline.scope.needs[index], *pipeline.scope.refers[index]):
            found[index] |= {need, *found[need]}
    return found


def _of_step(pipeline: Pipeline, step: Step, makers: list[Step], around: Around) -> Iterator[InvalidFile]:
    for cursor, path in _files(pipeline, step):
        if not is_template(path) and not around.is_file(path) and not _may_make(makers, path):
            yield cursor.fault(
                f"names the file {path!r:.80}, which is not there", "write its path from where you stand"
            )
    yield from _asked(pipeline, step, around)
    yield from _function(pipeline, step, around, sure=True)
    for index, secret in enumerate(step.fields.get("secrets", ())):
        if (missing := around.no_secret(secret)) is not None:
            yield _entry(pipeline.cursor(step, "secrets"), index).fault(*missing)
    yield from _program(pipeline, step, around)


def _function(pipeline: Pipeline, step: Step, around: Around, *, sure: bool) -> Iterator[InvalidFile]:
    """The function that nobody registers, when that is as sure as is asked for."""
    name = step.fields.get("function")
    missing = around.no_function(name) if name is not None and name not in FUNCTIONS else None
    if missing is not None and missing[2] is sure:
        yield pipeline.cursor(step, "function").fault(missing[0], missing[1])


def _asked(pipeline: Pipeline, step: Step, around: Around) -> Iterator[InvalidFile]:
    """Whether the model of a step can be asked."""
    if step.type != "llm" or ("model" in step.paths and "model" not in step.fields):
        return
    missing = around.no_model(step.fields.get("model") or pipeline.model, step.fields.get("provider", ""))
    if missing is None:
        return
    cursor = pipeline.cursor(step, "model")
    if "model" not in step.fields and pipeline.model:
        cursor = cursor._replace(path=("model",), label="`model`")
    yield cursor.fault(*missing)


def _program(pipeline: Pipeline, step: Step, around: Around) -> Iterator[InvalidFile]:
    """Whether the program of a command is installed; one with a path of its own may be made by then."""
    command = step.fields.get("command")
    if not isinstance(command, list) or not command or "PATH" in step.fields.get("env", {}):
        return
    program = command[0]
    if "/" not in program and not is_template(program) and not around.is_program(program):
        cursor = _entry(pipeline.cursor(step, "command"), 0)
        yield cursor.fault(
            f"names the program {program!r:.80}, which is not on the PATH", "install it, or write its path"
        )


def _entry(cursor: Cursor, index: int) -> Cursor:
    """An entry of a list, called by the name of the list."""
    return cursor._replace(path=(*cursor.path, index))


def _remarks(pipeline: Pipeline, step: Step, makers: list[Step], around: Around) -> Iterator[InvalidFile]:
    yield from _function(pipeline, step, around, sure=False)
    pattern = step.fields.get("each", {}).get("glob")
    if pattern and not is_template(pattern) and not around.matches(pattern) and not any(map(_makes_files, makers)):
        cursor = pipeline.cursor(step, "each").at("glob")
        yield cursor.fault(f"matches no file: {pattern!r:.80}", "write the pattern as seen from where you stand")


# ── files that are read, and who may have made them ─────────────────────────────────────────────────────


def _files(pipeline: Pipeline, step: Step) -> Iterator[tuple[Cursor, str]]:
    """The files a step reads, as it names them."""
    if "source_file" in step.fields:
        yield pipeline.cursor(step, "source_file"), step.fields["source_file"]
    if "csv" in step.fields.get("each", {}):
        yield pipeline.cursor(step, "each").at("csv"), step.fields["each"]["csv"]
    params = step.fields.get("params", {})
    key = {"aisource": "file", "convert_to_docx": "source"}.get(step.fields.get("function", ""))
    if key and isinstance(params.get(key), str) and "content" not in params:
        yield pipeline.cursor(step, "params").at(key), posixpath.join(str(params.get("dir", "")), params[key])


def _may_make(makers: list[Step], path: str) -> bool:
    """Whether one of these steps could write `path`."""
    wanted = posixpath.normpath(path)
    return any(
        _writes_anything(step) or any(is_template(one) or posixpath.normpath(one) == wanted for one in _written(step))
        for step in makers
    )


def _makes_files(step: Step) -> bool:
    return _writes_anything(step) or "document_type" in step.fields or any(_written(step))


def _writes_anything(step: Step) -> bool:
    return step.type == "command" or (step.type == "function" and step.fields.get("function") not in FUNCTIONS)


def _written(step: Step) -> Iterator[str]:
    if "output_file" in step.fields:
        yield step.fields["output_file"]
    key = {"airesult": "file", "convert_to_docx": "result"}.get(step.fields.get("function", ""))
    params = step.fields.get("params", {})
    if key and isinstance(params.get(key), str):
        yield posixpath.join(str(params.get("dir", "")), params[key])
