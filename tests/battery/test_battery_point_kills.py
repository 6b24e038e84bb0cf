"""Crash points met by real processes (T2): the proof at gate size, and shown a program that writes files in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from callboard.battery.nursery import Nursery
from callboard.battery.point_kills import Place, Usual, killed_at, prove_point_kills
from callboard.battery.processes import Show
from callboard.battery.proof import Proving
from callboard.battery.spawn import TookTooLong, callboard
from callboard.battery.workloads import workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS, KILLS = 2, 60  # each part has to play all shows first

#: Found by every process that is started with it on its path: documents are written where they are read.
IN_PLACE = """
import os

from callboard.crash import point
from callboard.store import publish


def put(parent, name, hash, seen, read):
    data = read(hash)
    with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=parent), "wb", 0) as file:
        file.write(data[: len(data) // 2])
        point("publish.named")
        file.write(data[len(data) // 2 :])
    return True


publish._put = put
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, PARTS + 1))
def test_a_process_that_is_killed_at_a_point_is_followed_by_one_that_ends(seed: int, tmp_path: Path) -> None:
    found = prove_point_kills(Proving(tmp_path, KILLS, seed))
    print(f"seed {seed}: {found.tried} kills, {dict(found.figures)}")
    assert found.failures == []
    assert found.tried == KILLS


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


CHAIN = workload("chain")


def usual(tmp_path: Path) -> Usual:
    return Usual(CHAIN.drive(CHAIN.lay_out(tmp_path / "usual")).documents, {})


def test_it_would_be_found_if_documents_were_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harm").mkdir()
    (tmp_path / "harm/sitecustomize.py").write_text(IN_PLACE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "harm"))
    show = Show(CHAIN.lay_out(tmp_path / "show"))
    with Nursery() as nursery:
        wrong = killed_at(nursery, show, Place(CHAIN, "publish.named", 1), usual(tmp_path))
    assert show.kills == 1 and any("(ours 1)" in one for one in wrong)


def test_a_process_of_the_nursery_is_as_any_other(tmp_path: Path, nursery: Nursery) -> None:
    show = Show(CHAIN.lay_out(tmp_path / "show"))
    assert nursery.lived(show, ["callboard", *CHAIN.begin()[3:]]).code == 0
    assert show.lived(callboard("resume")).code == nursery.lived(show, ["callboard", "resume"]).code == 8
    first, second = (left.out for left in show.lives[1:])
    assert first == second != ""


#: Found likewise: nothing is installed but what Callboard cannot be without.
PLAIN = """
import sys


class Plain:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hypothesis", "pytest", "docx", "pandas", "starlette"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Plain())
"""


def test_there_is_a_nursery_without_the_tools_of_developers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/sitecustomize.py").write_text(PLAIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plain"))
    with Nursery() as nursery:
        assert nursery.lived(Show(CHAIN.lay_out(tmp_path / "show")), ["callboard", *CHAIN.begin()[3:]]).code == 0


def test_crash_at_is_not_handed_on_to_commands_and_children(tmp_path: Path) -> None:
    """A command shows its environment, a function its own."""
    show = Show(tmp_path / "show")
    (show.root / "function").mkdir()
    (show.root / "function/mine.py").write_text(
        "import os\nfrom callboard.executors.registry import register\n\n\n"
        "@register\ndef mine(pipe_data, params):\n    return pipe_data['pipein_text'] + ' '.join(os.environ)\n"
    )
    (show.root / "show.ai").write_text(
        "name: Environment\npipe:\n  - {type: command, command: [env]}\n  - {type: function, function: mine}\n"
    )
    left = show.lived(callboard("run", "show.ai"), CRASH_AT="publish.beside:7")
    assert left.code == 0 and "PATH" in left.out and "CRASH_AT" not in left.out


def test_a_point_that_is_not_known_is_told(tmp_path: Path) -> None:
    left = Show(tmp_path / "show").lived([sys.executable, "-c", "import callboard.crash"], CRASH_AT="nowhere:1")
    assert left.code == 1 and "there is no point 'nowhere'" in left.out


def test_a_kill_that_nobody_asked_for_is_no_kill_of_ours(tmp_path: Path, nursery: Nursery) -> None:
    show = Show(tmp_path / "show")
    (show.root / "show.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(TookTooLong):
        nursery.lived(show, ["show.py"])
