"""What a person sees of a draft that waits for review."""

from __future__ import annotations

import json
from typing import Any


def draft(task: dict[str, Any], most: int | None = None) -> list[str]:
    """The lines of a task's draft, at most `most` of them, below its version."""
    value = task["draft"]["value"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    lines = text.splitlines()
    shown = [f"draft of {task['name']}, version {task['draft']['hash'][:12]}:", *(f"  {line}" for line in lines[:most])]
    if most is not None and len(lines) > most:
        shown.append(f"  … and {len(lines) - most} more lines; callboard show has all of them")
    return shown
