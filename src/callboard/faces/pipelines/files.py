"""Texts of a pipeline file that may stand in files of their own: templates, and JSON Schemas.

They are read through a function the caller gives, and pinned. A path has to stay inside the project: a pipeline file
of a stranger cannot make a model read what lies elsewhere.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from callboard.errors import CallboardError
from callboard.faces.pipelines.model import Source
from callboard.text import schema as json_schema
from callboard.text.document import load
from callboard.text.template import compile as compile_template
from callboard.text.template import is_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.faces.pipelines.kinds import Cursor
    from callboard.text.document import Document

    #: Text of a file by its path (relative to the current directory), or None when there is none.
    Read = Callable[[str], str | None]

_FILES = (".j2", ".jinja", ".jinja2", ".txt", ".md")


class Files:
    """The files around one pipeline file."""

    def __init__(self, document: Document, read: Read) -> None:
        self.document, self.read = document, read

    def source(self, cursor: Cursor, text: str) -> tuple[str, Source]:
        """The text itself, or that of the template file it names, and where it begins."""
        place = self.document.place(cursor.path)
        origin = Source(self.document.file, place.first_line, place.indent)
        if "\n" not in text.strip() and not is_template(text):
            found = self.template_file(cursor, text.strip())
            if found is not None:
                path, text = found
                origin = Source(path, 1)
        compile_template(text, name=cursor.label, file=origin.file, line=origin.line, indent=origin.indent)
        return text, origin

    def template_file(self, cursor: Cursor, name: str) -> tuple[str, str] | None:
        """(path, text) of the template file of this name, None when the name is no file's but a text of its own."""
        must = name.endswith(_FILES)
        if not _is_inside(name):
            if must and " " not in name:
                raise cursor.fault(
                    f"names {name!r:.80}, which is outside the project", "write a path without .. or a /"
                )
            return None
        folder = posixpath.dirname(self.document.file)
        places = dict.fromkeys(
            posixpath.normpath(posixpath.join(*parts))
            for parts in (("instruction", name), (folder, "instruction", name), (folder, name), (name,))
        )
        for path in places:
            text = self.read(path)
            if text is not None:
                return path, text
        if must and not any(c.isspace() for c in name):
            raise cursor.fault(
                f"names the template file {name!r}, which is not there", f"searched: {', '.join(places)}"
            )
        return None

    def schema(self, cursor: Cursor, value: Any) -> Any:
        """A JSON Schema, or that of the JSON or YAML file the text names."""
        if isinstance(value, str):
            folder = posixpath.dirname(self.document.file)
            places = (
                dict.fromkeys(posixpath.normpath(posixpath.join(one, value)) for one in (folder, ""))
                if _is_inside(value)
                else {}
            )
            found = next(((path, text) for path in places if (text := self.read(path)) is not None), None)
            if found is None:
                raise cursor.fault(
                    f"names the file {value!r:.80}, which is not there",
                    f"searched: {', '.join(places) or 'nothing: the path must stay inside'}",
                )
            value = load(found[1], file=found[0]).value
        try:
            json_schema.check(value)
        except CallboardError as error:
            raise cursor.fault(f"cannot be used: {error}", "see json-schema.org for the words of JSON Schema") from None
        return value


def _is_inside(path: str) -> bool:
    """Whether this could be a path to a file of the project: relative, without `..`, of a plain length."""
    parts = path.split("/")
    return (
        bool(path)
        and len(path) <= 250
        and path.isprintable()
        and ".." not in parts
        and parts[0] not in ("", "~")
        and "\\" not in path
    )
