"""What flows into a step, and the names under which templates find it. Pure.

A step receives the outcome of the step before it; the first receives what the run began with, and a step that
lists items of its own receives its item. A skipped step has no outcome, so the one before it flows through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.executors.values import text_of
from callboard.text.meter import Named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Json, Work


def incoming(work: Work) -> Json:
    """The value that flows into this work."""
    if work.item is not None and ("each" in work.inputs or not work.upstream):
        return _of_item(work.item)
    before = latest(work)
    if before is not None:
        return value_of(work.upstream[before])
    return work.params.get("input", "")


def latest(work: Work) -> str | None:
    """The upstream task whose outcome flows in: the last in the order of the chain that has one."""
    have = [name for name, outcome in work.upstream.items() if _has_value(outcome)]
    if len(have) > 1 and (order := work.settings.get("chain")):
        place = {name: at for at, name in enumerate(order)}
        have.sort(key=lambda name: place.get(name, -1))
    return have[-1] if have else None


def value_of(outcome: Json) -> Json:
    """The value of an outcome; of a mapped task's, the list of {"key", "value"} (and "failed", where one has)."""
    value = outcome.get("value") if outcome else None
    if isinstance(value, list) and isinstance(outcome.get("failed"), list):
        return [{name: one[name] for name in ("key", "value", "failed") if name in one} for one in value]
    return value


def _has_value(outcome: Json) -> bool:
    """A task that was skipped or has failed has none."""
    return outcome is not None and (
        outcome.get("value") is not None or not ("skipped" in outcome or "failed" in outcome)
    )


def _of_item(item: Json) -> Json:
    """A file's item stands for its text (its path when it is no text), any other item for itself."""
    if not is_file(item):
        return item
    return item["path"] if item["text"] is None else item["text"]


def file_item(path: str) -> dict[str, Json]:
    """The item of a listed file. Its text is read when the item begins, not copied into the list."""
    name = path.rpartition("/")[2]
    return {"path": path, "name": name, "stem": name.rpartition(".")[0] or name, "text": None}


def _shown(item: Json) -> Json:
    """An item as templates see it: a file that is no text has no `text`, and using it is an error, not "null"."""
    if is_file(item) and item["text"] is None:
        return {name: value for name, value in item.items() if name != "text"}
    return item


def is_file(item: Json) -> bool:
    """Whether `item` is one that `file_item` made."""
    return isinstance(item, dict) and item.keys() == _FILE


_FILE = frozenset(file_item("."))


def namespace(work: Work) -> dict[str, Json]:
    """All names of a template for this work; plain JSON values, `production` with a text form besides.

    What a run does not have (a production, an item) is not a name at all, so that using it is an error.
    """
    params = work.params
    names: dict[str, Json] = {
        "pipe": _pipe(work),
        "input": params.get("input", ""),
        "vars": {**work.settings.get("vars", {}), **params.get("vars", {})},
        "env": params.get("env", {}),
        "now": params.get("now", ""),
        "note": work.inputs.get("note", ""),
        "run": {
            "id": work.attempt.run,
            "task": work.attempt.task,
            "number": work.number,
            "attempt": work.attempt_number,
            "key": work.key,
        },
    }
    if production := params.get("production"):
        names["production"] = Named(str(production.get("name", "")), production)
    had = {
        "item": _shown(work.item),
        "key": work.attempt.item,
        **{name: params.get(name) for name in ("id", "genre", "no")},
    }
    return names | {name: value for name, value in had.items() if value is not None}


def _pipe(work: Work) -> dict[str, Json]:
    texts = {name: text_of(value_of(outcome)) for name, outcome in work.upstream.items()}
    before, came = latest(work), incoming(work)
    second = {name: texts[task] for name, task in work.settings.get("outputs", {}).items() if task in texts}
    return {
        **texts,
        **second,
        "steps": texts,
        "items": came if _is_join(came) else [],
        "pipein_text": text_of(came),
        "pipeout_text": texts[before] if before is not None else "",
    }


def _is_join(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and "key" in one for one in value)


def field(inputs: Mapping[str, Json], name: str, default: Json = None) -> Json:
    """A field of a step, or of its `params`; hyphen and underscore alike."""
    params = inputs.get("params")
    for mapping in (inputs, params if isinstance(params, dict) else {}):
        for spelling in (name, name.replace("_", "-")):
            if mapping.get(spelling) is not None:
                return mapping[spelling]
    return default
