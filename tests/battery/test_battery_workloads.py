"""The small shows: each ends, writes something, ends the same each time, and an ended one is not done again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery.workloads import LEDGER, WORKLOADS, Workload
from callboard.core.status import SUCCESS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.name)
def test_a_show_ends_the_same_each_time_and_is_not_done_again(workload: Workload, tmp_path: Path) -> None:
    endings = [workload.drive(workload.lay_out(tmp_path / name)) for name in ("one", "two")]
    assert endings[0] == endings[1] and endings[0].status is SUCCESS
    assert endings[0].documents or endings[0].value
    asked = (tmp_path / "one" / LEDGER).read_bytes()
    assert workload.drive(tmp_path / "one") == endings[0]
    assert (tmp_path / "one" / LEDGER).read_bytes() == asked


def test_the_shows_have_names_of_their_own() -> None:
    assert len({one.name for one in WORKLOADS}) == len(WORKLOADS) >= 12
