"""The faults of one file, all of them: a person mends a file once, not once for every fault.

What is read goes on after a fault with what is left, so each fault has to be one of its own: where a key could not be
read, nothing that depends on it is looked at. The first faults are enough; after twenty there is only a count.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.errors import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 20


class Faults:
    """Collects what is wrong; `found` has it in the order it was met."""

    def __init__(self) -> None:
        self.found: list[InvalidFile] = []

    @contextmanager
    def caught(self) -> Iterator[None]:
        """A fault that is raised inside is kept, and what comes after goes on."""
        try:
            yield
        except InvalidFile as error:
            self.add(error)

    def add(self, error: InvalidFile) -> None:
        known = {(one.file, one.line, one.column, one.what) for one in self.found}
        self.found += [one for one in error.faults if (one.file, one.line, one.column, one.what) not in known]

    def demand_none(self) -> None:
        """Raises InvalidFile with all of them, in the order of the file."""
        if self.found:
            raise InvalidFile.of(ordered(self.found))


def ordered(faults: list[InvalidFile]) -> list[InvalidFile]:
    """By place, those of the file itself first, at most MOST and then how many there are besides."""
    home = faults[0].file
    found = sorted(faults, key=lambda one: (one.file != home, one.file, one.line or 0, one.column or 0))
    if len(found) <= MOST:
        return found
    left = InvalidFile(f"… and {len(found) - MOST} more faults", file=home, fix="mend these first")
    return [*found[:MOST], left]
