"""Proofs with a known end, carried out in a process of their own like all others."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from callboard.battery import history
from callboard.battery.proof import Found
from callboard.core.plan import Plan, Task, dump
from callboard.store.memory import MemoryStore

if TYPE_CHECKING:
    from callboard.battery.proof import Proving


def holds(proving: Proving) -> Found:
    print("what a proof prints is no answer")
    assert list(proving.folder.iterdir()) == []
    (proving.folder / "left.txt").write_text("something")
    proving.say(f"1 of {proving.size}")
    return Found(proving.size, figures={"seed": proving.seed})


def looks(proving: Proving) -> Found:
    store = MemoryStore()
    store.create_run(id="one", name="", plan=dump(Plan((Task("a"),))), params="{}", face="test", at=1.0)
    return Found(1, history.check_run(store, 1))


def fails(proving: Proving) -> Found:
    (proving.folder / "evidence.txt").write_text("something")
    return Found(1, ["one was lost (seed 1)"])


def breaks(proving: Proving) -> Found:
    raise ValueError("a mistake of the proof's own")


def dies(proving: Proving) -> Found:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hangs(proving: Proving) -> Found:
    proving.say("it has begun")
    signal.pause()
    raise AssertionError
