"""Strict JSON: what is written down can be read back the same, by anyone, in any language.

Python's encoder is generous where it must not be: it writes NaN, passes lone surrogates on to a disk that
refuses them, and silently turns the key 1 into "1". So every value is walked before it is encoded, and the
error names the place in the value. The walk is a loop, because a recursive one dies of a value that nests
deeply; there is no fallback serialiser, because a fallback is a second, weaker door.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from callboard.errors import NotJson

#: Deeper than this is refused: readers elsewhere stop at 100 to 1,000 levels.
DEPTH = 100

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode
_canonical = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def encode(value: Any) -> str:
    """Compact JSON text of None, bool, int, float, str, list, tuple and dict with str keys.

    Raises NotJson naming the place (`$.items[3].score`) for anything else: NaN and infinities, lone surrogates,
    keys that are not text, other objects, more than 100 levels.
    """
    if type(value) is str:
        _text(value, ())
    elif value is not None and type(value) is not bool and type(value) is not int:
        check(value)
    return _encode(value)


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: keys sorted. For hashes. Raises NotJson like `encode`."""
    check(value)
    return _canonical(value)


def plain(text: str) -> str:
    """Text for people (a reason, a log line) with lone surrogates replaced."""
    return text.encode(errors="replace").decode()


def decode(text: str | bytes) -> Any:
    """The value behind a JSON text (bytes: UTF-8). Raises NotJson for what `encode` would not have written."""
    try:
        value = json.loads(text, parse_constant=_constant, parse_float=_float)
    except NotJson:
        raise
    except UnicodeDecodeError as error:
        raise NotJson(f"this is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise NotJson(f"this nests deeper than {DEPTH} levels") from None
    except ValueError as error:
        raise NotJson(f"this is not JSON: {error}") from None
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # Only these can hide something that the parser lets through, so only these are walked.
    if _SURROGATE.search(text) or not text.isascii() or text.count("[") + text.count("{") > DEPTH:
        check(value)
    return value


def check(value: Any) -> None:
    """Raises NotJson, naming the place, when `value` is not strict JSON."""
    stack: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        one, path = stack.pop()
        if one is None or one is True or one is False:
            continue
        if isinstance(one, str):
            _text(one, path)
        elif isinstance(one, float):
            if not math.isfinite(one):
                raise NotJson(f"{place(path)} is {one}, which JSON does not have")
        elif isinstance(one, dict):
            _deep(path)
            for key, member in one.items():
                if not isinstance(key, str):
                    raise NotJson(f"{place(path)} has the key {key!r} of type {type(key).__name__}; keys are text")
                _text(key, path)
                stack.append((member, (*path, key)))
        elif isinstance(one, (list, tuple)):
            _deep(path)
            stack.extend((member, (*path, index)) for index, member in enumerate(one))
        elif not isinstance(one, int):
            raise NotJson(f"{place(path)} is a {type(one).__name__}, which is not JSON")


def place(path: tuple[str | int, ...]) -> str:
    """A path as people read it: `$.items[3].score`."""
    parts = ["$"]
    for part in path:
        if isinstance(part, str) and _PLAIN.fullmatch(part):
            parts.append(f".{part}")
        else:
            parts.append(f"[{part}]" if isinstance(part, int) else f"[{part!a}]")
    return "".join(parts)


def pipe_text(value: Any) -> str:
    """What flows through the pipe: text as it is, anything else as compact JSON."""
    return str(value) if isinstance(value, str) else encode(value)


def _deep(path: tuple[str | int, ...]) -> None:
    if len(path) >= DEPTH:
        raise NotJson(f"{place(path[:3])}… nests deeper than {DEPTH} levels")


def _text(text: str, path: tuple[str | int, ...]) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotJson(f"{place(path)} holds a lone surrogate at character {error.start}, which is no text") from None


def _constant(name: str) -> Any:
    raise NotJson(f"this holds {name}, which JSON does not have")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotJson(f"this holds a number beyond what can be counted: {text[:40]}")
    return number
