"""A scene for the crash points: a person saves a document in the moment in which a step is about to replace it.

Our version is written and both names are about to change places; the save comes in between, through a temporary file
and a rename, as editors save. What comes out is then the person's, and goes back. A kill at any instant of it must
leave their version in place in the end, and ours beside it. Who is killed before the save meets it again the next
time: the person comes back as often as the moment does. That it comes at all takes a pause between the two steps, in
which the first version gets its place: else the second may be the first to be there.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.battery.workloads import APPROVE, FILE, LETTER, Workload
from callboard.crash import listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard.battery.workloads import Ending

#: What the person saves, and where.
SAVED, DOCUMENT = b"what a person saved in the last moment\n", "text.md"
_TWICE = f"""
name: Twice
pipe:
  - {{name: first, type: llm, tmpl: "Summarise: {{{{input}}}}", output_file: {DOCUMENT}}}
  - {{name: look, type: human, question: Shall it be shorter?}}
  - {{name: second, type: llm, tmpl: "One sentence: {{{{pipe.first}}}}", output_file: {DOCUMENT}}}
"""
SHOW = Workload("late", {FILE: _TWICE}, LETTER, {"look": APPROVE})


def act(folder: Path, vfs: str | None) -> Ending:
    """The show, to its end, with the person beside it."""
    with saving(folder):
        return SHOW.drive(folder, vfs=vfs)


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Meanwhile the person saves whenever the document is about to be replaced."""

    def passing(name: str) -> None:
        if name == "publish.replace":
            _save(folder)

    with listening(passing):
        yield


def _save(folder: Path) -> None:
    temporary = folder / ".saving"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(file, SAVED)
    finally:
        os.close(file)
    os.replace(temporary, folder / DOCUMENT)
