"""The meter of one rendering, and how a template looks at plain data: members, elements, texts.

A template is a stranger's program over strangers' values. So everything that makes something asks the meter first,
and there is one way to a member of a mapping, in which a hyphen and an underscore are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain, product
from typing import Any

from callboard.errors import UsageError
from callboard.text.strict import pipe_text

#: Work allowed for one rendering; about a second at the very worst, a thousand times an honest template's.
FUEL = 1_500_000
MOST_ITEMS = 100_000

MISSING = object()
_SEPARATOR = re.compile(r"[-_]")


class Named(dict[str, Any]):
    """A mapping with a text form: `{{production}}` is the name, `{{production.dir}}` a member."""

    def __init__(self, text: str, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        self.text = text

    def __str__(self) -> str:
        return self.text


class Meter:
    """What one rendering may still use. Raises UsageError when it is used up."""

    __slots__ = ("fuel", "most", "written")

    def __init__(self, most: int) -> None:
        self.fuel, self.most, self.written = FUEL, most, 0

    def spend(self, work: int) -> None:
        self.fuel -= work
        if self.fuel < 0:
            raise UsageError("the template does more work than one rendering may; use fewer loops or smaller values")

    def fits(self, size: int) -> None:
        """Refuse to make something of this many characters or items."""
        if size > self.most:
            raise UsageError(f"the template makes more than {self.most:,} characters")

    def write(self, text: str) -> str:
        self.written += len(text)
        self.fits(self.written)
        return text

    def weigh(self, value: Any) -> Any:
        """Pay for touching all of `value`. Shared parts are paid as often as they are reached."""
        if type(value) is str:
            self.spend(1 + (len(value) >> 5))
            return value
        stack = [value]
        while stack:
            one = stack.pop()
            self.spend(1)
            if isinstance(one, str):
                self.spend(len(one) >> 5)
            elif isinstance(one, Mapping):
                self.spend(2 * len(one))
                stack.extend(one.values())
            elif isinstance(one, (list, tuple)):
                self.spend(len(one))
                stack.extend(one)
            elif one is not None and not isinstance(one, (int, float)):
                raise UsageError(f"a {type(one).__name__} is no data that a template can use")
        return value


def find(members: Mapping[str, Any], name: str) -> Any:
    """The member of this name, `-` and `_` being equal; MISSING when there is none. The exact spelling wins."""
    if name in members:
        return members[name]
    parts = _SEPARATOR.split(name)
    if len(parts) == 1:
        return MISSING
    # No scan over the members: in a loop, a stranger's template would make it quadratic.
    ways = product("_-", repeat=len(parts) - 1) if len(parts) <= 4 else (("_",) * 99, ("-",) * 99)
    for way in ways:
        spelt = "".join(chain.from_iterable(zip(parts, (*way, ""), strict=False)))
        if spelt in members:
            return members[spelt]
    return MISSING


def dig(value: Any, path: str | int | None) -> Any:
    """The member of `value` at a dotted path; MISSING when there is none."""
    if path is None:
        return value
    for part in str(path).split("."):
        if isinstance(value, Mapping):
            value = find(value, part)
        elif isinstance(value, (list, tuple)) and part.isdecimal() and int(part[:9]) < len(value):
            value = value[int(part[:9])]
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


def text_of(meter: Meter, value: Any) -> str:
    """A value as it is written out: text, the text form of a `Named`, else compact JSON."""
    if type(value) is str:
        return value
    if isinstance(value, Named):
        return value.text
    return pipe_text(meter.weigh(value))


def items_of(meter: Meter, value: Any) -> list[Any]:
    """A list of what `value` holds: elements, the keys of a mapping, the characters of a text."""
    if not isinstance(value, (list, tuple, Mapping, str)):
        raise UsageError(f"a {type(value).__name__} is no list")
    if len(value) > MOST_ITEMS:
        raise UsageError(f"a list of {len(value):,} items is too long for a template; at most {MOST_ITEMS:,}")
    meter.spend(len(value))
    return list(value)
