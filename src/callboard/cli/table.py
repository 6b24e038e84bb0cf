"""Tables for people: plain columns, so that they need no library and can be cut and sorted.

Cells may come from file names and models, so control characters are shown as symbols here, in the one place
all of them pass. On a terminal the widest columns give way until a row fits; elsewhere nothing is cut.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

COLOURS = {
    "success": "green",
    "completed": "green",
    "failed": "red",
    "stopped": "yellow",
    "skipped": "yellow",
    "running": "cyan",
    "active": "cyan",
    "queued": "blue",
    "retrying": "magenta",
}
_NARROWEST = 12  # columns below which a cell is not cut
_GAP = 2


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, status: int | None = None, whole: Collection[int] = ()
) -> str:
    """Columns as wide as their widest cell; the column `status` is coloured by its word, those in `whole` never cut."""
    cells = [["" if cell is None else symbols(str(cell)).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(width(line[at]) for line in [list(head), *cells]) for at in range(len(head))]
    _fit(widths, columns(sys.stdout), [at for at in range(len(head)) if at not in whole])
    lines = [click.style(_line(head, widths), bold=True)]
    for row in cells:
        line = [pad(cut(cell, wide), wide) for cell, wide in zip(row, widths, strict=True)]
        if status is not None and row[status]:
            colour = COLOURS.get(row[status].split()[0])
            line[status] = click.style(line[status], fg=colour) if colour else line[status]
        lines.append((" " * _GAP).join(line).rstrip())
    return "\n".join(lines)


def _fit(widths: list[int], room: int | None, soft: Sequence[int]) -> None:
    """Take from the widest soft column until a row fits into `room`."""
    while room is not None and sum(widths) + _GAP * (len(widths) - 1) > room:
        widest = max(soft, key=lambda at: widths[at], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def fits(head: Sequence[str], rows: Sequence[Sequence[object]], *, whole: Collection[int] = ()) -> bool:
    """Whether a row of this table fits into the terminal, when what may be cut is cut."""
    room = columns(sys.stdout)
    widths = [
        max(width(str(line[at] if line[at] is not None else "")) for line in [head, *rows]) for at in range(len(head))
    ]
    least = [wide if at in whole else min(wide, _NARROWEST) for at, wide in enumerate(widths)]
    return room is None or sum(least) + _GAP * (len(least) - 1) <= room


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * _GAP).join(pad(cell, wide) for cell, wide in zip(cells, widths, strict=True)).rstrip()


# ── what a terminal shows ───────────────────────────────────────────────────────────────────────────────


def columns(stream: TextIO) -> int | None:
    """How wide the terminal behind a stream is; None when it is no terminal."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def symbols(text: str) -> str:
    """Control characters of names and model output shown as symbols, so that none reaches the terminal."""
    return "".join(char if char in "\n\t" or (char.isprintable() or char == " ") else _symbol(char) for char in text)


def _symbol(char: str) -> str:
    code = ord(char)
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else f"\\u{code:04x}"


def width(text: str) -> int:
    """Columns a text takes on a terminal: wide signs take two, accents that combine none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def pad(text: str, wide: int) -> str:
    return text + " " * (wide - width(text))


def cut(text: str, wide: int) -> str:
    """At most `wide` columns of a text, with `…` where it was cut."""
    if width(text) <= wide:
        return text
    text = text[:wide]
    while width(text) > wide - 1:
        text = text[:-1]
    return text + "…"


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────


def money(dollars: float | None, unpriced: int = 0) -> str:
    """`$0.0123`, `under $0.0001`; `price unknown`, or `at least $0.0123` when the price of some calls is."""
    if dollars is None:
        return "price unknown"
    if unpriced:
        return f"at least {money(dollars)}"
    if 0 < dollars < 0.0001:
        return "under $0.0001"
    return f"${dollars:.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"


def count(number: int, what: str) -> str:
    """`1 model call`, `12 model calls`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """`0:07`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def clock(iso: str | None) -> str:
    """`2026-01-31 12:00:00` of an ISO time."""
    return iso[:19].replace("T", " ") if iso else "-"
