"""Templates over plain data: names with hyphens, what is written, what is found before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidFile
from callboard.text.template import Named, Use, compile, condition, fill, is_template, truth

NAMES: dict[str, Any] = {
    "pipe": {
        "pipein_text": "IN {{x}} {% y %}",
        "steps": {"my-step": {"v": 3}},
        "my-step": "mine",
        "items": [{"key": "a", "value": 1}, {"key": "b", "value": 2}],
    },
    "production": Named("profiles", {"name": "profiles", "instance_dir": "/x/profiles_00001"}),
    "id": "00001",
    "my-top": 7,
    "n": 4,
    "m": 2,
    "vars": {"xs": [3, 1, 2], "a-b": "AB", "yes": True, "nothing": None, "csv": "a,b", "d": {"k": [1]}, "html": "<b>&"},
}


def render(text: str, **names: Any) -> str:
    return compile(text, name="prompt", file="a.ai", line=10).render({**NAMES, **names})


def fault(text: str, **names: Any) -> InvalidFile:
    with pytest.raises(InvalidFile) as caught:
        render(text, **names)
    return caught.value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{{pipe.pipein-text}}", "IN {{x}} {% y %}"),
        ("{{ pipe.pipein_text }}", "IN {{x}} {% y %}"),
        ("{{pipe.steps.my-step.v}} {{pipe.my-step}} {{pipe.my_step}}", "3 mine mine"),
        ("{{pipe.steps['my-step'].v}} {{pipe['my_step']}}", "3 mine"),
        ("{{my-top}} {{my_top}}", "7 7"),
        ("{{vars.a-b}} {{vars.a_b}}", "AB AB"),
        ("{{production.instance-dir}}", "/x/profiles_00001"),
    ],
)
def test_names_may_hold_hyphens_and_hyphen_equals_underscore(text: str, written: str) -> None:
    assert render(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{{n - m}}", "2"),
        ("{{n -m}}", "2"),
        ("{{n- m}}", "2"),
        ("{{n-1}}", "3"),
        ("{{pipe.steps.my-step.v - 1}}", "2"),
        ("{{pipe.steps.my-step.v-1}}", "2"),
        ("{{ (n)-(m) }}", "2"),
        ("{{vars.xs|length-1}}", "2"),
        ("{{vars.xs|length-m}}", "1"),
        ("{{ -n }}", "-4"),
        ("{{n--1}}", "5"),
        ("{%- if n-1 -%} x {%- endif -%}", "x"),
    ],
)
def test_spaces_numbers_and_brackets_subtract(text: str, written: str) -> None:
    assert render(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{{"a-b pipe.pipein-text"}}', "a-b pipe.pipein-text"),
        ("{% raw %}{{pipe.pipein-text}}{% endraw %}", "{{pipe.pipein-text}}"),
        ("{# pipe.pipein-text #}a-b {id}", "a-b {id}"),
        ("{% for a-b in vars.xs %}{{a-b}}{% endfor %}", "312"),
        ("{% set x-y = 1 %}{{x-y + 1}}", "2"),
        ("{% if my-top > 6 and not-n is undefined %}y{% endif %}", "y"),
    ],
)
def test_strings_comments_and_raw_blocks_are_left_alone(text: str, written: str) -> None:
    assert render(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("no template at all\n", "no template at all\n"),
        ("x {{n}}\n\n", "x 4\n\n"),
        ("", ""),
        ("{{production}}_{{id}}", "profiles_00001"),
        ("{{production ~ '-' ~ id}}", "profiles-00001"),
        ("{{production|upper}}", "PROFILES"),
        ("{{production == 'profiles'}}", "true"),
        ("{{vars.yes}} {{vars.nothing}} {{vars.d}} {{vars.xs}}", 'true null {"k":[1]} [3,1,2]'),
        ("{{vars.html}}", "<b>&"),
        ("{{vars.html|e}}", "&lt;b&gt;&amp;"),
        ("{% for x in vars.xs %}{{loop.index}}:{{x}}{% if not loop.last %},{% endif %}{% endfor %}", "1:3,2:1,3:2"),
        ("{% for k, v in vars.d|items %}{{k}}={{v}}{% endfor %}", "k=[1]"),
        ("{% for x in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for i in range(3) %}{{i}}{% endfor %}", "012"),
        ("{% set x %}<{{n}}>{% endset %}{{x}}{{x}}", "<4><4>"),
        ("{% filter upper %}ab{{m}}{% endfilter %}", "AB2"),
        ("{% with a = n %}{{a}}{% endwith %}", "4"),
        ("{{vars.xs|sort|join('-')}} {{vars.xs|sum}} {{vars.xs|max}} {{vars.xs|min}}", "1-2-3 6 3 1"),
        ("{{pipe['items']|map(attribute='value')|join}} {{pipe.items|length}}", "12 2"),
        ("{{pipe.items|selectattr('key', 'eq', 'b')|map(attribute='value')|first}}", "2"),
        ("{{vars.xs|select('gt', 1)|list}} {{vars.xs|reject('odd')}}", "[3,2] [2]"),
        ("{{vars.xs|map('string')|join('+')}}", "3+1+2"),
        ("{{vars.csv|split(',')|last}} {{'a b'|title}} {{'abc'|replace('b', 'x')}} {{' a '|trim}}", "b A B axc a"),
        ("{{'{\"a\":1}'|fromjson|tojson(1)}}", '{\n "a": 1\n}'),
        ("{{'x\ny'|indent(2, first=true)}} {{'a b c'|wordcount}} {{'abcdef'|truncate(4)}}", "  x\n  y 3 abc…"),
        ("{{nope|default('d')}} {{nope is defined}} {{vars.q|d(1)}} {{[]|first|default('e')}}", "d false 1 e"),
        ("{{vars.xs[0]}}{{vars.xs[-1]}}{{vars.xs[:2]}}{{'abc'[1]}}", "32[3,1]b"),
        ("{{vars.xs|groupby('x')|length if false else 'no'}}", "no"),
        (
            "{% for kind, rows in [{'k':'b'},{'k':'a'},{'k':'b'}]|groupby('k') %}{{kind}}{{rows|count}}{% endfor %}",
            "a1b2",
        ),
        (
            "{{7.46|round(1)}} {{7|round}} {{'7'|int + 1}} {{'x'|int(5)}} {{2**10}} {{7//2}} {{7%4}}",
            "7.5 7.0 8 5 1024 3 3",
        ),
        ("{{'abc' is startswith('a')}} {{'b' in 'abc'}} {{vars is mapping}} {{n is even}}", "true true true true"),
        ("{{[1,2,3,4,5]|batch(2, 0)}} {{[1,1,2]|unique}} {{[1,2]|reverse}}", "[[1,2],[3,4],[5,0]] [1,2] [2,1]"),
        ("{{ {'b': 1, 'a': 2}|dictsort }}", '[["a",2],["b",1]]'),
        ("\r\n{{n}}\r\n", "\n4\n"),
    ],
)
def test_what_a_template_writes(text: str, written: str) -> None:
    assert render(text) == written


@given(st.text())
def test_values_are_never_rendered_again(value: str) -> None:
    assert compile("<{{pipe.pipein-text}}>").render({"pipe": {"pipein_text": value}}) == f"<{value}>"


@given(st.text(st.characters(exclude_characters="{", codec="utf-8")))
def test_a_text_without_braces_is_itself(value: str) -> None:
    assert compile(value).render({}) == value


@pytest.mark.parametrize(
    ("text", "line", "column", "says", "fix"),
    [
        ("{{nope}}", 10, 3, "'nope' is not defined", "known here: id, m, my-top, n, pipe, production, vars"),
        (
            "a\n\nb {{pipe.pipein-txt}}",
            12,
            5,
            "'pipe.pipein-txt' is not defined; did you mean 'pipein_text'?",
            "pipein_text",
        ),
        ("{{n-m}}", 10, 3, "'n-m' is not defined", "n-m is one name; to subtract write n - m"),
        ("{{vars.xs[9]}}", 10, 1, "no element 9 in a list of 3", "default"),
        ("{{vars.csv.upper}}", 10, 1, "a text has no member 'upper'; write |upper", ""),
        ("{{ 'x'.upper() }}", 10, 1, "templates call nothing but range", "filter"),
        ("{{ vars.upper() }}", 10, 1, "upper(…) cannot be called", "write |upper"),
        ("{{ n|uper }}", 10, 1, "there is no filter 'uper'; did you mean 'upper'?", "filters: abs, "),
        ("{{ n is evn }}", 10, 1, "there is no test 'evn'; did you mean 'even'?", "tests: "),
        ("x\n{% if n %}", 11, 1, "Unexpected end of template", "Jinja2"),
        ("x\n\n{{ n", 12, 1, "unexpected end of template", ""),
        ("{% foo %}", 10, 1, "unknown tag 'foo'", ""),
        ("{{ 1/0 }}", 10, 1, "division by zero", ""),
        ("{{ n < 'a' }}", 10, 1, "not supported between", ""),
        ("{{ 'a' + 1 }}", 10, 1, "texts are joined with ~", ""),
        ("{{ n + 'a' }}", 10, 1, "texts are joined with ~", ""),
        ("{{ '%s' % n }}", 10, 1, "% needs numbers", ""),
        ("{{ n|join }}", 10, 1, "is no list", ""),
        ("{{ 'x'|fromjson }}", 10, 1, "this is not JSON", ""),
        ("{{ pipe.pipein-text|sum }}", 10, 1, "+ needs numbers", ""),
    ],
)
def test_a_fault_names_the_template_its_place_and_the_fix(
    text: str, line: int, column: int, says: str, fix: str
) -> None:
    error = fault(text)
    assert (error.file, error.line, error.column) == ("a.ai", line, column), str(error)
    assert error.what.startswith("prompt: ") and says in error.what and fix in error.fix, str(error)


def test_variables_are_known_without_rendering() -> None:
    made = compile(
        "{{pipe.steps['my-step'].v}} {% for x in vars.xs %}{{x.y}}{{loop.index}}{% endfor %}\n{% set a = id %}{{a}}"
        "{{genre|default('x')}} {% if no is defined %}{{no}}{% endif %}{{ vars[input] }}{% raw %}{{ z }}{% endraw %}"
    )
    assert made.variables == ("pipe.steps.my_step.v", "vars.xs", "id", "genre", "no", "vars", "input")
    assert made.uses[0] == Use("pipe.steps.my_step.v", 1, False, "pipe.steps.my-step.v")
    assert {use.name: (use.line, use.optional) for use in made.uses if use.line == 2} == {
        "id": (2, False),
        "genre": (2, True),
        "no": (2, True),
        "vars": (2, False),
        "input": (2, False),
    }


def test_equal_texts_are_compiled_once_and_keep_their_own_names() -> None:
    one, two = compile("{{x}}!", name="one"), compile("{{x}}!", name="two")
    assert one.program is two.program
    with pytest.raises(InvalidFile, match="two:1:3"):
        two.render({})


def test_output_has_a_limit() -> None:
    made = compile("{% for i in range(50) %}0123456789{% endfor %}")
    assert len(made.render({}, limit=500)) == 500
    with pytest.raises(InvalidFile, match="writes more than 499 characters"):
        made.render({}, limit=499)


def test_a_value_is_filled_at_any_depth() -> None:
    value = {"a": "{{n}}", "b": ["x", "{{m}}", 3, None], "{{n}}": {"c": "{{pipe.pipein-text}}"}}
    assert fill(value, NAMES) == {"a": "4", "b": ["x", "2", 3, None], "{{n}}": {"c": "IN {{x}} {% y %}"}}
    with pytest.raises(InvalidFile, match=r"params\.a\[1\]:1:3: 'nope'"):
        fill({"a": ["", "{{nope}}"]}, NAMES, name="params")


def test_a_condition_may_be_an_expression() -> None:
    assert condition("n > 3") == "{{ n > 3 }}" and condition("{{n}}") == "{{n}}"
    assert truth(render(condition("n > 3"))) and not truth(render(condition("n > 4")))


@pytest.mark.parametrize("text", ["", " \n", "0", "no", "False", "none", "null", "[]", "{}", "off"])
def test_nothing_and_no_are_false(text: str) -> None:
    assert not truth(text) and truth(text + "x")


def test_only_delimiters_make_a_template() -> None:
    assert [is_template(text) for text in ("{id}", "{{id}}", "{% x %}", "{# x #}", 3, "}}")] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


SOUP = st.lists(
    st.sampled_from(
        [
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            " ",
            "a",
            ".",
            "-",
            "b-c",
            "|",
            "upper",
            "if",
            "endif",
            "for",
            "in",
            "endfor",
            "set",
            "=",
            "(",
            ")",
            "[",
            "]",
            "1",
            "'",
            '"',
            "~",
            "not",
            "is",
            "defined",
            "range",
            "loop",
            "\n",
            "raw",
            "endraw",
            "*",
            "**",
            ",",
        ]
    ),
    max_size=25,
).map("".join)


@given(SOUP)
def test_any_template_is_text_or_our_error(text: str) -> None:
    try:
        assert isinstance(compile(text, file="a.ai").render({"a": [1, {"b-c": "x"}]}), str)
    except InvalidFile as error:
        assert error.file == "a.ai"
