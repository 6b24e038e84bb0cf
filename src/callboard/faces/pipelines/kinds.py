"""What a key may take: for each kind a reader that checks and converts, and the JSON Schema that says the same.

A reader gets a `Cursor`, which knows the value's place and what people call it, and gives the checked value or
raises InvalidFile with the fix. Names of other steps and variables are checked later, when all steps are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.plan import EFFECTS, Retry
from callboard.errors import CallboardError, InvalidFile
from callboard.faces.pipelines.keys import TYPES
from callboard.text import duration, names
from callboard.text.template import compile as compile_template
from callboard.text.template import condition, is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callboard.text.document import Document, Path

Json = dict[str, Any]
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Cursor(NamedTuple):
    """A value in a file: where it stands and what people call it."""

    document: Document
    path: Path
    label: str  # `timeout` of step 'analyzer'

    def at(self, *parts: str | int) -> Cursor:
        return self._replace(path=(*self.path, *parts), label=f"{self.label}: {'.'.join(map(str, parts))}")

    def fault(self, what: str, fix: str = "", *, at_key: bool = False) -> InvalidFile:
        return self.document.fault(f"{self.label} {what}", self.path, fix=fix, at_key=at_key)

    def compile(self, text: str) -> None:
        """Raises InvalidFile when `text`, which stands here, is a template that does not compile."""
        place = self.document.place(self.path)
        compile_template(text, name=self.label, file=self.document.file, line=place.first_line, indent=place.indent)

    def wrong(self, value: Any, wanted: str, fix: str = "") -> InvalidFile:
        """The value is of another kind than is wanted."""
        if isinstance(value, dict) and not fix:
            fix = 'quote a text that begins with a brace: "{…}"'
        return self.fault(f"must be {wanted}, not {_named(value)}", fix or f"write {wanted}")


class Kind(NamedTuple):
    read: Callable[[Cursor, Any], Any]
    schema: Json
    is_template: bool = False


def label(key: str, step: str) -> str:
    """What people call a value of a step."""
    return f"`{key}` of step {step!r}"


def _named(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"{value!r:.60}"


# ── scalars ─────────────────────────────────────────────────────────────────────────────────────────────


def text(cursor: Cursor, value: Any) -> str:
    """Text; an unquoted number or word is the text that stands there."""
    if not isinstance(value, str):
        raw = cursor.document.place(cursor.path).raw
        if value is None or isinstance(value, (dict, list)) or raw is None:
            raise cursor.wrong(value, "text")
        value = raw
    if not value.strip():
        raise cursor.fault("is empty", "give it a value, or remove the line")
    return str(value)


def title(cursor: Cursor, value: Any) -> str:
    return str(_checked(cursor, names.title, text(cursor, value)))


def step_name(cursor: Cursor, value: Any) -> str:
    name = title(cursor, value)
    if "/" in name or name != name.strip():
        raise cursor.fault(f"{name!r} holds a slash or begins or ends with a space", "an item is called step/key")
    if names.same(name) in ("pipein_text", "pipeout_text", "steps", "items"):
        raise cursor.fault(f"{name!r} would hide pipe.{name}", "choose another name")
    return name


def part(cursor: Cursor, value: Any) -> str:
    """A template, or a text that is one safe component of a path."""
    made = template(cursor, value)
    return made if is_template(made) else str(_checked(cursor, names.component, made))


def template(cursor: Cursor, value: Any) -> str:
    """Text whose templates compile."""
    made = text(cursor, value)
    cursor.compile(made)
    return made


def boolean(cursor: Cursor, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    meant = _BOOLEANS.get(str(value).lower())
    fix = "" if meant is None else f"write {str(meant).lower()}"
    raise cursor.wrong(value, "true or false", fix)


def number(low: float, high: float) -> Callable[[Cursor, Any], float]:
    def read(cursor: Cursor, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise cursor.wrong(value, f"a number from {low:g} to {high:g}")
        return value

    return read


def integer(low: int, high: int = 2**31) -> Callable[[Cursor, Any], int]:
    def read(cursor: Cursor, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            wanted = f"a whole number, at least {low}" if high == 2**31 else f"a whole number from {low} to {high}"
            raise cursor.wrong(value, wanted)
        return value

    return read


def length(cursor: Cursor, value: Any) -> float:
    seconds: float = _checked(cursor, duration.seconds, value)
    if not seconds:
        raise cursor.fault("must be longer than nothing", "write it as 30s, 10m or 1h")
    return seconds


def choice(*words: str) -> Callable[[Cursor, Any], str]:
    def read(cursor: Cursor, value: Any) -> str:
        if value not in words:
            near = names.close(str(value), words)
            raise cursor.fault(
                f"must be {' or '.join(words)}, not {_named(value)}{near}", f"write one of: {', '.join(words)}"
            )
        return str(value)

    return read


def when(cursor: Cursor, value: Any) -> bool | str:
    """true, false, or a condition: a template, or an expression without braces."""
    if isinstance(value, bool):
        return value
    made = text(cursor, value)
    if made.strip().lower() in _BOOLEANS:
        return _BOOLEANS[made.strip().lower()]
    cursor.compile(condition(made))
    return made


# ── lists and mappings ──────────────────────────────────────────────────────────────────────────────────


def texts(cursor: Cursor, value: Any) -> list[str]:
    return [text(cursor.at(index), one) for index, one in enumerate(listed(cursor, value, "a list of texts"))]


def one_or_more(cursor: Cursor, value: Any) -> list[str]:
    """A name, or a list of different names."""
    made = texts(cursor, value) if isinstance(value, list) else [text(cursor, value)]
    twice = next((name for name in made if made.count(name) > 1), None)
    if twice is not None:
        raise cursor.fault(f"names {twice!r} twice", "name it once")
    return made


def codes(cursor: Cursor, value: Any) -> list[int]:
    return [integer(1, 255)(cursor.at(i), one) for i, one in enumerate(listed(cursor, value, "a list of exit codes"))]


def listed(cursor: Cursor, value: Any, wanted: str) -> list[Any]:
    if not isinstance(value, list):
        raise cursor.wrong(value, wanted, "write it as [a, b], or one - for each")
    return value


def data(cursor: Cursor, value: Any) -> Json:
    if not isinstance(value, dict):
        raise cursor.wrong(value, "a mapping", "write it as key: value")
    return value


def params(cursor: Cursor, value: Any) -> Json:
    """A mapping whose texts, however deep, are templates."""
    _templates(cursor, data(cursor, value))
    return data(cursor, value)


def environment(cursor: Cursor, value: Any) -> dict[str, str]:
    return {name: template(cursor.at(name), one) for name, one in data(cursor, value).items()}


def capacities(cursor: Cursor, value: Any) -> dict[str, int]:
    return {name: integer(1)(cursor.at(name), one) for name, one in data(cursor, value).items()}


def command(cursor: Cursor, value: Any) -> list[str] | str:
    """A list of arguments; a text is one only under `shell: true`, which is checked with the whole step."""
    if isinstance(value, str):
        return text(cursor, value)
    arguments = listed(cursor, value, "a list of a program and its arguments")
    if not arguments:
        raise cursor.fault("is empty", "write it as [program, argument]")
    return [_argument(cursor.at(index), one) for index, one in enumerate(arguments)]


def _argument(cursor: Cursor, value: Any) -> str:
    return "" if value == "" and cursor.path[-1] else template(cursor, value)


def _templates(cursor: Cursor, value: Any) -> None:
    if isinstance(value, dict):
        for key, one in value.items():
            _templates(cursor.at(key), one)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _templates(cursor.at(index), one)
    elif is_template(value):
        template(cursor, value)


# ── policies ────────────────────────────────────────────────────────────────────────────────────────────


def retry(cursor: Cursor, value: Any) -> Retry:
    """Tries in all, or a mapping of `Retry`'s fields."""
    if not isinstance(value, dict):
        return Retry(integer(1, 100)(cursor, value), 1.0, 2.0, 60.0, 0.25)
    return Retry(**_fields(cursor, value, _RETRY))


def review(cursor: Cursor, value: Any) -> Json | None:
    """{"again"?, "expires"?}, or None for false. What stands there where nothing is said depends on the step."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise cursor.wrong(value, "true, false, or a mapping of again and expires")
    return _fields(cursor, value, _REVIEW)


def each(cursor: Cursor, value: Any) -> Json:
    """{"list": […]} | {"glob": pattern} | {"csv": path} | {"from": step}, and maybe "key"."""
    if isinstance(value, list):
        value = {"list": value}
        _templates(cursor, value["list"])
    elif isinstance(value, dict):
        _fields(cursor, value, _EACH)
    else:
        raise cursor.wrong(value, "a list, or a mapping with one of list, glob, csv, from",
                           f'write it as {{glob: "{value}"}}, {{csv: "{value}"}} or a list')  # fmt: skip
    sources = [source for source in ("list", "glob", "csv", "from") if source in value]
    if len(sources) != 1:
        raise cursor.fault("needs exactly one of list, glob, csv, from", 'write it as each: {glob: "docs/*.md"}')
    return dict(value)


def _items(cursor: Cursor, value: Any) -> Any:
    if isinstance(value, str):
        return template(cursor, value)
    _templates(cursor, listed(cursor, value, "a list, or a template of one"))
    return value


def _fields(cursor: Cursor, value: Json, readers: Mapping[str, Callable[[Cursor, Any], Any]]) -> Json:
    made = {}
    for key, one in value.items():
        if key not in readers:
            near = names.close(key, readers)
            raise cursor.at(key).fault(f"is not known here{near}", f"known: {', '.join(readers)}", at_key=True)
        made[key] = readers[key](cursor.at(key), one)
    return made


_RETRY: dict[str, Callable[[Cursor, Any], Any]] = {
    "tries": integer(1, 100),
    "delay": length,
    "factor": number(1, 100),
    "longest": length,
    "jitter": number(0, 1),
}
_REVIEW: dict[str, Callable[[Cursor, Any], Any]] = {"again": integer(0, 100), "expires": length}
_EACH: dict[str, Callable[[Cursor, Any], Any]] = {
    "list": _items, "glob": template, "csv": template, "from": text, "key": template,
}  # fmt: skip


def _checked(cursor: Cursor, check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except CallboardError as error:
        raise cursor.fault(f"is not allowed: {error}", _FIXES[check]) from None


_FIXES: dict[Callable[[Any], Any], str] = {
    duration.seconds: "write it as 30s, 10m or 1h",
    names.title: "give it a short name without control characters",
    names.component: "use letters, digits, '-' and '_'",
}

# ── the table ───────────────────────────────────────────────────────────────────────────────────────────

_TEXT: Json = {"type": ["string", "number", "boolean"]}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_DURATION: Json = {"anyOf": [{"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)?$"}, {"type": "number", "minimum": 0}]}


def _object(**properties: Any) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False}


KINDS: dict[str, Kind] = {
    "boolean": Kind(boolean, {"type": "boolean"}),
    "capacities": Kind(capacities, {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}),
    "codes": Kind(codes, {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 255}}),
    "command": Kind(command, {"anyOf": [{"type": "string"}, {**_TEXTS, "minItems": 1}]}, True),
    "condition": Kind(when, {"type": ["boolean", "string", "number"]}, True),
    "count": Kind(integer(0), {"type": "integer", "minimum": 0}),
    "data": Kind(data, {"type": "object"}),
    "duration": Kind(length, _DURATION),
    "each": Kind(
        each,
        {
            "anyOf": [
                {"type": "array"},
                _object(
                    **{"list": {"type": ["array", "string"]}, "glob": _TEXT, "csv": _TEXT, "from": _TEXT, "key": _TEXT}
                ),
            ]
        },
    ),
    "effect": Kind(choice(*EFFECTS), {"enum": [*EFFECTS]}),
    "environment": Kind(environment, {"type": "object", "additionalProperties": _TEXT}, True),
    "format": Kind(choice("text", "json"), {"enum": ["text", "json"]}),
    "names": Kind(one_or_more, {"anyOf": [_TEXT, {**_TEXTS, "uniqueItems": True}]}),
    "on_error": Kind(choice("stop", "continue"), {"enum": ["stop", "continue"]}),
    "on_failure": Kind(choice("continue", "stop"), {"enum": ["continue", "stop"]}),
    "params": Kind(params, {"type": "object"}, True),
    "part": Kind(part, _TEXT, True),
    "positive": Kind(integer(1), {"type": "integer", "minimum": 1}),
    "priority": Kind(integer(0, 3), {"type": "integer", "minimum": 0, "maximum": 3}),
    "retry": Kind(
        retry,
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 100},
                _object(
                    tries={"type": "integer", "minimum": 1, "maximum": 100},
                    delay=_DURATION,
                    factor={"type": "number", "minimum": 1, "maximum": 100},
                    longest=_DURATION,
                    jitter={"type": "number", "minimum": 0, "maximum": 1},
                ),
            ]
        },
    ),
    "review": Kind(
        review, {"anyOf": [{"type": "boolean"}, _object(again={"type": "integer", "minimum": 0}, expires=_DURATION)]}
    ),
    "schema": Kind(lambda cursor, value: value, {"type": ["object", "string", "boolean"]}),
    "source": Kind(text, _TEXT, True),
    "step_name": Kind(step_name, {"type": ["string", "number", "boolean"], "maxLength": 200}),
    "temperature": Kind(number(0, 2), {"type": "number", "minimum": 0, "maximum": 2}),
    "template": Kind(template, _TEXT, True),
    "text": Kind(text, _TEXT),
    "texts": Kind(texts, _TEXTS),
    "title": Kind(title, {"type": ["string", "number", "boolean"], "maxLength": 200}),
    "type": Kind(choice(*TYPES), {"enum": list(TYPES)}),
}
