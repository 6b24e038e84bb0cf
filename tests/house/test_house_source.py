"""Rules of the house that a reader of the source can check: who may import, start, open and evaluate what.

import-linter holds the direction between rooms; what stands here is finer (inside a function, by the owner of a
vendor, by a call) or wider (the tests' own habits). Each rule gives the places that break it, not just a no.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest
from house_source import SRC, called, dotted, imported, modules, place, the_tests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from house_source import Module

#: What the pure rooms may import besides our own code. A list of what is allowed, because whatever else the
#: standard library has or will have (a clock, a disk, a thread, chance) is what these rooms must not know.
VALUES = {
    "__future__", "abc", "bisect", "collections", "copy", "dataclasses", "decimal", "difflib", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "string", "types", "typing",
    "unicodedata", "zlib",
}  # fmt: skip
PURE = {
    "errors": VALUES,
    "core": VALUES,
    "text": VALUES | {"io", "jinja2", "jsonschema", "yaml"},
    "schedules": VALUES | {"cronsim", "datetime", "zoneinfo"},
}

#: Heavy vendors, and the rooms that own them.
OWNERS = {
    "apsw": {"store", "testing"},  # testing: a disk that loses power is a VFS of SQLite's
    "cronsim": {"schedules"},
    "docx": {"executors"},
    "httpx2": {"llm", "executors", "notify"},
    "jinja2": {"text"},
    "jsonschema": {"text"},
    "pandas": {"productions"},
    "pydantic": {"faces", "productions", "app"},
    "rich": {"cli"},
    "click": {"cli"},
    "yaml": {"text"},
}


def _nodes(sources: Iterable[Module]) -> Iterable[tuple[Module, ast.AST]]:
    return ((module, node) for module in sources for node in ast.walk(module.tree))


def _top(name: str) -> str:
    return name.partition(".")[0]


def test_every_module_opens_with_a_paragraph() -> None:
    silent = [
        module.path
        for module in modules()
        if len((ast.get_docstring(module.tree) or "").partition("\n\n")[0].split()) < 4
    ]
    assert not silent, "say in the first paragraph what these are for"


def test_no_room_is_called_utils() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "_internal"}
    found = [path for path in SRC.rglob("*") if path.stem in vague]
    assert not found, "name what is inside"


def test_nothing_of_ours_is_imported_inside_a_function() -> None:
    functions = ((m, f) for m, f in _nodes(modules()) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef))
    hidden = [
        f"{place(module, node)} {name}"
        for module, function in functions
        for node in ast.walk(function)
        for name in imported(node)
        if _top(name) == "callboard"
    ]
    assert not hidden, "import it at the top; a room that is heavy is loaded by name in app/wiring.py"


def test_imports_are_absolute() -> None:
    relative = [place(m, n) for m, n in _nodes(modules()) if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative


def test_nobody_inside_walks_through_the_front_door() -> None:
    files = {path.relative_to(SRC).with_suffix("").as_posix().replace("/", ".") for path in SRC.rglob("*.py")}
    packages = {name.removesuffix(".__init__") for name in files}
    through = [
        place(module, node)
        for module, node in _nodes(modules())
        if (isinstance(node, ast.Import) and any(one.name == "callboard" for one in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "callboard"
            and any(f"callboard.{one.name}" not in packages for one in node.names)
        )
    ]
    assert not through, "import from the room, not from the front door"


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_imports_values_only(room: str) -> None:
    impure = [
        f"{place(module, node)} {name}"
        for module, node in _nodes(module for module in modules() if module.room == room)
        for name in imported(node)
        if _top(name) not in PURE[room] | {"callboard"}
    ]
    assert not impure, f"{room} must give the same answer next year"


@pytest.mark.parametrize("vendor", OWNERS)
def test_a_heavy_vendor_is_imported_by_its_owner_only(vendor: str) -> None:
    strangers = [
        place(module, node)
        for module, node in _nodes(modules())
        for name in imported(node)
        if _top(name) == vendor and module.room not in OWNERS[vendor]
    ]
    assert not strangers, f"{vendor} belongs to {', '.join(sorted(OWNERS[vendor]))}"


def test_tasks_of_the_event_loop_are_created_in_engine_and_backends_only() -> None:
    makers = {"create_task", "ensure_future", "TaskGroup"}
    found = [
        f"{place(module, node)} {called(node)}"
        for module, node in _nodes(modules())
        if called(node).rpartition(".")[2] in makers and module.room not in ("engine", "backends")
    ]
    assert not found


def test_one_module_opens_a_template_environment() -> None:
    openers = {
        module.path for module, node in _nodes(modules()) if dotted(node).rpartition(".")[2].endswith("Environment")
    }
    assert len(openers) <= 1, sorted(openers)
    known = {module.path for module, node in _nodes(modules()) if "jinja2" in map(_top, imported(node))}
    assert known == {f"src/callboard/text/{name}.py" for name in ("guard", "sandbox", "template")}


def test_nothing_is_evaluated_or_unpickled() -> None:
    calls = {"eval", "exec", "builtins.eval", "builtins.exec", "yaml.load", "yaml.load_all", "yaml.unsafe_load"}
    calls |= {"yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all", "os.system", "os.popen"}
    vendors = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "multiprocessing"}
    found = [
        f"{place(module, node)} {called(node) or imported(node)}"
        for module, node in _nodes(modules())
        if called(node) in calls or vendors & set(map(_top, imported(node)))
    ]
    assert not found


def test_a_shell_is_opened_by_the_command_executor_only() -> None:
    found = [
        place(module, node)
        for module, node in _nodes(modules())
        if (called(node).endswith("create_subprocess_shell") or _asks_for_a_shell(node))
        and module.path != "src/callboard/executors/command.py"
    ]
    assert not found


def _asks_for_a_shell(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and any(
        keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
        for keyword in node.keywords
        if called(node).startswith(("subprocess.", "asyncio."))
    )


def test_one_module_walks_into_directories() -> None:
    """What makes a file that must not be there yet follows no link; whatever opens one that is there goes by `walk`."""
    found = [
        place(module, node)
        for module, node in _nodes(modules())
        if called(node) == "os.open"
        and isinstance(node, ast.Call)
        and any(keyword.arg == "dir_fd" for keyword in node.keywords)
        and not {"O_EXCL", "O_TMPFILE"} & {dotted(one).rpartition(".")[2] for one in ast.walk(node)}
        and module.path not in ("src/callboard/walk.py", "src/callboard/store/whole.py")
    ]
    assert not found


def test_no_test_sleeps_for_time() -> None:
    sleeping = [
        f"{place(module, node)} {called(node)}"
        for module, node in _nodes(the_tests())
        if called(node) in ("time.sleep", "sleep", "asyncio.sleep", "anyio.sleep") and not _is_zero(node)
    ]
    assert not sleeping, "move a fake clock, or wait for the thing itself"


def _is_zero(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio" | "anyio")), args=[ast.Constant(value=0)]):
            return True
    return False


def test_names_of_test_files_are_unique() -> None:
    names = [module.path.rpartition("/")[2] for module in the_tests()]
    assert not sorted({name for name in names if names.count(name) > 1 and name != "conftest.py"})


def test_the_rules_see_what_they_forbid() -> None:
    """A rule that matches nothing is green too: each pattern is shown one offender."""
    source = "import time\ntime.sleep(1)\nasyncio.sleep(0)\nsubprocess.run(x, shell=True)\nfrom a.b import c\n"
    sleep, zero, shell = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    assert (called(sleep), _is_zero(sleep), _is_zero(zero)) == ("time.sleep", False, True)
    assert _asks_for_a_shell(shell)
    assert [name for node in ast.walk(ast.parse(source)) for name in imported(node)] == ["time", "a.b"]
    assert set(sys.stdlib_module_names) >= VALUES - {"__future__"}
