"""What a text is about, in a few terms: phrases between the words that carry no meaning, ranked and told apart.

A term is a run of at most three words that carry meaning, as it stands in the text. It counts by how often it
comes, how early, and whether a heading has it; longer terms win over their parts when they come nearly as often.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from callboard.llm.reading.sentences import readable
from callboard.llm.reading.words import LONGEST, content, is_content, stem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.llm.reading.sentences import Source

_TOKEN = re.compile(r"[^\W_]+(?:['’\-./+#][^\W_]+)*|[^\s\w]")
_WORDS = 3
_READ = 400_000  # characters of sentences; what a text is about shows long before

#: Verbs and adjectives of every text; alone they are no term, and at the edge of one they are cut off.
_WEAK = frozenset(
    stem(word)
    for word in """
    able add allow appear apply available based become begin believe best better big bring change common complete
    consider contain continue create current day different early easy end ensure example exist expect feel find follow
    full general good great happen hard help hold important improve include increase keep large lead leave long look
    lot main major mean move need new number offer old open part place play possible provide reach read real reason
    recent remain require run section set several short show simple single small special start stay step stop sure
    tell think time today true try turn various week wide word work write written wrong year
    """.split()
)


class Term(NamedTuple):
    text: str  # as it stands in the text, in its most frequent spelling
    weight: float
    times: int


def terms(source: Source, most: int = 8) -> list[Term]:
    """The terms that say best what a source is about, best first."""
    times: Counter[tuple[str, ...]] = Counter()
    first: dict[tuple[str, ...], int] = {}
    spelled: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for place, phrase in _phrases(source):
        stems = tuple(stem(word.lower()) for word in phrase)
        times[stems] += 1
        first.setdefault(stems, place)
        spelled[stems][" ".join(phrase)] += 1
    headed = set(content(" ".join((source.title, *source.headings[:40]))))
    scored = sorted(
        (
            (_weight(stems, n, first[stems], headed) * _nounness(spelled[stems]), -first[stems], stems)
            for stems, n in times.items()
        ),
        reverse=True,
    )
    return [
        Term(_spelling(spelled[stems]), round(weight, 6), times[stems])
        for weight, _, stems in _apart(scored, times, most)
    ]


def _phrases(source: Source) -> Iterator[tuple[int, list[str]]]:
    """(place of the sentence, words) of each run of words that carry meaning, and of its parts."""
    read = 0
    for sentence in source.sentences:
        read += len(sentence.text)
        if read > _READ:
            return
        run: list[str] = []
        for token in (*_TOKEN.findall(readable(sentence.text)), "."):
            if (token[0].isalnum() and len(token) <= LONGEST) and is_content(token.lower()):
                run.append(token)
            elif run:
                for part in _parts(run):
                    yield sentence.place, part
                run = []


def _parts(run: list[str]) -> Iterator[list[str]]:
    for size in range(1, _WORDS + 1):
        for start in range(len(run) - size + 1):
            part = run[start : start + size]
            if not (_is_weak(part[0]) or _is_weak(part[-1])):
                yield part


def _is_weak(word: str) -> bool:
    return stem(word.lower()) in _WEAK or not any(map(str.isalpha, word))


def _weight(stems: tuple[str, ...], times: int, first: int, headed: set[str]) -> float:
    often = math.log1p(times) * (1.0 if times > 1 else 0.45)
    long = (1.0, 1.8, 2.1)[len(stems) - 1] if times > 1 else (1.0, 1.3, 1.3)[len(stems) - 1]
    early = 1 + 0.5 / (1 + first / 4)
    return often * long * early * (1.4 if headed.intersection(stems) else 1.0)


def _nounness(spellings: Counter[str]) -> float:
    """How much a term looks like the name of a thing: forms of verbs are names of nothing."""
    text = _spelling(spellings).rpartition(" ")[2].lower()
    return 0.45 if text.endswith(("ed", "ing", "ly")) else 1.0


def _apart(
    scored: list[tuple[float, int, tuple[str, ...]]], times: Counter[tuple[str, ...]], most: int
) -> Iterator[tuple[float, int, tuple[str, ...]]]:
    """The best, leaving out what a chosen one already says; a part stays if it comes much more often by itself."""
    chosen: list[tuple[str, ...]] = []
    for entry in scored:
        stems = entry[2]
        shared = [one for one in chosen if set(one) & set(stems)]
        if any(times[stems] < 3 * times[one] or not set(stems) < set(one) for one in shared):
            continue
        chosen.append(stems)
        yield entry
        if len(chosen) >= most:
            return


def _spelling(spellings: Counter[str]) -> str:
    """The most frequent spelling; small letters before capitals when they are as frequent."""
    return min(spellings, key=lambda text: (-spellings[text], not text.islower(), text))
