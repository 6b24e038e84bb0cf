"""The little Markdown that transcripts and model answers use, as blocks. Pure.

Headings, lists, quotations, fenced code, paragraphs, and inside them bold, italic and code: what a document of a
word processor has a style for. Anything else stays the text it is. No regular expression here can backtrack
far: each is anchored to a line or runs to the next mark.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*)")
_BULLET = re.compile(r"([ \t]*)[-*+][ \t]+(.*)")
_NUMBER = re.compile(r"([ \t]*)\d{1,9}[.)][ \t]+(.*)")
_RULE = re.compile(r"[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*")
_SPAN = re.compile(r"(?P<code>`[^`\n]+`)|(?P<bold>\*\*[^*\n]+\*\*|__[^_\n]+__)|(?P<italic>\*[^*\s][^*\n]*\*)")


class Block(NamedTuple):
    """`kind`: heading, paragraph, bullet, number, quote or code; `level` of a heading from 1, of a list from 0."""

    kind: str
    text: str
    level: int = 0


class Span(NamedTuple):
    """A stretch of text in one `style`: "", bold, italic or code."""

    text: str
    style: str = ""


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a text, in order; lines that belong to one paragraph are joined."""
    waiting: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.lstrip().startswith("```"):
            yield from _paragraph(waiting)
            yield Block("code", "\n".join(_fenced(lines)))
        elif (block := _block(line)) is not None:
            yield from _paragraph(waiting)
            yield block
        elif line.strip() and not _RULE.fullmatch(line):
            waiting.append(line.strip())
        else:
            yield from _paragraph(waiting)
    yield from _paragraph(waiting)


def spans(text: str) -> Iterator[Span]:
    """The stretches of a block's text."""
    at = 0
    for found in _SPAN.finditer(text):
        if found.start() > at:
            yield Span(text[at : found.start()])
        style = found.lastgroup or ""
        yield Span(found[0].strip("`") if style == "code" else found[0].strip("*_"), style)
        at = found.end()
    if at < len(text):
        yield Span(text[at:])


def _block(line: str) -> Block | None:
    """The block that a line is by itself."""
    if _RULE.fullmatch(line):
        return None
    if found := _HEADING.fullmatch(line.strip()):
        return Block("heading", found[2].rstrip("# ").strip(), len(found[1]))
    for kind, pattern in (("bullet", _BULLET), ("number", _NUMBER)):
        if found := pattern.fullmatch(line):
            return Block(kind, found[2].strip(), len(found[1].expandtabs(4)) // 2)
    if line.lstrip().startswith(">"):
        return Block("quote", line.lstrip().lstrip("> ").strip())
    return None


def _fenced(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.lstrip().startswith("```"):
            return
        yield line


def _paragraph(waiting: list[str]) -> Iterator[Block]:
    if waiting:
        yield Block("paragraph", " ".join(waiting))
        waiting.clear()
