"""Which functions does a project register? Read from the source of its `function/` folder, which is never imported:
to look at a project must not run what lies in it.

Names that are made while a module runs cannot be seen this way, nor what a package from elsewhere registers. So the
answer has a second half: whether it is surely all of them.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REGISTER = "register"


def registered(folder: Path) -> tuple[frozenset[str], bool]:
    """(names, whether these are all of them) of the modules in a folder."""
    names: set[str] = set()
    is_all = True
    files = [] if folder.is_symlink() or not folder.is_dir() else sorted(folder.glob("*.py"))
    modules = {folder.name, *(file.stem for file in files)}
    for file in files:
        if file.is_symlink() or not file.is_file() or not file.stem.isidentifier():
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            is_all = False
            continue
        for name in _names(tree):
            if name is None:
                is_all = False
            else:
                names.add(name)
        is_all = is_all and all(_is_harmless(one, modules) for one in ast.walk(tree))
    return frozenset(names), is_all


def _names(tree: ast.Module) -> Iterator[str | None]:
    """Names that are registered; None for one that cannot be told."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from (node.name for one in node.decorator_list if _is_register(one))
        if isinstance(node, ast.Call) and _is_register(node.func) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value
            else:
                yield first.id if isinstance(first, ast.Name) else None


def _is_register(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == _REGISTER) or (
        isinstance(node, ast.Attribute) and node.attr == _REGISTER
    )


def _is_harmless(node: ast.AST, modules: set[str]) -> bool:
    """Whether this brings in nothing that could register functions under our eyes."""
    if isinstance(node, ast.Import):
        return all(_is_known(one.name, modules) for one in node.names)
    if isinstance(node, ast.ImportFrom):
        renamed = any(one.name == _REGISTER and one.asname not in (None, _REGISTER) for one in node.names)
        return not renamed and (node.level > 0 or _is_known(node.module or "", modules))
    return True


def _is_known(module: str, modules: set[str]) -> bool:
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top == "callboard" or top in modules
