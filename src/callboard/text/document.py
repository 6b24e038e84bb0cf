"""YAML as people write it, and where everything stands: a subset of YAML 1.2 in which nothing is guessed.

`no` and `on` are texts, `12:30` and `010` are texts, `00001` is a text and keeps its zeros; only `true`, `false`,
`null` and plain numbers are more than text. Duplicate keys, tags and merge keys are errors, and so is anything
that grows: a file has at most 1 MB, 10,000 values (aliases counted as often as they are used), 40 levels.

The parser's *events* are read, not its nodes: composing nodes recurses in C, and two hundred thousand dashes end
the process before any limit is asked. Events come one by one, so a limit stops the reading where it is broken.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from callboard.errors import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_BYTES = 1 << 20
MOST_VALUES = 10_000
MOST_ALIASES = 100
DEPTH = 40

Path: TypeAlias = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")  # more digits than 64 bits hold: an id, kept as text
_OTHER_BASE = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {"": None, "~": None, "true": True, "false": False} | {
    form: value
    for word, value in {"null": None, "true": True, "false": False}.items()
    for form in (word, word.title(), word.upper())
}
_QUOTE = 'quote the value, because it begins with a brace: key: "{…}"'
_QUOTE_TEMPLATE = 'quote the template: key: "{{…}}"'
#: A value that begins with a template, or with a mapping that goes on as text after its end: `{name}_{id}`.
_OPENS = re.compile(r"(?:^|[:\[,-])\s*(\{[{%#]|\{[^{}]*\}(?=[^\s,\]}#]))")


class Place(NamedTuple):
    """Where a value begins: line and column from 1; `style` is `|`, `>`, a quote or empty; `raw` as it was written."""

    line: int
    column: int
    style: str = ""
    raw: str | None = None  # of unquoted scalars
    indent: int = 0  # columns before the text: of the first line, and in a block (`|`) of every line

    @property
    def first_line(self) -> int:
        """The line of the file on which the text of a scalar begins."""
        return self.line + 1 if self.style in ("|", ">") else self.line


class Document:
    """A YAML file: its `value` (plain JSON) and the place of every value and key in it."""

    __slots__ = ("file", "keys", "places", "value")

    def __init__(self, value: Any, file: str, places: dict[Path, Place], keys: dict[Path, Place]) -> None:
        self.value, self.file, self.places, self.keys = value, file, places, keys

    def place(self, path: Path = ()) -> Place:
        """Where the value at `path` stands, or the nearest one around it that stands somewhere."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def key_place(self, path: Path) -> Place:
        """Where the key of the value at `path` stands."""
        return self.keys.get(path) or self.place(path)

    def fault(self, what: str, path: Path = (), *, fix: str = "", at_key: bool = False) -> InvalidFile:
        """The error to raise about the value (or its key) at `path`."""
        place = self.key_place(path) if at_key else self.place(path)
        return InvalidFile(what, file=self.file, line=place.line, column=place.column, fix=fix)


def load(text: str | bytes, *, file: str = "") -> Document:
    """The one document in `text` (bytes: UTF-8, with or without a mark at its beginning).

    Raises InvalidFile with line, column and fix for anything outside the subset described above.
    """
    text = _decoded(text, file)
    lines = _Lines(text, file)
    reader = _Reader(lines)
    try:
        events = yaml.parse(text, _LOADER)
        return Document(reader.document(events), file, reader.places, reader.keys)
    except yaml.reader.ReaderError as error:
        raise lines.unreadable(error) from None
    except yaml.MarkedYAMLError as error:
        raise lines.broken(error) from None
    except yaml.YAMLError as error:
        raise InvalidFile(f"this is not YAML: {error}", file=file) from None


def _decoded(text: str | bytes, file: str) -> str:
    if len(text) > MOST_BYTES:
        raise InvalidFile(
            f"this file is larger than {MOST_BYTES >> 20} MB", file=file, fix="move data to files of its own"
        )
    try:
        if isinstance(text, bytes):
            text = text.decode()
        text.encode()
    except UnicodeError as error:
        raise InvalidFile(f"this is not UTF-8 text: {error}", file=file, fix="save the file as UTF-8") from None
    return text.removeprefix("\ufeff")


class _Lines:
    """The lines of a file, and what they tell about an error that the parser found in them."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self._lines: list[str] | None = None

    def __getitem__(self, index: int) -> str:
        if self._lines is None:
            self._lines = self.text.splitlines()
        return self._lines[index] if 0 <= index < len(self._lines) else ""

    def fault(self, what: str, mark: Any, fix: str = "") -> InvalidFile:
        return InvalidFile(what, file=self.file, line=mark.line + 1, column=mark.column + 1, fix=fix)

    def unreadable(self, error: Any) -> InvalidFile:
        character = error.character if isinstance(error.character, str) else chr(error.character)
        before = self.text.partition(character)[0]
        return InvalidFile(
            f"the character U+{ord(character):04X} is not allowed here",
            file=self.file,
            line=before.count("\n") + 1,
            column=len(before) - before.rfind("\n"),
            fix="remove it, or write it as an escape inside double quotes",
        )

    def broken(self, error: Any) -> InvalidFile:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "this cannot be read"
        if mark is None:
            return InvalidFile(f"this is not YAML: {problem}", file=self.file)
        if "nesting depth" in problem:  # the parser's own limit, which it may reach before we have seen 40 levels
            return self.too_deep(mark)
        for at in (mark, error.context_mark or mark):
            opened = self._unquoted(at.line)
            if opened is not None:
                column, fix = opened
                return InvalidFile("an unquoted value begins with a brace", file=self.file, line=at.line + 1,
                                   column=column, fix=fix)  # fmt: skip
        line = self[mark.line]
        if "\t" in line[: len(line) - len(line.lstrip())] or "\t" in line[mark.column : mark.column + 1]:
            return self.fault("a tab where YAML wants spaces", mark, "indent with spaces")
        if error.context_mark and ("end of stream" in problem or "',' or" in problem):
            return self.fault("a quote or bracket that opens here is never closed", error.context_mark, "close it")
        return self.fault(f"this is not YAML: {problem}", mark, _fix(problem))

    def too_deep(self, mark: Any) -> InvalidFile:
        return self.fault(f"this nests deeper than {DEPTH} levels", mark)

    def _unquoted(self, line: int) -> tuple[int, str] | None:
        """Column and fix, when a text on this line begins with a brace outside quotes."""
        text = self[line][:1000]
        for match in _OPENS.finditer(text):
            before = text[: match.start(1)]
            if not (before.count('"') % 2 or before.count("'") % 2 or "#" in before):
                return match.start(1) + 1, _QUOTE_TEMPLATE if match[1][1] in "{%#" else _QUOTE
        return None


def _fix(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "quote a value that holds ': ', or check the indentation of this line"
    if "expected key" in problem or "block end" in problem or "'-' indicator" in problem:
        return "check the indentation: keys of one mapping begin in one column"
    return "quote the value if it is meant as text"


class _Reader:
    """Values out of events. Counts everything before it is made."""

    def __init__(self, lines: _Lines) -> None:
        self.lines = lines
        self.places: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.anchors: dict[
            str, tuple[Any, int] | None
        ] = {}  # name → (value, how many values it holds), None while open
        self.values = 0
        self.aliases = 0

    def document(self, events: Iterator[Any]) -> Any:
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.lines.fault("a second document begins here", event.start_mark, "remove the line ---")
                if event.tags:
                    raise self.lines.fault("tags are not allowed", event.start_mark, "remove the %TAG line")
            elif isinstance(event, yaml.NodeEvent):
                value = self.node(event, events, (), 0)
        return value

    def node(self, event: Any, events: Iterator[Any], path: Path, depth: int) -> Any:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if getattr(event, "tag", None) is not None:
            raise self.lines.fault("tags (!…) are not allowed", mark, "remove the tag; quote the value to keep it text")
        self._count(1, mark)
        if depth >= DEPTH:
            raise self.lines.too_deep(mark)
        before = self.values
        if event.anchor:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        else:
            self.places[path] = Place(mark.line + 1, mark.column + 1)
            inner = self._sequence if isinstance(event, yaml.SequenceStartEvent) else self._mapping
            value = inner(event, events, path, depth + 1)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.values - before + 1)
        return value

    def _count(self, values: int, mark: Any) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            raise self.lines.fault(
                f"more than {MOST_VALUES:,} values, aliases counted", mark, "move data to files of its own"
            )

    def _alias(self, event: Any, path: Path) -> Any:
        mark = event.start_mark
        self.aliases += 1
        if self.aliases > MOST_ALIASES:
            raise self.lines.fault(f"more than {MOST_ALIASES} aliases", mark, "write the values out")
        if event.anchor not in self.anchors:
            raise self.lines.fault(f"the alias *{event.anchor} has no anchor above it", mark, f"add &{event.anchor}")
        anchored = self.anchors[event.anchor]
        if anchored is None:
            raise self.lines.fault(f"*{event.anchor} holds itself", mark, "write the value out")
        value, size = anchored
        self._count(size, mark)
        self.places[path] = Place(mark.line + 1, mark.column + 1)
        return value

    def _sequence(self, start: Any, events: Iterator[Any], path: Path, depth: int) -> list[Any]:
        values: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            values.append(self.node(event, events, (*path, len(values)), depth))
        return values

    def _mapping(self, start: Any, events: Iterator[Any], path: Path, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, start)
            at = (*path, key)
            if key in values:
                first = self.keys[at].line
                raise self.lines.fault(f"the key {key!r} stands here twice, first on line {first}", event.start_mark,
                                       "remove one of them")  # fmt: skip
            self.keys[at] = Place(event.start_mark.line + 1, event.start_mark.column + 1)
            values[key] = self.node(next(events), events, at, depth)
        return values

    def _key(self, event: Any, start: Any) -> str:
        """Keys are text as it is written: `on:` is "on", `1:` is "1"."""
        mark = event.start_mark
        if not isinstance(event, yaml.ScalarEvent):
            if isinstance(event, yaml.MappingStartEvent) and event.flow_style:
                opened = start.start_mark if start.flow_style else mark
                raise self.lines.fault("an unquoted value begins with {{", opened, _QUOTE_TEMPLATE)
            raise self.lines.fault("a key must be text", mark, "write it as text before a colon")
        if event.tag is not None or event.anchor is not None:
            raise self.lines.fault("a key has no tag or anchor", mark, "remove it")
        if event.implicit[0] and event.value == "<<":
            raise self.lines.fault("merge keys (<<) are not allowed", mark, "write the keys out, or use defaults:")
        if event.implicit[0] and event.value == "":
            raise self.lines.fault("a key is missing before this colon", mark)
        self._count(1, mark)
        return self._text(event)

    def _scalar(self, event: Any, path: Path) -> Any:
        mark, is_plain = event.start_mark, event.implicit[0]
        text = self._text(event)
        style = "" if is_plain else _style(self.lines[mark.line][mark.column : mark.column + 1])
        indent = self._indent(mark.line) if style in ("|", ">") else mark.column + len(style)
        self.places[path] = Place(mark.line + 1, mark.column + 1, style, text if is_plain else None, indent)
        if not is_plain:
            return text
        if _NO_NUMBER.fullmatch(text):
            raise self.lines.fault(f"{text} is no number that JSON has", mark, "quote it to keep it text")
        return plain(text)

    def _indent(self, header: int) -> int:
        """Columns before a block's text: those of its first line that has any."""
        for line in range(header + 1, header + 50):
            if stripped := self.lines[line].lstrip(" "):
                return len(self.lines[line]) - len(stripped)
        return 0

    def _text(self, event: Any) -> str:
        text: str = event.value
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise self.lines.fault(
                    "half of a surrogate pair is no text", event.start_mark, "write the character"
                ) from None
        return text


def _style(character: str) -> str:
    return character if character in ("|", ">", '"', "'") else '"'


def plain(text: str) -> Any:
    """What an unquoted scalar means: null, true, false, a number, or the text itself.

    Numbers with leading zeros, with more digits than 64 bits hold, or too large for a float are texts.
    """
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first.isdigit() or first in "+-."):
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if len(text) <= 40 and _FLOAT.fullmatch(text) and ("." in text or "e" in text.lower()):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
