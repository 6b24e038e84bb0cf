"""The front door: what `import callboard` offers, and what it must not drag in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import callboard

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

has_cli = pytest.mark.skipif(
    not importlib.util.find_spec("callboard.cli") or not importlib.util.find_spec("callboard.cli.main"),
    reason="the command line is not built",
)


def _loaded(source: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running `source`."""
    report = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    command = [sys.executable, "-c", source + report]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())


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
