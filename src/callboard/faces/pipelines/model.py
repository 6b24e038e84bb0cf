"""A pipeline as it is known once its file has been checked: its steps, what stands where, and what each can see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.faces.pipelines.kinds import Cursor, label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.text.document import Document, Path


class Source(NamedTuple):
    """Where the text of a template begins: in the pipeline's file or in one of its own."""

    file: str
    line: int
    indent: int = 0


class Step(NamedTuple):
    """One step: `fields` by canonical key, checked and converted; `paths` say where each stands in the file."""

    name: str
    type: str
    path: Path
    fields: Mapping[str, Any]
    paths: Mapping[str, Path]
    sources: Mapping[str, Source]  # of texts that came through `tmpl`'s rule

    @property
    def is_mapped(self) -> bool:
        return "each" in self.paths or "over" in self.paths


class Pipeline(NamedTuple):
    """A checked file. `production` is its block as written, None without one."""

    file: str
    name: str
    description: str
    version: str
    model: str | None
    vars: Mapping[str, Any]
    limits: Mapping[str, int]
    on_failure: str
    production: Mapping[str, Any] | None
    steps: tuple[Step, ...]
    document: Document
    scope: Scope

    @property
    def without_model(self) -> tuple[str, ...]:
        """Names of llm steps that name no model and have no default; someone must say `--model`."""
        if self.model:
            return ()
        return tuple(step.name for step in self.steps if step.type == "llm" and "model" not in step.fields)

    def cursor(self, step: Step, key: str) -> Cursor:
        return Cursor(self.document, step.paths.get(key, step.path), label(key, step.name))


class Wanted(NamedTuple):
    """Something that needs an active production: a variable or a key, and where it stands."""

    what: str
    file: str
    line: int
    column: int | None


class Scope(NamedTuple):
    """By place of the step in the file: `needs` (direct), `refers` (steps its templates name); `order` is a
    topological one that keeps the file's where it can; `wanted` is what needs a production; `unread` are variables that
    were given with the run, and that the file neither has nor reads."""

    needs: tuple[tuple[int, ...], ...]
    refers: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]
    wanted: tuple[Wanted, ...]
    unread: tuple[str, ...] = ()
