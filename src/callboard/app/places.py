"""Where the files of a run lie: recorded as seen from the project's root, so that a project can be moved.

What a run began with names directories: its own, and those of the production it plays in. Those inside the project
are recorded relative to its root and made absolute again whenever the run is read; only what lies outside of it is
recorded in full, because nobody knows how it moves.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from callboard.errors import NotFound
from callboard.productions.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_OF_PRODUCTION = ("dir", "instance_dir", "project_home")


def playing(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of the instance a run plays in, None when it plays in none. (A caller may call anything so.)"""
    production = params.get("production")
    return production if isinstance(production, dict) and "instance_dir" in production else None


def of_document(production: Mapping[str, Any], *, document_type: str, step: str | None, suffix: str) -> str:
    """Where a document of a production's instance lies, absolute."""
    names = Names(production["name"], production["id_format"], production["document_pattern"])
    file = names.document(int(production["instance_id"]), document_type, suffix)
    folder = step or production["step"]
    if folder not in production["steps"]:
        raise NotFound(f"{production['name']} has no step {folder!r}; it has {', '.join(production['steps'])}")
    return os.path.join(production["instance_dir"], folder, file)


def recorded(params: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """What a run begins with, as it is recorded in the project at `root` (None: in memory, where nothing moves)."""
    return dict(params) if root is None else _mapped(params, lambda path: _from(root, path))


def found(params: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """What a run began with, every directory absolute."""
    return dict(params) if root is None else _mapped(params, lambda path: os.path.normpath(root / path))


def pipeline(file: str, here: str, root: Path | None) -> str:
    """A pipeline file as a run records it: as it was named, but never in full where it lies in the project."""
    return os.path.relpath(file, here) if os.path.isabs(file) and _is_in(root, file) else os.path.normpath(file)


def missing(begun: Mapping[str, Any], *, plays: bool) -> str:
    """A directory of a run that is not there any more, else empty; with `plays` that of its instance, too."""
    production = playing(begun) if plays else None
    wanted = [begun.get("dir"), *([production["dir"], production["instance_dir"]] if production else [])]
    return next((path for path in wanted if path and not os.path.isdir(path)), "")


def _mapped(params: Mapping[str, Any], path: Callable[[str], str]) -> dict[str, Any]:
    mapped = dict(params)
    if "dir" in mapped:
        mapped["dir"] = path(mapped["dir"])
    if production := playing(mapped):
        mapped["production"] = production | {name: path(production[name]) for name in _OF_PRODUCTION}
    return mapped


def _from(root: Path, path: str) -> str:
    return os.path.relpath(path, root) if _is_in(root, path) else path


def _is_in(root: Path | None, path: str) -> bool:
    return root is not None and os.path.commonpath([root, os.path.abspath(path)]) == str(root)
