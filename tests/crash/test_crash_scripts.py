"""A user's own script that is killed again and again: what its functions returned and was recorded is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from callboard.battery.spawn import PATIENCE
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
    callboard.task("step", step, each=list(range(300)), limits=["few"]),
    callboard.task("later", later, over="step"),
    callboard.task(total, needs=["later"]),
    limits={"few": 4},
)
print(callboard.run(plan, id="show").value)
"""


@pytest.mark.timeout(5 * PATIENCE)
def test_a_script_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    chance = random.Random(SEED)
    kills, slow, recorded = 0, 1.0, set[int]()
    while True:
        before = len(_did(tmp_path))
        process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE)
        try:
            out, _ = process.communicate(timeout=chance.uniform(0.2, 0.7) * slow if kills < KILLS else PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        assert not recorded & set(_did(tmp_path)[before:]), "what was recorded is not done again"
        now = _recorded(tmp_path)
        slow = 1.0 if now > recorded else slow * 2  # what is killed at the same place three times is poison
        recorded = now
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


@pytest.mark.timeout(3 * PATIENCE)
def test_a_function_that_kills_its_process_is_set_aside_after_three_times(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import os, signal\nimport callboard\n\n\n"
        "def deadly():\n    os.kill(os.getpid(), signal.SIGKILL)\n\n\n"
        "try:\n    callboard.run(callboard.plan(callboard.task('good', lambda: 1), deadly), id='show')\n"
        "except callboard.RunFailed as error:\n    print(error)\n"
    )
    codes = []
    for _ in range(4):
        process = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, timeout=PATIENCE)
        codes.append(process.returncode)
    assert codes == [-signal.SIGKILL] * 3 + [0], process.stderr.decode()
    assert b"deadly" in process.stdout
