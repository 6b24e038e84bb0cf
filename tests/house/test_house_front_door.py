"""The front door: what `import callboard` offers, and what it must not drag in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import callboard

if TYPE_CHECKING:
    from pathlib import Path

#: Libraries that take their time; each is imported by the room that needs it, when it is needed.
HEAVY = {
    "apsw", "asyncio", "docx", "httpx2", "jinja2", "jsonschema", "numpy", "pandas", "pydantic", "rich", "yaml",
}  # fmt: skip

HELP = """
import sys
sys.argv = ["callboard", "--help"]
from callboard.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""

OFFLINE = """
import os, sys
os.environ.pop("CALLBOARD_PROJECT", None)
sys.argv = ["callboard", "run", "say.ai", "good evening", "--model", "offline", "--quiet"]
from callboard.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
SAY = "pipe:\n  - name: say\n    type: llm\n    tmpl: 'Repeat: {{input}}'\n"

has_cli = pytest.mark.skipif(
    not importlib.util.find_spec("callboard.cli") or not importlib.util.find_spec("callboard.cli.main"),
    reason="the command line is not built",
)


def _loaded(source: str, here: Path | None = None) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running `source`."""
    report = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    command = [sys.executable, "-c", source + report]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=here).stderr.split())


def test_every_public_name_can_be_resolved() -> None:
    missing = [name for name in callboard.__all__ if getattr(callboard, name, None) is None]
    assert not missing


def test_public_names_are_sorted_and_listed_once() -> None:
    assert list(callboard.__all__) == sorted(set(callboard.__all__))


def test_dir_shows_the_public_names() -> None:
    assert set(callboard.__all__) <= set(dir(callboard))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        callboard.no_such_name  # noqa: B018


def test_importing_callboard_loads_nothing_heavy() -> None:
    assert not HEAVY & _loaded("import callboard")


@has_cli
def test_help_loads_nothing_heavy() -> None:
    assert not HEAVY & _loaded(HELP)


@has_cli
def test_a_run_without_a_network_loads_no_library_for_one(tmp_path: Path) -> None:
    (tmp_path / "say.ai").write_text(SAY)
    loaded = _loaded(OFFLINE, tmp_path)
    assert "httpx2" not in loaded and {"apsw", "jinja2"} <= loaded
