"""Answering a question with the sentences of a text that speak of what it asks.

A sentence gains by each rare word it shares with the question, and by holding the kind of thing that is asked for:
a number for *how many*, a day for *when*, a reason for *why*. If no sentence shares a word with the question, the
text does not say, and that is the answer.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from callboard.llm.reading.sentences import readable
from callboard.llm.reading.words import content

if TYPE_CHECKING:
    from callboard.llm.reading.ranking import Weighed
    from callboard.llm.reading.sentences import Sentence

UNSAID = "The text does not say."

_KINDS: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (
        re.compile(r"\bhow (?:many|much|long|old|often|far|big|large)\b", re.I),
        re.compile(r"\d|\b(?:one|two|three|twice)\b"),
    ),
    (
        re.compile(r"\b(?:when|what (?:time|day|date|year))\b", re.I),
        re.compile(
            r"\d|day\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)"
        ),
    ),
    (
        re.compile(r"\bwhy\b|\bwhat (?:is the )?reason", re.I),
        re.compile(r"\b(?:because|since|so that|reason|due to|for)\b", re.I),
    ),
    (re.compile(r"\bwho(?:se|m)?\b", re.I), re.compile(r"(?<!^)\b[A-ZÀ-Þ]\w+")),
    (re.compile(r"\bwhere\b", re.I), re.compile(r"\b(?:in|at|on|under|near|from|to)\s+(?:the\s+)?\w+", re.I)),
    (re.compile(r"\bhow\b", re.I), re.compile(r"\b(?:by|with|through|using|first|then)\b", re.I)),
    (re.compile(r"\bwhat (?:is|are|does)\b", re.I), re.compile(r"\b(?:is|are|means)\b", re.I)),
)


def answer(weighed: Weighed, question: str, most: int = 1) -> list[Sentence]:
    """The sentences that answer best, in the order of the source; none when the text does not say."""
    asked = list(dict.fromkeys(content(question)))
    holding = Counter(stem for one in weighed.stems for stem in one)
    many = len(weighed.stems)
    rare = {stem: math.log1p(many / holding[stem]) for stem in asked if holding[stem]}
    scored = []
    for sentence, stems in zip(weighed.source.sentences, weighed.stems, strict=True):
        shared = sum(rare[stem] for stem in stems if stem in rare)
        if shared:
            scored.append((shared * _fit(question, sentence.text) / (8 + len(stems)) ** 0.4, -sentence.place))
    scored.sort(reverse=True)
    good = [entry for entry in scored[:most] if entry[0] >= 0.45 * scored[0][0]]
    return [weighed.source.sentences[place] for place in sorted(-entry[1] for entry in good)]


def _fit(question: str, text: str) -> float:
    for asks, holds in _KINDS:
        if asks.search(question):
            return 1.6 if holds.search(readable(text)) else 0.8
    return 0.5 if text.rstrip().endswith("?") else 1.0
