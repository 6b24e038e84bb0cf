"""Values become outcomes, strictly; files are staged, and only inside."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import InvalidName, NotFound, NotJson, Permanent, Transient
from callboard.executors.chain import chain, perform, seen, seen_by_function
from callboard.executors.failures import step_error
from callboard.executors.flow import file_item, incoming, namespace
from callboard.executors.staged import ANOTHER, PERSON, RUN, Staged
from callboard.executors.values import canonical, encode, outcome, text_of, with_field
from callboard.ports import Done, Recorded

if TYPE_CHECKING:
    from executors_desk import Desk


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({1, 2}, "set"),
        (b"x", "bytes"),
        ({"a": [object()]}, "object"),
        ({1: "x"}, "int"),
        (float("nan"), "nan"),
        ("\ud800", "surrogate"),
        (10**5000, "digits"),
    ],
    ids=["set", "bytes", "object", "key", "nan", "surrogate", "digits"],
)
def test_a_value_that_is_not_json_is_refused_with_the_task_and_the_type(value: Any, named: str) -> None:
    with pytest.raises(NotJson, match=named) as caught:
        encode(value, "task 'draft'")
    assert "task 'draft'" in str(caught.value)


def test_circles_and_great_depth_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(NotJson):
            encode(value, "draft")


def test_an_outcome_grows_by_fields() -> None:
    assert with_field(outcome("é", "t"), "usage", {"calls": 1}) == '{"value":"é","usage":{"calls":1}}'


def test_equal_values_have_one_canonical_text() -> None:
    assert canonical({"b": 1, "a": [2]}) == canonical({"a": [2], "b": 1}) == '{"a":[2],"b":1}'


def test_text_in_a_pipe_is_itself_and_data_is_compact_json() -> None:
    assert [text_of(one) for one in ("a", None, {"a": 1}, 3)] == ["a", "", '{"a":1}', "3"]


# ── what flows in ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_step_receives_the_input_and_a_later_one_the_latest_outcome(desk: Desk) -> None:
    assert incoming(desk.work()) == "the input"
    upstream = {"b": {"value": "of b"}, "a": {"value": "of a"}}
    assert incoming(desk.work(upstream=upstream, settings={"chain": ["a", "b", "c"]})) == "of b"


def test_a_skipped_or_failed_step_lets_the_one_before_flow_through(desk: Desk) -> None:
    upstream = {"a": {"value": "of a"}, "b": {"value": None, "skipped": "when"}, "c": {"value": None, "failed": "x"}}
    assert incoming(desk.work(upstream=upstream, settings={"chain": ["a", "b", "c"]})) == "of a"


def test_an_outcome_of_nothing_flows_as_nothing(desk: Desk) -> None:
    assert seen(desk.work(upstream={"a": {"value": None}}))["pipe"] == ""


def test_a_step_with_items_of_its_own_receives_its_item(desk: Desk) -> None:
    work = desk.work(inputs={"each": {"list": ["x"]}}, item="x", upstream={"a": {"value": "of a"}})
    assert incoming(work) == "x"
    file = file_item("docs/a.md")
    assert incoming(work._replace(item={**file, "text": "hello"})) == "hello"
    assert incoming(work._replace(item=file)) == "docs/a.md"


def test_a_join_receives_keys_and_values_in_order(desk: Desk) -> None:
    items = [{"key": "x", "value": 1, "usage": {}}, {"key": "y", "value": None, "failed": "broken"}]
    work = desk.work(upstream={"a": {"value": items, "failed": ["y"]}})
    kept = [{"key": "x", "value": 1}, {"key": "y", "value": None, "failed": "broken"}]
    assert incoming(work) == kept
    assert namespace(work)["pipe"]["items"] == kept


def test_templates_see_production_as_its_name_and_its_members(desk: Desk) -> None:
    names = namespace(desk.work(params={"production": {"name": "profiles", "dir": "d"}, "id": "00001"}))
    assert (str(names["production"]), names["production"]["dir"], names["id"]) == ("profiles", "d", "00001")
    assert "production" not in namespace(desk.work())


def test_a_second_name_of_an_output_is_a_name_of_the_pipe(desk: Desk) -> None:
    work = desk.work(upstream={"a": {"value": "text"}}, settings={"outputs": {"notes": "a"}})
    pipe = namespace(work)["pipe"]
    assert pipe["notes"] == pipe["a"] == pipe["steps"]["a"] == pipe["pipeout_text"] == "text"


def test_a_field_of_the_step_wins_over_the_run_parameters(desk: Desk) -> None:
    work = desk.work(inputs={"params": {"a": 1}})
    assert seen(work)["params"] == {"a": 1}
    assert seen(work)["run"] == {"input": "the input"}
    assert seen(desk.work())["params"] == {"input": "the input"}


def test_a_function_in_a_child_is_sent_only_what_it_can_ask_for(desk: Desk) -> None:
    work = desk.work(inputs={"function": "f", "prompt": "p"}, settings={"vars": {"a": 1}})
    assert seen_by_function(work) == {"function": "f", "pipe": "the input", "run": {"input": "the input"}}


# ── from a work to a done ───────────────────────────────────────────────────────────────────────────────────


class Raises:
    kind, version, effect = "llm", "1", "none"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def carry_out(self, ctx: Any, inputs: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), Permanent),
        (ConnectionResetError("reset"), Transient),
        (TimeoutError("of a socket"), Transient),
        (SystemExit(3), Permanent),
        (InvalidName("bad name"), Permanent),
    ],
)
async def test_what_an_executor_raises_becomes_a_step_error(desk: Desk, error: BaseException, kind: type) -> None:
    with pytest.raises(kind) as caught:
        await perform({"llm": Raises(error)})(desk.work(), desk.context())
    assert str(error) in str(caught.value)


async def test_an_executor_that_cancels_itself_has_failed(desk: Desk) -> None:
    import asyncio

    with pytest.raises(Permanent, match="cancelled itself"):
        await perform({"llm": Raises(asyncio.CancelledError())})(desk.work(), desk.context())


async def test_an_unknown_kind_is_named_with_those_there_are(desk: Desk) -> None:
    with pytest.raises(Permanent, match=r"'other'.*llm"):
        await perform({"llm": Raises(ValueError())})(desk.work("other"), desk.context())


async def test_middleware_runs_in_the_order_it_is_listed(desk: Desk) -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        async def one(work: Any, ctx: Any, handler: Any) -> Any:
            order.append(name)
            return await handler(work, ctx)

        return one

    async def last(work: Any, ctx: Any) -> Done:
        return Done("{}")

    await chain([named("outer"), named("inner")], last)(desk.work(), desk.context())
    assert order == ["outer", "inner"]


def test_the_evidence_of_a_strange_error_holds_a_bounded_traceback() -> None:
    class Ugly(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert len(str(step_error(ValueError("\ud800" * 100_000)).evidence)) < 20_000
    assert "Ugly" in str(step_error(Ugly()))


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_staged_and_read_back_but_not_yet_in_place(desk: Desk) -> None:
    staged = desk.staged()
    hash = staged.write("out/a.txt", b"new")
    assert staged.read("./out//a.txt") == b"new"
    assert not (desk.dir / "out").exists()
    assert staged.written == [("out/a.txt", hash, None)]


def test_a_file_that_no_run_has_recorded_is_not_replaced(desk: Desk) -> None:
    (desk.dir / "a.txt").write_bytes(b"a person's")
    staged = desk.staged()
    hash = staged.write("a.txt", b"ours")
    assert staged.written == [("a.txt", hash, None)]


@pytest.mark.parametrize(
    "path",
    ["a/../../evil.py", "a/../function/evil.py", "..", ".callboard/callboard.db", "a/.callboard/b", "./.callboard/x"],
)
def test_no_path_climbs_or_reaches_into_our_own_files(desk: Desk, path: str) -> None:
    with pytest.raises(InvalidName):
        desk.staged(replace=True).write(path, b"x")
    with pytest.raises(InvalidName):
        desk.staged().read(path)


def test_whoever_asks_for_it_replaces_the_version_that_is_there(desk: Desk) -> None:
    (desk.dir / "a.txt").write_bytes(b"old")
    staged = desk.staged(replace=True)
    staged.write("a.txt", b"one")
    hash = staged.write("a.txt", b"two")
    assert staged.written == [("a.txt", hash, hashlib.sha256(b"old").hexdigest())]


def test_a_version_this_run_has_recorded_is_replaced_even_if_a_person_changed_the_file(desk: Desk) -> None:
    (desk.dir / "a.txt").write_bytes(b"by a person")
    ours = desk.content.put(b"ours")
    desk.recorded["a.txt"] = Recorded(ours, "published", 1, None)
    staged = desk.staged()
    staged.write("a.txt", b"new")
    assert staged.written[0][2] == ours


@pytest.mark.parametrize("status", ["conflict", "edited", "missing", "source"])
def test_a_version_of_a_persons_that_is_recorded_is_not_replaced_unless_asked(desk: Desk, status: str) -> None:
    (desk.dir / "a.txt").write_bytes(b"by a person")
    theirs = hashlib.sha256(b"by a person").hexdigest()
    desk.recorded["a.txt"] = Recorded(theirs, status, 1, "0" * 64)
    for replace in (False, True):
        staged = desk.staged(replace=replace)
        staged.write("a.txt", b"new")
        assert staged.written[0][2] == (theirs if replace else None)


def test_a_recorded_file_that_is_not_in_place_yet_can_be_read(desk: Desk) -> None:
    desk.recorded["a.txt"] = Recorded(desk.content.put(b"pending"), "pending", 1, None)
    assert desk.staged().read("a.txt") == b"pending"


def test_what_was_read_is_remembered_by_hash(desk: Desk) -> None:
    (desk.dir / "a.txt").write_bytes(b"text")
    staged = desk.staged()
    staged.read("a.txt")
    assert staged.seen == {"a.txt": hashlib.sha256(b"text").hexdigest()}


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../../b", "", "a\0b", "x" * 300, "."])
def test_a_path_that_leads_outside_or_is_none_is_refused(desk: Desk, path: str) -> None:
    staged = desk.staged()
    for attempt in (lambda: staged.read(path), lambda: staged.write(path, b"")):
        with pytest.raises(InvalidName):
            attempt()


def test_a_line_break_in_a_name_may_be_read_but_is_never_written(desk: Desk) -> None:
    (desk.dir / "a\nb").write_text("there")
    assert desk.staged().read("a\nb") == b"there"
    with pytest.raises(InvalidName, match="control characters"):
        desk.staged().write("a\nb", b"")


def test_links_are_not_followed(desk: Desk, tmp_path: Any) -> None:
    (tmp_path / "secret").write_text("s")
    (desk.dir / "file").symlink_to(tmp_path / "secret")
    (desk.dir / "folder").symlink_to(tmp_path)
    for path in ("file", "folder/secret"):
        with pytest.raises(InvalidName, match="links are not followed"):
            desk.staged().read(path)


def test_a_pipe_or_a_directory_is_no_file_and_does_not_block(desk: Desk) -> None:
    os.mkfifo(desk.dir / "fifo")
    (desk.dir / "folder").mkdir()
    for path in ("fifo", "folder"):
        with pytest.raises((Permanent, InvalidName)):
            desk.staged().read(path)


def test_a_file_that_is_not_there_is_not_found(desk: Desk) -> None:
    for path in ("nope.txt", "no/such/dir.txt"):
        with pytest.raises(NotFound, match=r"nope|no/such"):
            desk.staged().read(path)


def test_another_directory_of_the_run_keeps_its_absolute_path(desk: Desk, tmp_path: Any) -> None:
    other = tmp_path / "productions"
    other.mkdir()
    desk.more = (str(other),)
    staged = desk.staged()
    staged.write(str(other / "a" / "b.txt"), b"x")
    assert staged.written[0][0] == str(other / "a" / "b.txt")
    (other / "c.txt").write_bytes(b"there")
    assert staged.read(str(other / "c.txt")) == b"there"


def recorded(desk: Desk, path: str, data: bytes, status: str = "published", replaces: str | None = None) -> None:
    desk.recorded[path] = Recorded(desk.content.put(data), status, 1, replaces)


def test_a_version_of_a_persons_is_kept_and_told_before_it_is_used(desk: Desk) -> None:
    recorded(desk, "a.txt", b"ours")
    (desk.dir / "a.txt").write_bytes(b"theirs")
    staged = desk.staged()
    assert staged.read("a.txt") == b"theirs"
    old, new = (hashlib.sha256(data).hexdigest() for data in (b"ours", b"theirs"))
    assert staged.edits == [("a.txt", old, new)]
    assert desk.content.get(new) == b"theirs"


def test_of_a_file_that_is_gone_the_last_version_is_read(desk: Desk) -> None:
    recorded(desk, "a.txt", b"ours")
    staged = desk.staged()
    assert staged.read("a.txt") == b"ours"
    assert staged.edits == [("a.txt", hashlib.sha256(b"ours").hexdigest(), "")]
    desk.recorded["a.txt"] = Recorded("", "missing", 1, desk.content.put(b"edited"))
    again = desk.staged()
    assert (again.read("a.txt"), again.edits) == (b"edited", [])
    desk.recorded["a.txt"] = Recorded("0" * 64, "source", 0, None)
    with pytest.raises(NotFound):
        desk.staged().read("a.txt")


def test_an_attempt_reads_one_version_of_a_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.dir / "a.txt").write_bytes(b"first")
    staged = desk.staged()
    assert staged.read("a.txt") == b"first"
    (desk.dir / "a.txt").write_bytes(b"second")
    assert staged.read("a.txt") == b"first"
    monkeypatch.setattr("callboard.executors.staged._MOST_HELD", 3)
    large = desk.staged()
    assert large.read("a.txt") == b"second"
    (desk.dir / "a.txt").write_bytes(b"third")
    with pytest.raises(Transient, match="was edited while"):
        large.read("a.txt")


def test_what_the_attempt_began_with_is_what_it_reads(desk: Desk) -> None:
    recorded(desk, "a.txt", b"ours")
    (desk.dir / "a.txt").write_bytes(b"theirs")
    pinned = {"a.txt": desk.content.put(b"ours")}
    staged = Staged(
        str(desk.dir), put=desk.content.put, get=desk.content.get, recorded=desk.recorded.get, pinned=pinned
    )
    assert (staged.read("a.txt"), staged.edits) == (b"ours", [])


@pytest.mark.parametrize(("whose", "read"), [(RUN, b"pending"), (ANOTHER, b"pending"), (PERSON, b"old")])
def test_a_version_on_its_way_is_read_unless_a_persons_keeps_the_place(desk: Desk, whose: str, read: bytes) -> None:
    recorded(desk, "a.txt", b"pending", "pending")
    (desk.dir / "a.txt").write_bytes(b"old")
    staged = Staged(
        str(desk.dir), put=desk.content.put, get=desk.content.get, recorded=desk.recorded.get, whose=lambda *one: whose
    )
    assert (staged.read("a.txt"), staged.edits) == (read, [])


def test_what_another_run_has_put_there_is_no_persons(desk: Desk) -> None:
    recorded(desk, "a.txt", b"ours")
    (desk.dir / "a.txt").write_bytes(b"of another run")
    staged = Staged(
        str(desk.dir), put=desk.content.put, get=desk.content.get, recorded=desk.recorded.get,
        whose=lambda path, hash: ANOTHER,
    )  # fmt: skip
    assert (staged.read("a.txt"), staged.edits) == (b"of another run", [])
