"""A pipeline file, from its text to a model in which nothing is left to be wrong.

Everything is checked before anything runs: keys, types, templates, the names they use, needs, circles. Each fault
is one InvalidFile with file, line, column and the fix. Template files are read through a function the caller
gives, and pinned into the model, so that a run keeps the templates it began with. Checking against a data model
library was tried on paper: its messages speak of the model's types, and people need the line and what to write.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from callboard.errors import CallboardError
from callboard.faces.pipelines.keys import FILE, FUNCTIONS, PRODUCTION, STEP, TYPES, Key, known
from callboard.faces.pipelines.kinds import KINDS, Cursor, data, label, listed
from callboard.faces.pipelines.model import Pipeline, Scope, Source, Step
from callboard.faces.pipelines.scope import resolve
from callboard.text import schema as json_schema
from callboard.text.document import load
from callboard.text.names import close, same
from callboard.text.template import compile as compile_template
from callboard.text.template import is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from callboard.errors import InvalidFile
    from callboard.text.document import Document, Path

    #: Text of a file by its path (relative to the current directory), or None when there is none.
    Read = Callable[[str], str | None]

_DELIMITER = re.compile(r"\{[{%]")  # `{#` is a shell's own: ${#name}
_FILES = (".j2", ".jinja", ".jinja2", ".txt", ".md")


def parse(
    text: str | bytes,
    *,
    file: str,
    read: Read,
    functions: Collection[str] | None = None,
    vars: Iterable[str] = (),
) -> Pipeline:
    """The model of a pipeline file, checked to the last name.

    `file` is the path people know it by, `read` gives the text of a template file or None, `functions` are the
    registered ones when they are known, `vars` names of variables that come from elsewhere. Raises InvalidFile.
    """
    document = load(text, file=file)
    if not isinstance(document.value, dict):
        raise document.fault("a pipeline file is a mapping", fix="begin with name: and pipe:")
    pipeline = _Reader(document, read, functions).pipeline()
    return pipeline._replace(scope=resolve(pipeline, frozenset(vars)))


class _Reader:
    """Walks a document once and makes the model."""

    def __init__(self, document: Document, read: Read, functions: Collection[str] | None) -> None:
        self.document, self.read, self.functions = document, read, functions

    def pipeline(self) -> Pipeline:
        fields = self.mapping((), self.document.value, FILE, "this file")
        top = {key: self.value(key, fields) for key in fields if KINDS.get(fields[key][0].kind)}
        block = self.production(fields["production"][1]) if "production" in fields else None
        defaults = self.defaults(fields["defaults"][1]) if "defaults" in fields else {}
        stem = posixpath.basename(self.document.file).rpartition(".")[0]
        return Pipeline(
            file=self.document.file,
            name=top.get("name", stem or "pipeline"),
            description=top.get("description", ""),
            version=top.get("version", ""),
            model=top.get("model"),
            vars=top.get("vars", {}),
            limits=top.get("limits", {}),
            on_failure=top.get("on_failure", "continue"),
            production=block,
            steps=tuple(self.steps(fields["pipe"][1], defaults)),
            document=self.document,
            scope=Scope((), (), (), ()),
        )

    def value(self, key: str, fields: Mapping[str, tuple[Key, Path]], label: str = "") -> Any:
        found, path = fields[key]
        return KINDS[found.kind].read(Cursor(self.document, path, label or f"`{key}`"), self.at(path))

    def at(self, path: Path) -> Any:
        value = self.document.value
        for part in path:
            value = value[part]
        return value

    def mapping(self, path: Path, value: Any, keys: tuple[Key, ...], where: str) -> dict[str, tuple[Key, Path]]:
        """The keys that stand in a mapping, by canonical name, with the places of their values."""
        by_name = {key.name: key for key in keys}
        found: dict[str, tuple[Key, Path]] = {}
        for written in value:
            at = (*path, written)
            key = by_name.get(same(written))
            if key is None:
                raise self.unknown(written, at, by_name, where)
            if key.name in found:
                raise self.document.fault(f"{where} has {key.name} twice, in two spellings", at, fix="remove one",
                                          at_key=True)  # fmt: skip
            found[key.name] = (key, at)
        missing = next((key for key in keys if key.is_required and key.name not in found), None)
        if missing is not None:
            raise self.document.fault(
                f"{where} has no `{missing.name}`", path, fix=f"add `{missing.name}:` ({missing.help})"
            )
        return found

    def unknown(self, written: str, path: Path, among: Mapping[str, Key], where: str) -> InvalidFile:
        elsewhere = next((key for key in STEP if key.name == same(written) and key.types), None)
        if elsewhere is not None and path[0] != "production":
            what = f"`{written}` is for {' and '.join(elsewhere.types)} steps, not for {where}"
        else:
            what = f"{where} has the unknown key {written[:60]!r}{close(written, among)}"
        return self.document.fault(what, path, fix=f"known keys: {', '.join(among)}", at_key=True)

    def production(self, path: Path) -> Mapping[str, Any]:
        cursor = Cursor(self.document, path, "`production`")
        value = data(cursor, self.at(path))
        fields = self.mapping(path, value, PRODUCTION, "`production`")
        if "home" in fields and "project_home" in fields:
            raise cursor.at("home").fault(
                "is another word for project_home, which stands here too", "remove one of them"
            )
        block = {key: self.value(key, fields, f"`production`: {key}") for key in fields}
        if "home" in block:
            block["project_home"] = block.pop("home")
        return block

    def defaults(self, path: Path) -> dict[str, Path]:
        """Keys and their places. Each must be a key of some type of step; which steps take it is their affair."""
        cursor = Cursor(self.document, path, "`defaults`")
        among = tuple(key._replace(is_required=False) for key in STEP if key.name != "name")
        return {
            key: at for key, (_, at) in self.mapping(path, data(cursor, self.at(path)), among, "`defaults`").items()
        }

    def steps(self, path: Path, defaults: Mapping[str, Path]) -> list[Step]:
        cursor = Cursor(self.document, path, "`pipe`")
        values = listed(cursor, self.at(path), "a list of steps")
        if not values:
            raise cursor.fault("has no steps", "add one: - type: llm")
        made: dict[str, Step] = {}
        for index, value in enumerate(values):
            step = self.step((*path, index), value, index, defaults)
            twin = made.setdefault(same(step.name), step)
            if twin is not step:
                first = self.document.place(twin.path).line
                raise self.document.fault(f"two steps are called {step.name!r}, the first on line {first}",
                                          step.paths.get("name", step.path), fix="give one another name")  # fmt: skip
        return list(made.values())

    def step(self, path: Path, value: Any, index: int, defaults: Mapping[str, Path]) -> Step:
        where = f"step {index + 1}"
        if not isinstance(value, dict):
            raise self.document.fault(f"{where} must be a mapping", path, fix="write it as - type: llm")
        places = {same(key): (*path, key) for key in value}
        name = f"step{index + 1}"
        if "name" in places:
            name = KINDS["step_name"].read(
                Cursor(self.document, places["name"], f"`name` of {where}"), self.at(places["name"])
            )
        where = f"step {name!r}"
        type = self.type(path, places, defaults, where)
        keys = known(type)
        missing = {key for key in defaults if key in keys and key not in places and _other(key) not in places}
        fields = self.mapping(path, {**value}, tuple(k._replace(is_required=False) for k in keys.values()), where)
        fields |= {key: (keys[key], defaults[key]) for key in missing}
        for key in keys.values():
            if key.is_required and key.name not in fields:
                raise self.document.fault(f"{where} has no `{key.name}`", path, fix=f"add `{key.name}:` ({key.help})")
        return self.checked(Step(name, type, path, {}, {key: at for key, (_, at) in fields.items()}, {}), fields)

    def type(self, path: Path, places: Mapping[str, Path], defaults: Mapping[str, Path], where: str) -> str:
        at = places.get("type") or defaults.get("type")
        if at is None:
            raise self.document.fault(
                f"{where} has no `type`", path, fix=f"add `type:` with one of: {', '.join(TYPES)}"
            )
        value = self.at(at)
        if value not in TYPES:
            raise self.document.fault(f"{where} has the unknown type {str(value)[:60]!r}{close(str(value), TYPES)}", at,
                                      fix=f"valid types: {', '.join(TYPES)}")  # fmt: skip
        return str(value)

    def checked(self, step: Step, fields: Mapping[str, tuple[Key, Path]]) -> Step:
        values: dict[str, Any] = {}
        sources: dict[str, Source] = {}
        for key, (found, path) in fields.items():
            cursor = Cursor(self.document, path, label(key, step.name))
            values[key] = self.value(key, fields, cursor.label)
            if found.kind == "source":
                values[key], sources[key] = self.source(cursor, values[key])
            elif found.kind == "schema":
                values[key] = self.schema(cursor, values[key])
        del values["type"]
        values.pop("name", None)
        if "result_file" in values:
            if "output_file" in values:
                cursor = Cursor(self.document, fields["result_file"][1], label("result_file", step.name))
                raise cursor.fault("is another word for output_file, which stands here too", "remove one of them")
            values["output_file"] = values.pop("result_file")
        made = step._replace(fields=values, sources=sources)
        self.together(made)
        return made

    # ── rules about several keys ────────────────────────────────────────────────────────────────────────

    def together(self, step: Step) -> None:
        fields = step.fields

        def fault(key: str, what: str, fix: str) -> InvalidFile:
            return Cursor(self.document, step.paths[key], label(key, step.name)).fault(what, fix, at_key=True)

        if "each" in fields and "over" in fields:
            raise fault("over", "and `each` are two lists", "keep one of them")
        for key, needed in (("barrier", ("over",)), ("key", ("each",)), ("allow_failures", ("each", "over"))):
            if key in fields and key in step.paths and not any(one in fields for one in needed):
                raise fault(
                    key, f"means something only beside {' or '.join(f'`{one}`' for one in needed)}", "remove it"
                )
        if "key" in fields and "key" in fields["each"]:
            raise fault("key", "stands inside `each` too", "remove one of them")
        for key in ("step", "suffix"):
            if key in fields and "document_type" not in fields:
                raise fault(key, "says where a document goes, but there is no `document_type`", "add document_type:")
        if step.type == "command":
            self.command(step, fault)
        elif step.type == "function":
            self.function(step, fault)
        elif step.type == "human" and fields.get("review", True) is None:
            raise fault("review", "cannot be false: a person is what a human step waits for", "remove it")

    def command(self, step: Step, fault: Callable[[str, str, str], InvalidFile]) -> None:
        command, is_shell = step.fields["command"], step.fields.get("shell", False)
        if isinstance(command, str) and not is_shell:
            words = ", ".join(word if word.isalnum() else f'"{word}"' for word in command.split()[:8])
            raise fault(
                "command", "is one text, and no shell reads it", f"write it as a list: [{words}], or add shell: true"
            )
        if is_shell and not isinstance(command, str):
            raise fault("command", "is a list, but `shell: true` wants one line of text", "remove shell: true")
        if is_shell and _DELIMITER.search(command):
            raise fault("command", "is read by a shell and takes no templates",
                        'give the value to the shell by env: {NAME: "{{…}}"} and write "$NAME"')  # fmt: skip

    def function(self, step: Step, fault: Callable[[str, str, str], InvalidFile]) -> None:
        name, params = step.fields["function"], step.fields.get("params", {})
        if name not in FUNCTIONS:
            if self.functions is not None and name not in self.functions:
                among = [*FUNCTIONS, *self.functions]
                raise fault("function", f"names {name!r}, which nobody registered{close(name, among)}",
                            f"known functions: {', '.join(among)}")  # fmt: skip
            return
        must, may = FUNCTIONS[name]
        given = {same(key) for key in params}
        for key in params:
            if same(key) not in (*must, *may):
                raise fault("params", f"has {key!r}, which {name} does not take{close(key, (*must, *may))}",
                            f"{name} takes: {', '.join((*must, *may))}")  # fmt: skip
        for key in must:
            if key not in given:
                at = "params" if "params" in step.paths else "function"
                raise fault(at, f"lacks the parameter {key!r} of {name}", f"add params: {{{key}: …}}")

    # ── texts that may be files ─────────────────────────────────────────────────────────────────────────

    def source(self, cursor: Cursor, text: str) -> tuple[str, Source]:
        """The text itself, or that of the template file it names, and where it begins."""
        place = self.document.place(cursor.path)
        origin = Source(self.document.file, place.first_line, place.indent)
        if "\n" not in text.strip() and not is_template(text):
            found = self.template_file(cursor, text.strip())
            if found is not None:
                path, text = found
                origin = Source(path, 1)
        compile_template(text, name=cursor.label, file=origin.file, line=origin.line, indent=origin.indent)
        return text, origin

    def template_file(self, cursor: Cursor, name: str) -> tuple[str, str] | None:
        """(path, text) of the template file of this name, None when the name is no file's but a text of its own."""
        must = name.endswith(_FILES)
        if not _is_inside(name):
            if must and " " not in name:
                raise cursor.fault(
                    f"names {name!r:.80}, which is outside the project", "write a path without .. or a /"
                )
            return None
        folder = posixpath.dirname(self.document.file)
        places = dict.fromkeys(
            posixpath.normpath(posixpath.join(*parts))
            for parts in (("instruction", name), (folder, "instruction", name), (folder, name), (name,))
        )
        for path in places:
            text = self.read(path)
            if text is not None:
                return path, text
        if must and not any(c.isspace() for c in name):
            raise cursor.fault(
                f"names the template file {name!r}, which is not there", f"searched: {', '.join(places)}"
            )
        return None

    def schema(self, cursor: Cursor, value: Any) -> Any:
        """A JSON Schema, or that of the JSON or YAML file the text names."""
        if isinstance(value, str):
            folder = posixpath.dirname(self.document.file)
            places = (
                dict.fromkeys(posixpath.normpath(posixpath.join(one, value)) for one in (folder, ""))
                if _is_inside(value)
                else {}
            )
            found = next(((path, text) for path in places if (text := self.read(path)) is not None), None)
            if found is None:
                raise cursor.fault(
                    f"names the file {value!r:.80}, which is not there",
                    f"searched: {', '.join(places) or 'nothing: the path must stay inside'}",
                )
            value = load(found[1], file=found[0]).value
        try:
            json_schema.check(value)
        except CallboardError as error:
            raise cursor.fault(f"cannot be used: {error}", "see json-schema.org for the words of JSON Schema") from None
        return value


def _is_inside(path: str) -> bool:
    """Whether this could be a path to a file of the project: relative, without `..`, of a plain length."""
    parts = path.split("/")
    return (
        bool(path)
        and len(path) <= 250
        and path.isprintable()
        and ".." not in parts
        and parts[0] not in ("", "~")
        and "\\" not in path
    )


def _other(key: str) -> str:
    return {"output_file": "result_file", "result_file": "output_file", "each": "over", "over": "each"}.get(key, key)
