"""Durations as people write them: `24h`, `30m`, `15s`, `500ms`, `7d`, or plain seconds as a number.

One number and one unit, nothing else: `1h30m`, `1.5h` and `1w` are refused by name, because each of them means
something different to somebody. Digits are ASCII; the whole text must match.
"""

from __future__ import annotations

import math
import re

from callboard.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)?")
#: A hundred years: longer is a slip of the hand, and timers overflow on it.
LONGEST = 100 * 365 * 86400.0


def seconds(value: str | int | float) -> float:
    """Seconds behind `24h`, `500ms`, `30` or a number. Raises UsageError that holds the value and the forms."""
    if isinstance(value, str):
        match = _FORM.fullmatch(value)
        if match is None:
            raise _refused(value)
        number = int(match[1])
        length = number / 1000 if match[2] == "ms" else number * _UNITS[match[2] or "s"]
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refused(value)
    else:
        length = float(min(value, LONGEST + 1))
    if not (math.isfinite(length) and 0 <= length <= LONGEST):
        raise _refused(value)
    return length


def text(length: float) -> str:
    """The shortest way to say `length` seconds that `seconds` reads back: `90m`, `1500ms`."""
    milliseconds = round(length * 1000)
    for unit, factor in reversed(_UNITS.items()):
        whole, rest = divmod(milliseconds, round(factor * 1000))
        if whole and not rest:
            return f"{whole}{unit}"
    return "0s"


def _refused(value: object) -> UsageError:
    return UsageError(
        f"{value!r:.60} is not a duration; write a number and one unit of ms, s, m, h or d "
        "(`500ms`, `30m`, `24h`), or plain seconds, up to 100 years"
    )
