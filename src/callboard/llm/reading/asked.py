"""What a prompt asks for: the task, how much of it, and what it names, as labels, fields or a question.

Read from the instruction only (`dividing`). A prompt that asks for nothing we know is answered with a summary,
because that is true of any text. Nothing is filled into a pattern, and no part of a prompt is used as one; braces
are characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from callboard.llm.reading.dividing import HEAD, divide, instructs
from callboard.llm.reading.ranking import Size
from callboard.llm.reading.sentences import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

_THINGS = (
    r"dates|e-?mails?(?: addresses)?|urls|links|numbers|figures|amounts|prices|names|people|persons|places|companies|"
    r"organi[sz]ations|entities|questions|action items?|to-?dos?|tasks|quotes|quotations|phone numbers"
)

#: Task → what gives it away in an instruction. The order decides when an instruction fits several.
TASKS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("json", r"\bjson\b"),
        (
            "labels",
            r"\b(?:classif\w+|categori[sz]e|(?:which|what) (?:category|label|class|topic|kind|type)\b|one of\b|"
            r"sentiment\b|(?:positive|negative)(?:,| or| and)|label (?:this|the|it|each)|"
            r"choose (?:from|between|one)|file \w+ under)",
        ),
        ("title", r"\b(?:titles?|headlines?|subject line|caption)\b(?! of the (?:text|document|letter) (?:is|was))"),
        (
            "terms",
            r"\b(?:key ?-?(?:words?|terms?|phrases?|topics?|concepts?)|hash ?tags?|tags\b|topics\b|themes\b|glossary)",
        ),
        (
            "extract",
            r"\b(?:extract|list|find|identify|pull(?: out)?|name|give|collect|get|what|which|return)\b"
            rf"[^.?!\n]{{0,60}}\b(?:{_THINGS})\b",
        ),
        ("translate", r"\b(?:translate|translation)\b"),
        ("rewrite", r"\b(?:rewrite|rephrase|paraphrase|proofread|correct|convert|reformat|simplify the language)\b"),
        (
            "points",
            r"\b(?:bullet|key points?|main points?|take-?aways?|highlights?|(?:list|as a list|list of)\b|outline|"
            r"main ideas?|key ideas?|key facts?|lessons?)",
        ),
        (
            "summary",
            r"\b(?:summar\w+|sum up|condense|shorten|abstract|gist|tl;?dr|boil down|distil|weigh|digest|recap)\b",
        ),
        (
            "analysis",
            r"\b(?:analy[sz]e|analysis|assess\w*|evaluat\w+|review (?:the|this)|examine|report|study|compare|"
            r"contrast)\b",
        ),
        ("answer", r"\banswer (?:the|this|these|my|following|each)\b[^.]{0,30}\bquestions?\b|\?\s*$"),
        (
            "draft",
            r"\b(?:write|draft|compose|reply|respond|thank|answer (?:this|the)|create|generate|prepare|e-?mail)\b",
        ),
    )
)

_QUESTION = re.compile(
    r"(?:^|[.!:]\s+|\n)\W{0,3}((?:what|who|whom|whose|when|where|why|how|which|is|are|was|were|does|do|did|can|could|"
    r"should|has|have|will|in what|at what|for whom|to whom|by whom|on which)\b[^?\n]{2,300}\?)",
    re.IGNORECASE,
)
_POLITE = re.compile(r"(?:can|could|would|will) you\b", re.IGNORECASE)
_MARKED_QUESTION = re.compile(r"(?:^|\n)\W{0,3}(?:question|q)\s*:\s*([^\n]{2,400})", re.IGNORECASE)
_SUMMARISES = re.compile(r"\b(?:summar\w+|shorten|condense|write|draft|reply|compose)\b", re.IGNORECASE)

_NUMBERS = {
    "one": 1, "single": 1, "two": 2, "couple of": 2, "three": 3, "few": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40,
    "fifty": 50, "hundred": 100,
}  # fmt: skip
_N = r"(\d{1,5}|" + "|".join(_NUMBERS) + r")"
_UNITS = (
    r"sentences?|words?|characters?|chars?|letters|bullet[- ]?points?|bullets?|points?|items?|paragraphs?|key ?words?|"
    r"key ?terms?|key ?phrases?|terms?|tags?|topics?|themes?|lines?|takeaways?|highlights?|facts?|ideas?|reasons?|"
    r"questions?|quotes?|titles?|headlines?|names?|examples?|entries|things|steps|lessons|insights?|findings?|hashtags?"
)
_AMOUNT = re.compile(
    rf"(?P<less>less than|fewer than|under|below)?\s*\b{_N}(?:\s*(?:-|–|to|or)\s*{_N})?[\s-]+"
    rf"(?:[\w'’-]+(?:,\s*|\s+)(?:and\s+)?){{0,2}}?(?P<unit>{_UNITS})\b"
    r"(?P<each>(?:\s+long)?,?\s+(?:each|per\b|apiece))?",
    re.IGNORECASE,
)
_ONE = re.compile(r"\ban?\s+(?:short |brief |single |long )?(?P<unit>sentence|paragraph|title|headline|word)\b", re.I)
_TWEET = re.compile(r"\btweet\b", re.IGNORECASE)
_BRIEF = re.compile(r"\b(?:brief(?:ly)?|short(?:ly)?|concise(?:ly)?|tl;?dr|in a nutshell)\b", re.IGNORECASE)
_LONG = re.compile(
    r"\b(?:detailed|in detail|long|thorough(?:ly)?|comprehensive(?:ly)?|extensive(?:ly)?)\b", re.IGNORECASE
)

_LABELS = re.compile(
    r"(?:one of(?: (?:the|these|those|following|labels?|categor(?:y|ies)|classes|values|options|words))*|"
    r"(?:labels?|categories|classes|options|choices|topics|possible \w+|allowed \w+)(?: (?:are|is))?)\s*[:=–-]\s*"
    r"(?P<list>[^\n.;?!]{3,400})|"
    r"(?:one of|either|choose (?:from|between)|(?:classify|label|tag|file|sort|mark|categori[sz]e|rate)\b"
    r"[^\n.:;]{0,80}?\b(?:as|into|under|among|between))\s+(?P<listed>[^\n.;:?!]{3,300})",
    re.IGNORECASE,
)
_LISTED_LINES = re.compile(r":\s*\n((?:\s*(?:[-*•]|\d+[.)])\s*[^\n]{1,80}\n?){2,30})")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
_SENTIMENT = re.compile(r"\bsentiment\b", re.IGNORECASE)
_FIELDS = re.compile(
    r"\b(?:keys?|fields?|properties|attributes|with(?: the)?(?: keys?| fields?| properties| attributes)?)\b"
    r"(?:\s+(?:named|called|are|of))*\s*:?\s*(?P<list>[\"'`\w][^\n{}.;]{1,300})",
    re.IGNORECASE,
)
_FIELD = re.compile(r"[A-Za-z_][\w-]{0,30}")

_KINDS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("dates", r"\bdates?\b"),
        ("emails", r"\be-?mail"),
        ("links", r"\b(?:urls?|links?)\b"),
        ("phones", r"\bphone"),
        ("amounts", r"\b(?:amounts?|prices?|sums?|money)\b"),
        ("tasks", r"\b(?:action items?|to-?dos?|tasks?)\b"),
        ("questions", r"\bquestions?\b"),
        ("quotes", r"\b(?:quotes?|quotations?)\b"),
        ("figures", r"\bfigures\b"),
        ("numbers", r"\b(?<!phone )numbers?\b"),
        ("names", r"\b(?:names?|people|persons?|places?|compan(?:y|ies)|organi[sz]ations?|entities)\b"),
    )
)


class Asked(NamedTuple):
    """`task` is a name of `TASKS`; `amount` how many units are wanted, `size` the limits of the whole answer."""

    task: str
    document: str
    instruction: str
    question: str = ""
    amount: int | None = None
    size: Size = Size()
    unit_words: int | None = None  # most words of one point of a list
    labels: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # what to extract


def understand(prompt: str, system: str = "") -> Asked:
    """What `prompt` asks for under the standing instruction `system`.

    A system that instructs decides, and the prompt is the text: nobody who has said what to do lets the text say it.
    """
    if instructs(system) and _task(system):
        head, document, tail = system, prompt, ""
    else:
        head, document, tail = divide(prompt)
    task = _task(head) or _task(tail) or _task(system) or "summary"
    own = ("\n".join(part for part in (head, tail) if part) or system)[: 2 * HEAD]
    question = _question(own)
    if task == "answer" and not question:
        question = plain(own)
    elif question and task in ("summary", "draft", "analysis") and not _SUMMARISES.search(own):
        task = "answer"
    amount, size, unit_words = _measure(f"{own}\n{system}", task)
    return Asked(
        task,
        document if document.strip() else prompt,
        own,
        question,
        amount,
        size,
        unit_words,
        _labels(own) if task in ("labels", "json") else (),
        _fields(own) if task == "json" else (),
        _kinds(own) if task == "extract" else (),
    )


def _task(instruction: str) -> str:
    text = instruction[:HEAD]
    return next((name for name, pattern in TASKS if pattern.search(text)), "")


def _question(instruction: str) -> str:
    marked = _MARKED_QUESTION.search(instruction)
    if marked:
        return marked[1].strip()
    asked = [one for one in _QUESTION.findall(instruction) if not _POLITE.match(one)]
    return plain(asked[-1]) if asked else ""


def _measure(instruction: str, task: str) -> tuple[int | None, Size, int | None]:
    """(units wanted, limits of the whole, words of one unit) as an instruction says; what it says first counts."""
    instruction = instruction[:HEAD]
    sizes: dict[str, int] = {}
    for found in _AMOUNT.finditer(instruction):
        number = max(1, _number(found[3] or found[2]) - (1 if found["less"] else 0))
        sizes.setdefault(_unit(found["unit"].lower(), bool(found["each"])), number)
    for found in _ONE.finditer(instruction):
        sizes.setdefault(_unit(found["unit"].lower(), False), 1)
    if _TWEET.search(instruction):
        sizes["characters"] = min(sizes.get("characters", 280), 280)
    sentences = sizes.get("sentences", 4 * sizes["paragraphs"] if "paragraphs" in sizes else None)
    if sentences is None and not {"words", "characters"} & sizes.keys() and task in ("summary", "draft", "answer"):
        sentences = 2 if _BRIEF.search(instruction) else 8 if _LONG.search(instruction) else None
    return sizes.get("units"), Size(sentences, sizes.get("words"), sizes.get("characters")), sizes.get("unit_words")


def _unit(name: str, each: bool) -> str:
    if name.startswith("word"):
        return "unit_words" if each else "words"
    if name.startswith(("char", "letters")):
        return "characters"
    return next((unit for unit in ("sentences", "paragraphs") if unit.startswith(name)), "units")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBERS[text.lower()]


def _labels(instruction: str) -> tuple[str, ...]:
    lines = _LISTED_LINES.search(instruction + "\n")
    if lines:
        return _clean(_BULLET.sub("", line) for line in lines[1].splitlines())
    for found in _LABELS.finditer(instruction):
        labels = _listed(found["list"] or found["listed"])
        if len(labels) > 1:
            return labels
    return ("positive", "negative", "neutral") if _SENTIMENT.search(instruction) else ()


def _listed(text: str) -> tuple[str, ...]:
    """The entries of a list in a line: `a, b or c`, `a | b`, `"a" / "b"`."""
    text = re.sub(r"^(?:either|one of|the following|these)\b:?\s*", "", text.strip(), flags=re.IGNORECASE)
    text = text.strip("()[]{} ")
    marks = r"\s*[|/;]\s*" if re.search(r"[|;]|\s/\s|\w/\w", text) else r"\s*,\s*|\s+(?:or|and)\s+"
    articles = re.compile(r"^(?:or|and|a|an|as)\s+", re.IGNORECASE)
    return _clean(articles.sub("", part.strip()) for part in re.split(marks, text))


def _clean(parts: Iterable[str]) -> tuple[str, ...]:
    found = (part.strip().strip("\"'`“”‘’*.()[]") for part in parts)
    return tuple(dict.fromkeys(part for part in found if part and len(part.split()) <= 5))[:50]


def _fields(instruction: str) -> tuple[str, ...]:
    """The keys of the JSON that an instruction describes: of its example, or after *keys* or *fields*."""
    quoted = re.findall(r"[\"'`]([A-Za-z_][\w -]{0,40})[\"'`]\s*:", instruction)
    if quoted:
        return tuple(dict.fromkeys(quoted))[:30]
    for found in _FIELDS.finditer(instruction):
        listed = re.split(r"\s(?:for|of|from|about|in|based|that)\s", found["list"])[0]
        names = [part.removeprefix("the ") for part in _listed(listed)]
        if names and all(map(_FIELD.fullmatch, names)):
            return tuple(names)[:30]
    return ()


def _kinds(instruction: str) -> tuple[str, ...]:
    return tuple(name for name, pattern in _KINDS if pattern.search(instruction)) or ("names",)
