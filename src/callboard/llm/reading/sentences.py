"""A text as sentences: what stands in it to be quoted, and where.

A sentence is a piece of the source. It is kept as it stands there, with each run of white space written as one
blank and nothing else changed, emphasis and links included: this is what *stands in the source* means everywhere
here, and `stands_in` is the test of it. What is not prose (code, tables, comments, front matter, rules) is not
read; headings are kept apart, since they say what a text is about without being a sentence of it.

A parser for Markdown was the other road. It gives a tree of what a page shows, and quoting word for word needs what
the file says.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1_000  # characters; what runs on for longer is cut here, at a blank if there is one
MOST = 20_000  # sentences; a megabyte of prose has half as many

_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(\S.*)")
_UNDERLINE = re.compile(r"\s{0,3}(?:=+|-{3,})\s*$")
_BULLET = re.compile(r"\s*(?:[-*+•–]|\d{1,3}[.)]|\(?[a-z]\))\s+")
_CHECKBOX = re.compile(r"\[[ xX]\]\s+")
_QUOTE = re.compile(r"\s{0,3}(?:>\s?)+")
_TABLE = re.compile(r"\s*\|.*\|\s*$|\s*\S.*\|.*\|")
_RULE = re.compile(r"\s*(?:[-*_]\s*){3,}$")
_REFERENCE = re.compile(r"\s{0,3}\[[^\]]{1,200}\]:\s*\S+")
_PICTURE = re.compile(r"\s*(?:\[?!\[[^\]]*\]\([^)]*\)\]?(?:\([^)]*\))?\s*)+$")
_MARKUP = re.compile(r"\s*</?[a-zA-Z!][^>]*>\s*$")
_LINK = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,300}(?:\s[^()]{0,100})?\)|<?https?://\S+")

_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_`]*+(?=\s)|[。！？｡।؟۔]+[」』”’）]*")
#: What a full stop belongs to, when a capital follows that begins no sentence. Before small letters none ends one.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"“‘*_])(?:[A-Z]|[A-Za-z](?:\.[A-Za-z])+|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|Mt|Gen|Col|Capt|Lt|Rev|Hon|Gov|Sen|"
    r"Rep|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|vs|cf|ca|approx|resp|bzw|z\.B|[Ff]igs?|[Ee]q|[Vv]ol|[Ee]ds?|pp?)\.$"
)
_NUMBERED = re.compile(r"\b(?:[Nn]os?|[Nn]r|[Cc]h|[Ss]ec|[Pp]art)\.$")


class Sentence(NamedTuple):
    """`text` stands in the source; `place` counts all sentences, `block` the paragraphs and list items."""

    text: str
    place: int
    block: int
    section: int
    is_item: bool  # of a list


class Source(NamedTuple):
    """A text, read. `title` is its first heading, if it stands before any sentence."""

    text: str
    sentences: tuple[Sentence, ...]
    headings: tuple[str, ...]
    title: str


class _Block(NamedTuple):
    lines: list[str]
    section: int
    is_item: bool
    is_quoted: bool


def plain(text: str) -> str:
    """A text with each run of white space as one blank."""
    return " ".join(text.split())


def stands_in(sentence: str, source: str) -> bool:
    """Whether a sentence stands in a source word for word, white space apart."""
    return plain(sentence) in plain(source)


def readable(text: str) -> str:
    """A sentence without the syntax of links and emphasis, for weighing it; quoting uses the sentence itself."""
    if "](" in text or "://" in text:
        text = _LINK.sub(r"\1", text)
    return text.replace("*", "").replace("`", "") if "*" in text or "`" in text else text


def read(text: str) -> Source:
    """Read a text, up to `MOST` sentences. A text that is JSON is read as the texts it holds."""
    text = _unpacked(text)
    headings: list[str] = []
    sentences: list[Sentence] = []
    title = ""
    for number, block in enumerate(_blocks(text, headings)):
        if not sentences and not title and headings:
            title = headings[0]
        for part in islice(_split(block), MOST - len(sentences)):
            sentences.append(Sentence(part, len(sentences), number, block.section, block.is_item))
        if len(sentences) >= MOST:
            break
    if not sentences and not title and headings:
        title = headings[0]
    return Source(text, tuple(sentences), tuple(headings), title)


def _unpacked(text: str) -> str:
    """The texts inside a JSON text, each a paragraph of its own; any other text as it is."""
    inner = text.strip()
    if inner[:1] + inner[-1:] not in ("[]", "{}") or len(inner) < 2:
        return text
    try:
        value = json.loads(inner)
    except (ValueError, RecursionError):
        return text
    found = list(_texts(value))
    return "\n\n".join(found) if found else text


def _texts(value: Any) -> Iterator[str]:
    """The texts a value holds that are more than a word, in order; of {"key", "value"} pairs only the values."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            if " " in one.strip() or not one.isascii():
                yield one
        elif isinstance(one, list):
            stack.extend(reversed(one))
        elif isinstance(one, dict):
            inner = one.items() if one.keys() != {"key", "value"} else [("value", one["value"])]
            stack.extend(member for _, member in reversed(list(inner)))


def _blocks(text: str, headings: list[str]) -> Iterator[_Block]:
    """Paragraphs and list items, in order; headings go to their list as they are met."""
    lines: list[str] = []
    is_item, is_quoted, fence, section = False, False, "", 0
    for line in _body(text):
        if not lines and (not line or line.isspace()):
            continue
        if (line.lstrip()[:1] == ">") != is_quoted and not fence:
            if lines:
                yield _Block(lines, section, is_item, is_quoted)
            lines, is_item, is_quoted = [], False, not is_quoted
        if is_quoted:
            line = _QUOTE.sub("", line, count=1)
        mark = _FENCE.match(line) if "`" in line or "~" in line else None
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(mark[1][0]):
                fence = ""
            continue
        heading = _HEADING.match(line) if "#" in line else None
        underlined = len(lines) == 1 and not is_item and _UNDERLINE.match(line) is not None
        bullet = None if heading or underlined or not line[:40].strip() else _BULLET.match(line)
        ends = bool(mark or heading or underlined or bullet) or not line.strip() or _is_no_prose(line)
        if not ends:
            if not lines:
                is_item = False
            lines.append(line)
            continue
        if underlined:
            headings.append(plain(lines[0][:300]))
            section += 1
        elif lines:
            yield _Block(lines, section, is_item, is_quoted)
        lines, is_item = [], False
        if mark:
            fence = mark[1]
        elif heading:
            headings.append(plain(heading[1][:300].rstrip().rstrip("#")))
            section += 1
        elif bullet and not _is_no_prose(line):
            rest = line[bullet.end() :]
            lines, is_item = [_CHECKBOX.sub("", rest, count=1) if rest[:1] == "[" else rest], True
    if lines:
        yield _Block(lines, section, is_item, is_quoted)


def _body(text: str) -> Iterator[str]:
    """The lines of a text after its front matter, comments left empty."""
    lines = text.splitlines()
    start = 0
    if lines and lines[0].strip() == "---":
        end = next((n for n, line in enumerate(lines[1:60], 1) if line.strip() in ("---", "...")), 0)
        start = end + 1 if end and any(":" in line for line in lines[1:end]) else 0
    is_comment = False
    for line in lines[start:]:
        if is_comment or line.lstrip().startswith("<!--"):
            is_comment = "-->" not in line
            line = ""
        yield line


def _is_no_prose(line: str) -> bool:
    """Whether a line is a row of a table, a rule, a picture, a reference or markup."""
    first = line.lstrip()[:1]
    if first in "-*_" and _RULE.match(line):
        return True
    if "|" in line and _TABLE.match(line):
        return True
    if first in "[!" and (_REFERENCE.match(line) or _PICTURE.match(line)):
        return True
    return first == "<" and _MARKUP.match(line) is not None


def _split(block: _Block) -> Iterator[str]:
    """The sentences of a block. Lines without any full stop are taken one by one: verses, notes, records."""
    if block.is_quoted and len(block.lines) > 1:
        # The marks of a quotation stand between its lines, so only what stands in one line stands in the source.
        lines = [plain(line) for line in block.lines]
        whole = _split(block._replace(is_quoted=False))
        yield from (part for part in whole if any(part in line for line in lines))
        return
    joined = plain(" ".join(block.lines))
    if len(block.lines) > 1 and not _END.search(joined + " "):
        for line in block.lines:
            yield from _cut(plain(line))
        return
    start = 0
    for end in _END.finditer(joined):
        if _goes_on(joined, start, end.start(), end.end()):
            continue
        yield from _cut(joined[start : end.end()].strip())
        start = end.end()
    yield from _cut(joined[start:].strip())


def _goes_on(text: str, start: int, stop: int, end: int) -> bool:
    """Whether the full stop at `stop` ends no sentence: an abbreviation, or a small letter follows."""
    if text[stop] in "。！？｡।؟۔":
        return False
    following = text[end : end + 3].lstrip(" \"'“‘(")[:1]
    if following.islower():
        return True
    if text[stop] != "." or end != stop + 1:
        return False
    before = text[max(start, end - 12) : end]
    return bool(_ABBREVIATION.search(before) or (following.isdigit() and _NUMBERED.search(before)))


def _cut(text: str) -> Iterator[str]:
    if not any(map(str.isalnum, text[:LONGEST])):
        return
    if len(text) > LONGEST:
        end = text.rfind(" ", LONGEST // 2, LONGEST)
        text = text[: end if end > 0 else LONGEST]
    yield text
