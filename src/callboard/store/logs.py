"""What runs say, in files: one of JSON lines for each run, so that nothing said is lost to the database's thrift.

The store keeps a few lines a second of each task, to show beside what happened; a program's whole output belongs
here. Lines are appended whole and not synced: a log is evidence, never state.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from callboard.crash import point

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MOST = 64 << 20  # bytes of one run's file; what a run says beyond them is not kept


class LogFiles:
    """Appends to `RUN.jsonl` in a directory; safe for several processes, since each line is one write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, run: str, line: dict[str, Any]) -> None:
        """One line: `{at, level, task, item, number, text}`. A disk that is full or broken loses it."""
        data = (_encode(line) + "\n").encode(errors="replace")
        point("log.append")
        try:
            file = os.open(self.path(run), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            if os.fstat(file).st_size < _MOST:
                os.write(file, data)
                point("log.appended")
        except OSError:
            return
        finally:
            os.close(file)

    def read(self, run: str) -> Iterator[dict[str, Any]]:
        """The lines of a run, oldest first; one that a crash cut off is left out."""
        try:
            file = open(self.path(run), encoding="utf-8", errors="replace")
        except OSError:
            return
        with file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield line

    def path(self, run: str) -> Path:
        return self._directory / f"{run}.jsonl"
