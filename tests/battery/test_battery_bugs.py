"""Who tests the tests: each of these bugs, put into the program, makes the test fail that its patch names.

A patch in `bugs/` opens with a sentence that says what is wrong with it, then `Must fail:` and a test. When the code
around it changes so far that it no longer applies, it is made anew; when its test is renamed, so is its line.

Each takes a Python of its own, so what that has to do is kept small: what is compiled already is copied too, and of
pytest's plugins only those are loaded that the tests need.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
BUGS = sorted(Path(__file__).with_name("bugs").glob("*.patch"))
SHOULD_FAIL, FAILED = re.compile(r"^Must fail: (\S+)$", re.MULTILINE), 1
CHANGED = re.compile(r"^\+\+\+ b/(\S+)\.py$", re.MULTILINE)
PYTEST = "-m pytest -p pytest_asyncio.plugin -p pytest_timeout -p no:cacheprovider -x --timeout 20".split()


class Ran(NamedTuple):
    code: int
    said: str


def _ran(argv: list[str], at: Path, **env: str) -> Ran:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(argv, cwd=at, env=kept | env, capture_output=True, text=True, errors="replace", check=False)
    return Ran(done.returncode, done.stdout + done.stderr)


def test_there_are_at_least_twenty() -> None:
    assert len(BUGS) >= 20


@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.stem)
def test_a_seeded_bug_is_found_by_the_test_it_names(bug: Path, tmp_path: Path) -> None:
    named = SHOULD_FAIL.findall(bug.read_text("utf-8"))
    assert named, "a bug names the test that must fail"
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.pyc.*"))
    for changed in map(tmp_path.joinpath, CHANGED.findall(bug.read_text("utf-8"))):
        for compiled in changed.parent.glob(f"__pycache__/{changed.name}.*"):
            compiled.unlink()
    applied = _ran(["git", "apply", "-C1", str(bug)], tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert applied.code == 0, f"it no longer applies, make it anew: {applied.said}"
    for test in named:
        ran = _ran(
            [sys.executable, *PYTEST, test],
            ROOT,
            PYTHONPATH=f"{tmp_path}/src",
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        )
        assert ran.code == FAILED, f"{test} does not find it:\n{ran.said}"
