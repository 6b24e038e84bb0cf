"""The rules of single values: bounds and steps of numbers, lengths of texts, lists without doubles."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Bounds(NamedTuple):
    """What a schema lets a number be. Bounds that the schema does not have are infinite."""

    low: float
    high: float
    under: float  # must be greater than this
    over: float  # must be less than this
    step: float  # must be a multiple of this; 0 for any
    whole: bool

    def allow(self, value: float) -> bool:
        return (
            self.low <= value <= self.high
            and self.under < value < self.over
            and (not self.whole or value == int(value))
            and (not self.step or _is_multiple(value, self.step))
        )


def bounds_of(flat: dict[str, Any], whole: bool) -> Bounds:
    def real(name: str, default: float) -> float:
        value = flat.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else default

    return Bounds(
        real("minimum", -math.inf),
        real("maximum", math.inf),
        real("exclusiveMinimum", -math.inf),
        real("exclusiveMaximum", math.inf),
        max(0.0, real("multipleOf", 0)),
        whole,
    )


def bounded(value: float, bounds: Bounds) -> int | float:
    """The number nearest to `value` that `bounds` allow, as far as it is easily found."""
    low, high = max(bounds.low, bounds.under), min(bounds.high, bounds.over)
    value = min(max(value, low), high)
    if bounds.step:
        base = math.floor(value / bounds.step)
        near = [(base + n) * bounds.step for n in (0, 1, -1, 2, -2, 3, -3, 4, 5, 10, -4, -5, -10)]
        tries = [*near, *(float(round(one)) for one in near), 0.0]
    elif bounds.whole:
        base = math.floor(value)
        tries = [round(value), base, base + 1, base - 1]
    else:
        tries = [float(round(value)) if value == round(value) else round(value, 3), value, *_inside(low, high)]
    chosen = next((one for one in tries if bounds.allow(one)), tries[0])
    return int(chosen) if chosen == int(chosen) else chosen


def another(bounds: Bounds, value: float, n: int) -> int | float:
    """The n-th other number that `bounds` allow beside `value`."""
    if math.isfinite(bounds.low) and math.isfinite(bounds.high) and not bounds.whole and not bounds.step:
        return bounds.low + (bounds.high - bounds.low) * (n % 97 + 1) / 99
    step = bounds.step or 1
    up = value + n * step
    return bounded(up if bounds.allow(up) else value - n * step, bounds)


def parsed(number: str) -> float:
    """The number a text holds, 0 when it is none or beyond counting."""
    try:
        value = float(number.replace(",", "").rstrip("."))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and abs(value) < 1e15 else 0.0


def stretched(text: str, source: str, least: int, most: int | None) -> str:
    """A text made longer by what else the source says, and by dashes when that is not enough."""
    longer = f"{text} {source}".strip()
    longer += "-" * (least - len(longer))
    end = longer.find(" ", least)
    limit = len(longer) if most is None else most
    return longer[: end if 0 < end <= limit else min(least, limit)]


def unique(values: list[Any]) -> list[Any]:
    """Without what is there already, as JSON Schema sees it: true is not 1."""
    kept: list[Any] = []
    for value in values:
        if not any(one == value and isinstance(one, bool) == isinstance(value, bool) for one in kept):
            kept.append(value)
    return kept


def _is_multiple(value: float, step: float) -> bool:
    if value == int(value) and step == int(step):
        return int(value) % int(step) == 0
    quotient = value / step
    return math.isfinite(quotient) and quotient == int(quotient)


def _inside(low: float, high: float) -> list[float]:
    """Numbers between two bounds, for bounds that are themselves excluded."""
    if math.isfinite(low) and math.isfinite(high):
        return [low + (high - low) / 2, low + (high - low) / 4]
    if math.isfinite(low):
        return [low + 1, low + abs(low) * 0.5 + 1]
    return [high - 1, high - abs(high) * 0.5 - 1] if math.isfinite(high) else [0.0]
