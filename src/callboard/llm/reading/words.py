"""Words: cutting a text into them, knowing which carry meaning, and seeing that two forms are one word.

Deliberately plain. A stemmer that knows English well knows nothing of other languages; the few endings taken off
here bring *runs, running, runner* together and hurt nobody else's words much. Scripts without blanks between words
are read in pairs of characters, the usual way to compare texts when there is no dictionary.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_PAIRED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
LONGEST = 40  # characters; what is longer is a hash, an address or noise and not a word

STOP = frozenset(
    """
    a about above according across actually after again against all almost along already also although always am among
    an and another any anybody anyone anything are aren't around as ask at away back be became because become been
    before behind being below beside besides between beyond both but by call came can can't cannot come could couldn't
    did didn't do does doesn't doing don't done down during each either else enough etc even ever every everybody
    everyone everything except far few first for from further gave get gets getting give given go goes going gone got
    had hadn't has hasn't have haven't having he her here hers herself him himself his how however i i'd i'll i'm i've
    if in indeed instead into is isn't it it's its itself just keep kept know last later least less let let's like
    likely made make makes making many may maybe me mean might mine more moreover most mostly much must my myself near
    neither never nevertheless next no nobody none nor not nothing now of off often on once one one's only onto or
    other others otherwise our ours ourselves out over own per perhaps please put quite rather really said same saw say
    says second see seem seemed seems seen several shall she should shouldn't since so some somebody someone something
    sometimes soon still such take taken than that that's the their theirs them themselves then there there's therefore
    these they they're thing things this those though through thus to together too took toward towards two under unless
    until up upon us use used uses using usually very via want was wasn't way we we're we've well went were weren't
    what whatever when whenever where whether which while who whoever whole whom whose why will with within without
    won't would wouldn't yes yet you you're your yours yourself
    aber als am an auch auf aus bei bin bis da dann das dass dem den der des die dies diese ein eine einem einen einer
    er es für hat ich ihr im ist ja kann kein mit nach nicht noch nun nur ob oder sich sie sind so und uns von vor war
    was wenn wer wie wir wird zu zum zur über
    au aux avec ce ces cette dans de des du elle elles en est et il ils je la le les leur lui mais ne nous on ont ou où
    par pas plus pour qu que qui sa se ses son sont sur un une vous à été
    al como con del desde el ella en entre era esta este esto está fue ha hay la las lo los más no para pero por que se
    sin su sus también un una y ya
    """.split()
)

_ENDINGS = (
    ("ational", "ate"), ("iveness", "ive"), ("fulness", "ful"), ("ization", "ize"), ("isation", "ise"),
    ("ingly", ""), ("edly", ""), ("ments", ""), ("ment", ""), ("ness", ""), ("ities", "ity"), ("ies", "y"),
    ("ings", ""), ("ing", ""), ("ers", ""), ("er", ""), ("ed", ""), ("ly", ""), ("es", ""), ("s", ""), ("e", ""),
)  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a text as they stand; a run of a script without blanks comes as overlapping pairs."""
    found: list[str] = []
    for word in _WORD.findall(text):
        if not word.isascii() and _PAIRED.search(word):
            found.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif len(word) <= LONGEST:
            found.append(word)
    return found


def content(text: str) -> list[str]:
    """The stems of the words of a text that carry meaning, in their order, as often as they come."""
    return [stem(word) for word in words(text.lower()) if is_content(word)]


def is_content(word: str) -> bool:
    """Whether a word in small letters carries meaning."""
    return word not in STOP and (len(word) > 2 or not word.isascii()) and not word.isdigit()


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """What the forms of a word (in small letters) have in common, roughly."""
    word = word.replace("’", "'").removesuffix("'s")
    if len(word) < 4 or not word.isascii():
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + instead
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls" else word


def count(text: str) -> int:
    """How many words a person would count."""
    return len(text.split())
