"""From a checked pipeline to a plan: pure, and the same for the same file, so that equal files share one plan.

A step becomes a task; its fields go into the task's inputs as written, templates unrendered and template files
pinned. The order of steps becomes needs. Two things are added to what the file says: a step needs every step its
templates name, because outcomes travel along needs only; and where the step above may end without an outcome
(skipped, or allowed to fail), the step above *that* is needed too, so that the pipe flows through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core.plan import Map, Plan, Retry, Review, Task
from callboard.faces.pipelines.keys import FUNCTIONS, known
from callboard.faces.pipelines.kinds import KINDS
from callboard.faces.pipelines.scope import kept_output, wants_production
from callboard.text.names import same
from callboard.text.template import is_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from callboard.faces.pipelines.model import Pipeline, Step

#: Model calls are tried three times when the trouble may pass; what else there is decides for itself.
OF_MODELS = Retry(tries=3, delay=1.0, factor=2.0, longest=60.0, jitter=0.25)
#: How often a draft can be sent back where the file does not say. A human step makes nothing that could be made again.
ROUNDS = 3
EFFECTS = {"llm": "none", "human": "none", "aisource": "none", "content": "none"}

#: Keys that the machine reads, not the executor.
_POLICIES = frozenset({
    "needs", "over", "barrier", "key", "allow_failures", "timeout", "retry", "on_error", "review", "limits",
    "priority", "effect", "description",
})  # fmt: skip


def compile(pipeline: Pipeline, *, production: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a pipeline. `production` is the configuration that is active, the file's own block by default.

    Raises InvalidFile when the file uses the production and none is active.
    """
    active = pipeline.production if production is None else production
    if active is None and (error := wants_production(pipeline.scope)) is not None:
        raise error
    return Plan(
        tasks=tuple(_task(pipeline, index) for index in range(len(pipeline.steps))),
        limits=dict(pipeline.limits),
        on_failure=pipeline.on_failure,
        name=pipeline.name,
        settings={
            "file": pipeline.file,
            "vars": dict(pipeline.vars),
            "production": None if active is None else dict(active),
            "model": pipeline.model,
            "chain": [pipeline.steps[index].name for index in pipeline.scope.order],
            "outputs": dict(kept_output(pipeline)),
        },
    )


def executor_of(step: Step) -> str:
    """The kind of executor: the step's type, or the built-in function it names."""
    name = step.fields.get("function")
    return name if name in FUNCTIONS else step.type


def _task(pipeline: Pipeline, index: int) -> Task:
    step, fields = pipeline.steps[index], pipeline.steps[index].fields
    executor = executor_of(step)
    required, optional = _needs(pipeline, index)
    return Task(
        name=step.name,
        executor=executor,
        inputs=_inputs(step),
        needs=required,
        optional=optional,
        retry=fields.get("retry", OF_MODELS if executor == "llm" else Retry()),
        timeout=fields.get("timeout", 3600.0),
        priority=fields.get("priority", 2),
        limits=tuple(fields.get("limits", ())),
        critical=fields.get("on_error", "stop") == "stop",
        effect=fields.get("effect", EFFECTS.get(executor, "keyed")),
        review=_review(executor, fields.get("review", {} if executor == "human" else None)),
        skip=fields.get("when") is False,
        may_skip=isinstance(fields.get("when"), str),
        reads=tuple(_reads(step, executor)),
        map=_map(pipeline, step),
    )


def _review(executor: str, said: Mapping[str, Any] | None) -> Review | None:
    if said is None:
        return None
    return Review(**{"again": 0 if executor == "human" else ROUNDS, **said})


def _needs(pipeline: Pipeline, index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(required, optional) needs by name: direct, named in templates, and those the pipe may have to flow from."""
    step, scope = pipeline.steps[index], pipeline.scope
    found = {*scope.needs[index], *scope.refers[index]}
    if "each" not in step.fields:  # a step with items of its own takes them, not the pipe
        found |= _behind(pipeline, scope.needs[index])
    required: list[str] = []
    optional: list[str] = []
    for need in sorted(found):
        other = pipeline.steps[need]
        is_over = same(step.fields.get("over", "")) == same(other.name)
        is_critical = other.fields.get("on_error", "stop") == "stop"
        (required if is_over or is_critical else optional).append(other.name)
    return tuple(required), tuple(optional)


def _behind(pipeline: Pipeline, needs: Iterable[int]) -> set[int]:
    """The steps above those of `needs` that may end without an outcome, up to the first that may not."""
    found: set[int] = set()
    silent = [need for need in needs if _may_be_silent(pipeline.steps[need])]
    while silent:
        for above in pipeline.scope.needs[silent.pop()]:
            if above not in found:
                found.add(above)
                if _may_be_silent(pipeline.steps[above]):
                    silent.append(above)
    return found


def _may_be_silent(step: Step) -> bool:
    """Whether it may end without an outcome and yet let what comes after it begin."""
    return step.fields.get("when", True) is not True or step.fields.get("on_error") == "continue"


def _map(pipeline: Pipeline, step: Step) -> Map | None:
    if not step.is_mapped:
        return None
    over = step.fields.get("over", "")
    name = next((other.name for other in pipeline.steps if same(other.name) == same(over)), "")
    return Map(name, step.fields.get("barrier", False), step.fields.get("allow_failures", 0))


def _inputs(step: Step) -> dict[str, Any]:
    """The executor's own: fields as written under its words, and in `templates` which of them are to be rendered."""
    inputs = {key: value for key, value in step.fields.items() if key not in _POLICIES}
    if "tmpl" in inputs:
        inputs["prompt"] = inputs.pop("tmpl")
    if isinstance(inputs.get("when"), bool):
        del inputs["when"]
    if step.fields.get("function") in FUNCTIONS:
        del inputs["function"]
    if "key" in step.fields:
        inputs["each"] = {**inputs["each"], "key": step.fields["key"]}
    templates = sorted(_rendered(step, inputs))
    return {**inputs, "templates": templates} if templates else inputs


def _rendered(step: Step, inputs: Mapping[str, Any]) -> Iterator[str]:
    by_name = known(step.type) | {"prompt": known("llm")["tmpl"]}
    for key, value in inputs.items():
        if key == "when" or (key == "command" and inputs.get("shell")):
            continue  # a condition is judged, not rendered; a shell's line is no template
        if KINDS[by_name[key].kind].is_template and _holds_template(value):
            yield key


def _holds_template(value: Any) -> bool:
    if isinstance(value, (dict, list)):
        return any(map(_holds_template, value.values() if isinstance(value, dict) else value))
    return is_template(value)


def _reads(step: Step, executor: str) -> Iterator[str]:
    """Documents it surely reads, so that a person's edit of one shows at once; those with templates show when read."""
    path = step.fields.get("source_file")
    if executor == "convert_to_docx":
        path = step.fields["params"].get("source")
    if isinstance(path, str) and not is_template(path):
        yield path
