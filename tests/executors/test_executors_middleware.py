"""One cross-cutting feature at a time: templates in, documents out, limits, logs, and what is gathered on the way."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import InvalidName, Permanent, Transient, WorkerLost
from callboard.executors.chain import chain, perform, seen
from callboard.executors.context import Contexts
from callboard.executors.files import AiResult, Content
from callboard.executors.flow import file_item
from callboard.executors.middleware.collect import collect
from callboard.executors.middleware.documents import Outputs
from callboard.executors.middleware.log import log
from callboard.executors.middleware.template import template
from callboard.executors.middleware.timeout import TimeLimits
from callboard.ports import Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from executors_desk import Desk


class Does:
    """An executor that does what a test says."""

    kind, version, effect = "llm", "1", "none"

    def __init__(self, does: Any) -> None:
        self.does = does
        self.saw: list[Mapping[str, Any]] = []

    async def carry_out(self, ctx: Any, inputs: Mapping[str, Any]) -> Any:
        self.saw.append(inputs)
        result = self.does(ctx) if callable(self.does) else self.does
        return await result if asyncio.iscoroutine(result) else result


# ── template ────────────────────────────────────────────────────────────────────────────────────────────────


async def filled(desk: Desk, **work: Any) -> Any:
    executor = Does("value")
    done = await chain([template], perform({"llm": executor}))(desk.work(**work), desk.context())
    return executor.saw[0] if executor.saw else done


async def test_inputs_that_are_templates_are_filled_at_any_depth(desk: Desk) -> None:
    inputs = {
        "prompt": "Read:\n{{pipe.pipein-text}}",
        "params": {"a": ["{{vars.b}}", 3]},
        "system": "{{ not a template }}",
        "templates": ["prompt", "params"],
    }
    saw = await filled(desk, inputs=inputs, settings={"vars": {"b": "c"}})
    assert (saw["prompt"], saw["params"], saw["system"]) == ("Read:\nthe input", {"a": ["c", 3]}, inputs["system"])


async def test_values_with_braces_arrive_as_they_are(desk: Desk) -> None:
    text = "{{ vars.secret }} {% raw %} {id} {#"
    saw = await filled(desk, inputs={"prompt": "{{input}}", "templates": ["prompt"]}, params={"input": text})
    assert saw["prompt"] == text


async def test_an_unknown_name_fails_the_step_before_anything_is_asked(desk: Desk) -> None:
    with pytest.raises(Permanent, match="production"):
        await filled(desk, inputs={"prompt": "{{production.instance_dir}}", "templates": ["prompt"]})


async def test_the_line_of_a_shell_is_no_template(desk: Desk) -> None:
    saw = await filled(desk, inputs={"command": "echo {{input}}", "shell": True, "templates": ["command"]})
    assert saw["command"] == "echo {{input}}"


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ("{{ input }}", True),
        ("input == 'the input'", True),
        ("yes", True),
        (True, True),
        ("input == 'other'", False),
        ("{{ '' }}", False),
        ("no", False),
        (False, False),
        ("pipe.pipein_text|length > 100", False),
    ],
)
async def test_a_step_is_skipped_when_its_condition_is_false(desk: Desk, when: Any, runs: bool) -> None:
    found = await filled(desk, inputs={"when": when})
    if runs:
        assert found["pipe"] == "the input"
    else:
        assert isinstance(found, Done) and found.skipped.startswith("when: ")


async def test_the_text_of_a_file_is_read_when_its_item_begins(desk: Desk) -> None:
    (desk.dir / "a.md").write_text("of the file")
    (desk.dir / "b.bin").write_bytes(b"\xff")
    inputs = {"prompt": "{{item.stem}}: {{item.text}}", "templates": ["prompt"], "each": {"glob": "*.md"}}
    saw = await filled(desk, inputs=inputs, item=file_item("a.md"))
    assert (saw["prompt"], saw["pipe"]) == ("a: of the file", "of the file")
    assert (await filled(desk, inputs={"each": {}}, item=file_item("b.bin")))["pipe"] == "b.bin"
    with pytest.raises(Permanent, match="text"):  # and is not the word "null" in a prompt
        await filled(desk, inputs=inputs, item=file_item("b.bin"))


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────


def place(production: Mapping[str, Any], *, document_type: str, step: str | None, suffix: str) -> str:
    return (
        f"{production['instance_dir']}/{step or 'output'}/document_{production['instance_id']}_{document_type}.{suffix}"
    )


async def put_out(desk: Desk, executor: Any, **work: Any) -> Done:
    handler = chain([collect, Outputs(place)], perform({"llm": executor}))
    return await handler(desk.work(**work), desk.context())


async def test_an_output_is_staged_and_named_in_the_outcome(desk: Desk) -> None:
    done = await put_out(desk, Does("text"), inputs={"output_file": "out/a.txt", "result_file": "b.txt"})
    assert [(path, desk.content.get(hash)) for path, hash, _ in done.documents] == [
        ("out/a.txt", b"text"),
        ("b.txt", b"text"),
    ]
    index = [{"path": path, "hash": hash} for path, hash, _ in done.documents]
    assert json.loads(done.outcome) == {"value": "text", "documents": index}


async def test_a_document_of_the_production_is_placed_by_its_naming(desk: Desk) -> None:
    params = {"production": {"instance_dir": "home/p_00001", "instance_id": "00001"}}
    done = await put_out(desk, Does({"a": 1}), inputs={"document_type": "facts", "step": "analysis"}, params=params)
    ((path, hash, _),) = done.documents
    assert path == "home/p_00001/analysis/document_00001_facts.json"
    assert desk.content.get(hash) == b'{\n  "a": 1\n}\n'
    assert not (await put_out(desk, Does("x"), inputs={"document_type": "facts"})).documents


async def test_an_output_that_is_there_is_kept_when_overwriting_is_off(desk: Desk) -> None:
    (desk.dir / "a.txt").write_text("there before")
    executor = Does("new")
    done = await put_out(desk, executor, inputs={"output_file": "a.txt", "overwrite": False})
    assert json.loads(done.outcome) == {"value": "there before", "kept": "a.txt"}
    assert not executor.saw and not done.documents
    assert (await put_out(desk, executor, inputs={"output_file": "b.txt"}, params={"overwrite": False})).documents
    assert (await put_out(desk, executor, inputs={"output_file": "a.txt"})).documents[0][2] is None


async def test_an_output_outside_is_refused(desk: Desk) -> None:
    with pytest.raises(Permanent, match="climbs"):
        await put_out(desk, Does("x"), inputs={"output_file": "../../etc/passwd"})


async def test_files_of_the_executor_itself_are_collected_too(desk: Desk) -> None:
    done = await put_out(desk, AiResult(), inputs={"file": "r.txt"})
    assert [path for path, _, _ in done.documents] == ["r.txt"]


# ── collect ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_events_and_saves_leave_with_the_outcome(desk: Desk) -> None:
    def does(ctx: Any) -> str:
        ctx.publish("seen", {"n": 1})
        ctx.save("note", {"text": "x"})
        return "v"

    done = await put_out(desk, Does(does))
    assert (done.events, done.saves) == ((("seen", {"n": 1}),), (("note", {"text": "x"}),))


async def test_what_is_not_json_is_refused_where_it_is_published(desk: Desk) -> None:
    with pytest.raises(Permanent, match="set"):
        await put_out(desk, Does(lambda ctx: ctx.publish("seen", {1})))


async def test_what_one_attempt_may_gather_has_an_end(desk: Desk) -> None:
    def many(ctx: Any) -> None:
        for n in range(5_000):
            ctx.publish("seen", n)
            ctx.save("note", {"n": n})
        ctx.publish("seen", "one too many")

    def large(ctx: Any) -> None:
        for _ in range(9):
            ctx.publish("seen", "x" * (1 << 20))

    for does in (many, large):
        with pytest.raises(Permanent, match="publish and save 10,000 times"):
            await put_out(desk, Does(does))


async def test_errors_become_step_errors_and_a_loss_stays_a_loss(desk: Desk) -> None:
    async def raises(error: Exception) -> None:
        async def last(work: Any, ctx: Any) -> Done:
            raise error

        await chain([collect], last)(desk.work(), desk.context())

    for error, kind in (
        (WorkerLost("l"), WorkerLost),
        (TimeoutError(), TimeoutError),
        (InvalidName("n"), Permanent),
        (KeyError("k"), Permanent),
        (Transient("t"), Transient),
    ):
        with pytest.raises(kind):
            await raises(error)


# ── time limits ─────────────────────────────────────────────────────────────────────────────────────────────


class Timer:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, Any]] = []

    def call_at(self, when: float, call: Any) -> None:
        self.waiting.append((when, call))

    async def to(self, now: float) -> None:
        self.now = now
        due = [call for when, call in self.waiting if when <= now]
        self.waiting = [(when, call) for when, call in self.waiting if when > now]
        for call in due:
            call()
        await asyncio.sleep(0)


async def hangs(ctx: Any) -> None:
    await asyncio.get_running_loop().create_future()


async def test_an_attempt_that_takes_too_long_is_stopped(desk: Desk) -> None:
    timer = Timer()
    limits = TimeLimits(time=lambda: timer.now, call_at=timer.call_at)
    handler = chain([limits], perform({"llm": Does(hangs)}))
    slow = asyncio.ensure_future(handler(desk.work(timeout=10.0), desk.context()))
    await asyncio.sleep(0)
    await timer.to(5.0)
    later = asyncio.ensure_future(handler(desk.work(timeout=10.0), desk.context()))
    await asyncio.sleep(0)
    await timer.to(10.0)
    with pytest.raises(TimeoutError, match="limit of 10 s"):
        await slow
    assert not later.done()
    await timer.to(15.0)
    with pytest.raises(TimeoutError):
        await later


async def test_a_cancellation_is_not_taken_for_a_timeout_and_fast_work_leaves_nothing(desk: Desk) -> None:
    timer = Timer()
    limits = TimeLimits(time=lambda: timer.now, call_at=timer.call_at)
    handler = chain([limits], perform({"llm": Does(hangs)}))
    attempt = asyncio.ensure_future(handler(desk.work(timeout=10.0), desk.context()))
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    quick = chain([limits], perform({"llm": Does("v")}))
    await asyncio.gather(*(quick(desk.work(timeout=10.0), desk.context()) for _ in range(100)))
    assert limits._queues == {10.0: {}} and len(timer.waiting) == 1


async def test_without_a_timer_of_its_own_the_loop_keeps_the_limit(desk: Desk) -> None:
    handler = chain([TimeLimits()], perform({"llm": Does(hangs)}))
    with pytest.raises(TimeoutError):
        await handler(desk.work(timeout=0.01), desk.context())


# ── log, contexts ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_failure_is_logged_and_quick_success_is_not(desk: Desk) -> None:
    await chain([log], perform({"llm": Does("v")}))(desk.work(), desk.context())
    assert desk.lines == []

    def fails(ctx: Any) -> None:
        raise ValueError("bad")

    with pytest.raises(Permanent):
        await chain([log], perform({"llm": Does(fails)}))(desk.work(), desk.context())
    ((level, line),) = desk.lines
    assert level == "error" and "ValueError: bad" in line


async def test_contexts_are_made_for_each_attempt(desk: Desk) -> None:
    told: list[Any] = []
    contexts = Contexts(
        model=desk.model,
        documents=lambda work: desk.staged(),
        cache=desk.cache,
        log=lambda work, text, level: told.append((work.node, level, text)),
        progress=lambda work, done, of, note: told.append((work.node, done, of, note)),
    )
    one, two = contexts(desk.work(node=1)), contexts(desk.work(node=2))
    one.log("hello")
    two.progress(1, 2, "note")
    one.publish("key")
    assert told == [(1, "info", "hello"), (2, 1, 2, "note")]
    assert one.gathered.events and not two.gathered.events
    assert len([name for name in dir(one) if not name.startswith("_")]) <= 12


async def test_a_step_in_a_chain_of_all_middleware_works(desk: Desk) -> None:
    handler = chain([collect, template, Outputs(place), TimeLimits(), log], perform({"content": Content()}))
    work = desk.work("content", inputs={"format": "lines", "output_file": "{{key}}.json", "templates": ["output_file"]})
    done = await handler(work._replace(attempt=work.attempt._replace(item="k")), desk.context("k"))
    assert json.loads(done.outcome)["value"] == ["the input"]
    assert [path for path, _, _ in done.documents] == ["k.json"]
    assert seen(work)["item_key"] is None
