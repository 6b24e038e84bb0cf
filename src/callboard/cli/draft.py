"""What a person sees of a draft that waits for review, and how it can be answered."""

from __future__ import annotations

import json
import shlex
from typing import Any


def draft(held: dict[str, Any], most: int | None = None) -> list[str]:
    """The question, and the lines of the draft below its version, at most `most` of them."""
    value = held["value"]
    shown = [f"{held['task']}: {held['question']}"] if held["question"] and held["question"] != value else []
    return [*shown, f"draft of {held['task']}, version {held['hash'][:12]}:", *excerpt(value, most)]


def excerpt(value: Any, most: int | None = None) -> list[str]:
    """The lines of a text or of data, indented, at most `most` of them."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    lines = text.splitlines()
    more = [] if most is None or len(lines) <= most else [f"  … and {len(lines) - most} more lines"]
    return [*(f"  {line}".rstrip() for line in lines[:most]), *more]


def ways(run: str, held: dict[str, Any], *, several: bool) -> list[str]:
    """The answers that are possible, each with its command."""
    named = f" --task {shlex.quote(held['task'])}" if several else ""
    lines = [("choose", f"approve {run}{named} --choose {shlex.quote(one)}") for one in held["choices"]]
    if not held["choices"]:
        lines += [("another text", f"approve {run}{named} --edit FILE")]
    back = f"send it back ({held['rounds_left']} left)" if held["rounds_left"] else "say no (it fails)"
    lines += [(back, f"reject {run}{named} --note TEXT")]
    wide = max(len(what) for what, _ in lines) + 1
    return [f"  {what + ':':<{wide}}  callboard {command}" for what, command in lines]
