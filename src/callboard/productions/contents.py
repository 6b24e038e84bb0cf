"""What a document holds, to bytes and back: text, bytes, and data written as its suffix says. Pure.

Strict both ways: JSON without NaN, keys that are text, no lone surrogates. A document that says `json` and is not
is an error with its place, never a guess.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from callboard.errors import InvalidFile, NotJson, UsageError
from callboard.productions.yamltext import emit
from callboard.text import document, strict

Content: TypeAlias = str | bytes | bytearray | memoryview | dict[str, Any] | list[Any]

YAML = ("yml", "yaml")


def suffix_for(content: Content) -> str:
    """The suffix when none is given: `json` for data, else `txt`."""
    return "json" if isinstance(content, dict | list) else "txt"


def encode(content: Content, suffix: str) -> bytes:
    """The bytes of a document. Raises UsageError for a type or suffix that does not fit, NotJson."""
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if not isinstance(content, str | dict | list):
        raise UsageError(f"content must be str, bytes, dict or list, not {type(content).__name__}")
    strict.check(content)
    if isinstance(content, str):
        return content.encode()
    if suffix == "json":
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2).encode() + b"\n"
    if suffix in YAML:
        return emit(content).encode()
    raise UsageError(f"a {type(content).__name__} is saved with suffix json, yml or yaml, not {suffix!r}")


def decode(data: bytes, suffix: str, *, file: str = "") -> Any:
    """What a document holds: data for `json`, `yml` and `yaml`, else text, else bytes when it is not UTF-8.

    Raises InvalidFile for data that cannot be read.
    """
    if suffix in YAML:
        return document.load(data, file=file).value
    if suffix == "json":
        return _json(data, file)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _json(data: bytes, file: str) -> Any:
    try:
        return strict.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except NotJson as error:
        raise InvalidFile(str(error), file=file) from error
