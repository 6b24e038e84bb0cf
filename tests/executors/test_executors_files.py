"""The file functions, user patterns, documents of a word processor, and lists of items."""

from __future__ import annotations

import io
import os
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import docx
import pytest

from callboard.errors import InvalidName, InvalidOutput, MissingExtra, NotFound, Permanent
from callboard.executors.docx import ConvertToDocx, document
from callboard.executors.extract import extract
from callboard.executors.files import AiResult, AiSource, Content
from callboard.executors.lister import PAGE, Lister
from callboard.executors.markdown import Block, Span, blocks, spans

if TYPE_CHECKING:
    from executors_desk import Desk

MARKDOWN = """# Title #

Some **bold** and *italic* text with `code`,
on two lines.

## Second
- one
  - inner
1. first
2) second
> quoted

***

```python
x = 1
# not a heading
```
last
"""


# ── aisource, airesult, content ─────────────────────────────────────────────────────────────────────────────


async def test_aisource_reads_a_file_or_takes_the_content_it_is_given(desk: Desk) -> None:
    (desk.dir / "in").mkdir()
    (desk.dir / "in" / "a.txt").write_bytes(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe")
    source = AiSource()
    assert await source.carry_out(desk.context(), desk.inputs(params={"file": "a.txt", "dir": "in"})) == "Grüße"
    assert await source.carry_out(desk.context(), desk.inputs(file="in/a.txt")) == "Grüße"
    assert await source.carry_out(desk.context(), desk.inputs(file="gone", content="given")) == "given"


async def test_aisource_says_what_is_wrong(desk: Desk) -> None:
    (desk.dir / "a.bin").write_bytes(b"\xff\xfe")
    for inputs, error in (({"file": "gone"}, NotFound), ({"file": "a.bin"}, Permanent), ({}, Permanent)):
        with pytest.raises(error):
            await AiSource().carry_out(desk.context(), desk.inputs(**inputs))


async def test_airesult_stages_the_text_and_lets_it_flow_on(desk: Desk) -> None:
    ctx = desk.context()
    assert await AiResult().carry_out(ctx, desk.inputs(params={"file": "out.txt"}, pipe="text")) == "text"
    ((path, hash, replaced),) = ctx.documents.written  # type: ignore[attr-defined]
    assert (path, desk.content.get(hash), replaced) == ("out.txt", b"text", None)


async def test_content_extracts_a_fenced_block_over_lines(desk: Desk) -> None:
    pipe = 'Here:\n```json\n{"a":\n 1}\n```\nbye'
    params = {"extract": r"```json\n(.*?)```", "format": "json"}
    assert await Content().carry_out(desk.context(), desk.inputs(pipe=pipe, params=params)) == {"a": 1}
    assert await Content().carry_out(desk.context(), desk.inputs(pipe="a\n\n b ", format="lines")) == ["a", "b"]
    assert await Content().carry_out(desk.context(), desk.inputs(pipe="as it is")) == "as it is"


async def test_content_that_has_not_the_shape_is_invalid(desk: Desk) -> None:
    for fields in ({"format": "json"}, {"extract": "no match"}):
        with pytest.raises(InvalidOutput):
            await Content().carry_out(desk.context(), desk.inputs(pipe="text", **fields))
    with pytest.raises(Permanent, match="there are text, json and lines"):
        await Content().carry_out(desk.context(), desk.inputs(pipe="text", format="xml"))


# ── patterns of users ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [(r"b+", "abbbc", "bbb"), (r"a(.*)c", "a\nb\nc", "\nb\n"), (r"(x)?y", "y", ""), (r"(?i)É", "é", "é")],
)
async def test_a_pattern_finds_its_first_group_or_the_match(pattern: str, text: str, found: str) -> None:
    assert await extract(pattern, text) == found


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){25}$"])
async def test_a_pattern_that_would_take_for_ever_is_ended(pattern: str) -> None:
    began = time.process_time()
    with pytest.raises(Permanent, match="more than 250 ms"):
        await extract(pattern, "a" * 50 + "b")
    assert time.process_time() - began < 0.2, "it must not be our own time"


async def test_a_pattern_that_is_none_says_why() -> None:
    with pytest.raises(Permanent, match="not a regular expression: missing"):
        await extract("(a", "a")


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────


def test_markdown_becomes_blocks() -> None:
    assert list(blocks(MARKDOWN)) == [
        Block("heading", "Title", 1),
        Block("paragraph", "Some **bold** and *italic* text with `code`, on two lines."),
        Block("heading", "Second", 2),
        Block("bullet", "one", 0),
        Block("bullet", "inner", 1),
        Block("number", "first", 0),
        Block("number", "second", 0),
        Block("quote", "quoted"),
        Block("code", "x = 1\n# not a heading"),
        Block("paragraph", "last"),
    ]


def test_stretches_of_text_have_styles() -> None:
    assert list(spans("a **b** `c*d*` *e* 2*3*4")) == [
        Span("a "),
        Span("b", "bold"),
        Span(" "),
        Span("c*d*", "code"),
        Span(" "),
        Span("e", "italic"),
        Span(" 2"),
        Span("3", "italic"),
        Span("4"),
    ]


def test_marks_that_do_not_close_are_read_in_time() -> None:
    began = time.process_time()
    for text in ("**" * 50_000, "`" * 100_000, "#" * 100_000, "*a" * 50_000, "- " * 50_000, ">" * 100_000):
        for block in blocks(text):
            list(spans(block.text))
    assert time.process_time() - began < 5


async def test_a_text_becomes_a_real_document(desk: Desk) -> None:
    (desk.dir / "in.md").write_text(MARKDOWN)
    ctx = desk.context()
    inputs = desk.inputs(params={"source": "in.md", "result": "out/report.docx"})
    assert await ConvertToDocx().carry_out(ctx, inputs) == "out/report.docx"
    ((path, hash, _),) = ctx.documents.written  # type: ignore[attr-defined]
    assert path == "out/report.docx"
    made = docx.Document(io.BytesIO(desk.content.get(hash)))
    styles = [(paragraph.style.name, paragraph.text) for paragraph in made.paragraphs]  # type: ignore[union-attr]
    assert styles == [
        ("Heading 1", "Title"),
        ("Normal", "Some bold and italic text with code, on two lines."),
        ("Heading 2", "Second"),
        ("List Bullet", "one"),
        ("List Bullet 2", "inner"),
        ("List Number", "first"),
        ("List Number", "second"),
        ("Intense Quote", "quoted"),
        ("Normal", "x = 1\n# not a heading"),
        ("Normal", "last"),
    ]
    assert [run.text for run in made.paragraphs[1].runs if run.bold] == ["bold"]


def test_what_xml_cannot_hold_is_marked_and_nothing_else_is_lost() -> None:
    made = docx.Document(io.BytesIO(document("a\0b\x1bc\ud800d <b>&amp;</b> \U0001f3ad")))
    assert made.paragraphs[0].text == "a\ufffdb\ufffdc\ufffdd <b>&amp;</b> \U0001f3ad"


def test_equal_texts_make_equal_bytes() -> None:
    data = document("# A")
    assert data == document("# A")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_without_the_library_the_error_names_the_command_that_installs_it(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'callboard\[docx\]'"):
        document("text")


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────


async def listed(desk: Desk, page: int = 1, **each: Any) -> tuple[Any, bool]:
    work = desk.work(inputs={"each": each}, upstream={"plan": {"value": ["p", "q"]}})
    found = await Lister(lambda work: desk.staged())(work, page)
    return found.items, found.more


async def test_a_list_is_keyed_by_content_and_occurrence(desk: Desk) -> None:
    items, more = await listed(desk, list=["a", {"b": 1}, "a"])
    keys = [key for key, _ in items]
    assert ([value for _, value in items], more) == (["a", {"b": 1}, "a"], False)
    assert keys[2] == f"{keys[0]}-2" and len(set(keys)) == 3
    assert [key for key, _ in (await listed(desk, list=["x", "a"]))[0]][1] == keys[0]


async def test_a_list_can_be_text_of_the_pipe_or_the_outcome_of_a_step(desk: Desk) -> None:
    assert [value for _, value in (await listed(desk, list="{{pipe.steps.plan}}"))[0]] == ["p", "q"]
    assert [value for _, value in (await listed(desk, list="one\n\n two\n"))[0]] == ["one", "two"]
    assert [value for _, value in (await listed(desk, **{"from": "plan"}))[0]] == ["p", "q"]


async def test_files_are_listed_by_path_and_keyed_by_it(desk: Desk) -> None:
    for name in ("b.md", "a.md", "sub/c.md", "d.txt"):
        (desk.dir / name).parent.mkdir(exist_ok=True)
        (desk.dir / name).write_text(name)
    (desk.dir / "dir.md").mkdir()
    items, _ = await listed(desk, glob="**/*.md")
    assert [key for key, _ in items] == ["a.md", "b.md", "sub/c.md"]
    assert items[2][1] == {"path": "sub/c.md", "name": "c.md", "stem": "c", "text": None}
    assert (await listed(desk, glob=str(desk.dir / "*.txt")))[0][0][0] == "d.txt"


async def test_files_outside_are_not_listed(desk: Desk, tmp_path: Any) -> None:
    (tmp_path / "secret.md").write_text("s")
    (desk.dir / "link.md").symlink_to(tmp_path / "secret.md")
    assert (await listed(desk, glob="*.md"))[0] == []
    for pattern in ("../*.md", str(tmp_path / "*.md")):
        with pytest.raises(Permanent, match="leaves"):
            await listed(desk, glob=pattern)


async def test_rows_of_a_csv_are_keyed_by_a_column_or_a_template(desk: Desk) -> None:
    (desk.dir / "a.csv").write_text('\ufeffid,name\n007,"Bond, James"\n008,\n\n')
    items, _ = await listed(desk, csv="a.csv", key="id")
    assert items == [("007", {"id": "007", "name": "Bond, James"}), ("008", {"id": "008", "name": ""})]
    assert [key for key, _ in (await listed(desk, csv="a.csv", key="n-{{item.id}}"))[0]] == ["n-007", "n-008"]
    assert len({key for key, _ in (await listed(desk, csv="a.csv"))[0]}) == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("id,id\n1,2\n", "two have the same"),
        ("id\n1,2\n", "2 cells under 1 columns"),
        ("id\n1\n1\n", "two items have the key '1'"),
        ('id\n"1', "not CSV"),
        ("id\n \n", "an empty key"),
    ],
)
async def test_a_faulty_csv_is_named(desk: Desk, text: str, fault: str) -> None:
    (desk.dir / "a.csv").write_text(text)
    with pytest.raises(Permanent, match=fault):
        await listed(desk, csv="a.csv", key="id")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
async def test_a_spreadsheet_may_separate_its_columns_in_its_own_way(desk: Desk, separator: str) -> None:
    rows = (["id", '"a, b; c"'], ["1", '"x; y, z"'])
    (desk.dir / "a.csv").write_text("".join(separator.join(row) + "\r\n" for row in rows))
    assert (await listed(desk, csv="a.csv", key="id"))[0] == [("1", {"id": "1", "a, b; c": "x; y, z"})]


async def test_one_column_is_a_table_too(desk: Desk) -> None:
    (desk.dir / "a.csv").write_text("line\none; two\n")
    assert [value for _, value in (await listed(desk, csv="a.csv"))[0]] == [{"line": "one; two"}]


async def test_a_name_that_cannot_be_a_key_is_made_one(desk: Desk) -> None:
    for name in ("a\nb.md", "a_b.md", "plain.md"):
        (desk.dir / name).write_text(name)
    items, _ = await listed(desk, glob="*.md")
    keys = [key for key, _ in items]
    assert len(set(keys)) == 3 and "plain.md" in keys and "a_b.md" in keys
    assert keys[0].startswith("a_b.md~") and keys[0].isprintable()
    assert (await listed(desk, glob="*.md"))[0] == items, "the same again"
    assert desk.staged().read(items[0][1]["path"]) == b"a\nb.md"
    with pytest.raises(InvalidName):
        desk.staged().write("a\nb.md", b"ours")
    long = (await listed(desk, list=["x" * 500, "x" * 501], key="{{item}}"))[0]
    assert [len(key) for key, _ in long] == [200, 200] and long[0][0] != long[1][0]


async def test_a_name_that_is_no_text_fails_alone(desk: Desk) -> None:
    for name in (b"x\xff.md", b"x\xfe.md"):
        (desk.dir / os.fsdecode(name)).write_bytes(b"text")
    items, _ = await listed(desk, glob="*.md")
    assert [key for key, _ in items] == ["x\\xfe.md", "x\\xff.md"]
    with pytest.raises(NotFound):
        desk.staged().read(items[0][1]["path"])


async def test_a_key_that_is_no_member_is_an_error(desk: Desk) -> None:
    with pytest.raises(Permanent, match="no member of an item; there are a"):
        await listed(desk, list=[{"a": 1}], key="b")
    assert (await listed(desk, list=[{"a": 1}], key="a"))[0] == [("1", {"a": 1})]


async def test_a_long_list_comes_in_pages(desk: Desk) -> None:
    lister = Lister(lambda work: desk.staged())
    work = desk.work(inputs={"each": {"list": list(range(2 * PAGE + 1))}})
    pages = [await lister(work, number) for number in (1, 2, 3)]
    assert [(len(items), more) for items, more, *_ in pages] == [(PAGE, True), (PAGE, True), (1, False)]
    assert [value for items, *_ in pages for _, value in items] == list(range(2 * PAGE + 1))
    assert await lister(work, 2) == pages[1], "a page can be asked again"


async def test_what_is_no_list_is_said(desk: Desk) -> None:
    for each in ({"list": 3}, {"list": "[1, "}, {"from": "nobody"}, {}):
        with pytest.raises(Permanent):
            await listed(desk, **each)
    with pytest.raises(Permanent, match="maps over nothing"):
        await Lister(lambda work: desk.staged())(desk.work(), 1)
