"""The sources as the house's tests read them: parsed once per process, named by their path from the root."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"


class Module(NamedTuple):
    """One file: its path from the root (posix text), its room (`core`, `errors` …, "" for the front door)."""

    path: str
    room: str
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    return tuple(_read(file, SRC / "callboard") for file in sorted(SRC.glob("callboard/**/*.py")))


@cache
def the_tests() -> tuple[Module, ...]:
    """Every module of the tests."""
    return tuple(_read(file, ROOT / "tests") for file in sorted(ROOT.glob("tests/**/*.py")))


def _read(file: Path, base: Path) -> Module:
    inside = file.relative_to(base).with_suffix("").parts
    room = "" if inside[0] == "__init__" else inside[0]
    return Module(file.relative_to(ROOT).as_posix(), room, ast.parse(file.read_text("utf-8")))


def imported(node: ast.AST) -> tuple[str, ...]:
    """The modules an import statement names; nothing for any other node."""
    match node:
        case ast.Import(names=names):
            return tuple(one.name for one in names)
        case ast.ImportFrom(module=str(module), level=0):
            return (module,)
    return ()


def called(node: ast.AST) -> str:
    """The dotted name a call names (`time.sleep`, `eval`), "" when it is no call or has no such name."""
    return dotted(node.func) if isinstance(node, ast.Call) else ""


def dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{dotted(value) or '?'}.{attr}"
    return ""


def place(module: Module, node: ast.AST) -> str:
    """`path:line`, for a message that can be clicked."""
    return f"{module.path}:{getattr(node, 'lineno', 1)}"
