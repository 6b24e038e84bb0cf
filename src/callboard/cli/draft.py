"""What a person sees of what waits for them, a draft or an effect of unknown end, and how it can be answered."""

from __future__ import annotations

import json
import shlex
from typing import Any


def asked(run: str, held: dict[str, Any], *, several: bool, most: int | None = None) -> list[str]:
    """What waits, at most `most` lines of a draft, and the answers that are possible."""
    if held["for"] == "decision":
        return [*_effect(held), *_verdicts(run, held, several=several)]
    if "value" not in held:
        return []
    return [*draft(held, most), "", *ways(run, held, several=several)]


def _effect(held: dict[str, Any]) -> list[str]:
    return [f"{held['task']} may happen only once. It was begun, and whether it happened nobody knows: {held['why']}"]


def _verdicts(run: str, held: dict[str, Any], *, several: bool) -> list[str]:
    named = f" --task {shlex.quote(held['task'])}" if several else ""
    return _each(
        [
            ("it happened", f"approve {run}{named} --done"),
            ("it did not, do it again", f"approve {run}{named} --redo"),
            ("it did not, and shall not", f"approve {run}{named} --failed"),
        ]
    )


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
    return _each(lines)


def _each(lines: list[tuple[str, str]]) -> list[str]:
    wide = max(len(what) for what, _ in lines) + 1
    return [f"  {what + ':':<{wide}}  callboard {command}" for what, command in lines]
