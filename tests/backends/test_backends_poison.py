"""What a call does to the child it shares with others: it fails, they do not."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from backends_stage import until

from callboard.backends import supervisor, wire
from callboard.errors import Permanent, StepError, WorkerLost

if TYPE_CHECKING:
    from backends_stage import Stage

    from callboard.backends.child import Child
    from callboard.backends.children import Children
    from callboard.ports import Work

HARM = """
import os, resource, signal, sys, threading, time
from callboard.errors import Permanent
from callboard.executors.registry import register

@register
def hoards(data, params):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), resource.RLIM_INFINITY))
    hoard = globals()["HOARD"] = []
    while True: hoard.append(bytearray(1 << 20))

@register
def sees(data, params):
    open(params["begun"], "a").write("x")
    while not os.path.exists(params["file"]): time.sleep(0.005)
    return [os.getcwd(), os.umask(0o077)]

@register
def moves(data, params):
    os.chdir("/"); os.umask(0)
    open(params["begun"], "a").write("x")
    while not os.path.exists(params["file"]): time.sleep(0.005)

@register
async def moves_on_loop(data, params): os.chdir("/"); os.umask(0)

@register
async def sees_on_loop(data, params): return [os.getcwd(), os.umask(0o077)]

@register
def mutes(data, params): sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2)

@register
def speaks(data, params): print("heard", flush=True); return "spoke"

@register
def splits(data, params):
    copy = os.fork()
    if copy == 0:
        print("as a copy")
        if params["ends"] == "raises": raise SystemExit
        return "copy"
    os.waitpid(copy, 0)  # it has said whatever it says
    return "whole"

@register
def raises_at_length(data, params): raise Permanent("x" * (20 << 20), evidence=["y" * (20 << 20)])

class Nameless(BaseException):
    def __repr__(self): raise SystemExit(3)
    __str__ = __repr__

@register
def nameless(data, params): raise Nameless

@register
async def nameless_on_loop(data, params): raise Nameless

@register
def crashes(data, params):
    import ctypes
    os.write(2, b"last words\\n")
    ctypes.string_at(0)

"""
BARRED = """
import os
from callboard.executors.registry import register
os._exit(0)

@register
def barred(data, params): return "in"
"""


@pytest.fixture(autouse=True)
def harmful(stage: Stage) -> None:
    (stage.root / "function/harm.py").write_text(HARM)


def value(done: Any) -> Any:
    return json.loads(done.outcome)["value"]


def begun(stage: Stage, count: int) -> bool:
    file = stage.root / "begun"
    return file.exists() and len(file.read_text()) == count


def met(stage: Stage, function: str, node: int, gate: str = "gate") -> Work:
    """A call that has begun, and ends when it is let go."""
    return stage.work(function, node, begun=str(stage.root / "begun"), file=str(stage.root / gate))


async def twice(children: Children, work: Work) -> Any:
    """Carried out, and once more when it was lost."""
    try:
        return await children.carry_out(work)
    except WorkerLost:
        return await children.carry_out(work)


# ── what it takes ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_alone_in_which_memory_runs_out_fails_and_takes_its_child_along(stage: Stage) -> None:
    children = stage.children()
    pid = value(await children.carry_out(stage.work("who")))[0]
    with pytest.raises(StepError, match="MemoryError"):
        await children.carry_out(stage.work("hoards", 1))
    assert value(await children.carry_out(stage.work("who", 2)))[0] != pid


async def test_where_memory_runs_out_beside_others_nobody_knows_by_whom(stage: Stage) -> None:
    children = stage.children()
    innocent = asyncio.ensure_future(twice(children, met(stage, "meets", 1)))
    await until(lambda: begun(stage, 1))
    with pytest.raises(WorkerLost, match="memory ran out in its process, which it shared"):
        await children.carry_out(stage.work("hoards", 2))
    with pytest.raises(StepError, match="MemoryError"):
        await children.carry_out(stage.work("hoards", 2))
    (stage.root / "gate").touch()
    assert value(await innocent) == "met"


# ── what it moves ───────────────────────────────────────────────────────────────────────────────────────────


async def test_each_call_has_a_working_directory_and_a_umask_of_its_own(stage: Stage) -> None:
    children, home = stage.children(), os.getcwd()
    moved = asyncio.ensure_future(children.carry_out(met(stage, "moves", 1)))
    await until(lambda: begun(stage, 1))
    seen = asyncio.ensure_future(children.carry_out(met(stage, "sees", 2, gate="seen")))
    await until(lambda: begun(stage, 2))
    (stage.root / "seen").touch()
    assert value(await seen) == [home, 0o077], "while the other one is still elsewhere"
    (stage.root / "gate").touch()
    await moved
    assert [value(await children.carry_out(met(stage, "sees", node))) for node in (3, 4)] == [[home, 0o077]] * 2


async def test_what_a_coroutine_moves_is_put_back_at_its_end(stage: Stage) -> None:
    children = stage.children()
    await children.carry_out(stage.work("moves_on_loop", 1))
    assert value(await children.carry_out(stage.work("sees_on_loop", 2))) == [os.getcwd(), 0o077]


async def test_who_closes_the_outputs_closes_them_for_nobody_else(stage: Stage) -> None:
    children = stage.children()
    await children.carry_out(stage.work("mutes", 1))
    assert value(await children.carry_out(stage.work("speaks", 2))) == "spoke"
    assert ("print", "heard") in stage.lines


@pytest.mark.parametrize("ends", ["raises", "returns"])
async def test_a_copy_that_a_call_has_forked_answers_nothing(stage: Stage, ends: str) -> None:
    children = stage.children()
    assert value(await children.carry_out(stage.work("splits", 1, ends=ends))) == "whole"
    assert value(await children.carry_out(stage.work("upper", 2))) == "HELLO"
    await until(lambda: "as a copy" in stage.output)


# ── what it says ────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_error_of_any_length_comes_through_in_short(stage: Stage) -> None:
    with pytest.raises(Permanent) as caught:
        await stage.children().carry_out(stage.work("raises_at_length"))
    assert len(str(caught.value)) < 10_000 and len(str(caught.value.evidence)) < 70_000


@pytest.mark.parametrize("function", ["nameless", "nameless_on_loop"])
async def test_an_error_that_cannot_be_shown_is_told_by_its_class(stage: Stage, function: str) -> None:
    with pytest.raises(StepError, match="Nameless"):
        await stage.children().carry_out(stage.work(function))


async def test_a_crash_leaves_its_traceback_and_its_last_words(stage: Stage) -> None:
    with pytest.raises(WorkerLost, match=r"SIGSEGV: it has crashed: Fatal Python error: Segmentation fault") as caught:
        await stage.children().carry_out(stage.work("crashes"))
    said = str(caught.value.evidence)
    assert "last words" in said and "in crashes" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('["log",ID,"again","info"]', "more log lines"),
        ('["progress",ID,1,2,""]', "more log lines"),
        ('["log",77,"again","info"]', "log lines of calls that have ended"),
    ],
)
async def test_more_than_our_own_side_would_send_is_nonsense(stage: Stage, line: str, said: str) -> None:
    children = stage.children()
    await children.carry_out(stage.work("upper", 1))
    with pytest.raises(WorkerLost, match=f"nonsense: ValueError: {said}"):
        await children.carry_out(stage.work("junk", 2, bytes=[*f"{line}\n".replace("ID", "2").encode()], times=20_000))


async def test_a_flood_of_output_waits_in_the_child(stage: Stage) -> None:
    children = stage.children()
    await children.carry_out(stage.work("upper"))
    (child,) = children._children
    assert child.wrote(b"x" * 1000) == 0
    assert sum(child.wrote(b"x" * (1 << 20)) for _ in range(64)) > 1.0


# ── whom it meets ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_that_ends_whoever_imports_it_is_left_out_soon(stage: Stage) -> None:
    (stage.root / "function/barred.py").write_text(BARRED)
    children, deaths = stage.children(), 0
    while True:
        try:
            assert value(await children.carry_out(stage.work("upper"))) == "HELLO"
            break
        except WorkerLost as lost:
            assert lost.innocent and "while it imported function/barred.py" in str(lost)
            deaths += 1
    assert deaths == 2
    with pytest.raises(Permanent, match=r"barred.py could not be imported"):
        await children.carry_out(stage.work("barred"))


async def test_an_effect_that_may_happen_only_once_has_a_child_to_itself(stage: Stage) -> None:
    children = stage.children()
    shared = value(await children.carry_out(stage.work("who", 1)))[0]
    once = stage.work("who", 2)._replace(effect="once")
    assert value(await children.carry_out(once))[0] != shared


async def test_who_waits_for_a_child_of_his_own_and_is_cancelled_says_that_he_waited(stage: Stage) -> None:
    children, file = stage.children(), stage.root / "pid"
    first = stage.work("meets", 1, begun=str(stage.root / "begun"), file=str(file))._replace(effect="once")
    carried = asyncio.ensure_future(children.carry_out(first))
    await until(lambda: begun(stage, 1))
    second = asyncio.ensure_future(children.carry_out(first._replace(node=2)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await second
    assert caught.value.waited is True  # type: ignore[attr-defined]
    file.touch()
    await carried


async def test_while_a_child_starts_those_that_are_up_carry_its_calls(stage: Stage) -> None:
    children = stage.children(count=2, width=1)
    pid = value(await children.carry_out(stage.work("who", 1)))[0]
    file = stage.root / "pid"
    calls = [
        asyncio.ensure_future(
            children.carry_out(stage.work(function, node, begun=str(stage.root / "begun"), file=str(file)))
        )
        for node, function in ((2, "meets"), (3, "meets"))
    ]
    await until(lambda: begun(stage, 2))
    assert sum(len(child.flights) for child in children._children if child._process and pid in _below(child)) == 2
    file.touch()
    await asyncio.gather(*calls)


def _below(child: Child) -> list[int]:
    assert child._process is not None
    return supervisor._descendants(child._process.pid)


async def test_once_a_child_has_died_another_one_is_ready(stage: Stage) -> None:
    children = stage.children(count=1)
    with pytest.raises(WorkerLost):
        await children.carry_out(stage.work("exits", 1))
    reserve = await until(lambda: children._reserve if children._reserve and children._reserve.is_up else None)
    assert value(await children.carry_out(stage.work("upper", 2))) == "HELLO"
    assert reserve in children._children


def test_a_message_of_an_error_is_cut_in_the_middle() -> None:
    told = wire.error_out(Permanent("a" * 9000 + "end", evidence="e" * 100_000))
    assert told["message"].startswith("aaa") and told["message"].endswith("end") and len(told["message"]) < 8_100
    assert len(told["evidence"]) < 65_000
