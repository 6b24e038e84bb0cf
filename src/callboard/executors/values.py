"""From the value an executor returns to its outcome, and to the text it has in a pipe.

What strict JSON is stands in `callboard.text.strict`; here it is said for a task: an error names the task whose
value does not fit. An outcome is text from the start and grows by whole fields, so that a value is encoded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.errors import NotJson
from callboard.text import strict

if TYPE_CHECKING:
    from callboard.ports import Json

_ADVICE = "Fix: return text, numbers, true, false, None, or lists and mappings of them with text keys"

canonical, decode = strict.canonical, strict.decode


def encode(value: Json, task: str) -> str:
    """`value` as compact JSON text. Raises NotJson naming `task`, the place and the type that does not fit."""
    try:
        return strict.encode(value)
    except NotJson as error:
        raise NotJson(f"{task}: its value is not JSON: {error}. {_ADVICE}") from None
    except ValueError as error:  # a number with more digits than Python writes
        raise NotJson(f"{task}: its value is not JSON: {error}") from None


def text_of(value: Json) -> str:
    """The text of a value in a pipe: a str is itself, nothing is empty, all else is compact JSON."""
    return "" if value is None else strict.pipe_text(value)


def outcome(value: Json, task: str) -> str:
    """The outcome's JSON text for a value: an object with `value`. Raises NotJson."""
    return f'{{"value":{encode(value, task)}}}'


def with_field(outcome: str, name: str, value: Json) -> str:
    """The outcome's text with one more field. `outcome` is text that `outcome` made, so it ends in a brace."""
    return f'{outcome[:-1]},"{name}":{encode(value, name)}}}'
