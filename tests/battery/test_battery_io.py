"""The n-th I/O error (T4): the proof at gate size, in parts, and the proof itself, shown a store that has no doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery.io import WAYS, WORKLOADS, Way, end_in_doubt, fail_each, prove_io_errors
from callboard.battery.proof import Proving
from callboard.battery.show import steps
from callboard.store.sql.doubt import Doubt

if TYPE_CHECKING:
    from pathlib import Path

# a connection that is closed drops the errors of its files, and the driver says that it did
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(240),
]

PARTS = 2  # of the numbers n, each a test, for as many processes


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "-"))
@pytest.mark.parametrize("workload", [0, 1], ids=["a-new-project", "one-that-goes-on"])
def test_whichever_operation_fails_nothing_is_lost(workload: int, way: Way, part: int) -> None:
    found = fail_each(workload, way, part, PARTS)
    print(f"{way.name}: {found.tried} operations failed")
    assert found.tried and found.failures == []


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until-it-ends"])
def test_the_log_of_a_process_that_ended_in_doubt_is_written_anew(lasting: bool) -> None:
    assert end_in_doubt(1, lasting) == []


def test_the_names_that_a_process_in_doubt_has_left_are_made_anew() -> None:
    assert end_in_doubt(0, False, 7) == []


def test_it_would_be_found_if_nobody_doubted_a_log_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doubt, "settle", Doubt.sync)
    assert end_in_doubt(1, False)


def test_every_workload_is_a_part_of_its_show_and_they_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(0 <= first < end <= len(steps(links)) for links, first, end in WORKLOADS)
    monkeypatch.setattr("callboard.battery.io.WORKLOADS", ((9, 3, 7),))
    monkeypatch.setattr("callboard.battery.io.WAYS", (WAYS[4],))
    monkeypatch.setattr("callboard.battery.io.end_in_doubt", lambda workload, lasting: [])
    found = prove_io_errors(Proving(tmp_path, 1))
    assert (found.tried, found.failures) == (1, []) and found.figures["operations that failed"] > 10
