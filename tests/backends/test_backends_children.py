"""Children: user functions in real processes, and all the harm that such functions can try to do."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from backends_stage import is_gone, pid_in, until

from callboard.backends import wire
from callboard.errors import InvalidOutput, Permanent, RateLimited, StepError, Transient, WorkerLost
from callboard.ports import Page

if TYPE_CHECKING:
    from pathlib import Path

    from backends_stage import Stage

    from callboard.ports import Done


def value(done: Done) -> Any:
    return json.loads(done.outcome)["value"]


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_functions_sync_and_async_are_carried_out(stage: Stage) -> None:
    children = stage.children()
    assert value(await children.carry_out(stage.work("upper"))) == "HELLO"
    assert value(await children.carry_out(stage.work("later"))) == "later"
    nested = {"a": ["Grüße", None, 1.5]}
    assert value(await children.carry_out(stage.work("returns", value=nested))) == nested


async def test_a_child_has_its_own_group_is_nice_and_sees_nothing_of_our_environment(stage: Stage) -> None:
    pid, group, nice, names, path, directory = value(await stage.children().carry_out(stage.work("who")))
    assert (group, nice) == (pid, os.nice(0) + 10)
    assert pid != os.getpid()
    assert set(names) - {"LC_CTYPE"} == {"PATH", "CALLBOARD_TREE"}
    assert path != "" and directory == os.getcwd()


async def test_many_calls_are_in_flight_at_once_and_do_not_mix(stage: Stage) -> None:
    children = stage.children(count=2)
    works = [stage.work("returns", node, value=node) for node in range(200)]
    assert [value(done) for done in await asyncio.gather(*map(children.carry_out, works))] == list(range(200))


async def test_calls_beyond_the_width_wait_for_their_turn(stage: Stage) -> None:
    children = stage.children(width=2)
    begun, gate = stage.root / "begun", stage.root / "gate"
    calls = [
        asyncio.ensure_future(children.carry_out(stage.work("meets", node, begun=str(begun), file=str(gate))))
        for node in range(4)
    ]
    await until(lambda: begun.exists() and len(begun.read_text()) == 2)
    calls[3].cancel()
    gate.write_text("")
    assert [value(done) for done in await asyncio.gather(*calls[:3])] == ["met"] * 3
    assert len(begun.read_text()) == 3, "what was cancelled while it waited never began"


async def test_errors_come_back_as_what_they_were(stage: Stage) -> None:
    children = stage.children()
    with pytest.raises(Transient, match="ValueError: bad thing") as caught:
        await children.carry_out(stage.work("raises"))
    assert 'raise ValueError("bad thing")' in caught.value.evidence["traceback"]  # type: ignore[index]
    with pytest.raises(RateLimited, match="slow down") as limited:
        await children.carry_out(stage.work("limited"))
    assert (limited.value.retry_after, limited.value.evidence) == (7.5, {"a": 1})
    with pytest.raises(Permanent, match="did you mean 'upper'"):
        await children.carry_out(stage.work("uper"))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_json", r"task 'task 0'.*set"),
        ("surrogate", "surrogate"),
        ("deep", "deep"),
        ("recurses", "RecursionError"),
        ("stops_itself", "SystemExit: 3"),
        ("cancels_itself", "stopped itself"),
    ],
)
async def test_what_is_no_answer_is_a_failure_and_the_child_lives_on(stage: Stage, function: str, said: str) -> None:
    children = stage.children()
    before = value(await children.carry_out(stage.work("who")))[0]
    with pytest.raises(StepError, match=said):
        await children.carry_out(stage.work(function))
    assert value(await children.carry_out(stage.work("who")))[0] == before


async def test_a_value_too_large_for_the_wire_says_so(stage: Stage) -> None:
    children = stage.children()
    assert len(value(await children.carry_out(stage.work("large", size=5_000_000)))) == 5_000_000
    with pytest.raises(InvalidOutput, match="at most 8 MiB"):
        await children.carry_out(stage.work("large", size=20_000_000))


async def test_the_ports_work_over_the_wire(stage: Stage) -> None:
    children = stage.children()
    function = stage.work("ports")
    work = function._replace(inputs={**function.inputs, "secrets": ["TOKEN", "OTHER"]})
    found = await children.carry_out(_plain(stage, work))
    assert value(found) == [
        "text", "task 0", "the-key", "of a file", "hash", "v", None, [2, 3], {"TOKEN": "t0k"}, {"run": 3}
    ]  # fmt: skip
    assert stage.lines == [("warning", "a line")]
    assert stage.told == [
        ("publish", "seen", {"n": 1}),
        ("save", "note", {"text": "x"}),
        ("progress", 1.0, 2.0, "half"),
        ("write", "b.txt", b"out"),
    ]


async def test_a_model_can_be_asked_from_a_child(stage: Stage) -> None:
    found = await stage.children().carry_out(_plain(stage, stage.work("asks")))
    assert value(found) == ["answer", 2, 7]
    assert stage.model.asked[0].options == {"x": 1}


async def test_an_error_of_a_port_reaches_the_function_as_itself(stage: Stage) -> None:
    with pytest.raises(Permanent, match="no file gone"):
        await stage.children().carry_out(_plain(stage, stage.work("reads_nothing")))


def _plain(stage: Stage, work: Any) -> Any:
    """The same as a plain function, whose parameters name what they want: by a registry that adds it in the child."""
    (stage.root / "function" / "plainly.py").write_text(
        "from callboard.executors.registry import REGISTRY, _function\n"
        "import importlib\n"
        "mine = importlib.import_module('function.mine')\n"
        "for f in (mine.ports, mine.asks, mine.publishes, mine.asks_many, mine.reads_nothing):\n"
        "    REGISTRY._functions[f.__name__] = _function(f.__name__, f, 'plain')\n"
    )
    return work._replace(upstream={"draft": {"value": "text"}})


def _called(stage: Stage, function: str, **args: Any) -> Any:
    work = _plain(stage, stage.work(function))
    return work._replace(upstream={}, inputs={"function": function, "args": args})


async def test_what_is_printed_is_logged_for_the_call_that_printed(stage: Stage) -> None:
    await stage.children().carry_out(stage.work("prints"))
    assert stage.lines == [("print", "one"), ("print", "two"), ("print", "three")]
    await until(lambda: "from below" in stage.output)


async def test_a_flood_of_lines_is_thinned_out(stage: Stage) -> None:
    await stage.children().carry_out(stage.work("floods"))
    assert 10 < len(stage.lines) < 5_000
    assert stage.lines[-1] == ("print", "99999")


@pytest.mark.parametrize(("times", "size", "kept"), [(10_001, 1, 10_000), (9, 1 << 20, 7)])
async def test_what_one_attempt_may_publish_has_an_end(stage: Stage, times: int, size: int, kept: int) -> None:
    """The engine keeps it until the outcome is recorded. The child lives on: it was told before it was sent."""
    children = stage.children()
    with pytest.raises(Permanent, match="publish and save 10,000 times, and 8 MiB"):
        await children.carry_out(_called(stage, "publishes", times=times, size=size))
    assert len(stage.told) == kept
    first = children._children[0]
    assert value(await children.carry_out(stage.work("upper"))) == "HELLO"
    assert children._children == [first]


async def test_a_child_that_asks_faster_than_it_is_answered_has_to_wait(stage: Stage) -> None:
    asked, gate = 0, asyncio.Event()
    answer = stage.model.complete

    async def later(*args: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        await gate.wait()
        return await answer(*args, **more)

    stage.model.complete = later  # type: ignore[method-assign]
    children = stage.children()
    times = 20_000
    call = asyncio.ensure_future(children.carry_out(_called(stage, "asks_many", times=times)))
    await until(lambda: asked >= 1_000 and (children._children[0].ears._paused or asked == times))
    assert asked < times / 2, "what one read of the pipe has brought, and no more"
    gate.set()
    assert value(await call) == times == asked


async def test_a_call_that_asks_too_much_can_be_cancelled(stage: Stage) -> None:
    asked = 0

    async def never(*args: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    stage.model.complete = never  # type: ignore[method-assign]
    children = stage.children(grace=300.0)
    call = asyncio.ensure_future(children.carry_out(_called(stage, "asks_many", times=20_000)))
    await until(lambda: asked >= 1_000)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert value(await children.carry_out(stage.work("upper"))) == "HELLO"


async def test_lists_and_refusals_do_not_need_a_child(stage: Stage) -> None:
    children = stage.children()
    assert await children.list_page(stage.work("x"), 2) == Page([("page 2", None)])
    assert children.can("function", {"function": "upper"}) is None
    assert children.can("llm", {}) == "no executor of kind 'llm' runs in a child"
    assert (
        children.can("function", {"function": "local:f@1", "file": "a.py"})
        == "its functions live in a.py; run it again"
    )
    assert not children._children


# ── the project's functions ─────────────────────────────────────────────────────────────────────────────────


async def test_a_broken_module_takes_away_only_its_own_functions(stage: Stage) -> None:
    (stage.root / "function" / "broken.py").write_text("import nothing_of_that_name\n")
    children = stage.children()
    assert value(await children.carry_out(stage.work("upper"))) == "HELLO"
    with pytest.raises(Permanent, match=r"function/broken\.py could not be imported") as caught:
        await children.carry_out(stage.work("of_broken"))
    assert "nothing_of_that_name" in str(caught.value.evidence)


async def test_without_a_project_nothing_is_imported(stage: Stage, tmp_path: Path) -> None:
    (stage.root / "function" / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    with pytest.raises(Permanent, match="there are: none"):
        await stage.children(root=False).carry_out(stage.work("upper"))
    assert not (tmp_path / "sprung").exists()


async def test_links_in_the_folder_are_not_imported(stage: Stage, tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    (stage.root / "function" / "link.py").symlink_to(outside)
    await stage.children().carry_out(stage.work("upper"))
    assert not (tmp_path / "sprung").exists()


# ── stopping ────────────────────────────────────────────────────────────────────────────────────────────────


async def stopped(children: Any, work: Any, file: Path) -> int:
    """Cancel a call when it is at work; the pid it had."""
    call = asyncio.ensure_future(children.carry_out(work))
    pid: int = await until(lambda: pid_in(file))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    return pid


@pytest.mark.parametrize("function", ["spins", "waits"])
async def test_a_call_that_can_be_interrupted_leaves_its_child_warm(stage: Stage, function: str) -> None:
    children, file = stage.children(grace=20), stage.root / "pid"
    pid = await stopped(children, stage.work(function, file=str(file)), file)
    assert value(await children.carry_out(stage.work("who")))[0] == pid


@pytest.mark.parametrize("function", ["hangs", "blocks"])
async def test_a_call_that_cannot_be_interrupted_ends_with_its_child(stage: Stage, function: str) -> None:
    children, file = stage.children(), stage.root / "pid"
    pid = await stopped(children, stage.work(function, file=str(file)), file)
    assert is_gone(pid)
    assert value(await children.carry_out(stage.work("upper"))) == "HELLO"


async def test_who_shared_a_child_with_a_call_that_did_not_stop_is_lost_but_innocent(stage: Stage) -> None:
    children, file, begun = stage.children(), stage.root / "pid", stage.root / "begun"
    never = stage.work("meets", 1, begun=str(begun), file=str(stage.root / "never"))
    sibling = asyncio.ensure_future(children.carry_out(never))
    await until(begun.exists)
    await stopped(children, stage.work("hangs", file=str(file)), file)
    with pytest.raises(WorkerLost) as caught:
        await sibling
    assert caught.value.innocent
    assert not children._suspects


async def test_a_sibling_may_end_while_a_call_is_given_its_grace(stage: Stage) -> None:
    children, file, begun = stage.children(grace=300), stage.root / "pid", stage.root / "begun"
    gate = stage.root / "gate"
    sibling = asyncio.ensure_future(children.carry_out(stage.work("meets", 1, begun=str(begun), file=str(gate))))
    hanging = asyncio.ensure_future(children.carry_out(stage.work("hangs", file=str(file))))
    pid = await until(lambda: begun.exists() and pid_in(file))
    hanging.cancel()
    await until(lambda: children._ending)
    gate.write_text("")
    assert value(await sibling) == "met"
    assert value(await children.carry_out(stage.work("who")))[0] != pid, "a fresh child took its place at once"
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_a_value_that_came_in_spite_of_a_cancellation_is_kept(stage: Stage) -> None:
    children = stage.children(grace=20)
    await children.carry_out(stage.work("upper"))
    call = asyncio.ensure_future(children.carry_out(stage.work("returns", value="paid")))
    await asyncio.sleep(0)
    flight = next(iter(children._children[0].flights.values()))
    await asyncio.wait([flight.ended])
    call.cancel()
    assert value(await call) == "paid"


async def test_an_answer_between_a_cancellation_and_its_hearing_is_not_lost(stage: Stage) -> None:
    children = stage.children(grace=20)
    await children.carry_out(stage.work("upper"))
    call = asyncio.ensure_future(children.carry_out(stage.work("hangs", file=str(stage.root / "pid"))))
    await asyncio.sleep(0)
    child = children._children[0]
    call.cancel()
    child.heard(wire.pack("done", next(iter(child.flights)), "just in time"))
    assert value(await call) == "just in time"


async def test_a_daemon_that_a_function_left_behind_ends_with_its_child(stage: Stage) -> None:
    children, file = stage.children(), stage.root / "pid"
    assert value(await children.carry_out(stage.work("forks", file=str(file)))) == "forked"
    pid = pid_in(file)
    await children.close()
    assert is_gone(pid)


async def test_closing_loses_what_is_in_flight_and_blames_nobody(stage: Stage) -> None:
    children, file = stage.children(), stage.root / "pid"
    call = asyncio.ensure_future(children.carry_out(stage.work("hangs", file=str(file))))
    pid = await until(lambda: pid_in(file))
    await children.close()
    with pytest.raises(WorkerLost) as caught:
        await call
    assert caught.value.innocent and is_gone(pid)
    with pytest.raises(WorkerLost, match="closed"):
        await children.carry_out(stage.work("upper"))


async def test_when_the_engine_is_killed_no_child_survives(stage: Stage) -> None:
    file = stage.root / "pid"
    engine = f"""
import asyncio, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
from backends_stage import Stage
async def main():
    stage = Stage(Path({str(stage.root / "other")!r}))
    await stage.children().carry_out(stage.work("forks", file={str(file) + "2"!r}))
    await stage.children().carry_out(stage.work("hangs", file={str(file)!r}))
asyncio.run(main())
"""
    (stage.root / "other").mkdir()
    process = subprocess.Popen([sys.executable, "-c", engine], stdin=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        pids = [await until(lambda: pid_in(file)), pid_in(stage.root / "pid2")]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for pid in pids:
        await until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]


def test_a_loop_that_ends_without_closing_takes_its_children_along(tmp_path: Path) -> None:
    """As when an error ends a program: nobody calls `close`, the loop cancels what is left."""
    file = tmp_path / "pid"
    engine = f"""
import asyncio, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
from backends_stage import Stage
async def main():
    stage = Stage(Path({str(tmp_path)!r}))
    await stage.children().carry_out(stage.work("forks", file={str(file)!r}))
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", engine], timeout=20, check=False).returncode == 0
    assert is_gone(pid_in(file))


# ── poison ──────────────────────────────────────────────────────────────────────────────────────────────────

JUNK = {
    "text": [*b"hello\n"],
    "binary": [0, 255, 10],
    "an answer to nobody": [*b'["done",77,1]\n'],
    "an unknown word": [*b'["format disk"]\n'],
    "no list": [*b'{"done":1}\n'],
    "not a number": [*b'["done",1,NaN]\n'],
    "too deep": [*b"[" * 3000, 10],
    "a wrong count": [*b'["done"]\n'],
    "a wrong id": [*b'["done",{},1]\n'],
    "a wrong error": [*b'["failed",1,3]\n'],
    "more than any number": [*b'["progress",1,1' + b"0" * 400 + b',null,""]\n'],
    "a port that is none": [*b'["ask",1,1,"__class__"]\n'],
}


@pytest.mark.parametrize("what", JUNK)
async def test_a_child_that_talks_nonsense_is_lost_and_nothing_else(stage: Stage, what: str) -> None:
    children = stage.children()
    with pytest.raises(WorkerLost, match="nonsense"):
        await children.carry_out(stage.work("junk", bytes=JUNK[what]))
    assert value(await children.carry_out(stage.work("upper", 1))) == "HELLO"


@pytest.mark.parametrize("function", ["exits", "dies", "kills_parent", "closes"])
async def test_a_child_that_dies_is_replaced(stage: Stage, function: str) -> None:
    children = stage.children()
    with pytest.raises(WorkerLost) as caught:
        await children.carry_out(stage.work(function))
    assert not caught.value.innocent
    assert value(await children.carry_out(stage.work("upper", 1))) == "HELLO"


async def test_an_endless_line_is_cut_off_before_it_fills_our_memory(stage: Stage) -> None:
    children = stage.children()
    await children.carry_out(stage.work("upper"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WorkerLost, match="a line of more than 8 MiB"):
        await children.carry_out(stage.work("junk", bytes=[120] * 1000, times=64_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


async def test_hundreds_of_megabytes_on_standard_output_do_no_harm(stage: Stage) -> None:
    children = stage.children()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert value(await children.carry_out(stage.work("shouts"))) == "hoarse"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


async def test_who_was_in_a_child_that_died_is_tried_alone_the_next_time(stage: Stage) -> None:
    """Only the guilty one is lost again, so that three losses in a row never meet an innocent."""
    children, begun, gate = stage.children(), stage.root / "begun", stage.root / "gate"
    guilty = stage.work("dies_when_met", 1, begun=str(begun), file=str(gate))
    innocent = stage.work("meets", 2, begun=str(begun), file=str(gate) + "2")
    calls = [asyncio.ensure_future(children.carry_out(work)) for work in (guilty, innocent)]
    await until(lambda: begun.exists() and len(begun.read_text()) == 2)
    gate.write_text("")
    assert [type(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == [WorkerLost] * 2
    (stage.root / "gate2").write_text("")
    again = [asyncio.ensure_future(children.carry_out(work)) for work in (guilty, innocent)]
    lost, done = await asyncio.gather(*again, return_exceptions=True)
    assert isinstance(lost, WorkerLost) and value(done) == "met"  # type: ignore[arg-type]
    assert list(children._suspects) == [(1, 1, 1)]


async def test_an_idle_child_that_is_killed_is_replaced(stage: Stage) -> None:
    children = stage.children()
    pid = value(await children.carry_out(stage.work("who")))[0]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not children._children)
    assert value(await children.carry_out(stage.work("who")))[0] != pid


async def test_siblings_go_on_while_children_die(stage: Stage) -> None:
    children = stage.children(count=2)
    began = time.monotonic()

    async def poison(node: int) -> None:
        with pytest.raises(WorkerLost):
            await children.carry_out(stage.work("exits", node))

    async def good(node: int) -> Any:
        while True:
            try:
                return value(await children.carry_out(stage.work("returns", node, value=node)))
            except WorkerLost:
                continue

    results = await asyncio.gather(*(poison(node) if node % 20 == 0 else good(node) for node in range(100)))
    assert [one for one in results if one is not None] == [node for node in range(100) if node % 20]
    assert time.monotonic() - began < 30


async def test_a_child_that_has_ended_is_signalled_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    children = stage.children()
    await children.carry_out(stage.work("upper", 1))
    child = children._children[0]
    await child.close()
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda *given: signals.append(given))
    child.kill("a call in it left processes behind")  # by a timer that was set while it lived
    assert not signals, "its number may be another process's by now"
