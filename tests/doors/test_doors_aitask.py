"""`aitask` and `ai-partitur`: the seed's flags on our commands, and what is wrong usage of them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doors_desk import Desk

CONFIG = "name: profiles\nsteps: [input, analysis]\n"
ECHO = "pipe:\n  - {type: command, command: [cat]}\n"
IN = ("--production-config", "profiles.yml")


@pytest.fixture(autouse=True)
def _files(desk: Desk) -> None:
    desk.write("profiles.yml", CONFIG)
    desk.write("echo.ai", ECHO)


def test_a_pipeline_runs_without_a_production(desk: Desk) -> None:
    said = desk.aitask("echo.ai", "words")
    assert (said.code, said.out) == (0, "words\n")
    assert desk.aitask("echo.ai", "-", stdin=b"piped").out == "piped\n"
    assert desk.aitask("echo.ai", stdin=b"redirected").out == "redirected\n"


def test_a_pipeline_is_found_by_its_bare_name_also_in_partitur(desk: Desk) -> None:
    desk.write("partitur/song.yml", ECHO)
    assert desk.aitask("echo", "x").out == "x\n"
    assert desk.aitask("song", "y").out == "y\n"
    missing = desk.aitask("nothing", "x")
    assert missing.code == 8 and "partitur/" in missing.err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--production-setup",),
        ("--production-list",),
        ("--production-setup", "--production-list", *IN),
        ("echo.ai", "x", "--production-new", "--production-instance", "1", *IN),
        ("echo.ai", "x", "--document-type", "t"),
        ("echo.ai", "x", "--production-new", "--document-type", "t", "--step", "nowhere", *IN),
        ("echo.ai", "x", "--production-new", "--document-type", "../up", *IN),
        ("--no-such-flag",),
    ],
)
def test_wrong_usage_is_2_and_makes_nothing(desk: Desk, words: tuple[str, ...]) -> None:
    said = desk.aitask(*words)
    assert said.code == 2 and said.err and not said.out
    assert not (desk.here / "project-home").exists()


def test_an_instance_that_is_not_there_is_not_found(desk: Desk) -> None:
    desk.aitask("--production-setup", *IN)
    assert desk.aitask("echo.ai", "x", "--production-instance", "7", *IN).code == 8


def test_documents_go_to_the_step_and_suffix_that_were_named(desk: Desk) -> None:
    said = desk.aitask(
        "echo.ai", "x", "--production-new", "--document-type", "note", "--step", "input", "--suffix", "md", *IN
    )
    assert said.code == 0
    assert desk.read("project-home/productions/profiles/profiles_00001/input/document_00001_note.md") == "x"


def test_json_names_the_instance_and_the_result(desk: Desk) -> None:
    found = desk.aitask("echo.ai", "x", "--production-new", "--json", *IN).json
    assert found["result"] == "x" and found["instance"]["instance_id"] == "00001"


def test_the_list_has_variants(desk: Desk) -> None:
    for text in ("one", "two"):
        desk.aitask("echo.ai", text, "--production-new", *IN)
    listed = desk.aitask("--production-list", *IN).out.splitlines()
    assert listed[0].split() == ["id", "name", "status", "created", "(UTC)", "updated", "(UTC)"]
    assert listed[1].split()[:3] == ["00001", "profiles_00001", "completed"]
    assert [row["instance_id"] for row in desk.aitask("--production-list", "--json", *IN).json] == ["00001", "00002"]
    rows = list(csv.DictReader(io.StringIO(desk.aitask("--production-list", "--csv", *IN).out)))
    assert [row["instance_id"] for row in rows] == ["00001", "00002"]
    assert desk.aitask("--production-list", "--status", "failed", *IN).out == "no instances\n"


def test_a_failing_pipeline_fails_its_instance(desk: Desk) -> None:
    desk.write("fail.ai", "pipe:\n  - {type: command, command: ['false']}\n")
    assert desk.aitask("fail.ai", "x", "--production-new", *IN).code == 1
    assert [row["status"] for row in desk.aitask("--production-list", "--json", *IN).json] == ["failed"]


def test_ai_partitur_keeps_what_is_there_unless_it_is_told_to_overwrite(desk: Desk) -> None:
    desk.write(
        "partitur/report.ai",
        "pipe:\n  - {type: command, command: [echo, 'report {{id}}'], output_file: 'out_{{id}}.txt'}\n",
    )
    assert desk.partitur("report", "001").out == "report 001\n"
    desk.write("out_001.txt", "edited")
    assert desk.partitur("report", "001").out == "edited\n"
    assert desk.partitur("--file", "partitur/report.ai", "002").out == "report 002\n"
    assert desk.partitur().code == 2
