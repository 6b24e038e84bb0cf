"""What a person sees of a draft that waits for review."""

from __future__ import annotations

import json
from typing import Any


def draft(held: dict[str, Any], most: int | None = None) -> list[str]:
    """The question, and the lines of the draft below its version, at most `most` of them."""
    value = held["value"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    lines = text.splitlines()
    shown = [f"{held['task']}: {held['question']}"] if held["question"] and held["question"] != text else []
    shown += [f"draft of {held['task']}, version {held['hash'][:12]}:", *(f"  {line}" for line in lines[:most])]
    if most is not None and len(lines) > most:
        shown.append(f"  … and {len(lines) - most} more lines; callboard show has all of them")
    return shown
