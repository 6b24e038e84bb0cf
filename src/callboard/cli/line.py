"""One line on a terminal that says how far something is, for what goes through many things one after the other."""

from __future__ import annotations

import sys
import time

import click

from callboard.cli.table import columns, cut, symbols


class Line:
    """How far it is: rewritten at most ten times a second, and gone at the end. Elsewhere nothing is said."""

    def __init__(self, title: str = "") -> None:
        self._title, self._drawn, self._terminal = f"{title}  " if title else "", 0.0, sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self._terminal and time.monotonic() - self._drawn >= 0.1:
            self._drawn = time.monotonic()
            shown = cut(symbols(self._title + text), (columns(sys.stderr) or 80) - 1)
            click.echo(f"\r\x1b[K{shown}", err=True, nl=False)

    def end(self) -> None:
        if self._terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
