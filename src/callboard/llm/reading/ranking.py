"""Which sentences matter: a choice that covers what a text is about, without saying the same thing twice.

Each word has a weight, by how many sentences speak of it. The next sentence is always the one that adds the most
weight of words not yet said, for its length; so what has been covered counts no more, and redundancy needs no rule
of its own. Beginnings, headings and sentences that stand alone are favoured, sentences that point back at something
unseen are not. The usual graph of all pairs of sentences costs their square, a second for a short book; this costs
their number, and on prose the choices differ little.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from callboard.llm.reading.sentences import Sentence, Source, readable
from callboard.llm.reading.words import content, count

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Beginnings that lean on a sentence before: quoted alone they leave the reader asking *who* or *what*.
_LEANS = re.compile(
    r"(?:and|but|or|so|yet|then|thus|hence|also|however|therefore|moreover|furthermore|instead|otherwise|still|nor|"
    r"this|that|these|those|it|its|they|their|them|he|she|his|her|such|both|neither|either|there|here|here's|"
    r"the former|the latter|for example|for instance|in addition|in contrast|on the other hand|as a result|meanwhile|"
    r"similarly|likewise|again|besides|consequently|accordingly|nevertheless|nonetheless|no\b|yes\b)\b",
    re.IGNORECASE,
)
_SUMS_UP = re.compile(
    r"\b(?:in short|in summary|to sum up|in conclusion|we conclude|overall|the result|the main|the point|"
    r"most important|importantly|the goal|the aim|the purpose|the reason|the key|"
    r"significant|decided|the rule|means that|shows that|found that|because|must|never|always)\b",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"[\W_]{0,3}\w+(?:\s\w+)?[*_]{0,2}:[*_]{0,2}\s")
_SHORT, _LONG = 6, 36  # words of a sentence one likes to read


class Size(NamedTuple):
    """How much is wanted: at most so many sentences, words, characters; None where it does not matter."""

    sentences: int | None = None
    words: int | None = None
    characters: int | None = None

    def has_room(self, chosen: int, words: int, characters: int, text: str) -> bool:
        return (
            (self.sentences is None or chosen < self.sentences)
            and (self.words is None or words + count(text) <= self.words)
            and (self.characters is None or characters + len(text) + (1 if chosen else 0) <= self.characters)
        )


class Weighed(NamedTuple):
    """A source with its words weighed: stems of each sentence, weight of each stem, quality of each sentence."""

    source: Source
    stems: tuple[tuple[str, ...], ...]
    weights: dict[str, float]
    quality: tuple[float, ...]


def weigh(source: Source) -> Weighed:
    texts = [readable(sentence.text) for sentence in source.sentences]
    stems = tuple(tuple(dict.fromkeys(content(text))) for text in texts)
    spoken = Counter(stem for one in stems for stem in one)
    headed = set(content(" ".join((source.title, *source.headings[:40]))))
    many = max(1, len(stems))
    weights = {
        stem: math.log1p(n) * math.log1p(many / n) * (1.5 if stem in headed else 1.0) for stem, n in spoken.items()
    }
    first = _first_of(source.sentences)
    quality = tuple(
        _quality(sentence, text, first, many) for sentence, text in zip(source.sentences, texts, strict=True)
    )
    return Weighed(source, stems, weights, quality)


def choose(weighed: Weighed, size: Size, *, about: Sequence[str] = ()) -> list[Sentence]:
    """The sentences that say most within `size`, in the order of the source; `about` are stems to favour.

    At least one, if the source has any that fits; the shortest worth reading when none of the best do.
    """
    weights = dict(weighed.weights)
    for stem in about:
        if stem in weights:
            weights[stem] *= 4
    chosen = _greedy(weighed, weights, size)
    return [weighed.source.sentences[place] for place in sorted(chosen)]


def _greedy(weighed: Weighed, weights: dict[str, float], size: Size) -> list[int]:
    """Lazy greedy choice: a gain only ever falls, so what is on top after looking again is the best."""
    heap = [(-_gain(weighed, weights, place, frozenset()), place, 0) for place in range(len(weighed.source.sentences))]
    heapq.heapify(heap)
    chosen: list[int] = []
    said: set[str] = set()
    known: set[str] = set()
    words = characters = 0
    while heap and (size.sentences is None or len(chosen) < size.sentences):
        gain, place, seen = heapq.heappop(heap)
        if seen < len(chosen):
            heapq.heappush(heap, (-_gain(weighed, weights, place, said), place, len(chosen)))
            continue
        text = weighed.source.sentences[place].text
        if gain >= 0 and chosen:
            break
        if text in known or not size.has_room(len(chosen), words, characters, text):
            continue
        chosen.append(place)
        known.add(text)
        said.update(weighed.stems[place])
        words, characters = words + count(text), characters + len(text) + (1 if characters else 0)
    return chosen


def _gain(weighed: Weighed, weights: dict[str, float], place: int, said: set[str] | frozenset[str]) -> float:
    stems = weighed.stems[place]
    fresh = sum(weights[stem] for stem in stems if stem not in said)
    length = max(9, count(weighed.source.sentences[place].text))
    share = fresh * weighed.quality[place] / length**0.65
    # A sentence that mostly repeats is worth less than its few new words.
    again = sum(1 for stem in stems if stem in said)
    return share * (1 - 0.7 * again / len(stems)) if stems else 0.0


def _first_of(sentences: Sequence[Sentence]) -> frozenset[int]:
    """The places of sentences that open a section."""
    first: dict[int, int] = {}
    for one in sentences:
        first.setdefault(one.section, one.place)
    return frozenset(first.values())


def _quality(sentence: Sentence, text: str, opening: frozenset[int], many: int) -> float:
    words = text.split()
    worth = 1.0 + 0.8 * math.exp(-sentence.place / max(3.0, many / 12))
    if sentence.place in opening:
        worth *= 1.25
    if _LEANS.match(text):
        worth *= 0.45
    if _LABELLED.match(text):
        worth *= 0.5
    if _SUMS_UP.search(text):
        worth *= 1.2
    if sentence.is_item:
        worth *= 0.75
    if len(words) < _SHORT:
        worth *= 0.35
    elif len(words) > _LONG:
        worth *= 0.6
    if not text.rstrip("\"'”’»)]*_").endswith((".", "!", "…", "。", "！", "।", "۔")):
        worth *= 0.3 if text.rstrip().endswith((":", "?")) else 0.5
    if len(text) < len(sentence.text):  # links and emphasis: plainer sentences read better in a summary
        worth *= 0.35 if "](" in sentence.text else 0.8
    if "_" in text or "(" in text or "{" in text:
        worth *= 0.7
    letters = sum(map(str.isalpha, text))
    return worth * (0.3 if letters * 2 < len(text) else 1.0)
