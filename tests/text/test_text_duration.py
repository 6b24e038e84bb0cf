"""Durations: one number, one unit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import UsageError
from callboard.text.duration import LONGEST, seconds, text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("24h", 86_400.0), ("30m", 1_800.0), ("7d", 604_800.0), ("500ms", 0.5), ("15s", 15.0), ("0s", 0.0),
        ("001h", 3_600.0), ("90", 90.0), (90, 90.0), (1.5, 1.5), (0, 0.0), ("1ms", 0.001),
    ],
)  # fmt: skip
def test_a_duration_is_seconds(written: Any, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", "h", "1.5h", "-1h", "1w", "1h30m", "1H", "1M", " 1h", "1h ", "1h\n", "١h", "9999999999999999h", -1, True, None,
     [], float("nan"), float("inf"), 10**400, LONGEST + 1],
    ids=lambda value: repr(value)[:12],
)  # fmt: skip
def test_what_could_mean_two_things_is_refused_with_the_value(written: Any) -> None:
    with pytest.raises(UsageError, match="is not a duration; write a number and one unit"):
        seconds(written)


@given(st.integers(0, 10**11))
def test_what_is_said_is_read_back(milliseconds: int) -> None:
    assert round(seconds(text(milliseconds / 1000)) * 1000) == milliseconds


def test_the_shortest_way_is_said() -> None:
    assert [text(one) for one in (0, 90, 5400, 86_400, 0.25)] == ["0s", "90s", "90m", "1d", "250ms"]
