"""What dead engines have left behind: real processes in sessions of their own, which nobody looks after any more."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from callboard.backends import leavings, supervisor
from callboard.backends.leavings import Leavings
from callboard.ports import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = "a project"
WHOSE = "import sys; from callboard.backends.leavings import Leavings as L; print(L(sys.argv[1]).whose)"
DEAF = "trap '' TERM; exec sleep 1000"


class Orphans:
    """Starts processes whose parent is gone, and ends them in the end."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def start(self, mark: str, *command: str, user: int | None = None) -> int:
        """In a session of its own, once it is the last program of its line."""
        told = subprocess.run(
            ["sh", "-c", 'setsid "$@" > /dev/null 2>&1 & echo $!', "sh", *command],
            env={"PATH": os.environ["PATH"], supervisor.MARK: mark}, stdout=subprocess.PIPE, check=True, user=user,
        )  # fmt: skip
        self.pids.append(int(told.stdout))
        until(lambda: program(self.pids[-1]) in ("sleep", "sh", "env"))
        return self.pids[-1]

    def deaf(self, mark: str) -> int:
        pid = self.start(mark, "sh", "-c", DEAF)
        until(lambda: program(pid) == "sleep")
        return pid


@pytest.fixture
def orphans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Orphans]:
    monkeypatch.setattr(leavings, "_GIVEN_UP", 60.0)
    orphans = Orphans()
    yield orphans
    for pid in orphans.pids:
        if supervisor.mark_of(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def dead() -> str:
    """The beginning of the marks of an engine that is dead."""
    return whose_was(PROJECT)


def whose_was(project: str) -> str:
    command = [sys.executable, "-c", WHOSE, project]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.005)


def program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().partition("\0")[0]
    except OSError:
        return ""


def lives(pid: int) -> bool:
    return supervisor.ticks(pid) is not None


def test_what_a_dead_engine_has_left_is_asked_to_leave(
    orphans: Orphans, dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leavings, "POLITE", 60.0)
    line = f"trap 'echo bye > {tmp_path}/said; exit' TERM; touch {tmp_path}/ready; while :; do sleep 0.02; done"
    pid = orphans.start(f"{dead}1", "sh", "-c", line)
    until((tmp_path / "ready").exists)
    Leavings(PROJECT).clear(None)
    assert not lives(pid) and (tmp_path / "said").read_text() == "bye\n"


def test_one_that_stands_still_hears_it_too(orphans: Orphans, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavings, "POLITE", 60.0)
    pid = orphans.start(f"{dead}1", "sleep", "1000")
    os.kill(pid, signal.SIGSTOP)
    Leavings(PROJECT).clear(None)
    assert not lives(pid)


def test_who_does_not_listen_is_ended_by_force(orphans: Orphans, dead: str) -> None:
    pids = [orphans.deaf(f"{dead}{n}") for n in range(3)]
    Leavings(PROJECT).clear(None)
    assert not any(map(lives, pids))


def test_what_has_no_mark_goes_with_whoever_has_started_it(orphans: Orphans, dead: str, tmp_path: Path) -> None:
    line = f"env -i /bin/sh -c 'echo $$ > {tmp_path}/half; exec sleep 1000' & wait"
    pid = orphans.start(f"{dead}1", "sh", "-c", line)
    until(lambda: (tmp_path / "half").exists() and (tmp_path / "half").read_text())
    orphans.pids.append(below := int((tmp_path / "half").read_text()))
    until(lambda: program(below) == "sleep")
    assert not supervisor.mark_of(below)
    Leavings(PROJECT).clear(None)
    assert not lives(pid) and not lives(below)


def test_nobody_elses_is_touched(orphans: Orphans, dead: str, tmp_path: Path) -> None:
    living = Leavings(PROJECT).whose
    line = f"{supervisor.MARK}={living}2 sh -c 'echo $$ > {tmp_path}/half; exec sleep 1000' & wait"
    left = orphans.start(f"{dead}1", "sh", "-c", line)
    until(lambda: (tmp_path / "half").exists() and (tmp_path / "half").read_text())
    orphans.pids.append(below := int((tmp_path / "half").read_text()))
    until(lambda: program(below) == "sleep")
    spared = [
        below,  # what another engine has started that lives, below something that is left
        orphans.start(f"{living}1", "sleep", "1000"),
        orphans.start(f"{whose_was('another project')}1", "sleep", "1000"),
        orphans.start("0123456789abcdef", "sleep", "1000"),
        orphans.start(dead.replace(".", "-"), "sleep", "1000"),
        orphans.start(f"{dead.split('.')[0]}.1.", "sleep", "1000"),
        orphans.start("", "sleep", "1000"),
    ]
    Leavings(PROJECT).clear(None)
    assert not lives(left)
    assert all(map(lives, spared))


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can start another user's process")
def test_another_users_is_not_touched(orphans: Orphans, dead: str) -> None:
    pid = orphans.start(f"{dead}1", "sleep", "1000", user=65534)
    assert supervisor.mark_of(pid) == f"{dead}1"
    Leavings(PROJECT).clear(None)
    assert lives(pid)


def test_who_looks_never_ends_itself_or_what_it_has_started(dead: str) -> None:
    """As a step's own command line of ours would be."""
    looks = (
        "import subprocess, sys; from callboard.backends.leavings import Leavings\n"
        "below = subprocess.Popen(['sleep', '1000'])\n"
        "Leavings(sys.argv[1]).clear(None)\n"
        "print(below.poll()); below.kill(); below.wait()"
    )
    env = {**os.environ, supervisor.MARK: f"{dead}1"}
    done = subprocess.run([sys.executable, "-c", looks, PROJECT], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")


def test_a_number_that_was_given_again_is_another_process(orphans: Orphans) -> None:
    pid = orphans.start("", "sleep", "1000")
    began = supervisor.ticks(pid)
    assert began is not None
    leavings._signal(leavings._Process(pid, began - 1), signal.SIGKILL)
    assert lives(pid)
    leavings._signal(leavings._Process(pid, began), signal.SIGKILL)
    until(lambda: not lives(pid))


def test_an_old_kernel_has_to_do_with_numbers(orphans: Orphans, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def open(pid: int) -> int:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(os, "pidfd_open", open)
    pid = orphans.start(f"{dead}1", "sleep", "1000")
    Leavings(PROJECT).clear(None)
    assert not lives(pid)


def owner_of(whose: str) -> Owner:
    _, pid, began, _ = whose.split(".")
    return Owner("here", "boot", int(pid), float(began), "token")


def test_many_runs_of_a_dead_engine_are_one_look(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    found = Leavings(PROJECT)
    monkeypatch.setattr(found, "_end", lambda: looks.append(1))
    for _ in range(3):
        found.clear(owner_of(dead))
    assert len(looks) == 1
    for _ in range(3):
        found.clear(owner_of(found.whose))  # it lives: what it may leave is yet to come
    assert len(looks) == 4


def test_a_thousand_processes_are_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process carries is read once, however often one looks."""
    read: list[int] = []
    monkeypatch.setattr(supervisor, "pids", lambda: list(range(1, 1001)))
    monkeypatch.setattr(supervisor, "mark_of", lambda pid: read.append(pid) or "")
    Leavings(PROJECT).clear(None)
    assert sorted(read) == list(range(1, 1001))
