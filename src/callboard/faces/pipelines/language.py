"""A pipeline file, from its text to a model in which nothing is left to be wrong.

Everything is checked before anything runs: keys, types, templates, the names they use, needs, circles. All faults
are found at once, each with file, line, column and the fix; what follows from a fault is no further one, so names are
looked at only where everything they hang on could be read. Template files are read through a function the caller
gives, and pinned into the model, so that a run keeps the templates it began with. Checking against a data model
library was tried on paper: its messages speak of the model's types, and people need the line and what to write.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidFile
from callboard.faces.pipelines.faults import Faults
from callboard.faces.pipelines.files import Files
from callboard.faces.pipelines.keys import FILE, FUNCTIONS, PRODUCTION, STEP, TYPES, Key, known
from callboard.faces.pipelines.kinds import KINDS, Cursor, data, label, listed
from callboard.faces.pipelines.model import Pipeline, Scope, Source, Step
from callboard.faces.pipelines.scope import resolve
from callboard.text.document import load
from callboard.text.names import close, closest, same

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from callboard.faces.pipelines.files import Read
    from callboard.text.document import Document, Path

_DELIMITER = re.compile(r"\{[{%]")  # `{#` is a shell's own: ${#name}


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
    faults = Faults()
    pipeline = examine(text, faults, file=file, read=read, functions=functions, vars=vars)
    faults.demand_none()
    assert pipeline is not None
    return pipeline


def examine(
    text: str | bytes,
    faults: Faults,
    *,
    file: str,
    read: Read,
    functions: Collection[str] | None = None,
    vars: Iterable[str] = (),
) -> Pipeline | None:
    """As `parse`, with what is wrong put into `faults`: what could be read of the file, None when it is no YAML.

    Raises nothing.
    """
    try:
        document = load(text, file=file)
        if not isinstance(document.value, dict):
            what = "this file is empty" if document.value is None else "a pipeline file is a mapping"
            raise document.fault(what, fix="begin with name: and pipe:")
    except InvalidFile as error:
        faults.add(error)
        return None
    reader = _Reader(document, read, functions, faults)
    pipeline = reader.pipeline()
    return pipeline if reader.is_unsure else pipeline._replace(scope=resolve(pipeline, frozenset(vars), faults))


#: What the names that other steps use hang on. While one of these is wrong nobody can say whether a name is.
_OF_FILE = frozenset({"vars", "pipe", "defaults", "limits"})
_OF_STEP = frozenset({"name", "needs", "each", "over", "output"})


class _Reader:
    """Walks a document once and makes the model of what is right in it."""

    def __init__(self, document: Document, read: Read, functions: Collection[str] | None, faults: Faults) -> None:
        self.document, self.read, self.functions, self.faults = document, read, functions, faults
        self.files = Files(document, read)
        self.is_unsure = False  # a fault hides names from us
        self.bad: set[Path] = set()  # values that could not be read

    @contextmanager
    def reading(self, key: str, naming: Collection[str]) -> Iterator[None]:
        """A fault inside is one of this key; what comes after goes on. Names hang on the keys in `naming`."""
        try:
            yield
        except InvalidFile as error:
            self.faults.add(error)
            self.is_unsure = self.is_unsure or key in naming

    def pipeline(self) -> Pipeline:
        fields = self.mapping((), self.document.value, FILE, "this file")
        top: dict[str, Any] = {}
        for key in fields:
            if KINDS.get(fields[key][0].kind):
                with self.reading(key, _OF_FILE):
                    top[key] = self.value(key, fields)
        block: Mapping[str, Any] | None = None
        defaults: Mapping[str, Path] = {}
        steps: list[Step] = []
        if "production" in fields:
            block = {}
            with self.faults.caught():
                block = self.production(fields["production"][1])
        if "defaults" in fields:
            with self.reading("defaults", _OF_FILE):
                defaults = self.defaults(fields["defaults"][1])
        if "pipe" in fields:
            with self.reading("pipe", _OF_FILE):
                steps = self.steps(fields["pipe"][1], defaults)
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
            steps=tuple(steps),
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

    def mapping(
        self, path: Path, value: Any, keys: Iterable[Key], where: str, given: Collection[str] = ()
    ) -> dict[str, tuple[Key, Path]]:
        """The keys that stand in a mapping, by canonical name, with the places of their values; `given` need not."""
        by_name = {key.name: key for key in keys}
        found: dict[str, tuple[Key, Path]] = {}
        meant: set[str] = set()  # by keys that are unknown
        for written in value:
            at = (*path, written)
            key = by_name.get(same(written))
            if key is None:
                meant.add(self.unknown(written, at, by_name, where))
            elif key.name in found:
                self.faults.add(self.document.fault(f"{where} has {key.name} twice, in two spellings", at,
                                                    fix="remove one", at_key=True))  # fmt: skip
            else:
                found[key.name] = (key, at)
        for key in keys:
            if key.is_required and key.name not in (*found, *meant, *given):
                what, fix = f"{where} has no `{key.name}`", f"add `{key.name}:` ({key.help})"
                self.faults.add(self.document.fault(what, path, fix=fix))
        return found

    def unknown(self, written: str, path: Path, among: Mapping[str, Key], where: str) -> str:
        """Tell of an unknown key; the key that is probably meant by it, if any."""
        near = closest(written, among)
        self.is_unsure = self.is_unsure or near in (_OF_FILE if len(path) == 1 else _OF_STEP)
        elsewhere = next((key for key in STEP if key.name == same(written) and key.types), None)
        if elsewhere is not None and path[0] != "production":
            what = f"`{written}` is for {' and '.join(elsewhere.types)} steps, not for {where}"
        else:
            what = f"{where} has the unknown key {written[:60]!r}{close(written, among)}"
        self.faults.add(self.document.fault(what, path, fix=f"known keys: {', '.join(among)}", at_key=True))
        return near

    def production(self, path: Path) -> Mapping[str, Any]:
        cursor = Cursor(self.document, path, "`production`")
        value = data(cursor, self.at(path))
        fields = self.mapping(path, value, PRODUCTION, "`production`")
        if "home" in fields and "project_home" in fields:
            raise cursor.at("home").fault(
                "is another word for project_home, which stands here too", "remove one of them"
            )
        block = {}
        for key in fields:
            with self.faults.caught():
                block[key] = self.value(key, fields, f"`production`: {key}")
        if "home" in block:
            block["project_home"] = block.pop("home")
        return block

    def defaults(self, path: Path) -> dict[str, Path]:
        """Keys and their places. Each must be a key of some type of step; which steps take it is their affair."""
        cursor = Cursor(self.document, path, "`defaults`")
        among = [key._replace(is_required=False) for key in STEP if key.name != "name"]
        found = self.mapping(path, data(cursor, self.at(path)), among, "`defaults`")
        return {key: at for key, (_, at) in found.items()}

    def steps(self, path: Path, defaults: Mapping[str, Path]) -> list[Step]:
        cursor = Cursor(self.document, path, "`pipe`")
        values = listed(cursor, self.at(path), "a list of steps")
        if not values:
            raise cursor.fault("has no steps", "add one: - type: llm")
        made: dict[str, Step] = {}
        for index, value in enumerate(values):
            with self.reading("pipe", _OF_FILE):
                step = self.step((*path, index), value, index, defaults)
                twin = made.setdefault(same(step.name), step)
                if twin is not step:
                    first = self.document.place(twin.path).line
                    what = f"two steps are called {step.name!r}, the first on line {first}"
                    place = step.paths.get("name", step.path)
                    raise self.document.fault(what, place, fix="give one another name")
        return list(made.values())

    def step(self, path: Path, value: Any, index: int, defaults: Mapping[str, Path]) -> Step:
        where = f"step {index + 1}"
        if not isinstance(value, dict):
            raise self.document.fault(f"{where} must be a mapping", path, fix="write it as - type: llm")
        places = {same(key): (*path, key) for key in value}
        name = f"step{index + 1}"
        if "name" in places:
            with self.reading("name", _OF_STEP):
                cursor = Cursor(self.document, places["name"], f"`name` of {where}")
                name = KINDS["step_name"].read(cursor, self.at(places["name"]))
        where = f"step {name!r}"
        type = ""
        with self.faults.caught():
            type = self.type(path, places, defaults, where)
        keys = known(type)
        missing = {key for key in defaults if key in keys and key not in places and _other(key) not in places}
        if not type:  # nobody knows which keys it may have: those that every step has are looked at
            value = {key: one for key, one in value.items() if same(key) in keys}
        fields = self.mapping(path, value, keys.values(), where, given={"type", *missing})
        fields |= {key: (keys[key], defaults[key]) for key in missing}
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
            if key in ("type", "name") or path in self.bad:
                continue
            with self.reading(key, _OF_STEP):
                cursor = Cursor(self.document, path, label(key, step.name))
                self.bad.add(path)  # a default is told of once, not with every step
                made = self.value(key, fields, cursor.label)
                if found.kind == "source":
                    made, sources[key] = self.files.source(cursor, made)
                elif found.kind == "schema":
                    made = self.files.schema(cursor, made)
                self.bad.discard(path)
                values[key] = made
        made_step = step._replace(fields=values, sources=sources)
        if len(values) == sum(key not in ("type", "name") for key in fields):
            with self.faults.caught():
                return self.together(made_step)
        return made_step

    # ── rules about several keys ────────────────────────────────────────────────────────────────────────

    def together(self, step: Step) -> Step:
        """The step, with one word for what has two. Raises InvalidFile."""
        fields = step.fields

        def fault(key: str, what: str, fix: str) -> InvalidFile:
            return Cursor(self.document, step.paths[key], label(key, step.name)).fault(what, fix, at_key=True)

        if "result_file" in fields:
            if "output_file" in fields:
                raise Cursor(self.document, step.paths["result_file"], label("result_file", step.name)).fault(
                    "is another word for output_file, which stands here too", "remove one of them"
                )
            both = {"output_file": fields["result_file"], **fields}
            step = step._replace(fields={key: value for key, value in both.items() if key != "result_file"})
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
        return step

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
        if "function" not in step.fields:
            return  # and that has been said
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


def _other(key: str) -> str:
    return {"output_file": "result_file", "result_file": "output_file", "each": "over", "over": "each"}.get(key, key)
