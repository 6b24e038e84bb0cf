"""Chains, graphs, lists and functions of one's own, as a person meets them on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doors_desk import Desk


def values(text: str) -> dict[str, str]:
    return {one["key"]: one["value"] for one in json.loads(text)}


# ── graphs ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_diamond_brings_both_sides_together(desk: Desk) -> None:
    desk.write(
        "diamond.ai",
        """
        pipe:
          - {name: top, type: command, command: [cat]}
          - {name: left, type: command, needs: [top], command: [sed, "s/^/left /"]}
          - {name: right, type: command, needs: [top], command: [sed, "s/^/right /"]}
          - name: both
            type: function
            function: aisource
            needs: [left, right]
            params: {file: both, content: "{{pipe.steps.left}}/{{pipe.steps.right}}"}
        """,
    )
    assert desk.good("run", "diamond.ai", "x").out == "left x/right x\n"
    assert desk.json("check", "diamond.ai")["tasks"][3]["needs"] == ["left", "right"]


def test_several_last_steps_are_a_result_by_name(desk: Desk) -> None:
    desk.write(
        "fork.ai",
        """
        pipe:
          - {name: a, type: command, needs: [], command: [echo, one]}
          - {name: b, type: command, needs: [], command: [echo, two]}
        """,
    )
    assert set(json.loads(desk.good("run", "fork.ai", "x").out)) == {"a", "b"}


def test_a_step_that_is_not_wanted_lets_the_text_flow_past(desk: Desk) -> None:
    desk.write(
        "when.ai",
        """
        pipe:
          - {name: first, type: command, command: [cat]}
          - {name: shout, type: command, when: "{{ vars.loud == 'yes' }}", command: [tr, a-z, A-Z]}
          - {name: last, type: command, command: [cat]}
        """,
    )
    assert desk.good("run", "when.ai", "words", "--var", "loud=no").out == "words\n"
    assert [task["status"] for task in desk.json("show")["tasks"]] == ["success", "skipped", "success"]
    assert desk.good("run", "when.ai", "words", "--var", "loud=yes").out == "WORDS\n"


def test_what_is_not_critical_may_fail_and_the_run_is_partly_done(desk: Desk) -> None:
    desk.write(
        "partly.ai",
        """
        pipe:
          - {name: bad, type: command, on_error: continue, command: [sh, -c, "exit 3"]}
          - {name: last, type: command, stdin: kept, command: [cat]}
        """,
    )
    said = desk.good("run", "partly.ai", "x", code=3)
    assert said.out == "kept\n"
    assert "partly done" in said.err and "bad failed" in said.err
    assert said.last == f"next: callboard resume {desk.run_id()} --retry"


def test_a_failed_step_is_done_again_when_it_is_asked_for(desk: Desk) -> None:
    desk.write("flaky.ai", "pipe:\n  - {name: look, type: command, command: [cat, wanted.txt]}\n")
    desk.good("run", "flaky.ai", "x", code=1)
    assert desk.call("resume", desk.run_id()).code == 2
    desk.write("wanted.txt", "here")
    assert desk.good("resume", desk.run_id(), "--retry").out == "here\n"


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_may_be_carried_out_for_each_file(desk: Desk) -> None:
    for name in ("ada", "ben", "ünï 火"):
        desk.write(f"letters/{name}.txt", f"from {name}")
    desk.write(
        "each.ai",
        """
        pipe:
          - {name: read, type: command, each: {glob: "letters/*.txt"}, stdin: "{{item.text}}", command: [cat]}
          - {name: mark, type: command, over: read, command: [sed, "s/from/by/"]}
        """,
    )
    said = desk.good("run", "each.ai")
    assert values(said.out) == {f"letters/{name}.txt": f"by {name}" for name in ("ada", "ben", "ünï 火")}
    assert [one["key"] for one in json.loads(said.out)] == sorted(values(said.out))
    assert [task["items"]["done"] for task in desk.json("show")["tasks"]] == [3, 3]


def test_a_step_may_be_carried_out_for_each_line_of_a_csv(desk: Desk) -> None:
    desk.write("guests.csv", "name,email\nAda,ada@example.org\n'Ben, B',ben@example.org\n".replace("'", '"'))
    desk.write(
        "guests.ai",
        """
        pipe:
          - name: note
            type: command
            each: {csv: guests.csv, key: "{{item.email}}"}
            command: [echo, "Dear {{item.name}}"]
        """,
    )
    said = desk.good("run", "guests.ai")
    assert {key: text.strip() for key, text in values(said.out).items()} == {
        "ada@example.org": "Dear Ada",
        "ben@example.org": "Dear Ben, B",
    }


def test_a_step_after_a_list_sees_all_of_it_in_order(desk: Desk) -> None:
    desk.write(
        "join.ai",
        """
        pipe:
          - {name: each, type: command, each: [c, a, b], stdin: "{{item}}", command: [cat]}
          - name: all
            type: function
            function: aisource
            params: {file: all, content: "{% for one in pipe.items %}{{one.value}}{% endfor %}"}
        """,
    )
    assert desk.good("run", "join.ai").out == "cab\n"


def test_items_that_fail_are_named_wherever_a_person_looks(desk: Desk) -> None:
    desk.write(
        "items.ai",
        """
        pipe:
          - name: each
            type: command
            each: [good, bad, fine]
            key: "{{item}}"
            allow_failures: 1
            command: [sh, -c, "test $WHAT != bad && echo $WHAT"]
            env: {WHAT: "{{item}}"}
        """,
    )
    said = desk.good("run", "items.ai", code=3)
    assert "each/bad failed: " in said.err
    assert said.last == f"next: callboard resume {desk.run_id()} --restart each/bad"
    shown = desk.good("show").out
    assert "2/3, 1 failed" in shown and "each/bad" in shown
    assert [item["key"] for item in desk.json("show")["tasks"][0]["items"]["failed"]] == ["bad"]


def test_too_many_failures_are_counted_not_listed(desk: Desk) -> None:
    desk.write(
        "items.ai",
        """
        pipe:
          - {name: each, type: command, each: [a, b, c, d, e, f, g, h, i, j, k, l], command: ["false"]}
        """,
    )
    said = desk.good("run", "items.ai", code=1)
    assert said.err.count(" failed: ") == 10 and "2 more failures" in said.err


def test_a_list_of_nothing_is_done(desk: Desk) -> None:
    desk.write("none.ai", "pipe:\n  - {type: command, each: {glob: 'nowhere/*.txt'}, command: [cat]}\n")
    assert desk.good("run", "none.ai").out == "[]\n"


def test_names_of_files_cannot_speak_to_the_terminal(desk: Desk) -> None:
    desk.write("docs/\x1b[31mred\x07.txt", "x")
    desk.write("hostile.ai", "pipe:\n  - {name: h, type: command, each: {glob: 'docs/*'}, command: [cat]}\n")
    desk.write("docs/plain.txt", "y")
    said = desk.good("run", "hostile.ai")
    assert sorted(values(said.out).values()) == ["x", "y"]
    for text in (said.err, desk.good("show").out, desk.good("logs").out, desk.good("show", "--story").out):
        assert "\x1b" not in text and "\x07" not in text


def test_text_of_a_model_cannot_speak_to_the_terminal(desk: Desk) -> None:
    desk.write("echo.ai", "pipe:\n  - {type: command, command: [printf, '\\033]0;owned\\007red']}\n")
    assert "\x1b]0;owned\x07red" in desk.spawn("run", "echo.ai", "x").out  # a pipe gets what was said
    shown = desk.terminal("run", "echo.ai", "x").out
    assert "\x1b]0;" not in shown and "␛]0;owned␇red" in shown


# ── functions, commands, files ──────────────────────────────────────────────────────────────────────────

SHOUT = """
from callboard import register

@register("shout")
def shout(pipe_data, params):
    pipe_data["pipeout_text"] = pipe_data["pipein-text"].upper() + params.get("end", "!")
    return pipe_data

@register("plain")
def plain(pipe_data, params):
    return "a plain text"

@register("breaks")
def breaks(pipe_data, params):
    raise ValueError("the prompter has lost the page")

@register("leaves")
def leaves(pipe_data, params):
    import os
    os._exit(3)
"""


def test_functions_of_the_project_are_called_in_children(desk: Desk) -> None:
    desk.write("function/shout.py", SHOUT)
    desk.write(
        "shout.ai",
        """
        pipe:
          - {name: first, type: function, function: plain}
          - {name: second, type: function, function: shout, params: {end: "!!"}}
        """,
    )
    assert desk.good("run", "shout.ai", "x").out == "A PLAIN TEXT!!\n"


def test_a_function_that_raises_or_dies_costs_its_run_and_nothing_else(desk: Desk) -> None:
    desk.write("function/shout.py", SHOUT)
    desk.write("breaks.ai", "pipe:\n  - {name: b, type: function, function: breaks}\n")
    said = desk.good("run", "breaks.ai", "x", code=1)
    assert "the prompter has lost the page" in said.err
    desk.write("leaves.ai", "pipe:\n  - {name: l, type: function, function: leaves}\n")
    assert "l failed" in desk.good("run", "leaves.ai", "x", code=1).err


def test_a_function_that_nobody_registered_is_named(desk: Desk) -> None:
    desk.write("unknown.ai", "pipe:\n  - {name: u, type: function, function: sing}\n")
    said = desk.call("run", "unknown.ai", "x")
    assert said.code == 2 and "unknown.ai:2:41" in said.err and "names 'sing', which nobody registers" in said.err
    # a name made while a module runs cannot be seen from outside: it is only remarked, and told of when it is called
    desk.write("function/late.py", "from callboard import register\nregister('si' + 'ng', lambda data, params: 'la')\n")
    said = desk.good("run", "unknown.ai", "x")
    assert said.out == "la\n" and "warning: unknown.ai:2:41" in said.err


def test_what_a_command_is_given_is_one_argument_whatever_is_in_it(desk: Desk) -> None:
    desk.write("args.ai", "pipe:\n  - {type: command, command: [printf, '<%s>', '{{input}}', two]}\n")
    hostile = "a; touch owned $(touch owned) `touch owned` \"'"
    assert desk.good("run", "args.ai", hostile).out == f"<{hostile}><two>\n"
    assert not (desk.here / "owned").exists()


def test_a_model_may_be_given_labels_and_a_schema(desk: Desk) -> None:
    desk.write(
        "facts.ai",
        """
        pipe:
          - name: topic
            type: llm
            tmpl: "{{input}}"
            options: {labels: [tickets, sound]}
          - name: facts
            type: llm
            tmpl: "How many tickets? {{input}}"
            schema:
              type: object
              properties: {tickets: {type: integer, minimum: 0}}
              required: [tickets]
        """,
    )
    found = desk.json("run", "facts.ai", "I bought 2 tickets and was charged for four tickets.")
    assert isinstance(found["result"]["tickets"], int)
    assert found["calls"] == 2


def test_an_equal_request_is_answered_from_the_cache(desk: Desk) -> None:
    desk.write("ask.ai", "pipe:\n  - {type: llm, tmpl: 'Summarise: {{input}}'}\n")
    first = desk.json("run", "ask.ai", "The house was full.")
    again = desk.json("run", "ask.ai", "The house was full.")
    assert (first["calls"], again["calls"]) == (1, 0)
    assert first["result"] == again["result"]


def test_the_cache_and_everything_else_is_for_its_owner_only(desk: Desk) -> None:
    desk.write("ask.ai", "pipe:\n  - {type: llm, tmpl: 'Summarise: {{input}}'}\n")
    desk.good("run", "ask.ai", "The house was full.")
    found = [path for path in (desk.here / ".callboard").rglob("*") if path.stat().st_mode & 0o077]
    assert not found
