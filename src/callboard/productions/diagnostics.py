"""Records of runs and errors in `<settings>/diagnostics/`: one JSON file each, written whole, without secrets.

A file for each record and no growing log: to append to a file is the one way of writing that a kill can leave half
done. What looks like a secret is masked three ways, because each alone misses something: the name of the field, the
shape of the text, and the values that this process holds in its environment under names like `…_API_KEY`.
"""

from __future__ import annotations

import json
import os
import re
import secrets as chance
from typing import TYPE_CHECKING, Any

from callboard.crash import point
from callboard.productions import folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DIRECTORY = "diagnostics"
MASK = "[redacted]"

_SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:api[_-]?key|access[_-]?key|private[_-]?key|secret|token|password|passwd|pwd|authorization|"
    r"credentials?|cookie|apikey)$",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|"
    r"xox[abprs]-[A-Za-z0-9-]{10,})|(?<=Bearer )[A-Za-z0-9._~+/=-]{8,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_SHORTEST = 8  # characters of a secret; a shorter value would mask ordinary words


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values of an environment that are secrets by the name of their variable."""
    return [value for name, value in environment.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST]


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """The same JSON value with everything that looks like a secret masked; what is no JSON becomes text."""
    return _redact(value, sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True))


def _redact(value: Any, secrets: list[str]) -> Any:
    match value:
        case dict():
            return {_text(str(key), secrets): _field(str(key), inner, secrets) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact(inner, secrets) for inner in value]
        case None | bool() | int():
            return value
        case float() if value == value and abs(value) != float("inf"):
            return value
    return _text(str(value), secrets)


def _field(name: str, value: Any, secrets: list[str]) -> Any:
    return MASK if isinstance(value, str) and value and _SECRET_NAME.search(name) else _redact(value, secrets)


def _text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _SECRET_SHAPE.sub(MASK, text)


def keep(
    root: Path,
    settings: str,
    kind: str,
    at: str,
    instance_id: str | None,
    data: Mapping[str, Any],
    secrets: Iterable[str] = (),
) -> Path:
    """Write a record; its path. `at` is an ISO time, `kind` a word, `secrets` are masked wherever they stand."""
    name = file_name(kind, at, instance_id)
    point("diagnostics.keep")
    with folder.opened(root, settings) as place:
        folder.make_directory(place, DIRECTORY)
    with folder.opened(root, settings, DIRECTORY) as place:
        told = record(kind, at, instance_id, data, [*secrets, *secrets_in(os.environ)])
        folder.write(place, name, told, mode=0o600)
    return root / settings / DIRECTORY / name


def record(kind: str, at: str, instance_id: str | None, data: Mapping[str, Any], secrets: Iterable[str]) -> bytes:
    """The bytes of one record: `kind`, `at`, `instance_id` and then what the caller has to tell."""
    told = {"kind": kind, "at": at, "instance_id": instance_id} | redact(dict(data), secrets)
    return json.dumps(told, ensure_ascii=False, allow_nan=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"


def file_name(kind: str, at: str, instance_id: str | None) -> str:
    """A name that sorts by time, tells what is inside and is not taken: `20261121T064351Z-error-00001-5f1c….json`."""
    stamp = re.sub(r"[^0-9T]", "", at.partition("+")[0])
    return "-".join(filter(None, (f"{stamp}Z", kind, instance_id, chance.token_hex(4)))) + ".json"
