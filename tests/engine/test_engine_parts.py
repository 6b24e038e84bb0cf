"""The small parts: clocks, timers, deadlines, owners, bells, fresh outcomes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from engine_stage import turn, until

from callboard.core.deadline import Now, after
from callboard.engine.clock import SystemClock
from callboard.engine.deadlines import Deadlines
from callboard.engine.doorbell import Doorbell, ring, silent
from callboard.engine.owner import alive, keeps, new_owner, retire, started
from callboard.engine.telling import Telling
from callboard.engine.texts import Texts
from callboard.engine.timers import Timers
from callboard.ports import Message, Request
from callboard.testing.clock import FakeClock
from callboard.testing.scripted import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path


async def test_timers_call_in_order_of_their_instants() -> None:
    clock = FakeClock()
    timers = Timers(clock, Telling())
    heard: list[str] = []
    now = clock.now()
    timers.at(now.elapsed + 3, lambda: heard.append("three"))
    timers.at(now.elapsed + 1, lambda: heard.append("one"))
    timers.due(after(now, 2), lambda: heard.append("two"))
    await turn()
    clock.advance(1)
    await turn()
    assert heard == ["one"]
    clock.advance(5)
    await turn()
    assert heard == ["one", "two", "three"]
    timers.close()


async def test_a_deadline_of_another_boot_counts_by_the_wall_and_never_waits_longer() -> None:
    clock = FakeClock()
    late = after(clock.now(), 100.0)
    clock.reboot("boot-2", down=60.0)
    clock.jump(-10_000.0)
    timers = Timers(clock, Telling())
    heard: list[float] = []
    timers.due(late, lambda: heard.append(clock.now().elapsed))
    await turn()
    assert clock.sleeping == (100.0,)
    clock.advance(100.0)
    await turn()
    assert heard == [100.0]
    timers.close()


class _Attempt:
    def __init__(self) -> None:
        self.due, self.over = 0.0, False


async def test_each_timeout_has_its_queue_and_what_has_ended_is_forgotten() -> None:
    clock = FakeClock()
    timers = Timers(clock, Telling())
    late: list[object] = []
    deadlines = Deadlines(timers, late.append)
    short, long = _Attempt(), _Attempt()
    deadlines.add(long, 100.0, clock.now().elapsed)
    deadlines.add(short, 5.0, clock.now().elapsed)
    for _ in range(1000):
        done = _Attempt()
        deadlines.add(done, 100.0, clock.now().elapsed)
        done.over = True
    assert len(deadlines._queues[100.0].entries) < 300
    await turn()
    clock.advance(5.0)
    await turn()
    assert late == [short]
    long.over = True
    clock.advance(100.0)
    await turn()
    assert late == [short]
    timers.close()


def test_two_engines_of_one_process_are_two_owners() -> None:
    one, two = new_owner(), new_owner()
    assert one != two and alive(one) and alive(two)
    retire(one)
    assert not alive(one) and alive(two)
    retire(two)


def test_a_pid_that_was_given_again_is_another_owner() -> None:
    owner = new_owner()
    assert not alive(owner._replace(started=owner.started + 1)) and not alive(owner._replace(boot="another"))
    retire(owner)


def test_of_a_process_that_is_stopped_nobody_can_tell() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = new_owner()._replace(pid=process.pid, started=started(process.pid) or 0.0)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert alive(owner) is None
        lease, before, then = after(Now(0.0, "boot", 70.0), 30.0), Now(9e9, "boot", 99.0), Now(-9e9, "boot", 100.0)
        assert keeps(owner, lease, before) and not keeps(owner, lease, then) and not keeps(owner, None, before)
        process.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, process.pid, os.WCONTINUED)
        assert alive(owner) is True and keeps(owner, lease, then)


def test_a_process_that_has_ended_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = new_owner()._replace(pid=child.pid, started=started(child.pid) or 0.0)
    assert alive(owner)
    child.communicate(b"\n")
    assert not alive(owner)


@pytest.mark.parametrize("deep", [False, True], ids=["short", "longer-than-a-socket-takes"])
async def test_a_bell_is_heard_and_that_of_a_dead_engine_hangs_there_in_silence(tmp_path: Path, deep: bool) -> None:
    folder = tmp_path.joinpath(*["a-rather-long-name"] * (8 if deep else 0))
    folder.mkdir(parents=True, exist_ok=True)
    heard: list[int] = []
    bell = Doorbell(folder, "one")
    bell.hang(asyncio.get_running_loop(), lambda: heard.append(1))
    assert ring(folder) == 1
    await until(lambda: heard)
    assert bell.path.stat().st_mode & 0o777 == 0o600
    bell.take_down()
    assert not bell.path.exists() and ring(folder) == 0
    dead = Doorbell(folder, "dead")
    dead.hang(asyncio.get_running_loop(), lambda: None)
    assert dead._socket is not None
    asyncio.get_running_loop().remove_reader(dead._socket)
    dead._socket.close()
    assert ring(folder) == 0 and silent(folder) == [dead.path]
    assert ring(folder / "nowhere") == 0 and silent(folder / "nowhere") == []


def test_fresh_outcomes_are_kept_for_two_generations() -> None:
    texts = Texts(most=2)
    for n in range(5):
        texts.keep((1, n, 1, 0), str(n))
    assert [texts.get((1, n, 1, 0)) for n in range(5)] == [None, None, "2", "3", "4"]
    texts.forget()
    assert texts.get((1, 4, 1, 0)) is None


async def test_the_system_clock_tells_time_and_sleeps_until_it() -> None:
    clock = SystemClock()
    now = clock.now()
    assert now.boot and now.wall > 1.6e9 and now.elapsed > 0
    await clock.sleep_until(now.elapsed)
    await clock.sleep_until(now.elapsed + 0.001)
    assert clock.now().elapsed >= now.elapsed + 0.001
    assert started(os.getpid()) is not None


async def test_a_scripted_model_answers_one_after_another() -> None:
    model = ScriptedModel("first", {"n": 2}, ValueError("third"), price=(1, 2))
    request = Request("m", (Message("user", "two words"),), schema={"type": "object"})
    assert (await model.complete(request._replace(schema=None))).cost == 4
    assert (await model.complete(request)).data == {"n": 2}
    with pytest.raises(ValueError, match="third"):
        await model.complete(request)
    assert len(model.asked) == 3 and model.price("m") == (1, 2)
