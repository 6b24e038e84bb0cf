"""JSON Schema of strangers: is this a schema we can check by, and does this value fit it?

The library does what it is good at; four things it does not know are added. It fetches remote references, so a
registry without a way out is given to it. Patterns are a stranger's regular expressions and can run for ever, so
they are refused. Schemas can be bombs of references, so every keyword that is tried is counted. And its errors
are about schemas, so ours name the place in the value. Formats are annotations and not checked.

It takes 75 ms to load and most pipelines have no schema, so it is loaded by the first one that does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidOutput, UsageError
from callboard.text.strict import decode, encode, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Keywords tried for one value; an honest schema of 100 fields takes about 500.
MOST_WORK = 100_000
MOST_TEXT = 256 * 1024
_REFUSED = {"pattern": "enum, const or maxLength", "patternProperties": "properties or propertyNames with enum"}


def check(schema: Any) -> None:
    """Raises UsageError, with the place in it, when `schema` is not one that values can be checked by."""
    if not isinstance(schema, (Mapping, bool)):
        raise UsageError(f"a JSON Schema is a mapping, not a {type(schema).__name__}")
    _check(encode(schema))


@lru_cache(maxsize=128)
def _check(text: str) -> None:
    if len(text) > MOST_TEXT:
        raise UsageError(f"this JSON Schema is larger than {MOST_TEXT // 1024} KB")
    schema = decode(text)
    _refuse(schema)
    jsonschema = _library()[0]
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = place(tuple(error.absolute_path))
        raise UsageError(f"this is no JSON Schema: {where}: {error.message[:200]}") from None
    except RecursionError:
        raise UsageError("this JSON Schema nests too deeply") from None


def validate(value: Any, schema: Any, *, name: str = "the answer") -> None:
    """Raises InvalidOutput naming the place in `value` that does not fit; `evidence` lists up to ten such places.

    Raises UsageError when the schema itself is of no use.
    """
    check(schema)
    jsonschema, validator, meter = _library()
    try:
        found = _faults(validator(schema, registry=_registry(), format_checker=meter()).iter_errors(value))
    except _TooMuch:
        raise UsageError(f"checking {name} by its JSON Schema takes more than {MOST_WORK:,} steps") from None
    except RecursionError:
        raise UsageError("this JSON Schema refers to itself without end") from None
    except ArithmeticError as error:
        raise InvalidOutput(f"{name} does not fit its JSON Schema: {error}") from None
    except jsonschema.exceptions._WrappedReferencingError as error:
        raise UsageError(f"this JSON Schema refers to what it does not hold: {error}"[:300]) from None
    if found:
        raise InvalidOutput(f"{name} does not fit its JSON Schema: {found[0]}", evidence={"faults": found})


def _faults(errors: Iterator[Any]) -> list[str]:
    found = []
    for error in errors:
        found.append(f"{place(tuple(error.absolute_path))}: {error.message[:300]}")
        if len(found) == 10:
            break
    return found


def _refuse(schema: Any) -> None:
    """Patterns anywhere but under `properties` and friends, where a word is a name and not a keyword."""
    stack: list[tuple[Any, tuple[str | int, ...], bool]] = [(schema, (), False)]
    while stack:
        one, path, names = stack.pop()
        if isinstance(one, list):
            stack.extend((part, (*path, index), False) for index, part in enumerate(one))
        elif isinstance(one, Mapping):
            for key, part in one.items():
                if key in _REFUSED and not names:
                    instead = _REFUSED[key]
                    raise UsageError(
                        f"{place((*path, key))}: regular expressions are not run on answers; use {instead}"
                    )
                if key in ("$ref", "$dynamicRef") and not names and not str(part).startswith("#"):
                    raise UsageError(f"{place((*path, key))}: a schema can refer to itself only (#/$defs/…)")
                if key not in ("enum", "const", "default", "examples") or names:
                    is_names = not names and key in ("properties", "$defs", "definitions", "dependentSchemas")
                    stack.append((part, (*path, key), is_names))


class _TooMuch(Exception):
    pass


def _counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
    def count(validator: Any, *args: Any) -> Any:
        validator.format_checker.spend()
        return keyword(validator, *args)

    return count


def _unique(error: Callable[[str], Any]) -> Callable[..., Iterator[Any]]:
    """The library compares every item with every other; a set does not, and 3,000 items took it seven seconds."""

    def unique(validator: Any, wanted: bool, value: Any, schema: Any) -> Iterator[Any]:
        if wanted and isinstance(value, list):
            texts = [json.dumps(item, sort_keys=True) for item in value]
            if len(set(texts)) < len(texts):
                yield error("two items are equal")

    return unique


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Any, Any]:
    """(the library, our validator, the meter that rides where a checker of formats would)."""
    import jsonschema  # noqa: PLC0415  75 ms that a pipeline without a schema does not pay

    class Meter(jsonschema.FormatChecker):
        def __init__(self) -> None:
            super().__init__(formats=())
            self.left = MOST_WORK

        def spend(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise _TooMuch

        def check(self, instance: object, format: str) -> None:
            """Formats are annotations."""

    base = jsonschema.Draft202012Validator
    keywords = dict(base.VALIDATORS) | {"uniqueItems": _unique(jsonschema.ValidationError)}
    extend: Any = jsonschema.validators.extend
    return jsonschema, extend(base, {word: _counted(keyword) for word, keyword in keywords.items()}), Meter


@lru_cache(maxsize=1)
def _registry() -> Any:
    """Knows the vocabulary of JSON Schema and no way to fetch anything else."""
    return _library()[0].validators.SPECIFICATIONS
