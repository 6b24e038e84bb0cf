"""A key in memory, and keeping it out of what people read.

A key is a value that somebody will one day print: in an error, a log line, a crash dump. So it travels in a type
that does not show itself, and whatever text comes from outside is searched for it in every form that it may have
taken on the way. The type is the first line and the search the second: a search alone finds only the forms that
somebody thought of.
"""

from __future__ import annotations

import base64
import json
import re
from typing import NoReturn
from urllib.parse import quote, quote_plus

SHORTEST = 6  # characters; a shorter "key" is a dummy such as "none", and hiding it would spoil innocent words


class Secret:
    """A text that shows itself only when asked with `reveal()`. Cannot be pickled, copied or written as JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


class Redaction:
    """Takes given secrets out of texts, in the forms that transports give them."""

    __slots__ = ("_pattern",)

    def __init__(self, *secrets: Secret) -> None:
        forms = {form for secret in secrets for form in _forms(secret.reveal())}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """`text` with «secret» in the place of each secret."""
        return self._pattern.sub("«secret»", text) if self._pattern else text


def _forms(text: str) -> set[str]:
    """The forms of a secret worth looking for: as it is, each of its lines, and as URL, JSON and base64 write it."""
    whole = {part for part in (text, *text.splitlines()) if len(part.strip()) >= SHORTEST}
    forms = set(whole)
    for part in whole:
        raw = part.encode("utf-8", "surrogatepass")
        forms |= {quote(raw), quote(raw, safe=""), quote_plus(raw)}
        forms |= {json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]}
        forms |= {code(raw).decode().rstrip("=") for code in (base64.b64encode, base64.urlsafe_b64encode)}
        forms |= {raw.hex(), raw.hex().upper()}
    return forms
