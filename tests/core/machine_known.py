"""What is known from an adopted run, in the words of golden histories (see the README of our own)."""

from __future__ import annotations

from callboard.core.facts import Known, KnownList
from callboard.core.mapped import digest


def known(text: str) -> tuple[Known, ...]:
    return tuple(map(_known, text.split(",")))


def lists(text: str) -> tuple[KnownList, ...]:
    """`m:x+y`: each item is its own key."""
    named = (one.partition(":") for one in text.split(","))
    return tuple(KnownList(task, 1, tuple((key, key) for key in keys.split("+") if key)) for task, _, keys in named)


def _known(text: str) -> Known:
    """`a:SUCCESS`, `a/x:SUCCESS` of an item, `a/x:SUCCESS-of-v` of one that is laid by."""
    name, _, rest = text.partition(":")
    status, _, value = rest.partition("-of-")
    task, _, item = name.partition("/")
    made = digest("null" if value == "null" else f'"{value}"') if value else ""
    why = "known" if status in ("FAILED", "SKIPPED") else ""
    return Known(task, item or None, status, why=why, hash="h1" if status == "review" else "", value=made)
