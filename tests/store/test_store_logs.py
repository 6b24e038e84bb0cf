"""Log files of runs: whole lines, from any process, whatever they hold."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from callboard.store.logs import LogFiles

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_come_back_in_the_order_they_were_said(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path)
    for number, text in enumerate(["one", "zwei\nLinien", "\x1b[31m東京", "\ud800"]):
        logs.write("run-1", {"at": number, "text": text})
    assert [line["at"] for line in logs.read("run-1")] == [0, 1, 2, 3]
    assert [line["text"] for line in logs.read("run-1")][:3] == ["one", "zwei\nLinien", "\x1b[31m東京"]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path)
    logs.write("run-1", {"text": "whole"})
    with logs.path("run-1").open("ab") as file:
        file.write(b'{"text": "ha')
    assert [line["text"] for line in logs.read("run-1")] == ["whole"]


def test_only_the_owner_reads_a_log(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path)
    logs.write("run-1", {"text": "a"})
    assert stat.S_IMODE(logs.path("run-1").stat().st_mode) == 0o600


def test_a_run_that_said_nothing_and_a_directory_that_is_gone_are_no_errors(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path / "gone")
    logs.write("run-1", {"text": "a"})
    assert list(logs.read("run-1")) == []
