"""Names, ids and the two patterns of a production: what may become part of a path, and what may not.

Ids that we mint are narrow; names that people give are wide and are made safe only where they become paths.
Patterns look like Python format strings but are read by our own formatter with five fixed tokens: the language
of `str.format` reaches into attributes (`{name.__class__}`) and can be asked for a gigabyte of padding.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from callboard.errors import InvalidName

if TYPE_CHECKING:
    from collections.abc import Iterable

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: Windows opens devices by these names, with any suffix.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")
_UNSAFE = '<>:"/\\|?*'
#: Other: control characters, surrogates, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they turn text around

NAME_LENGTH = 200
COMPONENT_BYTES = 240  # file systems take 255; the rest is for temporary names beside it


def identifier(text: str) -> str:
    """`text`, when it is an id: `[a-z0-9][a-z0-9._-]{0,63}`. Raises InvalidName."""
    if not _ID.fullmatch(text):
        raise InvalidName(
            f"{_shown(text)} is not an id; ids are 1 to 64 of a-z, 0-9 and '._-', a letter or digit first"
        )
    return text


def title(text: str, what: str = "name") -> str:
    """`text`, when a person may call something so: 1 to 200 characters, none of them a control character."""
    if not text.strip():
        raise InvalidName(f"a {what} must not be empty")
    if len(text) > NAME_LENGTH:
        raise InvalidName(f"the {what} {_shown(text)} has {len(text)} characters; at most {NAME_LENGTH} are allowed")
    unseen = next((c for c in text if _is_unseen(c)), None)
    if unseen is not None:
        raise InvalidName(f"the {what} {_shown(text)} holds the control character U+{ord(unseen):04X}")
    return text


def component(text: str, what: str = "name") -> str:
    """`text`, when it is a single safe component of a path, here and on Windows. Raises InvalidName saying why not."""
    title(text, what)
    bad = next((c for c in text if c in _UNSAFE), None)
    if bad is not None:
        raise InvalidName(
            f"the {what} {_shown(text)} holds {bad!r}; it must be a single path component without {_UNSAFE}"
        )
    if text.strip(".") == "" or text[-1] in ". " or text[0] == " ":
        raise InvalidName(f"the {what} {_shown(text)} must not be dots, begin with a space, or end with a dot or space")
    if _DEVICES.fullmatch(text):
        raise InvalidName(f"the {what} {_shown(text)} is the name of a device on Windows")
    if len(text.encode()) > COMPONENT_BYTES:
        raise InvalidName(f"the {what} {_shown(text)} is longer than {COMPONENT_BYTES} bytes")
    return text


def safe(text: str) -> str:
    """A safe path component for any text: itself when it is one, else its harmless part and a hash of the whole.

    The same text always gets the same component; two texts share one only if their hashes (40 bits) do.
    """
    try:
        made = component(text)
    except InvalidName:
        made = ""
    if made and not _MARKED.search(made):
        return made
    kept = "".join("_" if c in _UNSAFE or _is_unseen(c) else c for c in text[:80]).strip(" .")
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{kept or 'name'}~{mark}"


_MARKED = re.compile(r"~[0-9a-f]{10}$")  # looks like one of ours, so it gets a mark of its own


def same(name: str) -> str:
    """What two spellings of one name have in common: `source-file` and `source_file` are the same."""
    return name.replace("-", "_")


def closest(name: str, known: Iterable[str]) -> str:
    """The known name closest to `name`; empty when none is near."""
    by_shape = {same(one).casefold(): one for one in known}
    near = difflib.get_close_matches(same(name).casefold()[:100], by_shape, n=1, cutoff=0.6)
    return by_shape[near[0]] if near else ""


def close(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name closest to `name`, or an empty text."""
    near = closest(name, known)
    return f"; did you mean {near!r}?" if near else ""


# ── patterns ────────────────────────────────────────────────────────────────────────────────────────────

TOKENS = ("name", "id", "type", "suffix")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_WIDTH = re.compile(r"0([1-9]|1[0-8])d")
_DIGITS = re.compile(r"[0-9]{1,18}")


class Piece(NamedTuple):
    """A literal text (`token` empty) or a token; `width` is that of `{id:05d}`, 0 without one."""

    token: str
    literal: str = ""
    width: int = 0


class Pattern:
    """`id_format` or `document_pattern`: fixed tokens `{name} {id} {id:05d} {type} {suffix}`, `{{` for a brace.

    Formatting and parsing are each other's inverse. Raises InvalidName when `text` uses another token, lacks one
    of `needs`, or could leave its directory.
    """

    def __init__(
        self, text: str, *, needs: Iterable[str] = (), among: Iterable[str] = TOKENS, what: str = "pattern"
    ) -> None:
        self.text, self.what = text, what
        self.pieces = tuple(_pieces(text, tuple(among), what))
        used = [piece.token for piece in self.pieces if piece.token]
        for need in needs:
            if need not in used:
                raise InvalidName(f"the {what} {_shown(text)} must contain {{{need}}}")
        for first, second in zip(self.pieces, self.pieces[1:], strict=False):
            if first.token and second.token and "id" not in (first.token, second.token):
                raise InvalidName(
                    f"in the {what} {_shown(text)} put a character between {{{first.token}}} and {{{second.token}}}"
                )
        self.tokens = tuple(dict.fromkeys(used))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def format(self, **values: str | int) -> str:
        """The name for these values; `id` is a number or its digits. Raises InvalidName for an unsafe result."""
        return component("".join(self._piece(piece, values) for piece in self.pieces), f"name made by {self.what}")

    def pad(self, id: int) -> str:
        """The text that the `{id…}` token makes of a number: `00001`. Without such a token, its plain digits."""
        width = next((piece.width for piece in self.pieces if piece.token == "id"), 0)
        return f"{_number(id):0{width}d}" if width else str(_number(id))

    def parse(self, text: str, **known: str | int) -> dict[str, str] | None:
        """The values that make `text` (ids as the digits that stand there), or None when none do.

        `known` values are taken as given, which settles what a pattern leaves open. Without them `{suffix}` holds
        no dot, and `{type}` takes as much as it can.
        """
        if len(text) > 1024:
            return None
        match = re.fullmatch("".join(self._expression(known)), text)
        if match is None:
            return None
        found = {token: match[token] for token in self.tokens}
        return found if self._makes(found, text) else None

    def _makes(self, values: dict[str, str], text: str) -> bool:
        try:
            return "".join(self._piece(piece, values) for piece in self.pieces) == text
        except InvalidName:
            return False

    def _piece(self, piece: Piece, values: dict[str, str | int] | dict[str, str]) -> str:
        if not piece.token:
            return piece.literal
        if piece.token not in values:
            raise InvalidName(f"the {self.what} {_shown(self.text)} needs a value for {{{piece.token}}}")
        value = values[piece.token]
        if piece.token == "id":
            return f"{_number(value):0{piece.width}d}" if piece.width else _digits(value)
        return component(str(value), piece.token)

    def _expression(self, known: dict[str, str | int]) -> Iterable[str]:
        seen: set[str] = set()
        for piece in self.pieces:
            if not piece.token:
                yield re.escape(piece.literal)
            elif piece.token in seen and piece.token != "id":
                yield f"(?P={piece.token})"
            elif piece.token in seen:
                yield "[0-9]{1,18}"  # the same id may stand there once padded and once not; `_makes` compares
            else:
                seen.add(piece.token)
                yield f"(?P<{piece.token}>{self._any(piece, known)})"

    def _any(self, piece: Piece, known: dict[str, str | int]) -> str:
        if piece.token == "id":
            if "id" in known:
                return re.escape(self._piece(piece, known))
            return f"[0-9]{{{piece.width or 1},18}}"
        if piece.token in known:
            return re.escape(str(known[piece.token]))
        return "[^.]+" if piece.token == "suffix" else ".+"


def _pieces(text: str, among: tuple[str, ...], what: str) -> Iterable[Piece]:
    if not text or len(text) > NAME_LENGTH:
        raise InvalidName(f"a {what} has 1 to {NAME_LENGTH} characters")
    for match in _PIECE.finditer(text):
        part, inside = match[0], match[1]
        if inside is not None:
            yield _token(inside, among, what, text)
        elif part in ("{", "}"):
            raise InvalidName(
                f"the {what} {_shown(text)} has a brace that is never closed or opened; write {{{{ for a brace"
            )
        else:
            literal = part[0] if part in ("{{", "}}") else part
            bad = next((c for c in literal if c in _UNSAFE or _is_unseen(c)), None)
            if bad is not None:
                raise InvalidName(f"the {what} {_shown(text)} holds {bad!r}; it must make a single path component")
            yield Piece("", literal)


def _token(inside: str, among: tuple[str, ...], what: str, text: str) -> Piece:
    token, colon, form = inside.partition(":")
    if token not in among:
        listed = ", ".join(f"{{{one}}}" for one in among)
        raise InvalidName(
            f"the {what} {_shown(text)} has the unknown token {_shown('{' + inside + '}')}; there are {listed}"
        )
    if not colon:
        return Piece(token)
    width = _WIDTH.fullmatch(form) if token == "id" else None
    if width is None:
        raise InvalidName(f"in the {what} {_shown(text)} only {{id}} takes a form, and only as {{id:05d}}")
    return Piece(token, width=int(width[1]))


def _number(id: str | int) -> int:
    number = int(_digits(id))
    if number < 0:
        raise InvalidName(f"{id!r} is not an id of a production; ids are 1, 2, 3 …")
    return number


def _digits(id: str | int) -> str:
    digits = str(id) if isinstance(id, int) and not isinstance(id, bool) and 0 <= id < 10**18 else id
    if not isinstance(digits, str) or not _DIGITS.fullmatch(digits):
        raise InvalidName(f"{_shown(str(id)[:40])} is not an id of a production; ids are digits")
    return digits


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or character in _BIDI


def _shown(text: str) -> str:
    """Quoted, shortened, and with everything that a terminal might obey made visible."""
    return ascii(text) if any(map(_is_unseen, text)) else repr(text if len(text) <= 60 else text[:57] + "…")
