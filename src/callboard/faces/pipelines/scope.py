"""What a step can see: the steps before it, and the names its templates may use.

All of it is known before anything runs, so a name that nobody defines, a step that does not come before, a
circle of needs or a use of `production` is found while the file is read, and not after the first paid call.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidFile
from callboard.faces.pipelines.faults import ordered
from callboard.faces.pipelines.keys import known
from callboard.faces.pipelines.kinds import KINDS
from callboard.faces.pipelines.model import Scope, Wanted
from callboard.text.meter import MISSING, find
from callboard.text.names import close, same
from callboard.text.template import compile as compile_template
from callboard.text.template import condition, undefined_fix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from callboard.faces.pipelines.faults import Faults
    from callboard.faces.pipelines.model import Pipeline, Step
    from callboard.text.document import Path
    from callboard.text.template import Compiled, Use

ROOTS = ("pipe", "production", "id", "genre", "no", "input", "vars", "env", "now", "run", "item", "key", "note")
RUN = ("id", "task", "number", "attempt", "key")
PIPE = ("pipein_text", "pipeout_text", "steps", "items")
PRODUCTION = (
    "name", "instance_id", "instance_name", "instance_dir", "project_home", "production_dir", "dir", "settings_dir",
    "step", "document_type", "metadata",
)  # fmt: skip
FILE_ITEM = ("path", "name", "stem", "text")


def resolve(pipeline: Pipeline, more_vars: frozenset[str], faults: Faults) -> Scope:
    """What each step sees; a need or name that leads nowhere is put into `faults`.

    While a need is wrong nobody knows what comes before what, so each step is taken to see every other.
    """
    had = len(faults.found)
    needs = _Needs(pipeline, faults)
    order = list(range(len(pipeline.steps)))
    if len(faults.found) == had:
        with faults.caught():
            order = needs.order()
    names = _Names(pipeline, needs, more_vars, faults)
    above = needs.above(order) if len(faults.found) == had else [-1] * len(order)
    refers = tuple(names.refers(index, above[index]) for index in range(len(pipeline.steps)))
    return Scope(tuple(needs.direct), refers, tuple(order), tuple(names.wanted), names.unread())


class _Needs:
    """Which steps come before which."""

    def __init__(self, pipeline: Pipeline, faults: Faults) -> None:
        self.pipeline, self.steps = pipeline, pipeline.steps
        self.by_name = {same(step.name): index for index, step in enumerate(pipeline.steps)}
        self.direct: list[tuple[int, ...]] = []
        for index, step in enumerate(self.steps):
            self.direct.append(())
            with faults.caught():
                self.direct[index] = self._of(index, step)
            with faults.caught():
                self._limits(step)

    def _of(self, index: int, step: Step) -> tuple[int, ...]:
        found = dict.fromkeys([index - 1] if index else [])
        if "needs" in step.fields:
            found = dict.fromkeys(self._named(step, "needs", name) for name in step.fields["needs"])
        if "over" in step.fields:
            over = self._named(step, "over", step.fields["over"])
            if not self.steps[over].is_mapped:
                raise self.pipeline.cursor(step, "over").fault(
                    f"names {self.steps[over].name!r}, which has no items", "name a step with `each` or `over`"
                )
            found[over] = None
        if "from" in step.fields.get("each", {}):
            found[self._named(step, "each", step.fields["each"]["from"])] = None
        return tuple(found)

    def _named(self, step: Step, key: str, name: str) -> int:
        index = self.by_name.get(same(name))
        if index is None:
            among = [other.name for other in self.steps if other is not step]
            raise self.pipeline.cursor(step, key).fault(
                f"names the step {name!r:.80}, which is not there{close(name, among)}",
                f"steps: {', '.join(among) or 'no other'}",
            )
        return index

    def _limits(self, step: Step) -> None:
        for name in step.fields.get("limits", ()):
            if name not in self.pipeline.limits:
                raise self.pipeline.cursor(step, "limits").fault(
                    f"names {name!r:.80}, which has no number{close(name, self.pipeline.limits)}",
                    f"add at the top of the file: limits: {{{name}: 1}}",
                )

    def order(self) -> list[int]:
        """Every step after its needs, else as in the file. Raises InvalidFile that draws the circle."""
        done: dict[int, None] = {}
        for start in range(len(self.steps)):
            stack = [start]
            on_way: dict[int, None] = {}
            while stack:
                index = stack[-1]
                waits = next((need for need in self.direct[index] if need not in done), None)
                if index in done or waits is None:
                    done.setdefault(index)
                    on_way.pop(index, None)
                    stack.pop()
                elif waits in on_way or waits == index:
                    raise self._circle([*stack[stack.index(waits) :], waits])
                else:
                    on_way[index] = None
                    stack.append(waits)
        return list(done)

    def _circle(self, circle: list[int]) -> InvalidFile:
        drawn = " → ".join(self.steps[index].name for index in circle)
        step = next((self.steps[i] for i in circle if "needs" in self.steps[i].fields), self.steps[circle[0]])
        key = "needs" if "needs" in step.fields else "over" if "over" in step.fields else "each"
        return self.pipeline.cursor(step, key).fault(f"closes a circle: {drawn}", "remove one of these needs")

    def above(self, order: list[int]) -> list[int]:
        """For each step the set of all steps above it, as the bits of a number: sets took seconds for a long chain."""
        sets = [0] * len(self.steps)
        for index in order:
            for need in self.direct[index]:
                sets[index] |= sets[need] | 1 << need
        return sets


class _Names:
    """Whether every name in every template is one that its step can see."""

    def __init__(self, pipeline: Pipeline, needs: _Needs, more_vars: frozenset[str], faults: Faults) -> None:
        self.pipeline, self.needs, self.faults = pipeline, needs, faults
        self.vars: dict[str, Any] = {**dict.fromkeys(more_vars), **pipeline.vars}
        self.given, self.read = more_vars, set[str]()
        self.wanted: list[Wanted] = []
        self.outputs = dict(needs.by_name)
        for index, step in enumerate(pipeline.steps):
            if "output" in step.fields:
                with faults.caught():
                    self._output(index, step)

    def _output(self, index: int, step: Step) -> None:
        name = step.fields["output"]
        if self.outputs.setdefault(same(name), index) != index:
            other = self.pipeline.steps[self.outputs[same(name)]].name
            raise self.pipeline.cursor(step, "output").fault(
                f"{name!r} is the name of step {other!r}'s", "choose another"
            )

    def refers(self, index: int, above: int) -> tuple[int, ...]:
        step = self.pipeline.steps[index]
        found: dict[int, None] = {}
        path: list[str] = []  # what the path of its output is made of
        for key, compiled in _templates(self.pipeline, step):
            for use in compiled.uses:
                root, _, rest = use.name.partition(".")
                if key == "output_file":
                    path.append(root)
                if root == "vars":
                    self.read.add(rest.partition(".")[0])
                with self.faults.caught():
                    self._check(step, key, compiled, use)
                    other = self._step(step, compiled, use, above)
                    if other is not None:
                        found[other] = None
        if "output_file" in step.fields:
            with self.faults.caught():
                self._check_output(step, path)
        if "document_type" in step.fields:
            place = self.pipeline.document.key_place(step.paths["document_type"])
            what = f"`document_type` of step {step.name!r}"
            self.wanted.append(Wanted(what, self.pipeline.file, place.line, place.column))
        return tuple(found)

    def unread(self) -> tuple[str, ...]:
        """Variables given with the run that change nothing; none where a template reads `vars` as a whole."""
        if "" in self.read:
            return ()
        known = {same(name) for name in (*self.pipeline.vars, *self.read)}
        return tuple(sorted(name for name in self.given if same(name) not in known))

    def _check(self, step: Step, key: str, compiled: Compiled, use: Use) -> None:
        root, _, rest = use.name.partition(".")
        if root in ("production", "id") and not use.optional:
            at = _fault(compiled, use, "")
            what = f"{{{{{use.written}}}}} in {compiled.name}"
            self.wanted.append(Wanted(what, at.file, at.line or 1, at.column))
        if use.optional:
            return
        member = rest.partition(".")[0]
        if root not in ROOTS:
            raise self._unknown_root(compiled, use, root)
        if root in ("item", "key") and not _has_item(step, key):
            raise _fault(
                compiled, use, f"{use.written!r} is known only where there are items", "give the step `each` or `over`"
            )
        if member and root == "vars":
            self._check_vars(compiled, use, rest)
        elif member and root in ("run", "production"):
            _among(compiled, use, member, RUN if root == "run" else PRODUCTION)
        elif member and root == "item" and "glob" in step.fields.get("each", {}):
            _among(compiled, use, member, FILE_ITEM)
        elif member and root in ("id", "genre", "no", "input", "now", "key", "note"):
            raise _fault(compiled, use, f"{use.written!r}: {root} is a text and has no members", f"write {root}")

    def _check_output(self, step: Step, roots: list[str]) -> None:
        """Where an output goes, as far as the file tells: not out of the directory, and to as many files as there are
        items, because of outputs that share one the last would be all that is left."""
        path = step.fields["output_file"]
        cursor = self.pipeline.cursor(step, "output_file" if "output_file" in step.paths else "result_file")
        if ".." in path.split("/"):
            raise cursor.fault("climbs with '..'", "name a file from where the run begins, or in full")
        if step.is_mapped and not _OF_ITEM.intersection(roots) and _has_many(step):
            stem, suffix = posixpath.splitext(path)
            own = "item.stem" if "glob" in step.fields.get("each", {}) else "key"
            raise cursor.fault(
                f"is the same file for every item, {path!r:.80}",
                f'write the item into it: "{stem}-{{{{{own}}}}}{suffix}"',
            )

    def _check_vars(self, compiled: Compiled, use: Use, rest: str) -> None:
        value: Any = self.vars
        for part in rest.split("."):
            if not isinstance(value, dict):
                return
            inner = find(value, part)
            if inner is MISSING:
                fix = (
                    undefined_fix(_last(use), value) if value else f"add it at the top of the file: vars: {{{part}: …}}"
                )
                raise _fault(compiled, use, f"{use.written!r} is not defined{close(part, value)}", fix)
            value = inner

    def _unknown_root(self, compiled: Compiled, use: Use, root: str) -> InvalidFile:
        if find(self.vars, root) is not MISSING:
            near, fix = "", f"write vars.{use.written}"
        elif root in self.outputs:
            near, fix = "", f"write pipe.{use.written.partition('.')[0]}"
        else:
            near, fix = close(root, ROOTS), undefined_fix(use.written.partition(".")[0], ROOTS)
        return _fault(compiled, use, f"{use.written[:80]!r} is not defined{near}", fix)

    def _step(self, step: Step, compiled: Compiled, use: Use, above: int) -> int | None:
        """The step a use of `pipe.…` names, if it names one that comes before."""
        root, *rest = use.name.split(".")
        if root != "pipe" or not rest or rest[0] in ("pipein_text", "pipeout_text", "items"):
            return None
        rest = rest[1:] if rest[0] == "steps" else rest
        if not rest:
            return None
        index = next((self.outputs[name] for name in _prefixes(rest) if name in self.outputs), None)
        if index is not None and above >> index & 1:
            self._check_is_text(compiled, use, rest, index)
            return index
        if use.optional:
            return None
        if index is not None:
            other = self.pipeline.steps[index].name
            what = f"{use.written!r} is the output of {other!r}, which does not come before {step.name!r}"
            is_own = other == step.name
            raise _fault(compiled, use, what, "write pipe.pipein-text" if is_own else f"add {other!r} to its needs")
        before = [other.name for place, other in enumerate(self.pipeline.steps) if above >> place & 1]
        known = (*(name.replace("_", "-") for name in PIPE), *before)  # as the manual writes them
        near = close(rest[0], known)
        fix = undefined_fix(_last(use), known)
        raise _fault(compiled, use, f"{use.written[:80]!r} is not defined{near}", fix)

    def _check_is_text(self, compiled: Compiled, use: Use, rest: list[str], index: int) -> None:
        """What a step answered is a text, also where it is a list or an object: it has no members."""
        name = next(name for name in _prefixes(rest) if name in self.outputs)
        member = ".".join(rest)[len(name) + 1 :]
        if not member or use.optional:
            return
        step = self.pipeline.steps[index]
        written = use.written[: -len(member) - 1]
        is_list = member.partition(".")[0] == "items" and step.is_mapped
        fix = f"write pipe.items, in the step right after {step.name!r}" if is_list else f"write {written}"
        raise _fault(compiled, use, f"{use.written[:80]!r}: {written} is a text and has no members", fix)


def _templates(pipeline: Pipeline, step: Step) -> Iterator[tuple[str, Compiled]]:
    """Every template of a step, compiled, with its key (`each.key` for the one inside `each`)."""
    keys = known(step.type)
    for key, value in step.fields.items():
        if key == "command" and step.fields.get("shell"):
            continue
        path = step.paths.get(key) or step.paths.get("result_file" if key == "output_file" else key, step.path)
        label = pipeline.cursor(step, key).label
        if key in step.sources:
            source = step.sources[key]
            yield key, compile_template(value, name=label, file=source.file, line=source.line, indent=source.indent)
        elif key == "each":
            for part, inner in value.items():
                if part != "from":
                    for compiled in _texts(pipeline, inner, (*path, part), label):
                        yield ("each.key" if part == "key" else key), compiled
        elif key == "when" and isinstance(value, str) and condition(value) != value:
            place = pipeline.document.place(path)
            indent = place.indent - len("{{ ")
            yield (
                key,
                compile_template(condition(value), name=label, file=pipeline.file, line=place.line, indent=indent),
            )
        elif KINDS[keys[key].kind].is_template:
            for compiled in _texts(pipeline, value, path, label):
                yield key, compiled


def _texts(pipeline: Pipeline, value: Any, path: Path, label: str) -> Iterator[Compiled]:
    if isinstance(value, str):
        place = pipeline.document.place(path)
        yield compile_template(value, name=label, file=pipeline.file, line=place.first_line, indent=place.indent)
    elif isinstance(value, (dict, list)):
        for part, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(pipeline, one, (*path, part), label)


def _has_item(step: Step, key: str) -> bool:
    """Lists are made before there is an item; their keys and the step itself have one."""
    return step.is_mapped and key != "each"


#: What differs from item to item.
_OF_ITEM = frozenset({"item", "key", "pipe"})


def _has_many(step: Step) -> bool:
    """Whether there may be several items: a list that is written out may have one."""
    return len(step.fields.get("each", {}).get("list", _OF_ITEM)) > 1


def _among(compiled: Compiled, use: Use, member: str, names: tuple[str, ...]) -> None:
    if member not in names:
        what = f"{use.written[:80]!r} is not defined{close(member, names)}"
        raise _fault(compiled, use, what, undefined_fix(_last(use), names))


def _fault(compiled: Compiled, use: Use, what: str, fix: str = "") -> InvalidFile:
    return compiled.fault(what, use.line, written=use.written, fix=fix)


def _prefixes(parts: list[str]) -> Iterator[str]:
    """Longest first: a step's name may hold dots."""
    return (".".join(parts[:count]) for count in range(len(parts), 0, -1))


def _last(use: Use) -> str:
    return use.written.rpartition(".")[2]


def wants_production(scope: Scope) -> InvalidFile | None:
    """The error to raise when no production is active but something needs one."""
    if not scope.wanted:
        return None
    fix = "add a `production:` block to the file, or name one: --production FILE"
    return InvalidFile.of(
        ordered(
            [
                InvalidFile(
                    f"{one.what} needs a production, and none is active",
                    file=one.file,
                    line=one.line,
                    column=one.column,
                    fix=fix,
                )
                for one in scope.wanted
            ]
        )
    )


def kept_output(pipeline: Pipeline) -> Mapping[str, str]:
    """Second names of outputs → step names."""
    return {step.fields["output"]: step.name for step in pipeline.steps if "output" in step.fields}
