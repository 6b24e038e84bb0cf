"""How values are said: statuses in words, times as ISO 8601 in UTC, money in US dollars."""

from __future__ import annotations

from datetime import UTC, datetime

from callboard.core.status import Status

_NAMED = 3  # items that a reason names


def word(status: int) -> str:
    return Status(status).name.lower()


def iso(wall: float | None) -> str | None:
    """Seconds since the epoch as `2026-01-31T12:00:00Z`."""
    if wall is None:
        return None
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def usd(nano: int | None) -> float | None:
    """Billionths of a dollar as dollars, to the microdollar."""
    return None if nano is None else round(nano / 1e9, 6)


def brief(reason: str) -> str:
    """A reason as a line has room for it: of many items the first three, and how many more there are; when it is."""
    if reason == "decision":
        return "needs a decision"
    what, _, keys = reason.partition(" ")
    if reason.startswith("retry at "):
        return f"retry at {iso(float(reason.removeprefix('retry at ')))}"
    if what == "stale":
        return f"made from an older {keys}"
    named = keys.split(",")
    if what != "items":
        return reason
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"items {', '.join(named[:_NAMED])}{more}"


def waits(because: str) -> str:
    """The reason of a run that lives as a person says it: `review release` waits for approval of release."""
    what, _, name = because.partition(" ")
    match what:
        case "review":
            return f"waiting for approval of {name}"
        case "decision":
            return f"waiting for a decision about {name}"
        case "listening":
            return f"listening for {name.replace(',', ', ')}"
        case "tick":
            return f"waiting until {iso(float(name.removeprefix('at ')))}"
        case "budget":
            return "stopped by its budget"
        case "adopted":
            return f"goes on as {name}"
        case "no":
            return "nobody carries it out"
        case "stale":
            return f"{name} was edited since"
    return because
