"""Snippets A-12 … A-18 and A-20 of the specification, in the seed's words, run in an empty directory.

A-1 … A-11 and A-19 stand beside the room they are about, in `tests/productions/`.
"""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
from stories_provider import serving

from callboard import ProductionManager, create_production, load_production, run_in_production
from callboard.cli.aitask import aitask
from callboard.cli.main import cli, guarded
from callboard.errors import InvalidFile

HOME = Path("project-home/productions/profiles")
COLUMNS = ["instance_id", "name", "created_at", "updated_at", "status", "metadata", "path"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]):
    """Runs a line as the seed writes it, `aitask …`, or one of ours."""

    def run(line: str) -> Said:
        name, *words = shlex.split(line)
        code = guarded({"aitask": aitask, "callboard": cli}[name], words)
        return Said(code, *capsys.readouterr())

    return run


def records() -> list[dict[str, str]]:
    with (HOME / "settings/production_db.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ── A-12 ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_12_a_pipeline_runs_in_a_production_as_the_seed_says() -> None:
    # Create a new production
    pm = create_production("production_config.yml")

    # Load existing production
    pm = load_production("production_config.yml")

    # Run pipeline in production
    result, instance_id = run_in_production(
        pipeline_file="analyze.ai",
        production_config="production_config.yml",
        input_data="Sample input",
        document_type="analyzed",
        step="analysis",
    )

    assert instance_id == "00001"
    assert result
    assert (HOME / "profiles_00001/analysis/document_00001_analyzed.txt").read_text() == result
    assert pm.list_instances()["status"].tolist() == ["completed"]


def test_a_12_what_comes_back_is_a_pair_text_first() -> None:
    pair = run_in_production("analyze.ai", "production_config.yml", "Sample input", "analyzed", "analysis")
    assert type(pair) is tuple and [type(one) for one in pair] == [str, str]
    assert pair[1] == "00001"


def test_a_12_a_failed_run_leaves_a_failed_instance_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("broken.ai").write_text("pipe:\n  - type: function\n    function: aisource\n    params: {file: '{{input}}'}\n")
    with pytest.raises(Exception, match="nowhere"):
        run_in_production("broken.ai", "production_config.yml", "nowhere.txt")
    assert [row["status"] for row in records()] == ["failed"]
    errors = [json.loads(file.read_text()) for file in (HOME / "settings/diagnostics").glob("*error*.json")]
    assert "nowhere" in json.dumps(errors)


def test_a_12_a_model_without_a_key_is_named_before_an_instance_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    with pytest.raises(InvalidFile, match="GEMINI_API_KEY"):
        run_in_production("analyze.ai", "production_config.yml", "Sample input")
    assert not HOME.exists()


# ── A-13 … A-16: the command line ───────────────────────────────────────────────────────────────────────


def test_a_13_production_setup_makes_the_tree(shell) -> None:
    # Initialize a production
    said = shell("aitask --production-config production_config.yml --production-setup")
    assert said.code == 0
    assert sorted(path.name for path in HOME.iterdir()) == ["settings"]
    assert (HOME / "settings/production_db.csv").read_text() == ",".join(COLUMNS) + "\n"
    before = {path: path.read_bytes() for path in HOME.rglob("*") if path.is_file()}
    assert shell("aitask --production-config production_config.yml --production-setup").code == 0
    assert {path: path.read_bytes() for path in HOME.rglob("*") if path.is_file()} == before


def test_a_14_production_new_runs_in_a_new_instance(shell) -> None:
    # Create a new instance and run a pipeline
    said = shell(
        'aitask analyze.ai "Input text" --production-config production_config.yml --production-new '
        "--document-type analyzed"
    )
    assert said.code == 0
    assert [row["instance_id"] for row in records()] == ["00001"]
    saved = HOME / "profiles_00001/export/document_00001_analyzed.txt"  # no --step: the last one
    assert said.out == saved.read_text() + "\n"
    assert "00001" in said.err and "00001" not in said.out


def test_a_15_production_instance_runs_in_that_one(shell) -> None:
    shell("aitask analyze.ai 'Input text' --production-config production_config.yml --production-new")
    # Run in existing instance
    said = shell(
        'aitask analyze.ai "Input text" --production-config production_config.yml --production-instance 00001 '
        "--document-type analyzed --step analysis"
    )
    assert said.code == 0
    assert (HOME / "profiles_00001/analysis/document_00001_analyzed.txt").read_text() + "\n" == said.out
    assert [row["instance_id"] for row in records()] == ["00001"]
    assert sorted(path.name for path in HOME.iterdir()) == ["profiles_00001", "settings"]


@pytest.mark.parametrize("name", ["1", "00001", "profiles_00001"])
def test_a_15_an_instance_may_be_named_in_three_ways(shell, name: str) -> None:
    shell("aitask analyze.ai 'Input text' --production-config production_config.yml --production-new")
    line = f"aitask analyze.ai again --production-config production_config.yml --production-instance {name}"
    assert shell(line).code == 0
    assert len(records()) == 1


def test_a_16_production_list_has_a_line_for_each_instance(shell) -> None:
    pm = ProductionManager("production_config.yml")
    pm.create_instance()
    pm.create_instance()
    # List all instances
    said = shell("aitask --production-config production_config.yml --production-list")
    assert said.code == 0
    first = [line for line in said.out.splitlines() if "profiles_00001" in line]
    assert len(first) == 1 and first[0].startswith("00001 ")
    assert sum("profiles_0000" in line for line in said.out.splitlines()) == 2


# ──: the pipeline example ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["Input text", "braces {stay} {{pipe.pipein-text}} {% as %} they {# are #}", "ünï 火"])
def test_a_17_the_prompt_is_the_first_line_and_then_the_text(shell, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    with serving("an analysis") as provider:
        monkeypatch.setenv("CALLBOARD_BASE_URL", provider.url)
        said = shell(
            f"aitask analyze.ai {shlex.quote(text)} --production-config production_config.yml --production-new"
        )
    assert (said.code, said.out) == (0, "an analysis\n"), said.err
    assert provider.prompts == [f"Analyze the following data:\n{text}\n"]
    assert provider.asked[0]["model"] == "gemini-2.0-flash"


def test_a_18_the_output_lies_in_the_instance(shell) -> None:
    said = shell('aitask analyze.ai "Input text" --production-config production_config.yml --production-new')
    assert (HOME / "profiles_00001/analysis/results.txt").read_text() + "\n" == said.out


def test_a_18_a_pipeline_with_a_production_needs_no_flags(shell) -> None:
    said = shell('aitask analyze.ai "Input text"')
    assert said.code == 0
    assert (HOME / "profiles_00001/analysis/results.txt").read_text() + "\n" == said.out
    assert [row["status"] for row in records()] == ["completed"]


# ── A-20 ────────────────────────────────────────────────────────────────────────────────────────────────

FUNCTIONS = r"""
pipe:
  - type: function
    name: read
    function: aisource
    params: {file: answer.md}
  - type: function
    name: unwrap
    function: content
    params:
      format: text
      extract: '```json\s*(.*?)\s*```'
  - type: function
    name: write
    function: airesult
    params: {file: answer.json, dir: out}
"""


def test_a_20_a_file_flows_through_the_functions_and_is_written(shell) -> None:
    Path("functions.ai").write_text(FUNCTIONS)
    Path("answer.md").write_text('Here it is:\n```json\n{"play": "Hamlet",\n "acts": 5}\n```\nGoodbye.\n')
    said = shell("aitask functions.ai")
    assert said.code == 0
    assert said.out == '{"play": "Hamlet",\n "acts": 5}\n'
    assert json.loads(Path("out/answer.json").read_text()) == {"play": "Hamlet", "acts": 5}


# ── money ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_price_is_shown_as_unknown_until_the_user_says_one(
    shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    for name in ("known", "new"):
        Path(f"{name}.ai").write_text(f"pipe:\n  - {{type: llm, model: 'openai:gpt-{name}', tmpl: '{{{{input}}}}'}}\n")
    Path("prices.json").write_text('{"openai:gpt-known": {"input": 1000, "output": 1000}}')
    monkeypatch.setenv("CALLBOARD_PRICES", "prices.json")
    with serving("an answer") as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        assert "price unknown" in shell("callboard run new.ai words").err
        assert "· $0.0" in shell("callboard run known.ai words").err
    rows = json.loads(shell("callboard ls --json").out)
    assert [(row["unpriced"], row["cost"] is None) for row in rows] == [(0, False), (1, True)]
    assert "price unknown" in shell("callboard ls").out
