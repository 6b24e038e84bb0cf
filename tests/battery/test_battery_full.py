"""A full disk (T5) and what else may run out (T6): the proofs at gate size, and shown programs that do it wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.battery import disks, full
from callboard.battery.disks import NoDisk, within
from callboard.battery.proof import Proving
from callboard.battery.scarcity import TOLD, Trial
from callboard.battery.starved import with_memory

if TYPE_CHECKING:
    from pathlib import Path

_TRIAL = "callboard.battery.scarcity", "trial"
STEPS_FAIL = """
from callboard.store.content import Content
Content.keep = Content.put
"""
STARTS_GO_ON = """
from callboard.core.admission import Admission
Admission.shut = property(lambda self: False, lambda self, value: None)
"""


def _tried(folder: Path, show: str, kind: str, before: str = "") -> Trial:
    try:
        return Trial(**within(*_TRIAL, str(folder), show, kind, 1, 1, before, timeout=200))
    except NoDisk as error:
        pytest.skip(str(error))


@pytest.mark.timeout(240)
def test_a_full_disk_pauses_work_and_nothing_is_lost(tmp_path: Path) -> None:
    found = full.prove_full(Proving(tmp_path, 3))
    if found.skipped:
        pytest.skip(found.skipped)
    print(f"{found.tried} cycles, {dict(found.figures)}")
    assert found.failures == []
    assert found.tried == 3


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kind", "mechanism", "said"),
    [
        ("greedy", STEPS_FAIL, "are not as they should be"),
        ("bytes", STARTS_GO_ON, "more steps began while it was paused"),
    ],
    ids=["keep", "shut"],
)
def test_it_would_be_found_if_a_full_disk_were_no_reason_to_pause(
    tmp_path: Path, kind: str, mechanism: str, said: str
) -> None:
    found = _tried(tmp_path, "models", kind, mechanism)
    print(*found.wrong, sep="\n")
    assert any(said in what for what in found.wrong)


@pytest.mark.timeout(240)
def test_a_process_without_descriptors_pauses_too(tmp_path: Path) -> None:
    found = _tried(tmp_path, "models", "descriptors")
    assert found.wrong == []
    assert found.cycles == 1


@pytest.mark.timeout(240)
def test_with_too_little_memory_it_ends_and_what_is_recorded_stays(tmp_path: Path) -> None:
    assert with_memory(tmp_path, "models", 62) == []


def test_limits_that_were_not_kept_are_found() -> None:
    late = Trial(1, TOLD + 3.0, 20.0, 0.5, 0.1, [])
    assert len(full._too_much(late)) == 3
    assert full._too_much(late._replace(told=1.0, on=1.0, cpu=0.01)) == []


def test_where_nothing_can_be_mounted_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks.shutil, "which", lambda name: None)
    found = full.prove_full(Proving(tmp_path, 3))
    assert (found.tried, found.failures) == (0, ()) and "unshare" in found.skipped
