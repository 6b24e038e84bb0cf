"""Tables for people: plain columns, so that they need no library and can be cut and sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = {
    "success": "green",
    "failed": "red",
    "stopped": "yellow",
    "running": "cyan",
    "queued": "blue",
    "retrying": "magenta",
}


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, status: int | None = None) -> str:
    """Columns as wide as their widest cell; the column `status` is coloured by its word."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(head), *cells]) for at in range(len(head))]
    lines = [click.style(_line(head, widths), bold=True)]
    for row in cells:
        line = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if status is not None:
            line[status] = click.style(line[status], fg=COLOURS.get(row[status].split()[0] if row[status] else ""))
        lines.append("  ".join(line).rstrip())
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def money(dollars: float | None) -> str:
    """`$0.0123`; a dash when nothing is known."""
    if dollars is None:
        return "-"
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.4f}"


def clock(iso: str | None) -> str:
    """`2026-01-31 12:00:00` of an ISO time."""
    return iso[:19].replace("T", " ") if iso else "-"
