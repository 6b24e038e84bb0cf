"""The list of a mapped task, page by page: `each:` a list, a glob of files, the rows of a CSV, an upstream's list.

Every item has a key that stays the same when the list grows or is sorted anew: the user's own (`key:`), else a
file's path, else a hash of the content with the number of its occurrence. A position never is a key. Twice the
same key of the user's is an error, because one of the two would be dropped in silence. A text that cannot be a key
(a file's name with a line break in it, a title of a page's length) is made one, for that item alone.
"""

from __future__ import annotations

import asyncio
import csv
import glob
import hashlib
import io
import os
import re
from typing import TYPE_CHECKING, Any

from callboard.errors import CallboardError, InvalidFile, InvalidName, NotJson, Permanent
from callboard.executors.failures import step_error
from callboard.executors.flow import file_item, namespace, value_of
from callboard.executors.staged import OURS
from callboard.executors.values import canonical, decode, text_of
from callboard.ports import Page
from callboard.text.template import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from callboard.ports import Documents, Json, Watched, Work

PAGE = 1_000  # items
_MOST_FILES = 1_000_000
_MOST_OPEN = 4  # lists kept between two pages; any other is listed anew
_LONGEST_KEY = 200  # characters

Item = tuple[str, "Json"]


class Lister:
    """`list_page` of a backend. `documents(work)` opens the files of a work, as for an attempt."""

    def __init__(self, documents: Callable[[Work], Watched]) -> None:
        self._documents = documents
        self._open: dict[tuple[int, int, int], Page] = {}  # whole lists of which not all pages were asked for yet

    async def __call__(self, work: Work, page: int) -> Page:
        """Page `page`, from 1. Raises StepError."""
        try:
            return await asyncio.to_thread(self._page, work, page)
        except CallboardError as error:
            raise step_error(error) from error

    def _page(self, work: Work, page: int) -> Page:
        name, first = (work.run, work.node, work.number), (page - 1) * PAGE
        whole = self._open.pop(name, None) or self._whole(work)
        more = len(whole.items) > first + PAGE
        if more:
            self._open[name] = whole
            for oldest in list(self._open)[:-_MOST_OPEN]:
                del self._open[oldest]
        return whole._replace(items=whole.items[first : first + PAGE], more=more)

    def _whole(self, work: Work) -> Page:
        """The list in one piece, and what it was read from."""
        documents = self._documents(work)
        items = self._items(work, documents)
        return Page(items, reads=tuple(documents.seen.items()), edits=tuple(documents.edits))

    def _items(self, work: Work, documents: Documents) -> list[Item]:
        each = work.inputs.get("each")
        if not isinstance(each, dict):
            raise Permanent(f"{work.attempt.task} maps over nothing. Fix: `each:` with a list, a glob or a csv")
        names = namespace(work)
        sources = {name: fill(value, names, name=f"each.{name}") for name, value in each.items() if name != "key"}
        return self._keyed(work, documents, sources, each.get("key"), names)

    def _keyed(
        self, work: Work, documents: Documents, each: dict[str, Json], key: str | None, names: dict[str, Any]
    ) -> list[Item]:
        if (pattern := each.get("glob")) is not None:
            return _by_key(map(file_item, _files(work.attempt.dir, str(pattern))), key or "{{item.path}}", names)
        if (path := each.get("csv")) is not None:
            rows = list(_rows(documents.read(str(path)), str(path)))
            is_column = bool(key) and bool(rows) and key in rows[0]
            return _by_key(rows, key, names, column=key if is_column else None)
        if (task := each.get("from")) is not None:
            return _by_key(_list(value_of(work.upstream.get(str(task))), f"the outcome of {task}"), key, names)
        return _by_key(_list(each.get("list"), "`each: list:`"), key, names)


def _by_key(values: Iterable[Json], key: str | None, names: dict[str, Any], *, column: str | None = None) -> list[Item]:
    """Items with their keys; `key` is a template, `column` the name of a member that holds the key."""
    if column is None and key is None:
        return list(_by_content(values))
    found: dict[str, Json] = {}
    for value in values:
        text = text_of(value[column]) if column is not None else _filled(key or "", value, names)
        name = _safe(text.strip())
        if name in found:
            raise InvalidName(f"two items have the key {name!r}. Fix: a `key:` that differs for each item")
        found[name] = value
    return list(found.items())


def _filled(key: str, value: Json, names: dict[str, Any]) -> str:
    """A key from its template; a name alone is a member of the item."""
    if "{" not in key and isinstance(value, dict):
        if key not in value:
            raise InvalidFile(f"`key: {key}` is no member of an item; there are {', '.join(map(str, value))}")
        return text_of(value[key])
    return text_of(fill(key, {**names, "item": value}, name="each.key"))


def _by_content(values: Iterable[Json]) -> Iterator[Item]:
    seen: dict[str, int] = {}
    for value in values:
        hash = hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
        seen[hash] = count = seen.get(hash, 0) + 1
        yield (hash if count == 1 else f"{hash}-{count}"), value


def _safe(key: str) -> str:
    """A key from a text: itself, or with what no key can hold replaced and a hash that keeps it apart from others.

    Raises InvalidName for an empty one.
    """
    if not key:
        raise InvalidName("an item has an empty key. Fix: a `key:` that says something for each item")
    if len(key) <= _LONGEST_KEY and key.isprintable():
        return key
    hash = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:12]
    shown = "".join(char if char.isprintable() else "_" for char in key)
    return f"{shown[: _LONGEST_KEY - len(hash) - 1]}~{hash}"


def _files(directory: str, pattern: str) -> Iterator[str]:
    """Files that match, sorted by path, relative to `directory` and inside of it."""
    if os.path.isabs(pattern):
        pattern = os.path.relpath(pattern, os.path.abspath(directory))
    if OURS in pattern.split("/"):
        raise InvalidName(f"the glob {pattern!r} reaches into Callboard's own files. Fix: name another place")
    if ".." in pattern.split("/"):
        raise InvalidName(f"the glob {pattern!r} leaves {directory}. Fix: run where the files are")
    top = os.path.realpath(directory)
    count = 0
    for path in sorted(glob.glob(pattern, root_dir=directory, recursive=True)):
        real = os.path.realpath(os.path.join(directory, path))
        if real.startswith(top.rstrip("/") + "/") and os.path.isfile(real) and OURS not in real.split("/"):
            count += 1
            if count > _MOST_FILES:
                raise Permanent(f"the glob {pattern!r} matches more than {_MOST_FILES} files")
            yield _written(path.removeprefix("./"))


def _written(path: str) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 are spelt out. No file has that name, so that item fails."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _rows(data: bytes, path: str) -> Iterator[dict[str, str]]:
    """Rows of a CSV as mappings of its header. Raises InvalidFile with the line.

    Columns are separated by commas, or, where the header has none, by semicolons or tabs, as spreadsheets write them.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(f"not UTF-8 text (byte {error.start})", file=path) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_separator(text))
    try:
        header = next(reader, [])
        if len(set(header)) < len(header) or "" in header:
            raise InvalidFile("a column has no name, or two have the same", file=path, line=1)
        for row in reader:
            if not row:
                continue
            if len(row) > len(header):
                raise InvalidFile(f"{len(row)} cells under {len(header)} columns", file=path, line=reader.line_num)
            yield dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=True))
    except csv.Error as error:
        raise InvalidFile(f"not CSV: {error}", file=path, line=reader.line_num) from None


def _separator(text: str) -> str:
    """What separates the columns of the header, outside of quotes."""
    plain = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return next((one for one in ",;\t" if one in plain), ",")


def _list(value: Json, what: str) -> list[Json]:
    """A list, or text that is one: a JSON array, else its lines."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise Permanent(f"{what} is no list")
    if not value.lstrip().startswith("["):
        return [line.strip() for line in value.splitlines() if line.strip()]
    try:
        found = decode(value)
    except NotJson as error:
        raise Permanent(f"{what} is no list: {error}") from None
    return found if isinstance(found, list) else [found]
