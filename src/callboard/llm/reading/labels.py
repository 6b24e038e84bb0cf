"""Choosing among given labels, and whether a text is glad or sorry.

A label gets a point for each word of its own that the text has, less for words that often keep its company. The
small lists of such words were written for the labels people reach for first; other labels live by their own words
and by the description the request gives them. With no evidence at all the label that means *none of these* is
chosen if there is one, else the first: an arbitrary answer, but the same one every time.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from callboard.llm.reading.words import content, stem, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.llm.reading.sentences import Source

_READ = 200_000  # characters

_GLAD = frozenset(
    stem(word)
    for word in """
    admire amazing applaud applause appreciate attractive beautiful beloved benefit best better brilliant charming cheer
    clean clear comfortable confident convenient delicious delight delightful deserve eager easy effective efficient
    elegant enjoy enjoyable enthusiastic excellent exceptional excited exciting fabulous fair fantastic fast favorite
    favourite fine flawless fond friendly fun generous gentle glad good gorgeous grateful great happy helpful honest
    ideal impressive improve improved improvement incredible inspiring joy kind laugh like love loved lovely lucky
    magnificent marvellous nice outstanding perfect pleasant pleased pleasure polite positive praise pretty proud quick
    recommend reliable remarkable reward safe satisfied smile smooth solid splendid stunning success successful superb
    support terrific thank thanks thrilled top treasure useful valuable warm warmth welcome win wonderful worthy yay
    """.split()
)
_SORRY = frozenset(
    stem(word)
    for word in """
    abuse afraid angry annoy annoyed annoying appalling ashamed awful awkward bad blame bored boring break broke broken
    bug careless charged cheat closed complain complaint complicated confuse confused confusing cost crash criticise
    criticize cruel damage damaged danger dangerous dead defect delay delayed deny difficult dirty disagree disappoint
    disappointed disappointing disappointment disaster dislike doubt dreadful dull empty error excuse expensive fail
    failed failure false fault fear flaw fraud frustrated frustrating harm hate horrible hurt ill impossible incorrect
    late lack lie lose loss lost mess mistake missed missing nasty negative noisy overpriced pain painful panic poor
    problem refund refuse reject regret return rude ruin sad scam scared scratch serious shame sick slow sorry stolen
    stress stuck stupid suffer terrible tired trouble ugly unable unacceptable unfair unhappy unhelpful unpleasant
    unsafe upset useless violent waste weak wait wrong worse worst worry
    """.split()
)
_NOT = frozenset("not no never n't cannot can't don't doesn't didn't isn't wasn't won't hardly without nothing".split())

#: Words in the company of labels; a label takes the row whose name it has a word in common with.
_COMPANY: dict[str, frozenset[str]] = {
    name: frozenset(stem(word) for word in words_.split())
    for name, words_ in {
        "billing": "account bill billed card charge charged cost euro fee invoice money overcharged paid pay payment "
        "price receipt refund subscription",
        "bug": "broken crash defect error exception fail fails fix freeze issue reproduce stack trace unexpected wrong",
        "business": "company customer earnings employee growth investor market merger profit revenue sales shares",
        "complaint": "angry annoyed bad broken complain disappointed failed late loud lost missing never poor quiet "
        "refund return rude unacceptable unhappy waited worst wrong",
        "critical": "outage down emergency immediately data loss security breach production",
        "decision": "adopt agree alternative choose chosen consequence context decide decided decision instead reason "
        "record reject rejected tradeoff violate",
        "design": "architecture boundary component design floor interface layer machine model module pattern principle "
        "room structure system tower",
        "education": "class course exam learn lesson pupil school student study teach teacher university",
        "entertainment": "act actor album audience band cinema concert film movie music play scene show singer song "
        "stage theatre",
        "feature": "add allow could enhancement feature improve request support suggest suggestion wish would",
        "finance": "asset bank bond budget credit debt economy fund interest invest loan market money stock tax",
        "health": "care clinic disease doctor health hospital illness medical medicine nurse patient symptom treatment",
        "high": "asap critical deadline immediately important now urgent",
        "legal": "agreement claim clause contract court judge law lawyer legal liability licence lawsuit",
        "low": "cosmetic eventually minor someday trivial whenever",
        "manual": "argument click command configure example file flag folder guide how install key manual option "
        "page run step tutorial type usage use",
        "news": "according announced official reported said spokesman statement today yesterday",
        "notes": "idea list meeting note remember todo",
        "politics": "campaign congress election government law minister parliament party policy president senate vote",
        "praise": "admire applause best brilliant enjoy excellent glad great love loved thank thanks warmth wonderful",
        "question": "ask help how know question wonder what when where which who why",
        "sales": "buy customer deal demo discount offer order price purchase quote trial",
        "science": "biology data discovery energy experiment lab physics research scientist study theory universe",
        "seats": "aisle balcony chair place row seat sit stall view",
        "sound": "ear hear heard loud microphone music noise quiet silent sound speaker voice volume",
        "spam": "casino click congratulations free limited lottery offer prize unsubscribe viagra winner",
        "sports": "ball champion coach cup final football game goal league match player race score season team win",
        "support": "account answer assistance broken cannot fix help login password problem reset support ticket",
        "technology": "app cloud code computer data database device hardware internet machine network program server "
        "software system",
        "tickets": "book booked box buy charged office order price refund seat ticket",
        "travel": "airport beach booking flight hotel journey luggage passport tour train trip",
        "urgent": "asap critical deadline emergency immediately now soon today urgent",
    }.items()
}
_COMPANY |= {
    "criticism": _COMPANY["complaint"],
    "criticised": _COMPANY["complaint"],
    "criticized": _COMPANY["complaint"],
    "tech": _COMPANY["technology"],
    "defect": _COMPANY["bug"],
    "documentation": _COMPANY["manual"],
    "medical": _COMPANY["health"],
    "payment": _COMPANY["billing"],
    "sport": _COMPANY["sports"],
}
_COMPANY = {stem(name): stems for name, stems in _COMPANY.items()}

_GLAD_LABELS = frozenset("positive praise happy good glad satisfied pro favourable favorable joy".split())
_SORRY_LABELS = frozenset("negative complaint unhappy bad sad angry dissatisfied con unfavourable unfavorable".split())
_EVEN_LABELS = frozenset("neutral mixed balanced".split())
_NONE_LABELS = (
    "other",
    "others",
    "none",
    "neutral",
    "unknown",
    "misc",
    "miscellaneous",
    "general",
    "unclear",
    "unsure",
)


def polarity(text: str) -> float:
    """How glad a text is: from -1 (sorry) over 0 (neither) to 1 (glad)."""
    glad = sorry = 0
    negated = 0
    for word in words(text[:_READ].lower()):
        if word in _NOT or word.endswith("n't"):
            negated = 4
            continue
        root = stem(word)
        feels = (root in _GLAD) - (root in _SORRY)
        if feels:
            feels = -feels if negated else feels
            glad, sorry = glad + (feels > 0), sorry + (feels < 0)
        negated = max(0, negated - 1)
    return (glad - sorry) / (glad + sorry + 1)


def company(stems: Sequence[str]) -> list[str]:
    """The stems of words that often keep company with these."""
    return sorted(frozenset[str]().union(*(_COMPANY.get(one, frozenset()) for one in stems)))


class Heard(NamedTuple):
    """What a text says that tells labels apart: its words, those of its headings, its mood, its questions."""

    spoken: Counter[str]
    headed: frozenset[str]
    mood: float
    questions: int


def hear(source: Source) -> Heard:
    text = source.text[:_READ]
    headed = frozenset(content(" ".join((source.title, *source.headings[:20]))))
    return Heard(Counter(content(text)), headed, polarity(text), text.count("?"))


def choose(heard: Heard, labels: Sequence[str], notes: Mapping[str, str] | None = None) -> str:
    """The label that fits best. `notes` are descriptions of labels. Raises ValueError without labels."""
    scores = weigh(heard, labels, notes)
    best = max(scores.values(), default=0.0)
    if not labels:
        raise ValueError("no labels")
    if best <= 0:
        by_name = {label.strip().lower(): label for label in reversed(labels)}
        return next((by_name[name] for name in _NONE_LABELS if name in by_name), labels[0])
    return next(label for label in labels if scores[label] == best)


def weigh(heard: Heard, labels: Sequence[str], notes: Mapping[str, str] | None = None) -> dict[str, float]:
    """A score for each label, 0 for no evidence."""
    return {label: round(_score(label, (notes or {}).get(label, ""), heard), 9) for label in labels}


def _score(label: str, note: str, heard: Heard) -> float:
    spoken, headed, mood = heard.spoken, heard.headed, heard.mood
    own = list(dict.fromkeys(content(re.sub(r"[_\-/]", " ", label))))
    score = sum(3 * math.log1p(spoken[one]) + 2 * (one in headed) for one in own)
    others = {*company(own), *content(note)} - set(own)
    score += sum(math.log1p(spoken[one]) + (one in headed) for one in sorted(others))
    name = label.strip().lower()
    if name in _GLAD_LABELS:
        score += 6 * max(0.0, mood)
    elif name in _SORRY_LABELS:
        score += 6 * max(0.0, -mood)
    elif name in _EVEN_LABELS:
        score += 1.2 * max(0.0, 1 - 4 * abs(mood))
    elif name.startswith("question"):
        score += 3 * math.log1p(heard.questions)
    return score
