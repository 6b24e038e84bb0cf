"""How instances and documents of one production are called, and what a name on disk says. Pure.

An id is a number that is written as text. Its padded form is derived once, from `id_format`, and is the id
everywhere: in the index, in `{id}` of `document_pattern`, in templates. Reading back is the inverse of writing:
`profiles_123456` is an instance (more digits than five), `profiles_000001` is not, because no id makes it.
"""

from __future__ import annotations

import re
import unicodedata

from callboard.errors import InvalidName
from callboard.text.names import Pattern, component

_DIGITS = re.compile(r"[0-9]{1,18}")


def folder_name(text: str, what: str) -> str:
    """`text` in its composed form (NFC), when it may be a directory here: a safe component that is not hidden."""
    name = component(_composed(text, what), what)
    if name.startswith("."):
        raise InvalidName(f"the {what} {name!r} must not begin with a dot")
    return name


def _composed(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise InvalidName(f"the {what} must be text, not {type(text).__name__}")
    return unicodedata.normalize("NFC", text)


def instance_pattern(name: str, text: str) -> Pattern:
    """The pattern of `id_format`, when it makes safe names for a production called `name`. Raises InvalidName."""
    pattern = Pattern(text, needs=("id",), among=("name", "id"), what="id_format")
    folder_name(pattern.format(name=name, id=1), "name made by id_format")
    return pattern


def document_pattern(name: str, text: str) -> Pattern:
    """The pattern of `document_pattern`, as above."""
    pattern = Pattern(text, needs=("type", "suffix"), what="document_pattern")
    folder_name(pattern.format(name=name, id="1", type="type", suffix="txt"), "name made by document_pattern")
    return pattern


class Names:
    """The names of one production. `name` is checked, the patterns may be a stranger's."""

    def __init__(self, name: str, id_format: str, document_format: str) -> None:
        self.name = name
        self._instance = instance_pattern(name, id_format)
        self._document = document_pattern(name, document_format)

    # ── instances ───────────────────────────────────────────────────────────────────────────────────────

    def pad(self, number: int) -> str:
        """The id as text: `00001`."""
        return self._instance.pad(number)

    def instance(self, number: int) -> str:
        """The directory of an instance: `profiles_00001`."""
        return folder_name(self._instance.format(name=self.name, id=number), "name made by id_format")

    def number_of(self, directory: str) -> int | None:
        """The number in the name of a directory, None when `id_format` did not make it."""
        found = self._instance.parse(directory, name=self.name)
        return (int(found["id"]) or None) if found else None

    def number(self, id: str | int) -> int:
        """The number behind an id as people give it: `00001`, 1, `1`, `profiles_00001`. Raises InvalidName."""
        if isinstance(id, str):
            number = int(id) if _DIGITS.fullmatch(id) else self.number_of(id)
        else:
            number = id if type(id) is int and 0 < id < 10**18 else None
        if not number:
            shown = ascii(id)[:60]
            raise InvalidName(f"{shown} is no id of an instance of {self.name!r}; ids look like {self.pad(1)}")
        return number

    def identify(self, id: str, name: str) -> str:
        """The id of a row in the index, as text: a spreadsheet may have made `1` of it, or nothing."""
        number = int(id) if _DIGITS.fullmatch(id) else self.number_of(name)
        return self.pad(number) if number else id

    # ── documents ───────────────────────────────────────────────────────────────────────────────────────

    def document(self, number: int, document_type: str, suffix: str) -> str:
        """The file of a document: `document_00001_raw.txt`.

        Raises InvalidName for what is no safe name, and for a type and suffix that could not be told apart again.
        """
        kind, suffix = self.kind(document_type), self.suffix(suffix)
        file = folder_name(
            self._document.format(name=self.name, id=self.pad(number), type=kind, suffix=suffix), "name of a document"
        )
        told = self.told_by(number, file)
        if told != (kind, suffix):
            raise InvalidName(
                f"type {kind!r} and suffix {suffix!r} make the name {file!r}, which says something else: "
                f"{told[0]!r} and {told[1]!r}"
                if told
                else f"type {kind!r} and suffix {suffix!r} make the name {file!r}, which cannot be read back"
            )
        return file

    def told_by(self, number: int, file: str) -> tuple[str, str] | None:
        """(type, suffix) of a document of an instance, None when the file is not one of its documents."""
        if file.startswith("."):
            return None
        found = self._document.parse(file, name=self.name)
        if found and "id" in found and int(found["id"]) != number:
            found = self._document.parse(file, name=self.name, id=self.pad(number))  # a pattern that leaves it open
        return (found["type"], found["suffix"]) if found else None

    def kind(self, document_type: str) -> str:
        """A document type in its composed form. Raises InvalidName."""
        return component(_composed(document_type, "document type"), "document type")

    def suffix(self, text: str) -> str:
        """A suffix without its leading dot. Raises InvalidName."""
        return component(_composed(text, "suffix").removeprefix("."), "suffix")
