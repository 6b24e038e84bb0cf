"""The rows that still stand on the pages of a database file and of its log, read without SQLite.

SQLite reads a tree from its root, and gives up where a page of it is no page. The rows below are still there; so here
every image of a page is looked at by itself, in whatever order it lies there: those of the file, and all that the log
holds, also what has been copied back or was never committed. Rows of other times come out, too, and some that were
removed: who uses them must be able to tell (by a hash, a seal, a revision) which is the right one. Nothing is believed
about a page that its bytes do not bear out, and a cell that makes no sense is passed over alone.

The layout is SQLite's file format 4, with texts in UTF-8 and `WITHOUT ROWID` tables kept as indexes.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct, unpack_from
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAGIC = b"SQLite format 3\0"
PAGE = 4096  # bytes, where the header of the file does not tell
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER, _TABLE_INNER = 13, 10, 2, 5
_HEADERS = {_TABLE_LEAF: 8, _INDEX_LEAF: 8, _INDEX_INNER: 12}
_LONGEST = 1 << 30  # bytes of a row
_SHORT, _LONG, _FLOAT = Struct(">H"), Struct(">I"), Struct(">d")
_FRAME = Struct(">II8s8s")
_FRAME_SIZE, _LOG_HEADER = 24, 32
_LOG_MAGIC = (0x377F0682, 0x377F0683)
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | float | str | bytes | None
Bytes = bytes | mmap  # a file is mapped rather than read: it may be larger than memory


class Row(NamedTuple):
    """`rowid` is None for a row of an index (or of a table without one)."""

    rowid: int | None
    values: tuple[Value, ...]


class Image(NamedTuple):
    """One page as it was at some time; `place` is where it lies, for people."""

    number: int
    data: bytes
    place: str


class Pages:
    """All images of a file's pages. `log` is the write-ahead log beside it, empty when there is none."""

    def __init__(self, file: Bytes, log: Bytes = b"") -> None:
        self._file, self._log = file, log
        self.size = _page_size(file) or _log_page_size(log) or PAGE

    @property
    def identity(self) -> int | None:
        """The number in the header that tells this database from others (`user_version`); None where none stands."""
        return _LONG.unpack_from(self._file, 60)[0] or None if _page_size(self._file) else None

    @property
    def count(self) -> int:
        """Images there are, at most."""
        return len(self._file) // self.size + len(self._log) // (self.size + _FRAME_SIZE)

    def of_file(self) -> Iterator[Image]:
        for start in range(0, len(self._file), self.size):
            number = start // self.size + 1
            yield Image(number, self._file[start : start + self.size], f"page {number}")

    def of_log(self) -> Iterator[Image]:
        for start in range(_LOG_HEADER, len(self._log) - _FRAME_SIZE - self.size + 1, self.size + _FRAME_SIZE):
            number = _LONG.unpack_from(self._log, start)[0]
            data = self._log[start + _FRAME_SIZE : start + _FRAME_SIZE + self.size]
            yield Image(number, data, f"page {number} in the log")

    def rows_of_file(self) -> Iterator[Row]:
        for image in self.of_file():
            yield from self.rows(image, {})

    def rows_of_log(self) -> Iterator[Row]:
        """Each once, although a log has many images of a page that differ in one. What overflows a page is looked for
        in the latest images, and then in the file."""
        latest = {image.number: image.data for image in self.of_log()}
        seen = set[bytes]()
        for image in self.of_log():
            yield from self.rows(image, latest, seen)

    def broken(self) -> list[str]:
        """Tables of whose tree a page is no page, so that rows of them may be gone without a trace."""
        latest = {image.number: image.data for image in self.of_log()}
        roots = dict[str, int]()
        for image in (*self.of_file(), *self.of_log()):
            if b"CREATE TABLE" not in image.data:
                continue
            for row in self.rows(image, latest):
                if len(row.values) == 5 and row.values[0] == "table" and type(row.values[3]) is int:
                    roots[str(row.values[1])] = row.values[3]
        return [name for name, root in roots.items() if not self._is_tree(root, latest, set())]

    def _is_tree(self, number: int, latest: Mapping[int, bytes], seen: set[int]) -> bool:
        data = latest.get(number) or self._file[(number - 1) * self.size : number * self.size]
        if number < 1 or number in seen or len(data) < self.size:
            return False
        seen.add(number)
        start = 100 if number == 1 else 0
        if data[start] in (_TABLE_LEAF, _INDEX_LEAF):
            return True
        if data[start] not in (_TABLE_INNER, _INDEX_INNER):
            return False
        count = _SHORT.unpack_from(data, start + 3)[0]
        places = [_SHORT.unpack_from(data, start + 12 + 2 * n)[0] for n in range(min(count, self.size // 2 - start))]
        below = [_LONG.unpack_from(data, place)[0] for place in places if place + 4 <= len(data)]
        last = _LONG.unpack_from(data, start + 8)[0]
        return len(below) == count and all(self._is_tree(one, latest, seen) for one in (*below, last))

    def rows(self, image: Image, others: Mapping[int, bytes], seen: set[bytes] | None = None) -> Iterator[Row]:
        """The rows on one page; `others` are images that count more than the file's. Cells that were `seen` are left
        out, those that overflow the page never."""
        data = image.data
        start = 100 if image.number == 1 and data[:16] == MAGIC else 0
        if len(data) < start + 8 or data[start] not in _HEADERS:
            return
        kind = data[start]
        first = start + _HEADERS[kind]
        for at in self._pointers(data, start, first):
            try:
                row = self._row(data, at, kind, others, seen)
            except (IndexError, ValueError):  # what is no cell
                continue
            if row is not None:
                yield row

    def _pointers(self, data: bytes, start: int, first: int) -> Iterator[int]:
        """Where cells begin. A number of cells that is too small is not believed: what is behind may be one, too."""
        count, content = _SHORT.unpack_from(data, start + 3)[0], _SHORT.unpack_from(data, start + 5)[0]
        places = (min(max(first + 2 * count, content), len(data)) - first) // 2
        found = unpack_from(f">{places}H", data, first)
        return iter(dict.fromkeys(at for at in found if first <= at < self.size))

    def _row(self, data: bytes, at: int, kind: int, others: Mapping[int, bytes], seen: set[bytes] | None) -> Row | None:
        begin = at
        if kind == _INDEX_INNER:
            at += 4
        length, at = varint(data, at)
        rowid: int | None = None
        if kind == _TABLE_LEAF:
            rowid, at = varint(data, at)
        if not 2 <= length < _LONGEST:
            return None
        if seen is not None and at + length <= len(data):
            cell = data[begin : at + length]
            if cell in seen:
                return None
            seen.add(cell)
        payload = self._payload(data, at, length, kind, others)
        return None if payload is None else Row(rowid, _values(payload))

    def _payload(self, data: bytes, at: int, length: int, kind: int, others: Mapping[int, bytes]) -> bytes | None:
        usable = self.size
        most = usable - 35 if kind == _TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return data[at : at + length] if at + length <= len(data) else None
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = local if local <= most else least
        if at + local + 4 > len(data):
            return None
        return self._with_rest(data[at : at + local], _LONG.unpack_from(data, at + local)[0], length, others)

    def _with_rest(self, begun: bytes, number: int, length: int, others: Mapping[int, bytes]) -> bytes | None:
        parts, have, seen = [begun], len(begun), set[int]()
        while have < length:
            page = others.get(number) or self._file[(number - 1) * self.size : number * self.size]
            if number < 1 or number in seen or len(page) < self.size:
                return None
            seen.add(number)
            parts.append(page[4 : min(self.size, 4 + length - have)])
            have += len(parts[-1])
            number = _LONG.unpack_from(page, 0)[0]
        return b"".join(parts)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes (signed where it takes all nine), and where it ends. Raises IndexError."""
    value = 0
    for place in range(at, at + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    """The columns of a record. Raises ValueError, IndexError for what is none."""
    end, at = varint(payload, 0)
    if not at <= end <= len(payload):
        raise ValueError(end)
    types = list[int]()
    while at < end:
        kind, at = varint(payload, at)
        types.append(kind)
    values, at = list[Value](), end
    for kind in types:
        size = width(kind)
        if at + size > len(payload):
            raise ValueError(kind)
        values.append(_value(kind, payload[at : at + size]))
        at += size
    if at != len(payload):
        raise ValueError(at)
    return tuple(values)


def width(kind: int) -> int:
    """Bytes of a value of this serial type. Raises ValueError."""
    if kind >= 12:
        return (kind - 12) // 2
    if kind in (0, 8, 9):
        return 0
    if kind == 7:
        return 8
    if kind not in _INTEGERS:
        raise ValueError(kind)
    return _INTEGERS[kind]


def _value(kind: int, data: bytes) -> Value:
    if kind == 0:
        return None
    if kind in (8, 9):
        return kind - 8
    if kind == 7:
        number: float = _FLOAT.unpack(data)[0]
        return number
    if kind >= 12:
        return data.decode() if kind % 2 else data
    return int.from_bytes(data, "big", signed=True)


def _page_size(file: Bytes) -> int:
    if len(file) < 100 or file[:16] != MAGIC:
        return 0
    size: int = _SHORT.unpack_from(file, 16)[0]
    size = 65536 if size == 1 else size
    return size if size >= 512 and not size & (size - 1) else 0


def _log_page_size(log: Bytes) -> int:
    if len(log) < _LOG_HEADER or _LONG.unpack_from(log, 0)[0] not in _LOG_MAGIC:
        return 0
    size: int = _LONG.unpack_from(log, 8)[0]
    return size if 512 <= size <= 65536 and not size & (size - 1) else 0
