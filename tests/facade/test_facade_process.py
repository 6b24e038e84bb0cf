"""The process around a run: how it ends, what it leaves, and what a fork of it may do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from facade_script import Script, done, ran

from callboard.core.status import RUNNING
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

CALLBOARD = "from callboard.cli.main import main; main()"


def test_a_plain_script_ends_without_a_word(here: Path) -> None:
    ended = ran(
        here,
        """
def one(): return 1
async def two(one): return one + 1
plan = callboard.plan(one, callboard.task("two", two, needs=["one"]))
say(str(callboard.run(plan).value))
say(str(asyncio.run(callboard.arun(plan)).value))
say(str(callboard.run(plan, store="memory").value))
""",
    )
    assert ended == (0, "2\n2\n2\n", "")


def test_a_function_that_hangs_holds_up_nobody_at_the_end(here: Path) -> None:
    ended = ran(
        here,
        """
try:
    callboard.run(callboard.task("slow", forever, timeout=0.05))
except callboard.RunFailed as error:
    say(str(error))
""",
    )
    assert ended.code == 0 and "slow: timed out" in ended.out and ended.err == ""


def test_runs_that_other_threads_wait_for_may_end(here: Path) -> None:
    os.mkfifo(here / "go")
    script = Script(
        here,
        """
begun = threading.Event()

def slow():
    begun.set()
    with open("go") as go:
        return go.read()

threading.Thread(target=lambda: say(callboard.run(slow).value)).start()
begun.wait()
say("the main thread ends")
""",
    )
    script.until("the main thread ends")
    (here / "go").write_text("ended")
    ended = script.ended()
    assert (ended.code, ended.out.split("\n")[-2], ended.err) == (0, "ended", "")


def test_runs_that_nobody_waits_for_are_interrupted_at_the_end(here: Path) -> None:
    ended = ran(
        here,
        """
begun = threading.Event()

def slow():
    begun.set()
    forever()

def work():
    try:
        callboard.run(slow, id="show")
    except callboard.CallboardError:
        pass

threading.Thread(target=work, daemon=True).start()
begun.wait()
""",
    )
    assert ended == (0, "", "")
    store = SQLiteStore(here / ".callboard/callboard.db")
    row = store.find_run("show")
    assert row.owner is None and '"interrupted"' in row.state
    store.close()


def test_ctrl_c_while_the_end_waits_for_threads_interrupts_their_runs(here: Path) -> None:
    script = Script(
        here,
        """
begun = threading.Event()

def where_the_main_thread_is():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame:
        yield frame.f_code.co_name
        frame = frame.f_back

def slow():
    begun.set()
    while "wait_for_others" not in where_the_main_thread_is():  # before, it would be struck as in any script
        threading.Event().wait(0.005)
    say("the end waits")
    forever()

def work():
    try:
        callboard.run(slow, id="show")
    except callboard.CallboardError as error:
        did(type(error).__name__)

threading.Thread(target=work).start()
begun.wait()
""",
    )
    script.until("the end waits")
    script.interrupt()
    ended = script.ended()
    assert done(here) == ["RunInterrupted"], ended.err


def test_sys_exit_in_the_script_is_its_own(here: Path) -> None:
    assert ran(here, "callboard.run(lambda: 1)\nsys.exit(7)\n") == (7, "", "")


def test_a_forked_child_is_told_so_and_the_parent_goes_on(here: Path) -> None:
    ended = ran(
        here,
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from Python 3.12

def one(): return 1

result = callboard.run(one)
pid = os.fork()
if pid == 0:
    for call in (lambda: callboard.run(one), lambda: asyncio.run(callboard.arun(one)), lambda: result.value):
        try:
            call()
        except callboard.CallboardError as error:
            say(f"child: {type(error).__name__}")
    sys.exit(0)
os.waitpid(pid, 0)
say(str(callboard.run(one).value))
say(str(result.value))
""",
    )
    assert ended.code == 0 and ended.err == ""
    assert ended.out.split("\n") == ["child: ForkedProcess"] * 3 + ["1", "1", ""]


def test_a_child_that_was_forked_before_the_first_run_is_as_good_as_any(here: Path) -> None:
    ended = ran(
        here,
        """
pid = os.fork()
if pid == 0:
    say(str(callboard.run(lambda: "child").value))
    sys.exit(0)
os.waitpid(pid, 0)
say(str(callboard.run(lambda: "parent").value))
""",
    )
    assert ended == (0, "child\nparent\n", "")


def test_processes_of_a_pool_that_spawns_run_side_by_side(here: Path) -> None:
    (here / "work.py").write_text(
        "import callboard\n\n\ndef double(item):\n    return item * 2\n\n\n"
        "def work(n):\n    return callboard.run(callboard.task('double', double, each=[n, n + 1])).value[1]['value']\n"
    )
    ended = ran(
        here,
        """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import work

if __name__ == "__main__":
    callboard.run(lambda: 1)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        say(str(list(pool.map(work.work, range(4)))))
""",
        "-W",
        "error",
    )
    assert ended == (0, "[2, 4, 6, 8]\n", "")


@pytest.mark.parametrize("flow, file", [("slow", "script.py"), ("work.slow", "work.py")])
def test_the_command_line_says_where_the_functions_of_a_run_live(here: Path, flow: str, file: str) -> None:
    """And the run is as it was."""
    (here / "work.py").write_text(
        "import os, signal, threading\n\n\ndef slow():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    threading.Event().wait()\n"
    )
    script = f"import work\n\ndef slow():\n    work.slow()\n\ncallboard.run({flow}, id='show')\n"
    assert ran(here, script).code == -signal.SIGINT
    resumed = subprocess.run(
        [sys.executable, "-c", CALLBOARD, "resume"], cwd=here, capture_output=True, text=True, timeout=30
    )
    assert (resumed.returncode, resumed.stdout) == (2, "")
    assert resumed.stderr.endswith(f"error: run show: its functions live in {here / file}; run it again\n")
    store = SQLiteStore(here / ".callboard/callboard.db")
    row = store.find_run("show")
    assert row.owner is None and row.status == RUNNING
    store.close()
