"""Two plans of one pipeline, before and after its file was changed: what is another, and which steps ask the same.

A step asks the same when nothing that may show in its outcome is another: its request as the file has it (its kind, its
fields with templates unrendered), the model and variables it uses, and what flows into it, all the way up. How often it
is tried, how long it may take and the like are not asked of anybody. A step's own name is no part of what it asks, so
one that was renamed still asks the same; but whoever sees names of steps above (a function gets them, a template may)
asks something else then. The hash of a plan tells nothing here: it differs whenever anything does.
"""

from __future__ import annotations

import hashlib
import json
from difflib import SequenceMatcher, unified_diff
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.plan import DEFAULTS
from callboard.text.meter import MISSING, find
from callboard.text.names import same as spelt
from callboard.text.template import compile as compile_template
from callboard.text.template import condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from callboard.core.plan import Plan, Task

#: Inputs that are not asked: names for others, and where an answer may come from.
_UNASKED = ("output", "cache", "each", "templates")
#: Fields of a task whose word in a pipeline file is another; what follows from the rest has none.
_WORDS = {"executor": "type", "critical": "on_error"}
_DERIVED = ("name", "inputs", "optional", "reads", "may_skip", "skip", "map", "needs")
_INPUTS = {"prompt": "tmpl"}
_WHOLE = ("pipe", "pipe.steps")  # uses that see every name above


class Changed(NamedTuple):
    """A key of a step or of the file, its value then and now (None: it did not stand there), and how texts differ."""

    key: str
    old: Any
    new: Any
    lines: tuple[str, ...] = ()


class StepChange(NamedTuple):
    """A step as it is now: `was` is its name then ("": it is new), `why` it asks something else ("": it does not)."""

    name: str
    was: str
    changed: tuple[Changed, ...] = ()
    moved: bool = False
    why: str = ""

    @property
    def is_as_it_was(self) -> bool:
        return self.name == self.was and not self.changed and not self.moved


class Difference(NamedTuple):
    """`same` and `partly` are those of `core.handover.left`: steps now → steps then."""

    steps: tuple[StepChange, ...]
    removed: tuple[str, ...]
    file: tuple[Changed, ...]
    same: Mapping[str, str]
    partly: Mapping[str, str]

    @property
    def is_none(self) -> bool:
        return not self.removed and not self.file and all(step.is_as_it_was for step in self.steps)


def compare(old: Plan, new: Plan, params: Mapping[str, Any]) -> Difference:
    """What differs between two plans of a run that began with `params`."""
    was, now = _Asked(old, params), _Asked(new, params)
    pairs = _pairs(was, now)
    moved = _moved(was, now, pairs)
    steps, same, partly = [], dict[str, str](), dict[str, str]()
    for task in new.tasks:
        before = pairs.get(task.name, "")
        why = _why(was, now, before, task.name, pairs) if before else "new"
        if not why:
            same[task.name] = before
        elif before and task.map is not None and was.lists[before] == now.lists[task.name]:
            partly[task.name] = before
        changed = tuple(_changes(was.tasks[before], task, pairs)) if before else ()
        steps.append(StepChange(task.name, before, changed, task.name in moved, why))
    gone = tuple(task.name for task in old.tasks if task.name not in pairs.values())
    return Difference(tuple(steps), gone, tuple(_of_file(old, new)), same, partly)


class _Asked:
    """What each step of a plan asks, as hashes: `own` of itself, `closure` with all above, `lists` without its list."""

    def __init__(self, plan: Plan, params: Mapping[str, Any]) -> None:
        self.plan, self.tasks = plan, {task.name: task for task in plan.tasks}
        self._vars = {**plan.settings.get("vars", {}), **(params.get("vars") or {})}
        self._model = params.get("model") or ""
        self.parts: dict[str, dict[str, Any]] = {}
        self.own: dict[str, str] = {}
        self.above: dict[str, list[str]] = {}
        self.closure: dict[str, str] = {}
        self.lists: dict[str, str] = {}
        self.labels: dict[str, list[list[str]]] = {}
        for name in plan.settings.get("chain") or [task.name for task in plan.tasks]:
            self._see(self.tasks[name])

    def _see(self, task: Task) -> None:
        name = task.name
        uses = set(_uses(task))
        parts = self.parts[name] = {**self._request(task), **self._seen(task, uses)}
        chain = {step: place for place, step in enumerate(self.plan.settings.get("chain") or ())}
        above = self.above[name] = sorted({*task.needs, *task.optional}, key=lambda one: chain.get(one, -1))
        self.labels[name] = [self._labels(task, one, uses) for one in above]
        self.own[name] = _hash(parts)
        self.closure[name] = _hash([parts, *zip((self.closure[one] for one in above), self.labels[name], strict=True)])
        rest = {key: value for key, value in parts.items() if key != "each"}
        over = task.map.over if task.map is not None else ""
        ups = [self.lists[one] if one == over else self.closure[one] for one in above]
        self.lists[name] = _hash([rest, *zip(ups, self.labels[name], strict=True)])

    def _request(self, task: Task) -> dict[str, Any]:
        inputs = {_INPUTS.get(key, key): value for key, value in task.inputs.items() if key not in _UNASKED}
        return {
            **inputs,
            "type": task.executor,
            "each": task.inputs.get("each"),
            "over": None if task.map is None else [task.map.over, task.map.barrier],
            "review": task.review is not None,
            "when": False if task.skip else task.inputs.get("when"),
        }

    def _seen(self, task: Task, uses: Iterable[str]) -> dict[str, Any]:
        """What it uses that stands elsewhere: variables, the model of the file or the run, its own name."""
        found: dict[str, Any] = {}
        for use in uses:
            root, _, rest = use.partition(".")
            if root == "vars":
                name = rest.partition(".")[0]
                value = find(self._vars, name) if name else self._vars
                found[f"vars.{name}" if name else "vars"] = None if value is MISSING else value
            elif use in ("run", "run.task"):
                found["name"] = task.name
        if task.executor == "llm":
            found["model"] = self._model or task.inputs.get("model") or self.plan.settings.get("model")
        return found

    def _labels(self, task: Task, above: str, uses: Iterable[str]) -> list[str]:
        """The names of a step above by which this one may know it."""
        outputs = self.plan.settings.get("outputs") or {}
        names = [above, *(name for name, step in outputs.items() if step == above)]
        if _is_function(task) or any(use in _WHOLE for use in uses):
            return sorted(names)
        asked = [use.removeprefix("pipe.").removeprefix("steps.") for use in uses if use.startswith("pipe.")]
        return sorted(name for name in names if any(f"{one}.".startswith(f"{spelt(name)}.") for one in asked))


def _is_function(task: Task) -> bool:
    """A function of a user's, which is given what flows in by the names of the steps."""
    return task.executor == "function"


def _uses(task: Task) -> Iterator[str]:
    """Names that a step's templates read, in canonical spelling."""
    inputs = task.inputs
    texts = [inputs.get(key) for key in inputs.get("templates") or ()] + [inputs.get("each")]
    if isinstance(inputs.get("when"), str):
        texts.append(condition(inputs["when"]))
    for text in _strings(texts):
        yield from compile_template(text, name=task.name).variables


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _hash(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# ── which step is which ─────────────────────────────────────────────────────────────────────────────────────


def _pairs(was: _Asked, now: _Asked) -> dict[str, str]:
    """Steps now → steps then: by name, and of the rest those that ask the same of themselves, in order."""
    pairs = {name: name for name in now.tasks if name in was.tasks}
    free = [name for name in was.tasks if name not in pairs]
    for name in now.tasks:
        if name not in pairs:
            alike = [one for one in free if was.own[one] == now.own[name]]
            exact = [one for one in alike if was.closure[one] == now.closure[name]]
            for one in (exact or alike)[:1]:
                pairs[name] = one
                free.remove(one)
    return pairs


def _moved(was: _Asked, now: _Asked, pairs: Mapping[str, str]) -> set[str]:
    """Steps that stand elsewhere among those that are in both files."""
    before = [task.name for task in was.plan.tasks if task.name in pairs.values()]
    after = [task.name for task in now.plan.tasks if task.name in pairs]
    matcher = SequenceMatcher(None, before, [pairs[name] for name in after], autojunk=False)
    still = {after[place] for _, at, size in matcher.get_matching_blocks() for place in range(at, at + size)}
    return set(after) - still


def _why(was: _Asked, now: _Asked, before: str, name: str, pairs: Mapping[str, str]) -> str:
    """Why a step asks something else than it did; empty when it does not."""
    if was.closure[before] == now.closure[name]:
        return ""
    old, new = was.parts[before], now.parts[name]
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if keys:
        return f"{', '.join(keys)} changed"
    if was.above[before] != [pairs.get(one) for one in now.above[name]]:
        return "needs changed"
    for one in now.above[name]:
        if was.closure[pairs[one]] != now.closure[one]:
            return f"after {one}, which changed"
    return "it sees the names of steps above, which changed"


# ── in words ────────────────────────────────────────────────────────────────────────────────────────────────


def _changes(old: Task, new: Task, pairs: Mapping[str, str]) -> Iterator[Changed]:
    """The keys of a step that say something else, in the words of a pipeline file."""
    ins, outs = _fields(old), _fields(new)
    needs = [pairs.get(name, name) for name in (*new.needs, *new.optional)]
    if sorted(needs) != sorted((*old.needs, *old.optional)):
        ins["needs"], outs["needs"] = [*old.needs, *old.optional], [*new.needs, *new.optional]
    for key in sorted(ins.keys() | outs.keys()):
        yield from _members(key, ins.get(key), outs.get(key))


def _members(key: str, old: Any, new: Any) -> Iterator[Changed]:
    """Of a mapping only the members that say something else, each by its own name: `params.file`."""
    if old == new:
        return
    found: list[Changed] = []
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*new, *old)):
            found += _members(f"{key}.{name}", old.get(name), new.get(name))
    yield from found or [_changed(key, old, new)]


def _fields(task: Task) -> dict[str, Any]:
    found = {_INPUTS.get(key, key): value for key, value in task.inputs.items() if key != "templates"}
    if task.skip:
        found["when"] = False
    if task.map is not None and task.map.over:
        found |= {"over": task.map.over, "barrier": task.map.barrier}
    if task.map is not None and task.map.allow_failures:
        found["allow_failures"] = task.map.allow_failures
    for field, value in task._asdict().items():
        if field not in _DERIVED and (value != DEFAULTS[field] or field == "executor"):
            shown = value._asdict() if hasattr(value, "_asdict") else list(value) if isinstance(value, tuple) else value
            found[_WORDS.get(field, field)] = "continue" if field == "critical" else shown
    return found


def _of_file(old: Plan, new: Plan) -> Iterator[Changed]:
    """What stands at the top of the file."""
    for key in ("name", "on_failure", "limits"):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield _changed(key, before, after)
    for key in ("model", "vars"):
        before, after = old.settings.get(key), new.settings.get(key)
        if key == "vars":
            before, after = before or {}, after or {}
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    yield _changed(f"vars.{name}", before.get(name), after.get(name))
        elif before != after:
            yield _changed(key, before, after)


def _changed(key: str, old: Any, new: Any) -> Changed:
    lines: Sequence[str] = ()
    if isinstance(old, str) and isinstance(new, str) and ("\n" in old + new or len(old) + len(new) > 60):
        lines = list(unified_diff(old.splitlines(), new.splitlines(), f"{key} then", f"{key} now", lineterm="", n=2))
    return Changed(key, old, new, tuple(lines))
