"""Ctrl-C in a user's own script: once halts in good order, twice leaves; the same call goes on where it was."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest
from facade_script import Script, done, ran

from callboard.app.views.run import in_memory
from callboard.core.status import RUNNING, SUCCESS
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.core.run import Run

STEPS = """
def first():
    did("first")
    return 1

{second}

plan = callboard.plan(first, callboard.task("second", second, needs=["first"]))
"""
GOES_ON = """
import sys
say(str(callboard.run(plan, id="show").value))
"""
SLOW = STEPS.format(
    second="""
def second(first):
    did("second")
    if done_before: return first + 1
    say("at work")
    forever()
"""
)
SLOW_LATER = STEPS.format(
    second="""
async def second(first):
    did("second")
    if done_before: return first + 1
    say("at work")
    try:
        await asyncio.Event().wait()
    finally:
        did("halted")
"""
)
BEFORE = 'done_before = os.path.exists("did.txt")\n'


def recorded(here: Path, id: str = "show") -> Run:
    store = SQLiteStore(here / ".callboard/callboard.db")
    try:
        return in_memory(store, store.find_run(id))
    finally:
        store.close()


def owner(here: Path, id: str = "show") -> object:
    store = SQLiteStore(here / ".callboard/callboard.db")
    try:
        return store.find_run(id).owner
    finally:
        store.close()


@pytest.mark.parametrize("steps", [SLOW, SLOW_LATER], ids=["function", "coroutine"])
def test_ctrl_c_in_a_function_interrupts_the_run_and_the_same_script_goes_on(here: Path, steps: str) -> None:
    script = Script(here, BEFORE + steps + GOES_ON)
    script.until("at work")
    script.interrupt()
    ended = script.ended()
    assert ended.code == -signal.SIGINT and "KeyboardInterrupt: run show was interrupted" in ended.err
    run = recorded(here)
    assert (run.status, run.holds) == (RUNNING, {"interrupted"})
    assert [node.status.name for node in run.nodes] == ["SUCCESS", "QUEUED"]
    assert owner(here) is None, "anybody may take it up"
    again = ran(here, BEFORE + steps + GOES_ON)
    assert (again.code, again.out, again.err) == (0, "2\n", "")
    assert [what for what in done(here) if what != "halted"] == ["first", "second", "second"]


def test_ctrl_c_goes_through_those_who_catch_errors(here: Path) -> None:
    script = Script(
        here,
        """
def slow():
    say("at work")
    forever()

for n in range(3):
    try:
        callboard.run(slow)
    except Exception:
        did("swallowed")
""",
    )
    script.until("at work")
    script.interrupt()
    assert script.ended().code == -signal.SIGINT
    assert done(here) == []


def test_ctrl_c_before_anything_is_recorded_records_nothing(here: Path) -> None:
    os.mkfifo(here / "show.ai")
    script = Script(here, 'say("begins")\ncallboard.run("show.ai", "text", id="show")\n')
    script.until("begins")
    pipe = os.open(here / "show.ai", os.O_WRONLY)  # whoever opens it for reading is at it now
    script.interrupt()
    os.write(pipe, b"name: Show\npipe:\n  - {type: llm, model: offline, tmpl: '{{pipe.pipein-text}}'}\n")
    os.close(pipe)
    ended = script.ended()
    assert ended.code == -signal.SIGINT and "KeyboardInterrupt" in ended.err
    store = SQLiteStore(here / ".callboard/callboard.db")
    assert [row.owner for row in store.runs()] in ([], [None])
    assert all(not store.calls(row.number) for row in store.runs()), "nothing was begun"
    store.close()


def test_a_second_ctrl_c_leaves_at_once(here: Path) -> None:
    script = Script(
        here,
        """
async def stubborn():
    say("at work")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("not yet")

callboard.run(stubborn, id="show")
""",
    )
    script.until("at work")
    script.interrupt()
    script.until("not yet")
    script.interrupt()
    assert script.ended().code == 130
    assert recorded(here).status is RUNNING


def test_ctrl_c_in_asyncio_run_is_in_good_order_too(here: Path) -> None:
    text = BEFORE + SLOW_LATER + 'say(str(asyncio.run(callboard.arun(plan, id="show")).value))\n'
    script = Script(here, text)
    script.until("at work")
    script.interrupt()
    assert script.ended().code == -signal.SIGINT
    assert recorded(here).holds == {"interrupted"}
    again = ran(here, text)
    assert (again.code, again.out, again.err) == (0, "2\n", "")
    assert done(here).count("first") == 1 and done(here).count("halted") == 1


@pytest.mark.parametrize("part", range(3))
def test_ctrl_c_at_any_moment_loses_nothing_and_repeats_nothing(here: Path, part: int) -> None:
    """In starting, recording, commits, between two tasks: wherever it strikes (but in Python's own imports)."""
    chance = random.Random(part)
    text = """
def step(item):
    did(f"step{item}")
    return item

async def last(step):
    did("last")
    return sum(one["value"] for one in step)

plan = callboard.plan(callboard.task("step", step, each=list(range(150))), callboard.task(last, needs=["step"]))
run = callboard.run
say("begins")
say(str(run(plan, id="show").value))
"""
    interrupted = 0
    for _ in range(12):
        script = Script(here, text, "-W", "error")
        script.until("begins")
        try:
            script.process.wait(chance.uniform(0.0, 0.25))
        except Exception:
            script.interrupt()
        ended = script.ended()
        if ended.code == 0 or "11175" in ended.out:  # it was done, and Ctrl-C struck while Python left
            break
        interrupted += 1
        assert ended.code == -signal.SIGINT, ended.err
        assert "Exception ignored" not in ended.err and "Warning" not in ended.err, ended.err
    else:
        ended = ran(here, text)
    assert ended.out.split() == ["begins", str(sum(range(150)))]
    run = recorded(here)
    assert run.status is SUCCESS
    store = SQLiteStore(here / ".callboard/callboard.db")
    assert store.check() == [] and store.journal(run.number)
    store.close()
    most = max(done(here).count(what) for what in set(done(here)))
    assert most <= interrupted + 1
    assert done(here).count("last") >= 1


def test_what_was_recorded_before_a_ctrl_c_is_not_done_again(here: Path) -> None:
    text = """
done_before = os.path.exists("did.txt")

def quick():
    did("quick")

def slow():
    if not done_before:
        say("at work")
        forever()

plan = callboard.plan(*(callboard.task(f"quick{n}", quick) for n in range(30)), callboard.task(
    "slow", slow, needs=[f"quick{n}" for n in range(30)]))
callboard.run(plan, id="show")
"""
    script = Script(here, text)
    script.until("at work")
    script.interrupt()
    assert script.ended().code == -signal.SIGINT
    assert ran(here, text).code == 0
    assert len(done(here)) == 30
