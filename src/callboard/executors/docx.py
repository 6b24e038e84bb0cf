"""`convert_to_docx`: a text file becomes a document of a word processor.

python-docx is imported when the first document is made, because it takes longer to import than most runs last.
The file is the same for the same text: the archive carries no time of its own, so that a run that was killed and
resumed leaves the same bytes as one that was not.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

from callboard.errors import MissingExtra, Permanent
from callboard.executors.files import named
from callboard.executors.markdown import Block, blocks, spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Json

_UNWRITABLE = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML has no form for
_STYLES = {"bullet": "List Bullet", "number": "List Number", "quote": "Intense Quote"}
_DEEPEST_LIST = 2  # the template has List Bullet, List Bullet 2 and List Bullet 3


class ConvertToDocx:
    """Implements `ports.Executor`. Fields: `source`, `result`, `dir`. The value is the path of the document."""

    kind = "convert_to_docx"
    version = "1"
    effect = "keyed"

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """Raises MissingExtra when python-docx is not installed."""
        source, result = named(inputs, "source"), named(inputs, "result")
        await asyncio.to_thread(_convert, ctx, source, result)
        return result


def document(text: str) -> bytes:
    """The bytes of a .docx with this text; simple Markdown becomes styles. Raises MissingExtra."""
    made = _docx().Document()
    for block in blocks(_UNWRITABLE.sub("\ufffd", text)):
        _add(made, block)
    file = io.BytesIO()
    made.save(file)
    return _timeless(file)


def _convert(ctx: Context, source: str, result: str) -> None:
    try:
        text = ctx.documents.read(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Permanent(f"{source} is not UTF-8 text (byte {error.start})") from None
    ctx.documents.write(result, document(text))


def _add(made: Any, block: Block) -> None:
    if block.kind == "heading":
        paragraph = made.add_heading(level=block.level)
    elif block.kind in _STYLES:
        depth = min(block.level, _DEEPEST_LIST) + 1 if block.kind != "quote" else 1
        paragraph = made.add_paragraph(style=_STYLES[block.kind] + (f" {depth}" if depth > 1 else ""))
    else:
        paragraph = made.add_paragraph()
    if block.kind == "code":
        paragraph.add_run(block.text).font.name = "Courier New"
        return
    for text, style in spans(block.text):
        run = paragraph.add_run(text)
        run.bold, run.italic = (style == "bold") or None, (style == "italic") or None
        if style == "code":
            run.font.name = "Courier New"


def _timeless(file: io.BytesIO) -> bytes:
    """The archive again, every entry dated as the format's beginning."""
    out = io.BytesIO()
    with zipfile.ZipFile(file) as made, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as kept:
        for entry in made.infolist():
            plain = zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
            plain.compress_type = zipfile.ZIP_DEFLATED
            kept.writestr(plain, made.read(entry))
    return out.getvalue()


def _docx() -> Any:
    try:
        return importlib.import_module("docx")
    except ImportError:
        raise MissingExtra("python-docx", "docx") from None
