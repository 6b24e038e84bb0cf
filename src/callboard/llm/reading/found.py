"""What can be picked out of a text by its form: dates, addresses, amounts, names, questions, things to do.

Each finder gives what stands in the text, as it stands there, once, in the order it comes.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from callboard.llm.reading.sentences import readable
from callboard.llm.reading.words import STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from callboard.llm.reading.sentences import Source

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)"
)
_DATE = re.compile(
    rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}(?:st|nd|rd|th)?\s{_MONTH}\.?(?:,?\s\d{{4}})?|"
    rf"{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|{_MONTH}\s\d{{4}})\b"
)
_DAY = re.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b")
_MONTH_NAME = re.compile(_MONTH)
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b")
_URL = re.compile(r"\bhttps?://[^\s<>()\[\]\"'`]+[^\s<>()\[\]\"'`.,;:!?]")
_PHONE = re.compile(r"(?<![\w.])\+?\d[\d ()/-]{6,16}\d(?![\w.])")
_MONEY = re.compile(
    r"(?:[$€£¥]\s?\d[\d,.]{0,20}\d|[$€£¥]\s?\d)(?:\s?(?:k|m|bn|million|billion))?|"
    r"\b\d[\d,.]{0,20}\s?(?:dollars?|euros?|pounds?|USD|EUR|GBP|cents?)\b"
)
_PERCENT = re.compile(r"(?<![\w.])\d[\d,.]{0,20}\s?(?:%|per ?cent\b)")
_NUMBER = re.compile(
    r"(?<![\w.\-/:])-?\d{1,3}(?:,\d{3}){1,6}(?:\.\d+)?(?![\w])|(?<![\w.\-/:])-?\d+(?:\.\d+)?(?![\w/:]|\.\d|-\d)"
)
_NAME = re.compile(r"\b[A-ZÀ-ÖØ-Þ][\w'’-]{1,40}(?:\s(?:of|de|von|van|del|la|the)?\s?[A-ZÀ-ÖØ-Þ][\w'’-]{1,40}){0,3}")
_TO_DO = re.compile(
    r"\b(?:todo|to do|must|should|need(?:s|ed)? to|has to|have to|ought to|action|please|ask(?:ed)? (?:you|us|them) to|"
    r"will have to|remember to|make sure|is to be|are to be)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“«]([^\"“”«»]{8,300})[\"”»]")
_READ = 400_000  # characters

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def dates(source: Source) -> list[str]:
    return _all(_DATE, source) or _all(_DAY, source)


def emails(source: Source) -> list[str]:
    return _all(_EMAIL, source)


def links(source: Source) -> list[str]:
    return _all(_URL, source)


def phones(source: Source) -> list[str]:
    return _all(_PHONE, source)


def amounts(source: Source) -> list[str]:
    return _all(_MONEY, source) + _all(_PERCENT, source)


def numbers(source: Source) -> list[str]:
    return _all(_NUMBER, source)


def names(source: Source) -> list[str]:
    """Runs of words with capitals. One at the beginning of a sentence counts only if it comes elsewhere too."""
    inside: Counter[str] = Counter()
    opening: Counter[str] = Counter()
    for sentence in source.sentences:
        text = readable(sentence.text)
        for found in _NAME.finditer(text):
            name = found[0].strip("'’-")
            if found.start() == 0 or text[: found.start()].rstrip().endswith((".", ":", "!", "?", "“", '"', "*")):
                name = _without_opening(name)
                opening[name] += 1
            else:
                inside[name] += 1
    firsts = {name.lower() for name in inside}
    kept = [name for name in (*inside, *opening) if name in inside or " " in name or name.lower() in firsts]
    return [
        name
        for name in dict.fromkeys(kept)
        if name.lower() not in STOP and len(name) > 1 and not (_DAY.fullmatch(name) or _MONTH_NAME.fullmatch(name))
    ]


def questions(source: Source) -> list[str]:
    return _sentences(source, lambda text: text.rstrip("\"'”’)*_").endswith(("?", "？", "؟")))


def tasks(source: Source) -> list[str]:
    return _sentences(source, lambda text: bool(_TO_DO.search(text)))


def figures(source: Source) -> list[str]:
    """Sentences that hold a number."""
    return _sentences(source, lambda text: bool(_NUMBER.search(text) or _MONEY.search(text)))


def quotes(source: Source) -> list[str]:
    return list(dict.fromkeys(match[1] for match in _QUOTED.finditer(source.text[:_READ])))


def iso(date: str) -> str:
    """A date found as `YYYY-MM-DD`; empty when a part is missing or it is no day."""
    parts = re.findall(r"\d+|[A-Za-z]{3,}", date)
    numbers_ = [int(part) for part in parts if part.isdigit()]
    month = next((_MONTHS.index(part[:3].lower()) + 1 for part in parts if part[:3].lower() in _MONTHS), 0)
    year = next((n for n in numbers_ if n > 999), 0)
    if month:
        day = next((n for n in numbers_ if n <= 31), 0)
    elif len(numbers_) == 3:
        _, month, day = numbers_ if numbers_[0] > 999 else numbers_[::-1]
    else:
        return ""
    good = year and 1 <= month <= 12 and 1 <= day <= (28 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)
    return f"{year:04d}-{month:02d}-{day:02d}" if good else ""


def _without_opening(name: str) -> str:
    first, _, rest = name.partition(" ")
    return rest if rest and first.lower() in STOP else name


def _all(pattern: re.Pattern[str], source: Source) -> list[str]:
    return list(dict.fromkeys(match[0].strip() for match in pattern.finditer(source.text[:_READ])))


def _sentences(source: Source, fits: Callable[[str], bool]) -> list[str]:
    return _once(sentence.text for sentence in source.sentences if fits(sentence.text))


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
