"""A user's own script that is killed again and again: what its functions returned and was recorded is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from crash_show import PATIENCE

from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("CALLBOARD_SEED") or 12)
KILLS = max(10, int(os.environ.get("CALLBOARD_KILLS") or 100) // 10)

SCRIPT = """
import asyncio
import os

import callboard


def did(what):
    file = os.open("did.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{what}\\n".encode())
    os.fsync(file)
    os.close(file)


def step(item):
    did(item)
    return item


async def later(step):
    await asyncio.sleep(0.002)
    return step * 2


def total(later):
    return sum(one["value"] for one in later)


plan = callboard.plan(
    callboard.task("step", step, each=list(range(300))),
    callboard.task("later", later, over="step"),
    callboard.task(total, needs=["later"]),
)
print(callboard.run(plan, id="show").value)
"""


@pytest.mark.timeout(5 * PATIENCE)
def test_a_script_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    chance = random.Random(SEED)
    kills, recorded = 0, set[int]()
    while True:
        before = len(_did(tmp_path))
        process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE)
        try:
            out, _ = process.communicate(timeout=chance.uniform(0.2, 0.7) if kills < KILLS else PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        assert not recorded & set(_did(tmp_path)[before:]), "what was recorded is not done again"
        recorded = _recorded(tmp_path)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert out == b"89700\n"
    assert set(_did(tmp_path)) == recorded == set(range(300))


def _did(here: Path) -> list[int]:
    file = here / "did.txt"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def _recorded(here: Path) -> set[int]:
    """Items whose first step has an outcome. (The script is dead: nobody minds that its log is read back now.)"""
    if not (here / ".callboard/callboard.db").exists():
        return set()
    store = SQLiteStore(here / ".callboard/callboard.db")
    try:
        runs = store.runs()
        if not runs:
            return set()
        found = store.load(runs[0].number)
        items = {node: int(value) for node, parent, _, _, value in found.items if parent == 0}
        return {items[node] for node in items if store.outcome(runs[0].number, node, 1) is not None}
    finally:
        store.close()
