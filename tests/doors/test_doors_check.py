"""`callboard check`, and the same questions before a run begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from doors_desk import Desk

WRONG = """
pipe:
  - {name: one, type: llm, tmpl: "{{nope}}"}
  - {name: two, type: llm, tmpl: x, source_file: gone.txt}
  - {name: three, type: llm, tmpl: x, timeout: soon}
"""


def test_all_faults_are_told_at_once(desk: Desk) -> None:
    desk.write("wrong.ai", WRONG)
    said = desk.good("check", "wrong.ai", code=2)
    assert not said.out and said.err.count("error: wrong.ai:") == 3 and said.err.count("  fix: ") == 3
    assert desk.good("run", "wrong.ai", code=2).err.count("error: wrong.ai:") == 3
    assert desk.good("run", "nowhere.ai", code=8) and not (desk.here / ".callboard").exists()


def test_json_has_every_fault(desk: Desk) -> None:
    desk.write("wrong.ai", WRONG)
    found = desk.json("check", "wrong.ai")
    assert (found["error"], found["exit_code"], found["line"]) == ("InvalidFile", 2, 3)
    assert [(one["line"], bool(one["what"] and one["fix"])) for one in found["faults"]] == [(3, 1), (4, 1), (5, 1)]


def test_a_check_makes_nothing_and_runs_nothing(desk: Desk) -> None:
    desk.write("function/mine.py", "from callboard import register\nopen('ran', 'w')\nregister('mine', print)\n")
    desk.write("good.ai", "pipe:\n  - {type: function, function: mine}\n")
    said = desk.good("check", "good.ai")
    assert "good: good" in said.out and said.last == "next: callboard run good.ai"
    assert sorted(path.name for path in desk.here.iterdir()) == ["function", "good.ai"]


def test_a_list_of_no_files_is_a_warning_before_and_a_reason_after(desk: Desk) -> None:
    desk.write("nothing.ai", "pipe:\n  - {name: gist, type: command, each: {glob: 'leters/*'}, command: [cat]}\n")
    for verb in ("check", "run"):
        assert "warning: nothing.ai:2:" in desk.good(verb, "nothing.ai").err
    assert [one["line"] for one in desk.json("check", "nothing.ai")["warnings"]] == [2]
    assert "no items: leters/* matches no file" in desk.good("show").out
    assert "gist had no items" in desk.good("run", "nothing.ai").err


def test_check_asks_for_the_key_of_a_model_unless_another_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    desk.write("real.ai", "pipe:\n  - {type: llm, model: gpt-4o-mini, tmpl: hello}\n")
    assert "OPENAI_API_KEY" in desk.good("check", "real.ai", code=2).err
    assert desk.good("check", "real.ai", "--model", "offline").code == 0
    said = desk.good("check", "real.ai", "--model", "nobody-has-this", code=2)
    assert "nobody-has-this" in said.err and "real.ai" not in said.err
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert desk.json("check", "real.ai")["models"] == ["gpt-4o-mini"]


def test_steps_without_a_model_are_one_fault(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_MODEL")
    desk.write("none.ai", "pipe:\n  - {type: llm, tmpl: a}\n  - {type: llm, tmpl: b}\n")
    assert desk.good("check", "none.ai", code=2).err.count("error: ") == 1


def test_a_variable_may_be_given(desk: Desk) -> None:
    desk.write("vars.ai", "pipe:\n  - {type: llm, tmpl: '{{vars.who}}'}\n")
    assert desk.call("check", "vars.ai").code == 2
    assert desk.good("check", "vars.ai", "--var", "who=Ada").code == 0


def test_a_command_is_given_the_secrets_it_asks_for_and_no_others(desk: Desk) -> None:
    desk.write("secret.ai", "pipe:\n  - {type: command, command: [env], secrets: [TOKEN]}\n")
    said = desk.good("run", "secret.ai", code=2)
    assert "secret.ai:2:47" in said.err and "CALLBOARD_SECRET_TOKEN" in said.err
    desk.environment(CALLBOARD_SECRET_TOKEN="t0k", CALLBOARD_SECRET_OTHER="hidden")
    out = desk.good("run", "secret.ai").out
    assert "TOKEN=t0k" in out and "hidden" not in out


def test_a_variable_that_nothing_reads_is_a_word_written_wrongly(desk: Desk) -> None:
    desk.write(
        "vars.ai",
        "vars: {brand: x}\npipe:\n  - {type: human, question: 'Is {{vars.brand}} {{vars.town|default(1)}}?'}\n",
    )
    for verb in ("check", "run"):
        said = desk.call(verb, "vars.ai", "--var", "brnad=Herald")
        assert (said.code, said.err) == (
            2,
            "error: vars.ai: nothing in this file reads the variable 'brnad'; did you mean 'brand'?\n"
            "  fix: its variables: brand\n",
        )
    desk.good("check", "vars.ai", "--var", "brand=Herald", "--var", "town=Ely")
    desk.write("all.ai", "pipe:\n  - {type: human, question: '{{vars|tojson}}'}\n")
    desk.good("check", "all.ai", "--var", "anything=1")


def test_a_run_that_adopts_may_have_variables_that_the_file_has_no_use_for_any_more(desk: Desk) -> None:
    desk.write("vars.ai", "pipe:\n  - {name: one, type: command, command: [echo, '{{vars.word}}']}\n")
    desk.good("run", "vars.ai", "--var", "word=x", "--id", "show")
    desk.write("vars.ai", "pipe:\n  - {name: one, type: command, command: [echo, y]}\n")
    desk.good("adopt", "show", "--yes")
    assert desk.good("resume", "show.2").out == "y\n"
