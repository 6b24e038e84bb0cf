"""`command`: real processes, kind and unkind. What is started is gone afterwards, wherever it hid."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from callboard.backends import supervisor
from callboard.errors import InvalidOutput, Permanent, Transient, WorkerLost
from callboard.executors.command import Command
from callboard.executors.process import _Lines as Lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from executors_desk import Desk

PYTHON = sys.executable
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
if sys.argv[2] == "wait":
    time.sleep(1000)
"""


@pytest.fixture
def command() -> Command:
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "leak"}
    return Command(supervisor, environ=environ, grace=0.3)


async def until(is_so: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for the thing itself, looking often."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, "it did not come about"
        await asyncio.to_thread(threading.Event().wait, 0.005)
    return found


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def pid_in(file: Path) -> int:
    return int(file.read_text() or 0) if file.exists() else 0


async def test_the_pipe_goes_in_and_standard_output_comes_out(desk: Desk, command: Command) -> None:
    value = await command.carry_out(desk.context(), desk.inputs(command=["cat"], pipe="Grüße\n"))
    assert value == "Grüße"


async def test_values_fill_whole_arguments_and_never_are_code(desk: Desk, command: Command) -> None:
    nasty = "; rm -rf / $(id) `id` && 'x' \"y\" *\n-n"
    program = "import sys, json; print(json.dumps(sys.argv[1:]))"
    inputs = desk.inputs(command=[PYTHON, "-c", program, nasty, 3, {"a": 1}], format="json")
    assert await command.carry_out(desk.context(), inputs) == [nasty, "3", '{"a":1}']


async def test_output_can_be_read_as_json_and_must_then_be_json(desk: Desk, command: Command) -> None:
    inputs = desk.inputs(command=["echo", '{"a": [1]}'], format="json")
    assert await command.carry_out(desk.context(), inputs) == {"a": [1]}
    with pytest.raises(InvalidOutput, match="not JSON"):
        await command.carry_out(desk.context(), desk.inputs(command=["echo", "NaN"], json=True))


async def test_binary_output_is_no_text(desk: Desk, command: Command) -> None:
    with pytest.raises(InvalidOutput, match="not UTF-8"):
        await command.carry_out(desk.context(), desk.inputs(command=["printf", r"\377\376"]))


async def test_the_environment_is_empty_but_for_what_is_allowed_and_named(desk: Desk, command: Command) -> None:
    desk.secrets = {"TOKEN": "t0k", "OTHER": "not granted"}
    inputs = desk.inputs(command=["env"], env={"MINE": "a b"}, secrets=["TOKEN"])
    lines = (await command.carry_out(desk.context("k"), inputs)).splitlines()
    names = dict(line.split("=", 1) for line in lines)
    expected = {"PATH", "MINE", "TOKEN", "CALLBOARD_KEY", "CALLBOARD_RUN", "CALLBOARD_TASK", "CALLBOARD_ITEM"}
    assert names.keys() - {"LC_CTYPE"} == expected | {supervisor.MARK}  # Python sets LC_CTYPE where there is no locale
    assert (names["MINE"], names["TOKEN"], names["CALLBOARD_KEY"]) == ("a b", "t0k", "the-key")


async def test_a_secret_that_is_not_granted_is_refused(desk: Desk, command: Command) -> None:
    with pytest.raises(Permanent, match="'TOKEN' is not granted"):
        await command.carry_out(desk.context(), desk.inputs(command=["true"], secrets=["TOKEN"]))


async def test_a_shell_opens_only_when_asked_and_takes_no_templates(desk: Desk, command: Command) -> None:
    inputs = desk.inputs(command='echo "$WORD" | tr a-z A-Z', shell=True, env={"WORD": "$(id); hi"})
    assert await command.carry_out(desk.context(), inputs) == "$(ID); HI"
    for wrong in ({"command": "echo hi"}, {"command": "echo {{x}}", "shell": True}, {"command": ["a"], "shell": True}):
        with pytest.raises(Permanent):
            await command.carry_out(desk.context(), desk.inputs(**wrong))


@pytest.mark.parametrize("wrong", [[], [""], ["echo", "a\0b"], None])
async def test_a_command_that_is_none_is_refused(desk: Desk, command: Command, wrong: Any) -> None:
    with pytest.raises(Permanent):
        await command.carry_out(desk.context(), desk.inputs(command=wrong))


async def test_it_runs_in_the_directory_of_the_run_or_below(desk: Desk, command: Command) -> None:
    (desk.dir / "below").mkdir()
    assert await command.carry_out(desk.context(), desk.inputs(command=["pwd"])) == str(desk.dir)
    inputs = desk.inputs(command=["pwd"], cwd="below")
    assert await command.carry_out(desk.context(), inputs) == str(desk.dir / "below")
    for outside in ("..", "/"):
        with pytest.raises(Permanent, match="outside"):
            await command.carry_out(desk.context(), desk.inputs(command=["pwd"], cwd=outside))
    with pytest.raises(Permanent, match="cannot be started"):
        await command.carry_out(desk.context(), desk.inputs(command=["pwd"], cwd="nowhere"))


async def test_an_exit_code_is_a_failure_with_its_evidence(desk: Desk, command: Command) -> None:
    inputs = desk.inputs(command="echo broken >&2; exit 3", shell=True)
    with pytest.raises(Permanent, match="exit code 3: broken") as caught:
        await command.carry_out(desk.context(), inputs)
    assert caught.value.evidence == {"exit": 3, "signal": None, "stderr": "broken\n"}
    with pytest.raises(Transient):
        await command.carry_out(desk.context(), {**inputs, "transient_codes": [3]})


async def test_a_signal_and_a_program_that_is_not_there_are_told(desk: Desk, command: Command) -> None:
    with pytest.raises(WorkerLost, match="sh was ended by SIGSEGV: it has crashed"):
        await command.carry_out(desk.context(), desk.inputs(command="kill -SEGV $$", shell=True))
    with pytest.raises(Permanent, match="no-such-program: No such file"):
        await command.carry_out(desk.context(), desk.inputs(command=["no-such-program"]))


async def test_arguments_too_long_for_the_system_are_an_error(desk: Desk, command: Command) -> None:
    with pytest.raises(Permanent, match="cannot be started: Argument list too long"):
        await command.carry_out(desk.context(), desk.inputs(command=["echo", "x" * 3_000_000]))


async def test_standard_error_is_logged_line_by_line(desk: Desk, command: Command) -> None:
    await command.carry_out(desk.context(), desk.inputs(command="echo one >&2; printf two >&2", shell=True))
    assert desk.lines == [("stderr", "one"), ("stderr", "two")]


async def test_ten_thousand_lines_of_error_become_a_thousand_and_a_number(desk: Desk, command: Command) -> None:
    await command.carry_out(desk.context(), desk.inputs(command="seq 10000 >&2", shell=True))
    assert len(desk.lines) == 1_001
    assert desk.lines[-1] == ("stderr", "… and 9000 more lines")


async def test_a_huge_line_of_error_is_cut(desk: Desk, command: Command) -> None:
    await command.carry_out(
        desk.context(), desk.inputs(command="head -c 3000000 /dev/zero | tr '\\0' x >&2", shell=True)
    )
    ((_, line),) = desk.lines
    assert len(line) < 5_000 and line.endswith("…")


async def test_a_hundred_megabytes_of_output_are_stopped_at_the_limit(desk: Desk, command: Command) -> None:
    inputs = desk.inputs(command="head -c 100000000 /dev/zero | tr '\\0' x", shell=True, max_output=100_000)
    with pytest.raises(Permanent, match="max_output"):
        await command.carry_out(desk.context(), inputs)


async def test_who_goes_on_writing_after_its_limit_is_not_read_any_more(desk: Desk, command: Command) -> None:
    """It is ended by force after the grace period; until then it must not cost us the processor."""
    began = time.process_time()
    line = "trap '' TERM PIPE; while true; do head -c 100000000 /dev/zero; done 2> /dev/null"
    with pytest.raises(Permanent, match="max_output"):
        await Command(supervisor, grace=1.5).carry_out(desk.context(), desk.inputs(command=line, shell=True))
    assert time.process_time() - began < 0.7


async def test_a_flood_of_errors_waits_in_the_process_that_makes_it() -> None:
    pipe, lines = Pipe(), Lines(lambda line: None)
    lines.connection_made(pipe)
    lines.data_received(b"no!\n" * (9 << 20))  # all at once: whoever is slow enough may say as much
    assert pipe.pauses > 0
    await until(lambda: pipe.resumed > 0)


class Pipe(asyncio.ReadTransport):
    """Counts how often it was told to wait, and to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses = self.resumed = 0

    def pause_reading(self) -> None:
        self.pauses += 1

    def resume_reading(self) -> None:
        self.resumed += 1


async def test_a_process_that_does_not_read_its_input_is_no_fault(desk: Desk, command: Command) -> None:
    assert await command.carry_out(desk.context(), desk.inputs(command=["echo", "hi"], pipe="x" * 3_000_000)) == "hi"


async def test_a_process_that_sleeps_for_ever_is_ended(desk: Desk, command: Command) -> None:
    file = desk.dir / "pid"
    attempt = asyncio.ensure_future(
        command.carry_out(desk.context(), desk.inputs(command=f"echo $$ > {file}; exec sleep 1000", shell=True))
    )
    pid = await until(lambda: pid_in(file))
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert is_gone(pid)


async def test_a_process_that_ignores_the_polite_signal_is_ended_by_force(desk: Desk, command: Command) -> None:
    file = desk.dir / "pid"
    line = f"trap '' TERM INT HUP; echo $$ > {file}; while :; do sleep 0.05; done"
    attempt = asyncio.ensure_future(command.carry_out(desk.context(), desk.inputs(command=line, shell=True)))
    pid = await until(lambda: pid_in(file))
    began = time.monotonic()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert time.monotonic() - began >= 0.3
    assert is_gone(pid)


async def test_a_second_cancellation_does_not_leave_the_process_behind(desk: Desk, command: Command) -> None:
    file = desk.dir / "pid"
    line = f"trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done"
    attempt = asyncio.ensure_future(command.carry_out(desk.context(), desk.inputs(command=line, shell=True)))
    pid = await until(lambda: pid_in(file))
    for _ in range(3):
        attempt.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert is_gone(pid)


@pytest.mark.parametrize("ending", ["wait", "leave"])
async def test_a_daemon_in_a_session_of_its_own_does_not_survive(desk: Desk, command: Command, ending: str) -> None:
    file = desk.dir / "pid"
    inputs = desk.inputs(command=[PYTHON, "-c", DAEMON, str(file), ending])
    attempt = asyncio.ensure_future(command.carry_out(desk.context(), inputs))
    pid = await until(lambda: pid_in(file))
    if ending == "wait":
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
    else:
        assert await attempt == ""
    assert is_gone(pid)


async def test_a_stopped_process_is_ended_too(desk: Desk, command: Command) -> None:
    file = desk.dir / "pid"
    line = f"echo $$ > {file}; kill -STOP $$"
    attempt = asyncio.ensure_future(command.carry_out(desk.context(), desk.inputs(command=line, shell=True)))
    pid = await until(lambda: pid_in(file))
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert is_gone(pid)


async def test_who_kills_the_supervisor_does_not_get_away(desk: Desk, command: Command) -> None:
    file = desk.dir / "pid"
    program = DAEMON.replace('if sys.argv[2] == "wait":', "os.kill(os.getppid(), 9)\nif True:")
    with pytest.raises(WorkerLost, match="killed with its supervisor"):
        await command.carry_out(desk.context(), desk.inputs(command=[PYTHON, "-c", program, str(file), "-"]))
    pid = pid_in(file)
    assert pid and await until(lambda: is_gone(pid))


async def test_when_the_engine_is_killed_nothing_of_it_survives(desk: Desk) -> None:
    """The engine is a process of its own here, ended by SIGKILL in the middle of a command."""
    file = desk.dir / "pid"
    engine = f"""
import asyncio, os
from callboard.backends import supervisor
from callboard.executors.process import run
asyncio.run(run([{PYTHON!r}, "-c", {DAEMON!r}, {str(file)!r}, "wait"], supervise=supervisor, stdin=b"",
    env={{"PATH": os.environ["PATH"]}}, cwd="/", most=1000, on_line=print, grace=0.3))
"""
    process = subprocess.Popen([PYTHON, "-c", engine], stdin=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        pid = await until(lambda: pid_in(file))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    await until(lambda: is_gone(pid))


async def test_it_runs_in_a_group_of_its_own_and_nicely(desk: Desk, command: Command) -> None:
    program = "import os, resource; print(os.getpgid(0) == os.getpid(), os.nice(0) - %d, *resource.getrlimit(4))"
    value = await command.carry_out(desk.context(), desk.inputs(command=[PYTHON, "-c", program % os.nice(0)]))
    assert value == "True 10 0 0"
