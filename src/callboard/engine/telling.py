"""What an engine says, and what it does with an error of its own where nobody waits for the end.

A timer, a beat, a task in the background: an error there would be lost, and everything behind it with it, while the
engine seems to live. So it is told, and whatever comes next goes on. Who listens may fail as well (a terminal that is
gone); that stops nothing either, and there is nobody left to tell.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from callboard.errors import CallboardError

if TYPE_CHECKING:
    from collections.abc import Callable


class Telling:
    """Never raises. `report(state, why)` hears it."""

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[str, str], None] = lambda state, why: None) -> None:
        self._report = report

    def __call__(self, state: str, why: str) -> None:
        with contextlib.suppress(Exception):
            self._report(state, why)

    def fault(self, what: str, error: BaseException) -> None:
        """An error that no part of the engine knows how to treat."""
        self("waiting", f"{what}: {said(error)}")


def said(error: BaseException) -> str:
    """An error in words: ours speak for themselves, of all others the name helps. Some have no words to be had."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        return f"{name} (its text cannot be shown)"
    return text if text and isinstance(error, CallboardError) else f"{name}: {text}" if text else name
