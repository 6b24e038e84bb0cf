"""What a text has for a field of JSON: texts, a number, a yes or no, the best label.

Everything said here stands in the text or is counted from it. When the text has nothing, the answer is nothing; what
to put in its place is for the one who knows the rules of the field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from callboard.llm.reading import found, labels
from callboard.llm.reading.answering import answer
from callboard.llm.reading.fields import FLAGS, FOUND, kinds, language, parts
from callboard.llm.reading.ranking import Size, choose, weigh
from callboard.llm.reading.sentences import plain, read
from callboard.llm.reading.terms import terms
from callboard.llm.reading.values import parsed
from callboard.llm.reading.words import content, count
from callboard.llm.reading.writing import points, summary, title

if TYPE_CHECKING:
    from collections.abc import Sequence

_GLAD = frozenset(("positive", "happy", "satisfied", "good", "glad"))
_SORRY = frozenset(("negative", "unhappy", "dissatisfied", "bad", "sorry"))
_YEAR = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")
_DIGITS = re.compile(r"\d[\d,.]*")


class Knowledge:
    """A text, read once and asked often. Names are those of fields, `said` is what the schema says about them."""

    def __init__(self, text: str) -> None:
        self._weighed = weigh(read(text))
        self._heard: labels.Heard | None = None

    @property
    def text(self) -> str:
        return self._weighed.source.text

    def beginning(self, characters: int) -> str:
        """About so many characters of the text, as it begins."""
        return plain(self.text[: 2 * characters + 100])

    def points(self, most: int) -> list[str]:
        return points(self._weighed, most)

    def texts(self, name: str, said: str, room: int, size: Size) -> list[str]:
        """At most `room` texts for a field, best first; none when the text has nothing of the kind."""
        weighed, wanted = self._weighed, kinds(name, said)
        for kind, find in FOUND.items():
            if kind in wanted:
                values = find(weighed.source)[:room]
                if values or kind != "quotes":  # any sentence can be quoted
                    return values
        if "terms" in wanted:
            return [term.text for term in terms(weighed.source, room)]
        if "sentiment" in wanted:
            return ["positive" if self.mood > 0.1 else "negative" if self.mood < -0.1 else "neutral"]
        if "language" in wanted:
            return [language(weighed)]
        if "title" in wanted and room == 1:
            return [title(weighed, size._replace(sentences=None))]
        if "summary" in wanted and room == 1:
            return [summary(weighed, size)]
        if room > 1:
            return points(weighed, room)
        near = answer(weighed, " ".join([*parts(name), said]), 1) or choose(weighed, Size(sentences=1))
        return [sentence.text for sentence in near]

    def best_labels(self, among: Sequence[str]) -> list[str]:
        """All of `among`, the best first."""
        scores, best = labels.weigh(self._hear(), among), labels.choose(self._hear(), among)
        rest = [one for one in among if one != best]
        return [best, *sorted(rest, key=lambda one: (-scores[one], among.index(one)))]

    def is_so(self, name: str) -> bool:
        """Whether the text speaks of what a field is called (`has_refund`), or is glad (`is_positive`)."""
        words = set(parts(name))
        if words & _GLAD:
            return self.mood > 0
        if words & _SORRY:
            return self.mood < 0
        asked = [stem for stem in content(" ".join(parts(name))) if stem not in FLAGS]
        return bool(asked) and all(stem in self._weighed.weights for stem in asked)

    def measure(self, name: str, said: str, low: float, high: float) -> float:
        """The number for a field: a judgement between `low` and `high`, a count, or one that stands in the text."""
        wanted, words = kinds(name, said), parts(name)
        if wanted & {"rating", "score"}:
            return low + (self.mood + 1) / 2 * (high - low)
        if {"count", "number", "total", "num"} & set(words):
            for unit, amount in self._amounts():
                if any(word.startswith(unit) for word in words):
                    return float(amount)
        if "year" in words:
            year = _YEAR.search(self.text[:100_000])
            return float(year[1]) if year else 0.0
        for sentence in answer(self._weighed, " ".join(["how many", *words, said]), 1):
            numbers = found.numbers(read(sentence.text))
            if numbers:
                return parsed(numbers[0])
        sums = _DIGITS.findall(" ".join(found.amounts(self._weighed.source)[:1])) if "money" in wanted else []
        return parsed(sums[0]) if sums else 0.0

    def numbers(self) -> list[float]:
        return [parsed(number) for number in found.numbers(self._weighed.source)]

    @property
    def mood(self) -> float:
        """From -1 (sorry) to 1 (glad)."""
        return self._hear().mood

    def _hear(self) -> labels.Heard:
        if self._heard is None:
            self._heard = labels.hear(self._weighed.source)
        return self._heard

    def _amounts(self) -> tuple[tuple[str, int], ...]:
        source = self._weighed.source
        return (
            ("word", count(source.text)),
            ("sentence", len(source.sentences)),
            ("char", len(source.text)),
            ("paragraph", len({one.block for one in source.sentences})),
            ("heading", len(source.headings)),
        )
