"""Documents as a person reads a list of them: what all paths have in common is said once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW = 3  # paths that are said whole


def below(paths: Sequence[str]) -> tuple[str, list[str]]:
    """The directory that all of many paths share, and each path below it; ("", paths) for a few or for strangers."""
    if len(paths) <= _FEW or len({os.path.isabs(path) for path in paths}) > 1:
        return "", list(paths)
    shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    return shared, [os.path.relpath(path, shared) for path in paths] if shared else list(paths)


def from_here(path: str) -> str:
    """A whole path as the person who stands here may type it: relative where that is shorter."""
    try:
        near = os.path.relpath(path)
    except (OSError, ValueError):  # the current directory is gone
        return path
    return near if len(near) <= len(path) else path


def stands(document: dict[str, Any]) -> str:
    """What there is to say about a document that does not simply lie where it was written; else empty."""
    match document["status"]:
        case "conflict":
            return f"yours is kept, ours is {os.path.basename(document['beside'])}"
        case "edited":
            return "edited since"
        case "missing":
            return "deleted or moved since"
        case "pending":
            return f"not yet in place{': ' if 'why' in document else ''}{document.get('why', '')}"
    return ""
