"""Writes the parts of the documents that quote the program: the diagram of statuses, the keys of pipeline files, the
tables of decisions and of proofs.

    python docs/generate.py            write them
    python docs/generate.py --check    only say what is out of date, exit 1 if anything is

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; what is around it is written by hand.
The words on the arrows of the diagram stand here, one per move of `core.status.MOVES`; a move that is added there has
no word until somebody finds one, and that is an error rather than a bare arrow.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.battery.proofs import PROOFS
from callboard.core.status import ENDED, INIT, MOVES, OPEN, Status
from callboard.faces.pipelines.keys import FILE, STEP, TYPES, Key

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[1]

WORDS = {
    "INIT QUEUED": "its condition holds",
    "QUEUED RUNNING": "admitted",
    "QUEUED STOPPED": "stopped before it began",
    "QUEUED SKIPPED": "nothing to do",
    "QUEUED FAILED": "cannot begin",
    "RUNNING SUCCESS": "succeeded",
    "RUNNING FAILED": "failed, tries used up",
    "RUNNING SKIPPED": "skipped itself",
    "RUNNING STOPPED": "stopped, rejected",
    "RUNNING STOPPING": "asked to stop",
    "RUNNING RETRYING": "failed, tries left",
    "RUNNING QUEUED": "halted, worker lost",
    "RETRYING QUEUED": "time to try again",
    "RETRYING STOPPED": "stopped",
    "RETRYING FAILED": "given up",
    "STOPPING SUCCESS": "had succeeded",
    "STOPPING STOPPED": "has stopped",
    "STOPPING FAILED": "rule loop",
    "ended QUEUED": "next number",
    "ended RUNNING": "one item again",
}


def moves() -> str:
    """The legal moves as a mermaid diagram; the four endings, which move alike, are drawn as one."""
    after_end = {MOVES[status] for status in ENDED}
    if len(after_end) != 1:
        raise SystemExit("the endings no longer move alike: draw them one by one")
    lines = ["stateDiagram-v2", "    direction LR", "    [*] --> INIT", "    state ended {"]
    lines += [f"        {status.name}" for status in sorted(ENDED)]
    lines += ["    }"]
    lines += [_arrow(at.name, to) for at in sorted({INIT} | OPEN) for to in sorted(MOVES[at])]
    lines += [_arrow("ended", to) for to in sorted(after_end.pop())]
    return "\n".join(["```mermaid", *lines, "```"])


def _arrow(at: str, to: Status) -> str:
    return f"    {at} --> {to.name}: {WORDS[f'{at} {to.name}']}"


def decisions() -> str:
    """The table of decision records, by number; the title is the record's first line, the room its place."""
    rows = ["| | decision | rules |", "|---|---|---|"]
    for path in sorted(ROOT.glob("src/callboard/*/decisions/*.md"), key=lambda path: path.name):
        number, title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ").split(" · ", 1)
        rows.append(f"| {int(number)} | [{title}](../{path.relative_to(ROOT)}) | `{path.parts[-3]}` |")
    return "\n".join(rows)


def proofs() -> str:
    """The battery: what is done, how often in each tier, and which promise it holds us to."""
    rows = ["| proof | what is done | on every change | nightly | promises |", "|---|---|---|---|---|"]
    for one in PROOFS:
        gate = f"{one.gate:,} {one.unit}" if one.gate else "–"
        rows.append(f"| {one.name} | {one.title} | {gate} | {one.nightly:,} | {', '.join(map(str, one.promise))} |")
    return "\n".join(rows)


def keys(these: Iterable[Key]) -> str:
    """A table of keys with the help they carry in the program."""
    rows = [f"| `{key.name}` | {_code_in_braces(key.help)} |" for key in these]
    return "\n".join(["| key | meaning |", "|---|---|", *rows])


def _code_in_braces(text: str) -> str:
    return re.sub(r"\{[^\s]*\}+|\{tries[^}]*\}|\{again[^}]*\}", lambda match: f"`{match[0]}`", text)


KEYS = {"file": FILE, "step": [key for key in STEP if not key.types]}
KEYS |= {type: [key for key in STEP if type in key.types] for type in TYPES}

PARTS = {
    "docs/machine.md": {"moves": moves},
    "docs/reliability.md": {"proofs": proofs},
    "docs/decisions.md": {"decisions": decisions},
    "docs/pipelines.md": {f"{name} keys": partial(keys, these) for name, these in KEYS.items()},
}


def filled(text: str, name: str, part: str) -> str:
    """`text` with the generated part `name` replaced. Raises SystemExit when its place is missing."""
    pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
    result, found = re.subn(pattern, lambda match: f"{match[1]}\n{part}\n\n{match[2]}", text, flags=re.DOTALL)
    if found != 1:
        raise SystemExit(f"one place for the generated part {name!r} expected, found {found}")
    return result


def stale(*, write: bool) -> list[str]:
    """The documents whose generated parts are out of date; with `write` they are brought up to date."""
    changed = []
    for path, parts in PARTS.items():
        old = new = (ROOT / path).read_text("utf-8")
        for name, part in parts.items():
            new = filled(new, name, part())
        if new != old:
            changed.append(path)
            if write:
                (ROOT / path).write_text(new, "utf-8")
    return changed


if __name__ == "__main__":
    check = "--check" in sys.argv[1:]
    for path in stale(write=not check):
        print(f"{path} {'is out of date: run python docs/generate.py' if check else 'written'}")
        if check:
            sys.exit(1)
