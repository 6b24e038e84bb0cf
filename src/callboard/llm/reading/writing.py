"""The answer to a prompt, in words: each kind of task puts together what was found in the text.

An answer is made of parts, and a limit is kept by leaving parts out; only when not even the first one fits is it
cut, at a blank, so that what is left still stands in the source. What cannot be done by choosing, such as
translating, is said to be so, and the text is given as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.llm.reading import found, labels
from callboard.llm.reading.answering import UNSAID, answer
from callboard.llm.reading.ranking import Size, choose, weigh
from callboard.llm.reading.sentences import plain, read, readable
from callboard.llm.reading.terms import terms
from callboard.llm.reading.words import STOP, content, count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.llm.reading.asked import Asked
    from callboard.llm.reading.ranking import Weighed

EMPTY = "The text is empty."
ANY = Size()

_FINDERS: dict[str, Callable[..., list[str]]] = {
    name: getattr(found, name)
    for name in (
        "amounts", "dates", "emails", "figures", "links", "names", "numbers", "phones", "questions", "quotes", "tasks",
    )
}  # fmt: skip
_NOT_OURS = {"translate": "translate", "rewrite": "rewrite"}


def write(asked: Asked) -> str:
    """The answer. Never empty; within `asked.size` where that leaves room for a word."""
    weighed = weigh(read(asked.document))
    if not asked.document.strip():
        return EMPTY
    if asked.task == "labels" and len(asked.labels) > 1:
        return labels.choose(labels.hear(weighed.source), asked.labels)
    writer = _WRITERS.get(asked.task, _summary)
    return writer(asked, weighed) or cut(cut(plain(asked.document[:4_000]), Size(characters=300)), asked.size) or EMPTY


def title(weighed: Weighed, size: Size = ANY) -> str:
    """A heading of the text if it has one, else the part of its best sentence that says most."""
    source = weighed.source
    heading = readable(source.title).strip()
    if heading and size.has_room(0, 0, 0, heading):
        return heading
    best = choose(weighed, Size(sentences=1))
    if not best:
        return cut(plain(source.text), size._replace(words=min(size.words or 10, 10)))
    text = readable(best[0].text).strip("\"'“”‘’*_. ")
    limit = size._replace(words=min(size.words or 10, 10))
    clauses = [_without_ends(cut(part.strip(" .!?\"'“”"), limit)) for part in _clauses(text)]
    fitting = [part for part in clauses if count(part) >= 3] or [cut(text.rstrip(".!?"), limit)]
    said = [sum(weighed.weights.get(stem, 0.0) for stem in dict.fromkeys(content(part))) for part in fitting]
    return _first_big(fitting[said.index(max(said))])


def summary(weighed: Weighed, size: Size, about: Sequence[str] = ()) -> str:
    """Sentences of the text, in its order; three of them when no size is given."""
    if size == ANY:
        size = Size(sentences=3)
    chosen = choose(weighed, size, about=about)
    if chosen:
        return " ".join(sentence.text for sentence in chosen)
    best = choose(weighed, Size(sentences=1), about=about)
    return cut(best[0].text, size) if best else ""


def points(weighed: Weighed, amount: int, words: int | None = None, about: Sequence[str] = ()) -> list[str]:
    """So many sentences that say most, in the order of the text; each of at most `words` words."""
    if words is not None:
        fitting = [one for one in weighed.source.sentences if count(one.text) <= words]
        if len(fitting) >= amount:
            weighed = weigh(weighed.source._replace(sentences=tuple(
                one._replace(place=place) for place, one in enumerate(fitting)
            )))  # fmt: skip
    chosen = choose(weighed, Size(sentences=amount), about=about)
    return [cut(one.text, Size(words=words)) for one in chosen]


# ── one function per task ───────────────────────────────────────────────────────────────────────────────


def _summary(asked: Asked, weighed: Weighed) -> str:
    about = _about(asked)
    named = [stem for stem in about if stem in weighed.weights]
    return summary(weighed, Size(sentences=2) if named and asked.size == ANY else asked.size, about)


def _draft(asked: Asked, weighed: Weighed) -> str:
    size = asked.size if asked.size != ANY else Size(sentences=4)
    return summary(weighed, size, _about(asked))


def _points(asked: Asked, weighed: Weighed) -> str:
    lines = points(weighed, asked.amount or asked.size.sentences or 5, asked.unit_words, _about(asked))
    return _listed(lines, asked.size)


def _terms(asked: Asked, weighed: Weighed) -> str:
    chosen = [term.text for term in terms(weighed.source, asked.amount or 8)]
    mark = "#" if "hash" in asked.instruction.lower() else ""
    if mark:
        return _joined([mark + _first_big(term).replace(" ", "") for term in chosen], " ", asked.size)
    if "list" in asked.instruction.lower() or "bullet" in asked.instruction.lower():
        return _listed(chosen, asked.size)
    return _joined(chosen, ", ", asked.size)


def _title(asked: Asked, weighed: Weighed) -> str:
    amount = asked.amount or 1
    if amount == 1:
        return title(weighed, asked.size._replace(sentences=None))
    bare = weighed._replace(source=weighed.source._replace(title=""))
    more = [_first_big(readable(line).rstrip(".!?")) for line in points(bare, amount, 12)]
    return _listed(list(dict.fromkeys([title(weighed), *more]))[:amount], asked.size)


def _answer(asked: Asked, weighed: Weighed) -> str:
    chosen = answer(weighed, asked.question, asked.size.sentences or 2)
    text = _joined([sentence.text for sentence in chosen], " ", asked.size._replace(sentences=None))
    return text or UNSAID


def _extract(asked: Asked, weighed: Weighed) -> str:
    results = {kind: _FINDERS[kind](weighed.source) for kind in asked.kinds}
    if len(results) == 1:
        ((kind, lines),) = results.items()
        return _listed(lines[: asked.amount or 50], asked.size) if lines else f"The text holds no {kind}."
    lines = [f"{kind}: {'; '.join(values[:50]) or 'none'}" for kind, values in results.items()]
    return _listed(lines, asked.size)


def _analysis(asked: Asked, weighed: Weighed) -> str:
    if asked.size != ANY:
        return _summary(asked, weighed)
    short = choose(weighed, Size(sentences=3), about=_about(asked))
    opening = " ".join(sentence.text for sentence in short)
    said = {sentence.text for sentence in short}
    more = [line for line in points(weighed, (asked.amount or 5) + 3) if line not in said][: asked.amount or 5]
    figures = [line for line in found.figures(weighed.source) if line not in said and line not in more][:3]
    parts = [opening]
    if more:
        parts.append("## Points\n\n" + "\n".join(f"- {line}" for line in more))
    if figures:
        parts.append("## Figures\n\n" + "\n".join(f"- {line}" for line in figures))
    chosen = [term.text for term in terms(weighed.source)]
    if chosen:
        parts.append("## Terms\n\n" + ", ".join(chosen))
    return "\n\n".join(part for part in parts if part)


def _as_it_is(asked: Asked, weighed: Weighed) -> str:
    return (
        f"[callboard-offline-1 cannot {_NOT_OURS[asked.task]}; this is the text as it was given.]\n\n{asked.document}"
    )


_WRITERS = {
    "analysis": _analysis, "answer": _answer, "draft": _draft, "extract": _extract, "points": _points,
    "rewrite": _as_it_is, "summary": _summary, "terms": _terms, "title": _title, "translate": _as_it_is,
}  # fmt: skip


# ── putting together ────────────────────────────────────────────────────────────────────────────────────


def cut(text: str, size: Size) -> str:
    """The beginning of a text that has room in `size`, ending at a blank where there is one."""
    if size.words is not None:
        text = " ".join(text.split()[: max(1, size.words)])
    if size.characters is not None and len(text) > size.characters:
        end = text.rfind(" ", 0, size.characters + 1)
        text = text[: end if end > 0 else size.characters]
    return text.strip()


def _listed(lines: Sequence[str], size: Size) -> str:
    return _joined([f"- {line}" for line in lines], "\n", size._replace(sentences=None))


def _joined(parts: Sequence[str], mark: str, size: Size) -> str:
    """As many parts as there is room for; a piece of the first if there is not even room for that."""
    chosen: list[str] = []
    words = characters = 0
    for part in parts:
        words, characters = (
            words + count(part.removeprefix("- ")),
            characters + len(part) + (len(mark) if chosen else 0),
        )
        if (size.words is not None and words > size.words) or (
            size.characters is not None and characters > size.characters
        ):
            break
        chosen.append(part)
    return mark.join(chosen) if chosen or not parts else cut(parts[0], size)


def _clauses(text: str) -> list[str]:
    for mark in (": ", "; ", " – ", " — ", ", "):
        text = text.replace(mark, "\n")
    return text.split("\n")


def _without_ends(text: str) -> str:
    """A clause without the small words that a cut has left at its end."""
    words = text.split()
    while len(words) > 3 and words[-1].lower().strip(",;:") in STOP:
        words.pop()
    return " ".join(words).rstrip(",;:")


def _first_big(text: str) -> str:
    return text[:1].upper() + text[1:]


def _about(asked: Asked) -> list[str]:
    """Stems that the instruction names beside its own vocabulary, to be favoured: *what is praised*."""
    named = [stem for stem in dict.fromkeys(content(asked.instruction)) if stem not in _VOCABULARY]
    return [*named, *labels.company(named)]


_VOCABULARY = frozenset(
    content(
        """summarise summarize summary summaries following text document letter review reviews article sentence
        sentences word words bullet point points paragraph list key main write short report please analyze
        analyse analysis data input title keywords terms answer draft most least brief briefly concise editor
        careful reader reply return these this company weigh long detailed important tone keep language"""
    )
)
