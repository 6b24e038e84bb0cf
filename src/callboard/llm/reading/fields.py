"""What a field of JSON wants, told by its name and its description.

People name fields alike (`title`, `keywords`, `due_date`, `is_urgent`), so a table of words goes a long way. The name
decides; the description is asked only when the name says nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from callboard.llm.reading import found
from callboard.llm.reading.ranking import Size
from callboard.llm.reading.sentences import readable
from callboard.llm.reading.words import content

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.llm.reading.ranking import Weighed

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

FLAGS = frozenset(content("is has have contains mentions includes needs requires was are true should flag"))

_WORDS = {
    "title": "title headline subject heading name label caption",
    "summary": "summary abstract overview description gist tldr synopsis content text body answer result output about "
    "explanation details message note comment report analysis conclusion",
    "terms": "keyword keywords tag tags topic topics term terms theme themes category categories concept concepts "
    "keyphrases hashtags skills subjects ingredients",
    "sentiment": "sentiment tone mood polarity emotion feeling attitude",
    "dates": "date dates day when deadline due published created at time timestamp",
    "emails": "email emails mail",
    "links": "url urls link links website uri href homepage",
    "phones": "phone telephone mobile fax",
    "names": "person people author authors customer names who company companies organisation organization sender "
    "recipient speaker character characters entities entity places place city country location participants",
    "questions": "question questions",
    "tasks": "task tasks todo todos action actions step steps recommendation recommendations next",
    "quotes": "quote quotes quotation quotations",
    "amounts": "amounts prices",
    "figures": "figures statistics",
    "language": "language lang locale",
    "rating": "rating stars grade",
    "score": "score confidence probability relevance likelihood strength importance urgency polarity",
    "money": "price cost amount total sum fee budget",
}
_WORDS_OF = {kind: frozenset(names.split()) for kind, names in _WORDS.items()}

FOUND: dict[str, Callable[..., list[str]]] = {
    "emails": found.emails, "links": found.links, "phones": found.phones, "questions": found.questions,
    "tasks": found.tasks, "quotes": found.quotes, "amounts": found.amounts, "figures": found.figures,
    "dates": found.dates, "names": found.names,
}  # fmt: skip

#: The emptiest value of a format, for a field that must be there though the text has nothing for it.
BLANKS = {
    "date": "1970-01-01", "date-time": "1970-01-01T00:00:00Z", "time": "00:00:00Z", "duration": "PT0S",
    "email": "unknown@example.invalid", "idn-email": "unknown@example.invalid", "hostname": "example.invalid",
    "ipv4": "0.0.0.0", "ipv6": "::", "uri": "about:blank", "uri-reference": "about:blank", "iri": "about:blank",
    "uuid": "00000000-0000-0000-0000-000000000000", "regex": ".*", "json-pointer": "/",
}  # fmt: skip


def parts(name: str) -> list[str]:
    """The words of a name, in small letters: of `dueDate`, `due_date` and `due-date` the same."""
    return [part.lower() for part in _PARTS.findall(name)]


def said(flat: dict[str, Any]) -> str:
    """What a schema says about a field in words."""
    return " ".join(str(flat[key])[:300] for key in ("title", "description") if isinstance(flat.get(key), str))


def kinds(name: str, description: str) -> set[str]:
    """What a field wants, by the words of its name; by those of its description when its name says nothing."""
    for words in (parts(name), parts(description)[:12]):
        found_kinds = {kind for kind, names in _WORDS_OF.items() if names.intersection(words)}
        if found_kinds:
            return found_kinds
    return set()


def size(flat: dict[str, Any]) -> Size:
    """How long the text of a field may be: as its description says, and its `maxLength`."""
    number = re.search(r"\b(one|two|three|four|five|\d{1,2}) sentences?\b", said(flat), re.IGNORECASE)
    numbers = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
    sentences = (numbers.get(number[1].lower()) or int(number[1])) if number else 3
    return Size(sentences=sentences, characters=flat.get("maxLength"))


def language(weighed: Weighed) -> str:
    """The language of a text, by its smallest words; "und" when it is none of the few known."""
    words = readable(weighed.source.text[:5_000]).lower().split()
    marks = {"en": ("the", "and", "of", "is"), "de": ("der", "und", "die", "ist"), "fr": ("le", "et", "les", "est"),
             "es": ("el", "y", "los", "es")}  # fmt: skip
    counts = {code: sum(words.count(one) for one in ones) for code, ones in marks.items()}
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] else "und"
