"""All faults of a file at once, none that only follows from another; and what has to be around it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from faces_pipelines import FILES, STEP, pipeline

from callboard.errors import InvalidFile
from callboard.faces.pipelines.around import look
from callboard.faces.pipelines.faults import MOST, Faults
from callboard.faces.pipelines.language import examine


def faults(text: str) -> list[tuple[int | None, str]]:
    """(line, what is wrong) of every fault, in the order they are told."""
    with pytest.raises(InvalidFile) as caught:
        pipeline(text)
    assert all(one.file and one.fix and (one.line or one.what.startswith("…")) for one in caught.value.faults)
    assert str(caught.value) == "\n".join(one.said for one in caught.value.faults)
    return [(one.line, one.what) for one in caught.value.faults]


# ── where outputs go ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("step", "fix"),
    [
        ("each: [a, b], output_file: out/same.txt", 'write the item into it: "out/same-{{key}}.txt"'),
        ("each: {glob: '*.md'}, result_file: same", 'write the item into it: "same-{{item.stem}}"'),
        ("each: {csv: a.csv}, output_file: '{{vars.a}}.txt'", 'write the item into it: "{{vars.a}}-{{key}}.txt"'),
    ],
)
def test_items_that_would_write_one_file_are_a_fault(step: str, fix: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        pipeline(f"vars: {{a: x}}\npipe:\n- {{type: llm, model: offline, tmpl: x, {step}}}\n")
    assert "is the same file for every item" in caught.value.what and caught.value.fix == fix
    assert caught.value.column == len("- {type: llm, model: offline, tmpl: x, ") + step.index("_file: ") + 7 + 1


@pytest.mark.parametrize(
    "step",
    [
        "each: [a], output_file: out/same.txt",
        "each: [a, b], output_file: 'out/{{key}}.txt'",
        "each: {glob: '*.md'}, output_file: '{{item.stem}}.txt'",
        "each: {csv: a.csv}, output_file: '{{item[vars.a]}}.txt'",
        "output_file: same.txt",
    ],
)
def test_files_of_their_own_are_none(step: str) -> None:
    pipeline(f"vars: {{a: x}}\npipe:\n- {{type: llm, model: offline, tmpl: x, {step}}}\n")


def test_an_output_that_leaves_the_directory_is_found_before_anything_runs() -> None:
    assert faults("pipe:\n- {type: llm, model: offline, tmpl: x, output_file: ../out.txt}\n") == [
        (2, "`output_file` of step 'step1' climbs with '..'")
    ]


# ── all at once ─────────────────────────────────────────────────────────────────────────────────────────


def test_all_faults_of_a_file_are_told_in_its_order() -> None:
    text = (
        "nmae: x\n"
        "pipe:\n"
        "- type: llmm\n  tmpl: x\n"
        "- type: llm\n  tmpl: gone.j2\n  timeout: soon\n  temperature: 9\n"
        "- type: llm\n  tmpl: '{{nope}} {{vars.none}}'\n"
        "- type: llm\n  tmpl: x\n  limits: gpu\n"
    )
    found = faults(text)
    assert [line for line, _ in found] == [1, 3, 6, 7, 8, 10, 10, 13]
    for (_, what), part in zip(
        found, ("'nmae'", "'llmm'", "gone.j2", "soon", "9", "'nope'", "'vars.none'", "'gpu'"), strict=True
    ):
        assert part in what


@pytest.mark.parametrize("text", ["", "# a remark\n"])
def test_a_file_with_nothing_in_it_is_called_empty(text: str) -> None:
    assert faults(text) == [(1, "this file is empty")]


def test_an_error_with_several_faults_is_the_first_of_them() -> None:
    with pytest.raises(InvalidFile) as caught:
        pipeline("pipe:\n- type: lm\n- type: lm\n")
    error = caught.value
    assert (error.line, error.column, len(error.faults)) == (2, 9, 2)
    assert len(error.faults[0].faults) == 1 and "3:9" not in str(error.faults[0])


def test_after_twenty_faults_there_is_a_count() -> None:
    found = faults("pipe:\n" + "- type: lm\n" * 50)
    assert len(found) == MOST + 1 and found[-1][1] == "… and 30 more faults"


@pytest.mark.parametrize(
    "text",
    [
        STEP + "  output: [a]\n- {type: llm, tmpl: '{{pipe.a}}'}\n",
        STEP + "  outptu: a\n- {type: llm, tmpl: '{{pipe.a}}'}\n",
        STEP + "  name: [a]\n- {type: llm, tmpl: x, needs: [a]}\n",
        STEP + "  eahc: [1]\n- {type: llm, tmpl: '{{item}}', over: step1}\n",
        "vars: [a]\n" + STEP + "- {type: llm, tmpl: '{{vars.a}}'}\n",
        "defaults: {each: 7}\n" + STEP + "- {type: llm, tmpl: '{{item}}'}\n",
        STEP + "- {type: llm, tmpl: x, needs: [nobody]}\n- {type: llm, tmpl: '{{pipe.step1}}'}\n",
    ],
)
def test_what_follows_from_a_fault_is_no_fault_of_its_own(text: str) -> None:
    assert len(faults(text)) == 1


def test_a_broken_step_hides_no_fault_of_another() -> None:
    found = faults("pipe:\n- {type: lm, name: a, output: one}\n- {type: llm, tmpl: '{{pipe.one}} {{pipe.two}}'}\n")
    assert [line for line, _ in found] == [2, 3] and "'pipe.two'" in found[1][1]


def test_a_fault_of_a_default_is_told_once() -> None:
    assert len(faults("defaults: {temperature: 9}\n" + STEP + "- {type: llm, tmpl: y}\n- {type: llm, tmpl: z}\n")) == 1


def test_examining_raises_nothing() -> None:
    for text in (b"\xff", "a: {{b}}", "- x", "pipe: 7", "pipe:\n- 7\n- type: llm\n"):
        found = Faults()
        examine(text, found, file="a.ai", read=FILES.get)
        assert found.found


def test_many_faults_are_found_quickly() -> None:
    text = "pipe:\n" + "".join(f"- {{type: llm, name: s{n}, tmpl: '{{{{nope{n}}}}}'}}\n" for n in range(500))
    began = time.monotonic()
    assert len(faults(text)) == MOST + 1
    assert time.monotonic() - began < 10


# ── what is around ──────────────────────────────────────────────────────────────────────────────────────


class World:
    """Where little is there, and everything that is asked for is noted."""

    def __init__(self, *files: str) -> None:
        self.files = files

    def is_file(self, path: str) -> bool:
        return path in self.files

    def matches(self, pattern: str) -> bool:
        return pattern in self.files

    def no_function(self, name: str) -> tuple[str, str, bool] | None:
        return None if name == "shout" else ("is not there", "register it", name == "nobody")

    def no_model(self, model: str | None, provider: str) -> tuple[str, str] | None:
        return None if model == "m" else (f"{model} cannot be asked", "name another")

    def no_secret(self, name: str) -> tuple[str, str] | None:
        return None if name == "GIVEN" else (f"{name} is not granted", "export it")

    def is_program(self, name: str) -> bool:
        return name == "cat"


def around(steps: str, *files: str, top: str = "model: m\n") -> tuple[list[Any], list[Any]]:
    """((line, what) of the faults, the same of the remarks)."""
    found = look(pipeline(f"{top}pipe:\n{steps}"), World(*files))
    assert all(one.file == "flows/a.ai" and one.column and one.fix for part in found for one in part)
    return tuple([(one.line, one.what) for one in part] for part in found)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("step", "file"),
    [
        ("- {type: llm, tmpl: x, source_file: in/a.txt}\n", "in/a.txt"),
        ("- {type: llm, tmpl: x, each: {csv: a.csv}}\n", "a.csv"),
        ("- {type: function, function: aisource, params: {file: a.txt, dir: in}}\n", "in/a.txt"),
        ("- {type: function, function: convert_to_docx, params: {source: a.md, result: a.docx}}\n", "a.md"),
    ],
)
def test_a_file_that_is_not_there_is_a_fault(step: str, file: str) -> None:
    (found,), _ = around(step)
    assert found[0] == 3 and repr(file) in found[1]
    assert around(step, file) == ([], [])


@pytest.mark.parametrize(
    "maker",
    [
        "- {type: llm, tmpl: x, output_file: ./a.csv}\n",
        "- {type: llm, tmpl: x, output_file: '{{input}}'}\n",
        "- {type: function, function: airesult, params: {file: a.csv}}\n",
        "- {type: command, command: [cat]}\n",
        "- {type: function, function: shout}\n",
    ],
)
def test_a_file_that_a_step_before_may_make_is_none(maker: str) -> None:
    reader = "- {type: llm, tmpl: x, each: {csv: a.csv}}\n"
    assert around(maker + reader) == ([], [])
    assert len(around(reader + maker)[0]) == 1  # what comes after cannot have made it
    assert len(around(maker + reader.replace("tmpl", "needs: [], tmpl"))[0]) == 1  # nor what it does not wait for


def test_a_path_with_a_template_is_not_looked_for() -> None:
    assert around("- {type: llm, tmpl: x, source_file: '{{input}}.txt'}\n") == ([], [])
    assert around("- {type: function, function: aisource, params: {file: a, content: x}}\n") == ([], [])


def test_a_list_of_no_files_is_remarked() -> None:
    lister = "- {type: llm, tmpl: x, each: {glob: 'leters/*.txt'}}\n"
    faults_, remarks = around(lister)
    assert faults_ == [] and remarks[0][0] == 3 and "matches no file: 'leters/*.txt'" in remarks[0][1]
    assert around(lister, "leters/*.txt") == ([], [])
    assert around("- {type: llm, tmpl: x, output_file: leters/a.txt}\n" + lister) == ([], [])


def test_functions_programs_models_and_secrets_are_asked_for() -> None:
    assert around("- {type: function, function: nobody}\n")[0] == [(3, "`function` of step 'step1' is not there")]
    assert around("- {type: function, function: perhaps}\n")[1] == [(3, "`function` of step 'step1' is not there")]
    assert "'dog'" in around("- {type: command, command: [dog]}\n")[0][0][1]
    for command in ("[./dog]", "['{{input}}']", "[dog], env: {PATH: /opt}", "dog | cat, shell: true"):
        assert around(f"- {{type: command, command: {command}}}\n") == ([], [])
    assert "HIDDEN" in around("- {type: command, command: [cat], secrets: [GIVEN, HIDDEN]}\n")[0][0][1]
    assert around("- {type: llm, tmpl: x, model: n}\n")[0] == [(3, "`model` of step 'step1' n cannot be asked")]
    assert around("- {type: llm, tmpl: x}\n", top="model: n\n")[0] == [(1, "`model` n cannot be asked")]
    assert around("- {type: llm, tmpl: x}\n", top="")[0] == [(2, "`model` of step 'step1' None cannot be asked")]


def test_a_broken_file_is_looked_around_as_well() -> None:
    found = Faults()
    made = examine("pipe:\n- {type: lm, each: {csv: a.csv}}\n", found, file="a.ai", read=FILES.get)
    assert made is not None and len(found.found) == 1
    assert ["a.csv" in one.what for one in look(made, World())[0]] == [True]
