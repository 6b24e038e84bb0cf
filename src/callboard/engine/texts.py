"""Outcomes fresh from a commit, kept as text for whoever needs them next.

Most outcomes are read once, by what they free, a moment after they were written; reading them back from the
store would cost more than the rest of the dispatch. Two generations stand for an order of use: when the young
one is full it becomes the old one. (Evicting with `next(iter(dict))` made 100,000 tasks a third slower.)
"""

from __future__ import annotations

Key = tuple[int, int, int, int]  # run, node, number, revision


class Texts:
    """At most two generations of `most` texts or `size` characters each."""

    __slots__ = ("_held", "_most", "_old", "_size", "_young")

    def __init__(self, most: int = 4096, size: int = 8 << 20) -> None:
        self._most, self._size = most, size
        self._young: dict[Key, str] = {}
        self._old: dict[Key, str] = {}
        self._held = 0

    def keep(self, key: Key, text: str) -> None:
        if len(self._young) >= self._most or self._held > self._size:
            self._old, self._young, self._held = self._young, {}, 0
        self._young[key] = text
        self._held += len(text)

    def get(self, key: Key) -> str | None:
        text = self._young.get(key)
        return text if text is not None else self._old.get(key)

    def forget(self) -> None:
        """Drop everything: some of it may not have reached the disk."""
        self._young, self._old, self._held = {}, {}, 0
