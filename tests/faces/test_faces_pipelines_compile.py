"""From a file to a plan: tasks, needs, maps, policies, and what the executors will find in their inputs."""

# ruff: noqa: E501  a row of a table, a line of a file: whole, so that they can be read

from __future__ import annotations

from faces_pipelines import STEP, inputs, plan, snapshot

from callboard.core.plan import Map, Retry, Review

THREE = (
    "pipe:\n- {type: llm, name: a, tmpl: x%s}\n- {type: llm, name: b, tmpl: x%s}\n- {type: llm, name: c, tmpl: x%s}\n"
)


def needs(a: str = "", b: str = "", c: str = "") -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(required, optional) of each of three steps, with lines added."""
    return [(task.needs, task.optional) for task in plan(THREE % (a, b, c)).tasks]


def test_steps_form_a_chain() -> None:
    assert needs() == [((), ()), (("a",), ()), (("b",), ())]
    assert plan(THREE % ("", "", "")).settings["chain"] == ["a", "b", "c"]


def test_named_needs_form_a_graph_in_any_order() -> None:
    text = THREE % (", needs: [b, c]", ", needs: []", ", needs: b")
    assert [(task.name, task.needs) for task in plan(text).tasks] == [("a", ("b", "c")), ("b", ()), ("c", ("b",))]
    assert plan(text).settings["chain"] == ["b", "c", "a"]


def test_a_step_whose_failure_is_borne_is_needed_optionally() -> None:
    made = plan(THREE % (", on_error: continue", "", ""))
    assert [task.critical for task in made.tasks] == [False, True, True]
    assert needs(", on_error: continue") == [((), ()), ((), ("a",)), (("b",), ())]


def test_the_pipe_flows_through_steps_without_an_outcome() -> None:
    assert needs(b=", when: '{{input}}'")[2] == (("a", "b"), ())
    assert needs(b=", on_error: continue")[2] == (("a",), ("b",))
    assert needs(a=", when: '{{input}}'", b=", when: no")[2] == (("a", "b"), ())
    assert needs(b=", when: true")[2] == (("b",), ())


def test_a_step_named_in_a_template_is_needed() -> None:
    text = (THREE % ("", "", "")).replace("name: c, tmpl: x", "name: c, tmpl: '{{pipe.a}} {{pipe.steps.b}} {{pipe.a}}'")
    assert plan(text).tasks[2].needs == ("a", "b")


def test_an_output_has_a_second_name() -> None:
    text = (THREE % (", output: first-draft", "", "")).replace(
        "name: c, tmpl: x", "name: c, tmpl: '{{pipe.first_draft}}'"
    )
    made = plan(text)
    assert made.tasks[2].needs == ("a", "b")
    assert made.settings["outputs"] == {"first-draft": "a"} and made.tasks[0].inputs["output"] == "first-draft"


def test_a_false_condition_skips_and_a_template_may() -> None:
    for when, skip, may_skip in (
        ("no", True, False),
        ("false", True, False),
        ("true", False, False),
        ("input", False, True),
    ):
        task = plan(STEP + f"  when: {when}\n").tasks[0]
        assert (task.skip, task.may_skip) == (skip, may_skip)
    assert inputs(STEP + "  when: input > 3\n")["when"] == "input > 3"
    assert "templates" not in inputs(STEP + "  when: '{{input}}'\n") and "when" not in inputs(STEP + "  when: no\n")


def test_lists_map_and_what_follows_joins() -> None:
    made = plan(
        "pipe:\n- {type: llm, name: a, tmpl: '{{item.text}}', each: {glob: 'docs/*.md'}, key: '{{item.stem}}', allow_failures: 2}\n"
        "- {type: llm, name: b, tmpl: '{{item.name}} {{key}} {{pipe.a}}', over: a, barrier: true}\n"
        "- {type: llm, name: c, tmpl: '{{pipe.items|length}}'}\n"
    )
    assert [task.map for task in made.tasks] == [Map("", False, 2), Map("a", True, 0), None]
    assert [task.needs for task in made.tasks] == [(), ("a",), ("b",)]
    assert made.tasks[0].inputs["each"] == {"glob": "docs/*.md", "key": "{{item.stem}}"}
    assert made.tasks[0].inputs["templates"] == ["prompt"]


def test_every_kind_of_list_is_passed_on() -> None:
    for each, made in (
        ("[1, 'b', {c: 2}]", {"list": [1, "b", {"c": 2}]}),
        ("{list: '{{vars.xs}}'}", {"list": "{{vars.xs}}"}),
        ("{csv: people.csv, key: email}", {"csv": "people.csv", "key": "email"}),
        ("{glob: '{{input}}/*.md'}", {"glob": "{{input}}/*.md"}),
    ):
        assert inputs(f"vars: {{xs: [1]}}\n{STEP}  each: {each}\n")["each"] == made
    made_of_steps = plan(STEP + "- {type: llm, tmpl: '{{item}}', each: {from: step1}, needs: []}\n")
    assert made_of_steps.tasks[1].needs == ("step1",) and made_of_steps.tasks[1].map == Map()


def test_a_twin_is_a_required_need_even_when_its_failure_is_borne() -> None:
    made = plan(STEP + "  each: [1]\n  on_error: continue\n- {type: llm, tmpl: x, over: step1}\n")
    assert (made.tasks[1].needs, made.tasks[1].optional) == (("step1",), ())


def test_policies_go_to_the_machine() -> None:
    made = plan(
        "limits: {gpu: 2, run: 8}\non_failure: stop\n" + STEP +
        "  timeout: 90s\n  retry: {tries: 5, delay: 500ms, factor: 3, longest: 1m, jitter: 0.1}\n  review: {again: 2, expires: 1d}\n"
        "  limits: [gpu]\n  priority: 0\n  effect: once\n"
    )  # fmt: skip
    task = made.tasks[0]
    assert (task.timeout, task.retry, task.review) == (90.0, Retry(5, 0.5, 3, 60.0, 0.1), Review(2, 86_400.0))
    assert (task.limits, task.priority, task.effect) == (("gpu",), 0, "once")
    assert (made.limits, made.on_failure) == ({"gpu": 2, "run": 8}, "stop")
    assert task.inputs == {"prompt": "x"}
    assert plan(STEP + "  retry: 2\n").tasks[0].retry.tries == 2
    assert plan(STEP + "  retry: 1\n  review: false\n").tasks[0].review is None


def test_a_draft_can_be_sent_back_three_times_unless_the_file_says_otherwise() -> None:
    assert plan(STEP + "  review: true\n").tasks[0].review == Review(3)
    assert plan(STEP + "  review: {expires: 1d}\n").tasks[0].review == Review(3, 86_400.0)
    assert plan(STEP + "  review: {again: 0}\n").tasks[0].review == Review(0)
    human = "- {type: human, question: ok?, review: {expires: 1d}}\n"
    assert plan("pipe:\n" + human).tasks[0].review == Review(0, 86_400.0)


def test_only_models_are_tried_again_by_default() -> None:
    made = plan(
        STEP + "- {type: command, command: [ls]}\n- {type: function, function: f}\n- {type: human, question: ok?}\n"
    )
    assert [task.retry.tries for task in made.tasks] == [3, 1, 1, 1]
    assert [task.effect for task in made.tasks] == ["none", "keyed", "keyed", "none"]
    assert [task.review for task in made.tasks] == [None, None, None, Review()]


def test_each_type_finds_its_fields() -> None:
    text = (
        "production: {name: p}\npipe:\n"
        "- {type: llm, tmpl: a, system: '{{input}}', model: m, provider: o, temperature: 0, max_tokens: 9, schema: answer.json,\n"
        "   options: {labels: [a, '{{b}}']}, source-file: in.txt, cache: false, overwrite: true,\n"
        "   document_type: raw, step: 'in', suffix: md}\n"
        "- {type: command, command: [echo, '{{input}}', 5, 0.50, ''], env: {A: '{{input}}', B: 1}, stdin: x, cwd: sub, format: json,\n"
        "   secrets: [KEY], transient_codes: [75]}\n"
        "- {type: command, shell: true, command: 'echo ${#A} | wc -c'}\n"
        "- {type: function, function: shout, params: {loud: '{{input}}', times: 3}}\n"
        "- {type: human, question: 'Is {{pipe.step1}} good?', show: '{{pipe.step1}}', choices: [yes, no]}\n"
    )
    made = [dict(task.inputs) for task in plan(text).tasks]
    assert made[0] == {
        "prompt": "a", "system": "{{input}}", "model": "m", "provider": "o", "temperature": 0, "max_tokens": 9,
        "schema": {"type": "object"}, "options": {"labels": ["a", "{{b}}"]}, "source_file": "in.txt", "cache": False,
        "overwrite": True, "document_type": "raw", "step": "in", "suffix": "md", "templates": ["system"],
    }  # fmt: skip
    assert made[1] == {
        "command": ["echo", "{{input}}", "5", "0.50", ""], "env": {"A": "{{input}}", "B": "1"}, "stdin": "x", "cwd": "sub",
        "format": "json", "secrets": ["KEY"], "transient_codes": [75], "templates": ["command", "env"],
    }  # fmt: skip
    assert made[2] == {"command": "echo ${#A} | wc -c", "shell": True}
    assert made[3] == {"function": "shout", "params": {"loud": "{{input}}", "times": 3}, "templates": ["params"]}
    assert made[4] == {
        "question": "Is {{pipe.step1}} good?", "show": "{{pipe.step1}}", "choices": ["yes", "no"], "templates": ["question", "show"],
    }  # fmt: skip
    assert plan(text).tasks[0].reads == ("in.txt",)


def test_a_plan_says_nothing_that_is_only_a_comment() -> None:
    one = snapshot(plan("# hello\nname: a\n" + STEP + "  description: what it does\n"))
    two = snapshot(plan("name: a\ndescription: other\nversion: 2\n" + STEP))
    assert one == two
