"""JSON data as YAML that a person likes to read: blocks, no anchors, no tags; what is ambiguous is quoted. Pure.

Reading YAML is the room `text`'s; writing needs no library for data of this kind, and a general one writes what our
reader refuses (aliases for equal lists, tags, dates). Texts are plain only when no reader could take them for
anything else: `no`, `1e3`, `2026-11-21`, `a: b` and `# x` are quoted; longer texts of several lines stand as `|`.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*(?: [A-Za-z0-9_./@(][A-Za-z0-9_./@()-]*)*\Z")
_WORDS = frozenset("true false yes no on off y n null none nan inf".split())
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_BLOCK = re.compile(r"(?!\s)[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]*\Z")
_LONGEST_KEY = 500  # YAML refuses a simple key of more than 1,024 characters; escapes count

_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def emit(value: Any) -> str:
    """A YAML document. Raises TypeError, ValueError for what is not strict JSON (checked by the caller's encoder)."""
    _dump(value)
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, inner in value.items() for line in _under(_key(key), inner)]
    if isinstance(value, list) and value:
        return [line for inner in value for line in _item(inner)]
    return _scalar(value).split("\n")


def _key(key: str) -> str:
    return f"{_scalar(key)}:" if len(key) <= _LONGEST_KEY else f"? {_quoted(key)}\n:"


def _under(key: str, value: Any) -> list[str]:
    """A key (one line, or two in its explicit form) and what belongs to it."""
    *before, key = key.split("\n")
    if isinstance(value, dict | list) and value:
        return [*before, key, *(f"  {line}" for line in _lines(value))]
    first, *rest = _value(value)
    return [*before, f"{key} {first}", *rest]


def _item(value: Any) -> list[str]:
    if isinstance(value, dict | list) and value:
        first, *rest = _lines(value)
        return [f"- {first}", *(f"  {line}" for line in rest)]
    first, *rest = _value(value)
    return [f"- {first}", *rest]


def _value(value: Any) -> list[str]:
    if isinstance(value, str) and "\n" in value[:-1] and _BLOCK.match(value) and not value.endswith("\n\n"):
        head = "|" if value.endswith("\n") else "|-"
        return [head, *(f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))]
    return [_scalar(value)]


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.match(value) and value.lower() not in _WORDS else _quoted(value)
    if isinstance(value, float):
        return re.sub(r"^(-?\d+)e", r"\1.0e", _dump(value))  # `1e+16` would be read as text
    return _dump(value)  # a number, true, false, null, {} or []


def _quoted(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", _dump(text))
