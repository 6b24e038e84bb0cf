"""`callboard doctor` and `callboard repair`: what a person sees of damage, and of its end."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from callboard.battery.workloads import LETTER, workload
from callboard.cli.main import main
from callboard.store.whole import MARK

if TYPE_CHECKING:
    from pathlib import Path

CHAIN, REVIEW = workload("chain"), workload("review")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    CHAIN.drive(CHAIN.lay_out(tmp_path))
    shutil.rmtree(tmp_path / ".callboard/backups")  # the daily copy would bring everything back
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    return int(end.value.code or 0), capsys.readouterr().out


def edit(folder: Path, sql: str) -> None:
    with closing(apsw.Connection(str(folder / ".callboard/callboard.db"))) as connection:
        connection.execute(sql)


def findings(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    told = json.loads(said(capsys, "doctor", "--json")[1])
    return [(one["how_bad"], one["what"]) for one in told["findings"] if "no copy" not in one["what"]]


def test_a_sound_project_is_sound_and_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "doctor")[0] == 0
    assert findings(capsys) == []
    assert said(capsys, "repair") == (0, "nothing is damaged; nothing was done\n")


def test_damage_is_named_and_mended_and_named_no_more(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(folder, "UPDATE outcome SET text = replace(text, 'harbour', 'airport')")
    code, out = said(capsys, "doctor")
    assert code == 1 and "run 1" in out and "callboard repair" in out
    assert said(capsys, "repair", "--dry-run")[0] == 0
    assert said(capsys, "doctor")[0] == 1
    told = json.loads(said(capsys, "repair", "--json")[1])
    assert told["mended"] and told["whole"] == [{"run": 1, "id": "show"}] and not told["partly"]
    assert os.path.exists(f"{told['evidence']}/callboard.db")
    assert said(capsys, "doctor")[0] == 0
    assert said(capsys, "show", "show", "--result")[0] == 0


def test_every_kind_of_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = folder / ".callboard"
    (folder / "gist.md").write_text("mine")
    (folder / "out/note.md").unlink()
    content = next(home.glob("content/??/*"))
    content.write_bytes(b"damaged")
    os.chmod(home, 0o755)
    (home / "run/callboard.db.damaged").write_text("its log ends too soon")
    (home / "run/callboard.db.doubtful").touch()
    (home / "cache/.left").touch()
    (home / "content" / MARK).touch()
    (home / "damaged/once").mkdir(parents=True)
    (home / "backups").mkdir()
    (home / "backups/callboard-20260101T000000Z.db").write_bytes(b"no database" * 1000)
    edit(folder, "UPDATE document SET status = 'pending' WHERE path = 'gist.md'")
    found = findings(capsys)
    assert not (home / "run/callboard.db.doubtful").exists(), "whoever looks makes sure of the log first"
    for how_bad, what in (
        ("note", "out/note.md is not there any more"),
        ("damaged", "bytes do not fit its hash"),
        ("warning", "others may look into the project"),
        ("damaged", "its log ends too soon"),
        ("note", "left by a writer that was killed"),
        ("note", "the disk failed when names in this folder were synced"),
        ("note", "evidence of a repair"),
        ("damaged", "a copy of the database is damaged"),
        ("warning", "not yet in its place"),
    ):
        assert any(word == how_bad and what in text for word, text in found), (what, found)
    os.chmod(home, 0o700)
    assert said(capsys, "repair")[0] == 0
    assert not [text for word, text in findings(capsys) if word == "damaged"]


def test_content_of_a_document_comes_back_from_the_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (folder / ".callboard/content").glob("??/*"):
        content.unlink()
    assert ("damaged", "the content of gist.md is gone") in [(word, text[:30]) for word, text in findings(capsys)]
    assert said(capsys, "repair")[0] == 0
    assert findings(capsys)[0][0] == "note"


def test_what_cannot_be_brought_back_is_told_and_the_exit_code_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, "UPDATE journal SET facts = x'5b5d' WHERE id & 4294967295 = 2; VACUUM")
    code, out = said(capsys, "repair")
    assert code == 3 and "brought back to step 1 of at least" in out


def test_it_refuses_a_place_without_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("doctor", "repair"):
        assert said(capsys, verb)[0] == 8


def test_a_run_that_waits_for_a_person_waits_on_after_a_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    REVIEW.lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "run", "show.ai", LETTER, "--id", "show", "--model", "offline")[0] == 4
    edit(tmp_path, "DELETE FROM execution")
    assert said(capsys, "repair")[0] == 0
    ending = REVIEW.drive(tmp_path)
    assert ending.status == 5
