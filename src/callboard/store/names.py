"""Ids that we mint and names that people give: what may be recorded at all (promise m13).

The database holds the same rule as a CHECK constraint; here it is said in words that help.
"""

from __future__ import annotations

from callboard.errors import InvalidName

_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


def check_id(id: str) -> None:
    """Raises InvalidName unless `id` is `[a-z0-9][a-z0-9._-]{0,63}`."""
    if not 0 < len(id) <= 64 or not _CHARS.issuperset(id) or id[0] in "._-":
        raise InvalidName(
            f"not an id: {id!r}. Ids have 1 to 64 of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit"
        )


def check_name(name: str) -> None:
    """Raises InvalidName for a name of over 200 characters or with control characters."""
    if len(name) > 200 or any(ord(char) < 32 or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in name):
        raise InvalidName(f"not a name: {name[:60]!r}. Names have up to 200 characters and no control characters")
