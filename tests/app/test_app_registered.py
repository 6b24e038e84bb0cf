"""Functions that a folder registers, told from its source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from callboard.app.commands.registered import registered

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("source", "names", "is_all"),
    [
        ("from callboard import register\n@register('a')\ndef f(d, p): pass\n", {"a"}, True),
        ("from callboard import register\n@register\nasync def f(d, p): pass\n", {"f"}, True),
        ("import callboard\n@callboard.register('a')\ndef f(d, p): pass\n", {"a"}, True),
        ("import callboard, json\ncallboard.register('a', json.dumps)\n", {"a"}, True),
        ("from callboard import register\ndef f(d, p): pass\nregister(f)\n", {"f"}, True),
        ("from callboard import register\nfor n in 'ab':\n    register(n * 2, print)\n", set(), False),
        ("from callboard import register as known\nknown('a', print)\n", set(), False),
        ("import pandas\n", set(), False),
        ("from . import other\nimport other.part\nfrom function.other import x\n", set(), True),
        ("def f(:\n", set(), False),
        ("raise SystemExit\n", set(), True),
    ],
)
def test_names_are_read_from_the_source(tmp_path: Path, source: str, names: set[str], is_all: bool) -> None:
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "other.py").write_text("")
    (folder / "mine.py").write_text(source)
    assert registered(folder) == (names, is_all)


def test_nothing_is_imported(tmp_path: Path) -> None:
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    registered(folder)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_module_is_not_read(tmp_path: Path) -> None:
    assert registered(tmp_path / "function") == (frozenset(), True)
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "not-a-name.py").write_text("register('a', print)")
    (tmp_path / "outside.py").write_text("register('b', print)")
    os.symlink(tmp_path / "outside.py", folder / "linked.py")
    assert registered(folder) == (frozenset(), True)
