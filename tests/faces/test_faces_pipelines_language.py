"""Faults of a pipeline file: each names file, line, column and what to write instead."""

# ruff: noqa: E501  a row of a table, a line of a file: whole, so that they can be read

from __future__ import annotations

import time

import pytest
from faces_pipelines import FILES, STEP, fault, pipeline
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidFile
from callboard.faces.pipelines.compile import compile
from callboard.faces.pipelines.keys import FILE
from callboard.faces.pipelines.keys import STEP as STEP_KEYS
from callboard.faces.pipelines.language import parse

MAPPED = "pipe:\n- type: llm\n  tmpl: x\n  each: [1, 2]\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "says", "fix"),
    [
        ("", 1, 1, "file is empty", "pipe:"),
        ("- a\n", 1, 1, "is a mapping", "pipe:"),
        ("name: x\n", 1, 1, "this file has no `pipe`", "add `pipe:`"),
        ("pipe: []\n", 1, 7, "has no steps", "- type: llm"),
        ("pipe: llm\n", 1, 7, "must be a list of steps, not 'llm'", "- for each"),
        ("pipe:\n- llm\n", 2, 3, "step 1 must be a mapping", "- type: llm"),
        ("pipe:\n- name: a\n", 2, 3, "step 'a' has no `type`", "llm, function, command, human"),
        (
            "pipe:\n- type: lm\n",
            2,
            9,
            "unknown type 'lm'; did you mean 'llm'?",
            "valid types: llm, function, command, human",
        ),
        ("pipe:\n- type: [llm]\n", 2, 9, "unknown type", "valid types"),
        ("pipe:\n- type: llm\n", 2, 3, "step 'step1' has no `tmpl`", "add `tmpl:`"),
        ("pip: []\n", 1, 1, "unknown key 'pip'; did you mean 'pipe'?", "known keys: name, "),
        (STEP + "  modle: y\n", 4, 3, "unknown key 'modle'; did you mean 'model'?", "known keys: type, "),
        (STEP + "  output-fil: y\n", 4, 3, "did you mean 'output_file'?", "known keys"),
        (STEP + "  command: [a]\n", 4, 3, "`command` is for command steps, not for step 'step1'", "known keys"),
        (STEP + "  tmpl: y\n", 4, 3, "the key 'tmpl' stands here twice", "remove"),
        (STEP + "  max-tokens: 1\n  max_tokens: 2\n", 5, 3, "max_tokens twice, in two spellings", "remove one"),
        (STEP + "  result-file: a\n  output_file: b\n", 4, 16, "another word for output_file", "remove one"),
        (STEP + "  model:\n", 4, 9, "must be text, not empty", "write text"),
        (STEP + '  model: " "\n', 4, 10, "is empty", "give it a value"),
        (STEP + "  model: [a]\n", 4, 10, "must be text, not a list", "write text"),
        (STEP + "  model: {a}\n", 4, 10, "must be text, not a mapping", 'quote a text that begins with a brace: "{…}"'),
        (STEP + "  output_file: {{x}}/y\n", 4, 16, "unquoted", "quote the template"),
        (STEP + "  temperature: warm\n", 4, 16, "must be a number from 0 to 2, not 'warm'", "write a number"),
        (STEP + "  temperature: true\n", 4, 16, "must be a number", "write"),
        (STEP + "  temperature: 9\n", 4, 16, "not 9", "write"),
        (STEP + "  max_tokens: 0\n", 4, 15, "must be a whole number, at least 1, not 0", "write"),
        (STEP + "  max_tokens: 010\n", 4, 15, "not '010'", "write"),
        (STEP + "  cache: yes\n", 4, 10, "must be true or false, not 'yes'", "write true"),
        (STEP + "  cache: maybe\n", 4, 10, "must be true or false", "write true or false"),
        (STEP + "  timeout: 1h30m\n", 4, 12, "'1h30m' is not a duration", "30s, 10m or 1h"),
        (STEP + "  timeout: 0s\n", 4, 12, "longer than nothing", "30s"),
        (STEP + "  timeout: 12:30\n", 4, 12, "'12:30' is not a duration", "30s"),
        (STEP + "  retry: 0\n", 4, 10, "whole number from 1 to 100", "write"),
        (
            STEP + "  retry: {tires: 3}\n",
            4,
            11,
            "`retry` of step 'step1': tires is not known here; did you mean 'tries'?",
            "known: tries",
        ),
        (STEP + "  retry: {delay: 3x}\n", 4, 18, "delay", "30s"),
        (STEP + "  review: maybe\n", 4, 11, "true, false, or a mapping", "write"),
        (STEP + "  review: {again: -1}\n", 4, 19, "again", "write"),
        (STEP + "  on_error: ignore\n", 4, 13, "must be stop or continue", "write one of: stop, continue"),
        (STEP + "  effect: twice\n", 4, 11, "none or keyed or once", "write one of"),
        (STEP + "  priority: 7\n", 4, 13, "from 0 to 3, not 7", "write"),
        (STEP + "  limits: gpu\n", 4, 11, "names 'gpu', which has no number", "limits: {gpu: 1}"),
        ("limits: {gpus: 2}\n" + STEP + "  limits: gpu\n", 5, 11, "did you mean 'gpus'?", "limits"),
        ("limits: {gpu: 0}\n" + STEP, 1, 15, "at least 1", "write"),
        (STEP + "  options: fast\n", 4, 12, "must be a mapping", "key: value"),
        (STEP + "  name: a/b\n", 4, 9, "holds a slash", "step/key"),
        (STEP + "  name: pipein-text\n", 4, 9, "would hide pipe.pipein-text", "another name"),
        (STEP + '  name: "a\\x07b"\n', 4, 9, "control character U+0007", "short name"),
        (
            "pipe:\n- {type: llm, name: a-b, tmpl: x}\n- {type: llm, name: a_b, tmpl: x}\n",
            3,
            21,
            "two steps are called 'a_b', the first on line 2",
            "another name",
        ),
        (
            "pipe:\n- {type: llm, tmpl: x, name: step2}\n- {type: llm, tmpl: x}\n",
            3,
            3,
            "two steps are called 'step2'",
            "name",
        ),
        (STEP + "  output: b\n- {type: llm, name: b, tmpl: x}\n", 4, 11, "'b' is the name of step 'b'", "another"),
        (STEP + "  suffix: txt\n", 4, 3, "there is no `document_type`", "document_type:"),
        ("production: {name: p}\n" + STEP + "  document_type: a/b\n", 5, 18, "holds '/'", "letters"),
        (STEP + "  schema: {type: foo}\n", 4, 11, "no JSON Schema: $.type", "json-schema.org"),
        (STEP + "  schema: {properties: {a: {pattern: x}}}\n", 4, 11, "regular expressions", "json-schema.org"),
        (STEP + "  schema: nope.json\n", 4, 11, "not there", "searched: flows/nope.json, nope.json"),
        (STEP + "  schema: ../../etc/passwd\n", 4, 11, "not there", "must stay inside"),
        # commands
        (
            "pipe:\n- type: command\n  command: echo hi there\n",
            3,
            3,
            "no shell reads it",
            "[echo, hi, there], or add shell: true",
        ),
        ("pipe:\n- type: command\n  command: []\n", 3, 12, "is empty", "[program, argument]"),
        ('pipe:\n- type: command\n  command: [""]\n', 3, 13, "is empty", "value"),
        ("pipe:\n- type: command\n  command: [a, [b]]\n", 3, 16, "must be text, not a list", "write"),
        ("pipe:\n- type: command\n  command: {a: b}\n", 3, 12, "must be a list of a program", "[a, b]"),
        ("pipe:\n- type: command\n  shell: true\n  command: [a]\n", 4, 3, "wants one line of text", "remove shell"),
        (
            "pipe:\n- type: command\n  shell: true\n  command: 'rm {{input}}'\n",
            4,
            3,
            "takes no templates",
            'write "$NAME"',
        ),
        (
            "pipe:\n- {type: command, command: [a], transient_codes: [0]}\n",
            2,
            51,
            "whole number from 1 to 255",
            "write",
        ),
        # functions
        ("pipe:\n- {type: function, function: aisource}\n", 2, 20, "lacks the parameter 'file'", "params: {file: …}"),
        (
            "pipe:\n- {type: function, function: aisource, params: {fil: x}}\n",
            2,
            40,
            "did you mean 'file'?",
            "file, dir, content",
        ),
        ("pipe:\n- {type: function, function: convert_to_docx, params: {source: a}}\n", 2, 47, "'result'", "params"),
        # human
        ("pipe:\n- {type: human, review: false}\n", 2, 17, "cannot be false", "remove"),
        # production block
        ("production: p\n" + STEP, 1, 13, "must be a mapping", "key: value"),
        ("production: {}\n" + STEP, 1, 13, "has no `name`", "add `name:`"),
        (
            "production: {nme: p}\n" + STEP,
            1,
            14,
            "unknown key 'nme'; did you mean 'name'?",
            "known keys: name, project_home",
        ),
        ("production: {name: p, home: a, project-home: b}\n" + STEP, 1, 29, "another word", "remove"),
        ("production: {name: p, steps: a}\n" + STEP, 1, 30, "must be a list", "[a, b]"),
        ("production:\n  name: p\n  id_format: {name}_{id:05d}\n" + STEP, 3, 14, "brace", "quote"),
        # defaults
        ("defaults: {foo: 1}\n" + STEP, 1, 12, "unknown key 'foo'", "known keys"),
        ("defaults: {temperature: 9}\n" + STEP, 1, 25, "`temperature` of step 'step1' must be", "write"),
        ("defaults: {name: a}\n" + STEP, 1, 12, "unknown key 'name'", "known keys"),
        # lists
        (STEP + "  each: docs/*.md\n", 4, 9, "a mapping with one of list, glob, csv, from", '{glob: "docs/*.md"}'),
        (STEP + "  each: {glob: a, csv: b}\n", 4, 9, "exactly one of list, glob, csv, from", "glob"),
        (STEP + "  each: {globe: a}\n", 4, 10, "did you mean 'glob'?", "known: list"),
        (STEP + "  each: {from: nobody}\n", 4, 9, "names the step 'nobody', which is not there", "steps: no other"),
        (STEP + "  each: [1]\n  over: step1\n", 5, 3, "two lists", "keep one"),
        (STEP + "  key: a\n", 4, 3, "only beside `each`", "remove"),
        (STEP + "  barrier: true\n", 4, 3, "only beside `over`", "remove"),
        (STEP + "  allow_failures: 1\n", 4, 3, "only beside `each` or `over`", "remove"),
        (STEP + "  each: {list: [1], key: a}\n  key: b\n", 5, 3, "inside `each` too", "remove"),
        (STEP + "- {type: llm, tmpl: x, over: step1}\n", 4, 30, "'step1', which has no items", "`each` or `over`"),
        (STEP + "- {type: llm, tmpl: x, over: stp1}\n", 4, 30, "did you mean 'step1'?", "steps: step1"),
        # order
        (STEP + "- {type: llm, tmpl: x, needs: [stp1]}\n", 4, 31, "did you mean 'step1'?", "steps: step1"),
        (STEP + "- {type: llm, tmpl: x, needs: [step1, step1]}\n", 4, 31, "'step1' twice", "once"),
        ("pipe:\n- {type: llm, tmpl: x, needs: step1}\n", 2, 31, "closes a circle: step1 → step1", "remove"),
        (
            "pipe:\n- {type: llm, name: a, tmpl: x, needs: c}\n- {type: llm, name: b, tmpl: x}\n- {type: llm, name: c, tmpl: x}\n",
            2,
            40,
            "a → c → b → a",
            "remove",
        ),
    ],
)
def test_a_fault_names_its_place_and_the_fix(text: str, line: int, column: int, says: str, fix: str) -> None:
    error = fault(text)
    assert (error.line, error.column) == (line, column), str(error)
    assert says in error.what and fix in error.fix, str(error)


@pytest.mark.parametrize(
    ("text", "file", "line", "column", "says", "fix"),
    [
        ("pipe:\n- {type: llm, tmpl: '{{foo}}'}\n", "", 2, 24, "'foo' is not defined", "known here: env, genre, id"),
        ("pipe:\n- {type: llm, tmpl: '{{inptu}}'}\n", "", 2, 24, "did you mean 'input'?", "known here"),
        (
            "pipe:\n- {type: llm, tmpl: '{{pipe.pipein-txt}}'}\n",
            "",
            2,
            24,
            "did you mean 'pipein-text'?",
            "pipein-text",
        ),
        (
            "pipe:\n- type: llm\n  tmpl: |\n    a\n     b {{ foo }}\n",
            "",
            5,
            11,
            "`tmpl` of step 'step1': 'foo' is not defined",
            "known",
        ),
        ("pipe:\n- type: llm\n  tmpl: |\n    a\n    {% if %}\n", "", 5, 5, "Expected an expression", "Jinja2"),
        ("pipe:\n- type: llm\n  tmpl: |\n    {{ 'a'.upper() }}\n", "", 4, 5, "call nothing", "filter"),
        (
            "pipe:\n- type: llm\n  tmpl: nope.j2\n",
            "",
            3,
            9,
            "'nope.j2', which is not there",
            "searched: instruction/nope.j2, flows/instruction/nope.j2, flows/nope.j2, nope.j2",
        ),
        ("pipe:\n- type: llm\n  tmpl: ../secret.txt\n", "", 3, 9, "outside the project", ".."),
        ("pipe:\n- type: llm\n  tmpl: /etc/secret.txt\n", "", 3, 9, "outside the project", ".."),
        (
            "vars: {a: 1}\npipe:\n- type: llm\n  tmpl: broken.j2\n",
            "instruction/broken.j2",
            2,
            4,
            "'vars.nope' is not defined",
            "known here: a",
        ),
        (
            "pipe:\n- type: llm\n  tmpl: broken.j2\n",
            "instruction/broken.j2",
            2,
            4,
            "'vars.nope' is not defined",
            "vars: {nope: …}",
        ),
        (
            "vars: {a: {b: 1}}\npipe:\n- {type: llm, tmpl: '{{vars.a.c}}'}\n",
            "",
            3,
            24,
            "'vars.a.c' is not defined",
            "known here: b",
        ),
        (
            "vars: {lang: de}\npipe:\n- {type: llm, tmpl: '{{lang}}'}\n",
            "",
            3,
            24,
            "'lang' is not defined",
            "write vars.lang",
        ),
        (
            "pipe:\n- {type: llm, name: a, tmpl: x}\n- {type: llm, tmpl: '{{a}}'}\n",
            "",
            3,
            24,
            "'a' is not defined",
            "write pipe.a",
        ),
        ("pipe:\n- {type: llm, tmpl: '{{pipe.step1}}'}\n", "", 2, 24, "which does not come before", "pipe.pipein-text"),
        (
            "pipe:\n- {type: llm, tmpl: '{{pipe.step2}}'}\n- {type: llm, tmpl: x}\n",
            "",
            2,
            24,
            "output of 'step2', which does not come before",
            "add 'step2' to its needs",
        ),
        (
            "pipe:\n- {type: llm, tmpl: x}\n- {type: llm, tmpl: '{{pipe.step1}}', needs: []}\n",
            "",
            3,
            24,
            "does not come before",
            "needs",
        ),
        (
            "pipe:\n- {type: llm, name: a, tmpl: x}\n- {type: llm, tmpl: '{{a.items}}'}\n",
            "",
            3,
            24,
            "'a.items' is not defined",
            "write pipe.a",
        ),
        (
            "pipe:\n- {type: llm, name: a.b, tmpl: x}\n- {type: llm, tmpl: '{{pipe.steps.a.b.mood}}'}\n",
            "",
            3,
            24,
            "pipe.steps.a.b is a text and has no members",
            "write pipe.steps.a.b",
        ),
        (
            "pipe:\n- {type: llm, name: a, tmpl: '{{item}}', each: [x]}\n- {type: llm, tmpl: '{{pipe.a.items}}'}\n",
            "",
            3,
            24,
            "pipe.a is a text and has no members",
            "write pipe.items, in the step right after 'a'",
        ),
        ("pipe:\n- {type: llm, tmpl: '{{item}}'}\n", "", 2, 24, "only where there are items", "`each` or `over`"),
        (STEP + "  each: {glob: '{{item.path}}'}\n", "", 4, 19, "only where there are items", "each"),
        (
            STEP + "  each: {glob: '*.md'}\n  key: '{{item.stm}}'\n",
            "",
            5,
            11,
            "did you mean 'stem'?",
            "known here: name, path",
        ),
        ("pipe:\n- {type: llm, tmpl: '{{run.taks}}'}\n", "", 2, 24, "did you mean 'task'?", "known here"),
        ("pipe:\n- {type: llm, tmpl: '{{now.year}}'}\n", "", 2, 24, "now is a text and has no members", "write now"),
        (STEP + "  when: vars.x > 1\n", "", 4, 9, "'vars.x' is not defined", "vars"),
        (STEP + "  when: '{{ vars.x }}'\n", "", 4, 13, "'vars.x' is not defined", "vars"),
        (
            "pipe:\n- {type: function, function: f, params: {a: [1, '{{vars.q}}']}}\n",
            "",
            2,
            52,
            "'vars.q' is not defined",
            "vars",
        ),
        ("pipe:\n- {type: command, command: [echo, '{{nope}}']}\n", "", 2, 38, "'nope' is not defined", "known"),
        (
            "production: {name: p}\npipe:\n- {type: llm, tmpl: '{{production.instance-dr}}'}\n",
            "",
            3,
            24,
            "did you mean 'instance_dir'?",
            "known",
        ),
    ],
)
def test_a_template_is_checked_before_anything_runs(
    text: str, file: str, line: int, column: int, says: str, fix: str
) -> None:
    error = fault(text)
    assert (error.file, error.line, error.column) == (file or "flows/a.ai", line, column), str(error)
    assert says in error.what and fix in error.fix, str(error)


@pytest.mark.parametrize("use", ["{{production.dir}}", "{{production}}", "{{id}}", "{% if id > 3 %}x{% endif %}"])
def test_a_production_that_is_not_active_is_missed_before_anything_runs(use: str) -> None:
    text = f"pipe:\n- type: llm\n  tmpl: |\n    one\n    {use}\n"
    error = fault(text)
    assert error.line == 5 and "needs a production, and none is active" in error.what and "production:" in error.fix
    compile(pipeline(text), production={"name": "p"})
    compile(pipeline("production: {name: p}\n" + text))


def test_saving_a_document_needs_a_production() -> None:
    assert "`document_type` of step 'step1' needs a production" in fault(STEP + "  document_type: raw\n").what


@pytest.mark.parametrize(
    "use", ["{{id|default('none')}}", "{% if production is defined %}{{production}}{% endif %}", "{{nope|d(1)}}"]
)
def test_a_guarded_name_may_be_missing(use: str) -> None:
    compile(pipeline(f'pipe:\n- type: llm\n  tmpl: "{use}"\n'))


def test_names_that_come_from_elsewhere_are_known() -> None:
    text = "pipe:\n- {type: llm, tmpl: '{{vars.topic}} {{vars.deep.x}}'}\n"
    assert "vars.topic" in fault(text).what
    assert pipeline(text, vars=("topic", "deep"))


def test_unknown_functions_are_found_when_the_known_ones_are() -> None:
    text = "pipe:\n- {type: function, function: shoute}\n"
    assert pipeline(text).steps[0].fields["function"] == "shoute"
    error = fault(text, functions=["shout"])
    assert "nobody registered; did you mean 'shout'?" in error.what and "convert_to_docx, shout" in error.fix


@pytest.mark.parametrize(
    ("tmpl", "text"),
    [
        ("summary.j2", FILES["instruction/summary.j2"]), ("near.j2", FILES["flows/instruction/near.j2"]),
        ("beside.txt", "beside"), ("bare", "found without a suffix"), ("Say hello", "Say hello"), ("Hello.", "Hello."),
        ('"{{input}}.j2"', "{{input}}.j2"), ("|\n    two\n    lines.j2", "two\nlines.j2\n"), ("/bin/true", "/bin/true"),
        ("Read notes.txt", "Read notes.txt"), ("../x", "../x"),
    ],
)  # fmt: skip
def test_a_prompt_is_a_text_or_a_file(tmpl: str, text: str) -> None:
    assert pipeline(f"pipe:\n- type: llm\n  tmpl: {tmpl}\n").steps[0].fields["tmpl"] == text


def test_a_prompt_never_asks_for_a_file_outside() -> None:
    asked: list[str] = []

    def read(path: str) -> None:
        asked.append(path)

    for name in ("/etc/passwd", "../../x", "~/x", "a/../../b", "a\\b", "x" * 300):
        parse(f"pipe:\n- type: llm\n  tmpl: '{name}'\n", file="flows/a.ai", read=read)
    assert asked == []


def test_ids_and_versions_keep_how_they_are_written() -> None:
    made = pipeline("version: 1.10\npipe:\n- type: llm\n  name: 007\n  model: 3.50\n  tmpl: x\n  output: 010\n")
    assert (made.version, made.steps[0].name) == ("1.10", "007")
    assert made.steps[0].fields["model"] == "3.50" and made.steps[0].fields["output"] == "010"


def test_a_file_without_a_name_is_called_after_itself() -> None:
    assert pipeline(STEP).name == "a"


def test_steps_without_a_model_are_told() -> None:
    assert pipeline(STEP + "- {type: llm, tmpl: x, model: m}\n- {type: human, question: q}\n").without_model == (
        "step1",
    )
    assert pipeline("model: m\n" + STEP).without_model == ()


def test_defaults_go_to_the_steps_that_know_them() -> None:
    made = pipeline(
        "defaults: {type: llm, model: m, temperature: 0.5, retry: 2, output-file: '{{input}}', each: [1]}\n"
        "pipe:\n- tmpl: x\n- {tmpl: y, model: n, result-file: 'z{{key}}', over: step1}\n- {type: human, question: q}\n"
    )
    first, second, third = (step.fields for step in made.steps)
    assert (first["model"], first["temperature"], first["output_file"]) == ("m", 0.5, "{{input}}")
    assert (second["model"], second["output_file"], "each" in second) == ("n", "z{{key}}", False)
    assert "model" not in third and third["retry"].tries == 2


def test_a_long_pipeline_is_read_quickly() -> None:
    steps = "".join(f"- {{type: llm, tmpl: '{{{{pipe.step{max(i, 1)}}}}}', when: 'true'}}\n" for i in range(1, 1200))
    began = time.process_time()
    assert len(pipeline("pipe:\n- {type: llm, tmpl: x}\n" + steps).steps) == 1200
    assert time.process_time() - began < 5


WORDS = [key.name for key in (*FILE, *STEP_KEYS)] + [key.name.replace("_", "-") for key in STEP_KEYS] + ["x", "<<", ""]
SCALAR = st.sampled_from(
    ["llm", "function", "command", "human", "step1", "step2", "a", "x", "", "{{pipe.step1}}", "{{item}}", "{{", "1h", "true", "no",
     "continue", "*.md", "aisource", "{{production.dir}}", "a/b", "\x07", 0, 1, -1, 2.5, True, False, None, "summary.j2", "nope.j2"]
)  # fmt: skip
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
A_STEP = st.dictionaries(st.sampled_from(WORDS), VALUE, max_size=5).flatmap(
    lambda more: st.sampled_from(["llm", "function", "command", "human"]).map(
        lambda type: {"type": type, {"llm": "tmpl", "human": "question"}.get(type, type): "x", **more}
    )
)
A_FILE = st.dictionaries(st.sampled_from(WORDS), VALUE, max_size=3).flatmap(
    lambda more: st.lists(A_STEP | VALUE, max_size=4).map(lambda steps: {**more, "pipe": steps})
)


@given(A_FILE | VALUE)
def test_any_file_is_a_plan_or_our_error(value: object) -> None:
    # JSON is YAML, but for characters that only an escape can hold.
    import json

    try:
        compile(pipeline(json.dumps(value, ensure_ascii=True)))
    except InvalidFile as error:
        assert error.file and error.line


@given(st.text("pie:-\n lmtyx{}[]'\"&*#1", max_size=80))
def test_any_text_is_a_plan_or_our_error(text: str) -> None:
    for whole in (text, STEP + "  " + text):
        try:
            compile(pipeline(whole))
        except InvalidFile as error:
            assert error.file
