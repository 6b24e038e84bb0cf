"""A person's edits under a run (T18): the proof at gate size, and the proof shown programs that do not notice."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from callboard.app.shelf import Shelf
from callboard.battery.edits import interleave, prove_edits
from callboard.battery.person import Person
from callboard.battery.proof import Proving
from callboard.crash import point
from callboard.engine.versions import Version, Versions
from callboard.executors.staged import Staged
from callboard.store import publish
from callboard.store.content import digest

if TYPE_CHECKING:
    from pathlib import Path

INTERLEAVINGS = 100


@pytest.mark.timeout(240)
def test_whatever_a_person_does_to_documents_is_kept_noticed_and_never_mixed(tmp_path: Path) -> None:
    found = prove_edits(Proving(tmp_path, INTERLEAVINGS, 1))
    print(f"{found.tried} interleavings, {dict(found.figures)}")
    assert found.failures == []
    assert found.tried == INTERLEAVINGS
    assert min(found.figures.values()) > 20, "enough was done"


def is_found(tmp_path: Path, wanted: str, most: int = INTERLEAVINGS) -> bool:
    """Whether the proof comes upon it, within so many interleavings."""
    for number in range(most):
        trial = interleave(tmp_path / f"{number}", f"1-{number}")
        if any(wanted in one for one in trial.wrong):
            print(f"found in interleaving {number}")
            return True
    return False


def test_the_same_seed_does_the_same_between_commands(tmp_path: Path) -> None:
    first, second = (interleave(tmp_path / name, "1-1") for name in ("first", "second"))
    assert first.wrong == second.wrong == []
    assert first.acts


def test_it_would_be_found_if_nothing_were_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.battery.edits.notice", lambda house, row: None)
    monkeypatch.setattr("callboard.app.commands.carry.notice_at_the_end", lambda house, run: None)
    monkeypatch.setattr("callboard.app.commands.resume.notice", lambda house, row: None)
    assert is_found(tmp_path, "is recorded as")


def test_it_would_be_found_if_a_need_were_not_read_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is recorded, and the outcome as it was is handed on: a mixed version."""
    of = Versions.of

    def recorded_only(self: Versions, run: int, execution: int, outcome: Any) -> Version:
        return of(self, run, execution, outcome)._replace(outcome=outcome)

    monkeypatch.setattr(Versions, "of", recorded_only)
    assert is_found(tmp_path, "has read")


def test_it_would_be_found_if_a_step_did_not_say_what_it_has_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Staged, "seen", property(lambda self: {}))
    assert is_found(tmp_path, "made from")


def test_it_would_be_found_if_bytes_of_a_person_were_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see = Shelf.see

    def only_seen(self: Shelf, run: int, path: str, known: str, *, keep: bool = True) -> str:
        return see(self, run, path, known, keep=False)

    monkeypatch.setattr(Shelf, "see", only_seen)
    assert is_found(tmp_path, "its bytes are not kept")


def test_it_would_be_found_if_a_version_of_the_last_moment_were_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a plain rename does, which looks only before."""

    def renamed(parent: int, temporary: str, name: str, hash: str, seen: Any) -> bool:
        point("publish.replace")
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        return True

    monkeypatch.setattr(publish, "_replace", renamed)
    assert is_found(tmp_path, "is lost")


def test_it_would_be_found_if_a_later_version_of_ours_made_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def any_older(run: Any, row: Any) -> str:
        return next((path for path, hash in (row.read or {}).items() if run.documents[path] not in (hash, "")), "")

    monkeypatch.setattr("callboard.battery.edits.stale", any_older)
    assert is_found(tmp_path, "stale is")


def test_a_person_notes_exactly_what_a_save_took_the_place_of(tmp_path: Path) -> None:

    person = Person(tmp_path, ["a.md", "b.md", "c.md"], (), random.Random(1))
    (tmp_path / "a.md").write_bytes(b"ours")
    person.mend(["b.md"])
    for _ in range(60):
        before = person.hash_of("a.md")
        had = len(person.diary)
        person.act(in_place=True)
        acts = [act for act in person.diary[had:] if act.path == "a.md"]
        assert not acts or not before or acts[0].old == before
        assert not acts or acts[-1].new == person.hash_of("a.md")
    assert person.lost(lambda hash: False) == []
    assert person.diary[0].new != digest(b"ours")
