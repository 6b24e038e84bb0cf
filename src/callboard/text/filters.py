"""What a template may do to a value: a closed list of filters, each of which pays before it works.

A template is a stranger's program. Jinja's own filters reach attributes (`attr`, `map(attribute=…)`), pad to any
width and repeat without asking, so these are ours: plain data in, plain data out, and a `Meter` that says no
before the memory or the second is gone. Taking the vendor's and checking results came first; by the time there
was a result to check, the hundred megabytes were made.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callboard.errors import UsageError
from callboard.text.meter import MISSING, MOST_ITEMS, Meter, Named, dig, items_of, text_of
from callboard.text.strict import decode, pipe_text

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BITS = 4096  # of an integer

# ── operators ───────────────────────────────────────────────────────────────────────────────────────────


def operate(meter: Meter, operator: str, left: Any, right: Any) -> Any:
    """`left operator right`, refused before it grows. Texts and lists may be added and repeated, nothing else."""
    meter.spend(1)
    if operator == "+" and isinstance(left, (str, list, tuple)) and type(left) is type(right):
        joined: Any = right
        meter.fits(len(left) + len(joined))
        meter.spend((len(left) + len(joined)) >> 5)
        return left + joined
    if operator == "*" and (isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple))):
        many, times = (left, right) if isinstance(right, int) else (right, left)
        if not isinstance(times, int):
            raise UsageError("only a whole number can repeat a text or list")
        meter.fits(len(many) * times)
        meter.spend(len(many) * max(times, 0) >> 5)
        return many * times
    for side in (left, right):
        if not isinstance(side, (int, float)):
            raise UsageError(f"{operator} needs numbers, not a {type(side).__name__}; texts are joined with ~")
    return _bounded(_NUMBERS[operator](left, right))


def _power(left: float, right: float) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * max(right, 0) > MOST_BITS:
        raise UsageError("this power is too large")
    return left**right


_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": _power,
}


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > MOST_BITS:
        raise UsageError("this number is too large")
    if isinstance(number, complex):
        raise UsageError("this power has no real value")
    return number


# ── filters: (meter, value, …) → value ──────────────────────────────────────────────────────────────────


def join(meter: Meter, value: Any, separator: Any = "", attribute: str | None = None) -> str:
    parts = [text_of(meter, _member(one, attribute)) for one in items_of(meter, value)]
    between = text_of(meter, separator)
    meter.fits(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def replace(meter: Meter, value: Any, old: Any, new: Any, count: int = -1) -> str:
    text, old, new = text_of(meter, value), text_of(meter, old), text_of(meter, new)
    times = text.count(old)
    meter.fits(len(text) + max(0, len(new) - len(old)) * (times if count < 0 else min(times, count)))
    return text.replace(old, new, count)


def truncate(
    meter: Meter, value: Any, length: int = 255, killwords: bool = False, end: str = "…", leeway: int = 0
) -> str:
    text = text_of(meter, value)
    if len(text) <= length + leeway:
        return text
    kept = text[: max(0, length - len(end))]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + end


def indent(meter: Meter, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    text = text_of(meter, value)
    meter.fits(width if isinstance(width, int) else len(width))
    margin = " " * width if isinstance(width, int) else width
    lines = text.split("\n")
    meter.fits(len(text) + len(margin) * len(lines))
    made = [margin + line if line or blank else line for line in lines[1:]]
    return "\n".join([margin + lines[0] if first else lines[0], *made])


def split(meter: Meter, value: Any, separator: str | None = None, most: int = -1) -> list[str]:
    return text_of(meter, value).split(separator, most)


def escape(meter: Meter, value: Any) -> str:
    text = text_of(meter, value)
    meter.fits(len(text))
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(character, entity)
    return text


def title(meter: Meter, value: Any) -> str:
    text = text_of(meter, value)
    meter.spend(len(text))
    return re.sub(r"[^\s({\[<-]+", lambda word: word[0][0].upper() + word[0][1:].lower(), text)


def to_json(meter: Meter, value: Any, indent: int | None = None) -> str:
    text = pipe_text(meter.weigh(value)) if not isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if indent is None or isinstance(value, str):
        return text
    if not 0 <= indent <= 8:
        raise UsageError("tojson indents by 0 to 8")
    meter.spend(len(text) * 4)
    return json.dumps(value, ensure_ascii=False, indent=indent)


def from_json(meter: Meter, value: Any) -> Any:
    text = text_of(meter, value)
    meter.spend(len(text) >> 3)
    return meter.weigh(decode(text))


def whole(meter: Meter, value: Any, default: int = 0, base: int = 10) -> int:
    try:
        number = int(value, base) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        try:
            number = int(float(value))
        except (TypeError, ValueError, OverflowError):
            return default
    return int(_bounded(number))


def real(meter: Meter, value: Any, default: float = 0.0) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return number if math.isfinite(number) else default


def rounded(meter: Meter, value: float, precision: int = 0, method: str = "common") -> float:
    if not -15 <= precision <= 15 or method not in ("common", "ceil", "floor"):
        raise UsageError("round takes a precision of -15 to 15, and common, ceil or floor")
    if method == "common":
        return round(float(value), precision)
    factor = 10.0**precision
    return (math.ceil if method == "ceil" else math.floor)(value * factor) / factor


def ordered(
    meter: Meter, value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: str | None = None
) -> list[Any]:
    values = items_of(meter, meter.weigh(value))
    meter.spend(len(values) * 16)
    return sorted(values, key=lambda one: _folded(_member(one, attribute), case_sensitive), reverse=bool(reverse))


def unique(meter: Meter, value: Any, case_sensitive: bool = False, attribute: str | None = None) -> list[Any]:
    seen: dict[str, Any] = {}
    for one in items_of(meter, meter.weigh(value)):
        seen.setdefault(to_json(meter, _folded(_member(one, attribute), case_sensitive)), one)
    return list(seen.values())


def least(meter: Meter, value: Any, case_sensitive: bool = False, attribute: str | None = None) -> Any:
    return (ordered(meter, value, False, case_sensitive, attribute) or [None])[0]


def greatest(meter: Meter, value: Any, case_sensitive: bool = False, attribute: str | None = None) -> Any:
    return (ordered(meter, value, True, case_sensitive, attribute) or [None])[0]


def total(meter: Meter, value: Any, attribute: str | None = None, start: float = 0) -> Any:
    result: Any = start
    for one in items_of(meter, value):
        result = operate(meter, "+", result, _member(one, attribute))
        if not isinstance(result, (int, float)):
            raise UsageError("sum adds numbers; texts are put together with join")
    return result


def grouped(meter: Meter, value: Any, attribute: str, default: Any = None) -> list[list[Any]]:
    """[[key, [items]] …], by key: `{% for key, items in rows|groupby("kind") %}`."""
    groups: dict[str, list[Any]] = {}
    keys: dict[str, Any] = {}
    for one in items_of(meter, meter.weigh(value)):
        key = dig(one, attribute)
        key = default if key is MISSING else key
        shape = to_json(meter, key)
        keys.setdefault(shape, key)
        groups.setdefault(shape, []).append(one)
    meter.spend(len(groups) * 16)
    return [[keys[shape], groups[shape]] for shape in sorted(groups, key=lambda shape: _folded(keys[shape], False))]


def batched(meter: Meter, value: Any, size: int, fill: Any = MISSING) -> list[list[Any]]:
    values = items_of(meter, value)
    if not 1 <= size <= MOST_ITEMS:
        raise UsageError(f"batch takes a size of 1 to {MOST_ITEMS:,}")
    meter.spend(4 * (len(values) // size))
    rows = [values[at : at + size] for at in range(0, len(values), size)]
    if rows and fill is not MISSING:
        meter.spend(size)
        rows[-1] += [fill] * (size - len(rows[-1]))
    return rows


def pairs(meter: Meter, value: Any) -> list[list[Any]]:
    if not isinstance(value, Mapping):
        raise UsageError("items needs a mapping")
    return [[key, value[key]] for key in items_of(meter, value)]


def pairs_in_order(
    meter: Meter, value: Any, case_sensitive: bool = False, by: str = "key", reverse: bool = False
) -> Any:
    if by not in ("key", "value"):
        raise UsageError("dictsort sorts by 'key' or 'value'")
    return ordered(meter, pairs(meter, value), reverse, case_sensitive, "0" if by == "key" else "1")


def reverse(meter: Meter, value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else items_of(meter, value)[::-1]


def count(meter: Meter, value: Any) -> int:
    if not isinstance(value, (str, list, tuple, Mapping)):
        raise UsageError(f"a {type(value).__name__} has no length")
    return len(value)


def numbers(meter: Meter, value: Any) -> list[int]:
    """`range(…)`: the one thing that looks like a call."""
    if not all(isinstance(part, int) for part in value):
        raise UsageError("range takes whole numbers")
    made = range(*value)
    if len(made) > MOST_ITEMS:
        raise UsageError(f"range makes at most {MOST_ITEMS:,} numbers")
    meter.spend(len(made))
    return list(made)


def loop(meter: Meter, value: Any, body: int) -> list[Any]:
    """What a `for` goes over; every round is paid for at once, `body` being the size of what it repeats."""
    values = items_of(meter, value)
    meter.spend(len(values) * (3 + body))
    return values


def weigh(meter: Meter, value: Any) -> Any:
    """Pay for what the next operator will touch; a `Named` is compared as its text."""
    return value.text if isinstance(value, Named) else meter.weigh(value)


def default(meter: Meter, value: Any, other: Any = "", boolean: bool = False) -> Any:
    return other if value is MISSING or (boolean and not value) else value


def _member(value: Any, attribute: str | int | None) -> Any:
    member = dig(value, attribute)
    if member is MISSING:
        raise UsageError(f"an item has no member {attribute!r:.60}")
    return member


def _folded(value: Any, case_sensitive: bool) -> Any:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _of_text(method: Callable[[str], Any]) -> Callable[..., Any]:
    return lambda meter, value: method(text_of(meter, value))


FILTERS: dict[str, Callable[..., Any]] = {
    "abs": lambda meter, value: abs(operate(meter, "+", value, 0)),
    "batch": batched,
    "capitalize": _of_text(str.capitalize),
    "count": count,
    "d": default,
    "default": default,
    "dictsort": pairs_in_order,
    "e": escape,
    "escape": escape,
    "float": real,
    "fromjson": from_json,
    "groupby": grouped,
    "indent": indent,
    "int": whole,
    "items": pairs,
    "join": join,
    "json": to_json,
    "length": count,
    "lines": _of_text(str.splitlines),
    "list": items_of,
    "lower": _of_text(str.lower),
    "max": greatest,
    "min": least,
    "replace": replace,
    "reverse": reverse,
    "round": rounded,
    "safe": _of_text(str),
    "sort": ordered,
    "split": split,
    "string": _of_text(str),
    "sum": total,
    "title": title,
    "tojson": to_json,
    "trim": lambda meter, value, characters=None: text_of(meter, value).strip(characters),
    "truncate": truncate,
    "unique": unique,
    "upper": _of_text(str.upper),
    "wordcount": lambda meter, value: len(text_of(meter, value).split()),
}

#: What the guard puts into a template; no template can name them.
INNER: dict[str, Callable[..., Any]] = {
    "·join": join,
    "·range": numbers,
    "·loop": loop,
    "·weigh": weigh,
    "·text": text_of,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TESTS: dict[str, Callable[..., bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "containing": lambda value, part: part in value,
    "divisibleby": lambda value, number: value % number == 0,
    "endswith": lambda value, end: str(value).endswith(end),
    "eq": lambda value, other: bool(value == other),
    "equalto": lambda value, other: bool(value == other),
    "even": lambda value: value % 2 == 0,
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float),
    "ge": lambda value, other: bool(value >= other),
    "gt": lambda value, other: bool(value > other),
    "in": lambda value, values: value in values,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "iterable": lambda value: isinstance(value, (str, list, tuple, Mapping)),
    "le": lambda value, other: bool(value <= other),
    "lower": lambda value: str(value).islower(),
    "lt": lambda value, other: bool(value < other),
    "mapping": lambda value: isinstance(value, Mapping),
    "ne": lambda value, other: bool(value != other),
    "none": lambda value: value is None,
    "number": _is_number,
    "odd": lambda value: value % 2 == 1,
    "sequence": lambda value: isinstance(value, (str, list, tuple)),
    "startswith": lambda value, start: str(value).startswith(start),
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
    "upper": lambda value: str(value).isupper(),
}
