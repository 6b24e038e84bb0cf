"""Whatever writes to a disk has a named crash point, and every name that is said is in the table."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from house_source import called, dotted, modules

from callboard.crash import POINTS
from callboard.store.sql import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from house_source import Module

#: Rooms whose writes are no part of a project: what does the harm, what shows it, and what only tests use.
ASIDE = {"battery", "testing", "core", "text"}

#: Functions that write and need no point of their own, each with the reason.
EXCEPTIONS = {
    "app/child.py:main": "standard error",
    "app/stage/thread.py:EngineThread._play": "a function is bound to a run, no socket to a name",
    "app/child.py:_tell": "a pipe",
    "backends/far.py:Out._write": "a pipe",
    "cli/carried.py:_out_of_memory": "standard error",
    "cli/streams.py:leave": "/dev/null",
    "cli/streams.py:take_numbers": "/dev/null",
    "backends/far.py:Prints.write": "standard error",
    "backends/supervisor.py:_become": "a pipe",
    "backends/supervisor.py:_let_go": "/dev/null",
    "backends/supervisor.py:_tell": "a pipe",
    "store/content.py:_holds": "a sync of what is there already: a kill cannot tell, and Content._put has points",
    "store/room.py:allocate": "its callers have points, or their file has no name",
    "store/room.py:Reserve._link": "its caller has points before and after it",
    "store/room.py:Reserve._rename": "its caller's caller has points before and after it",
    "store/room.py:_nameless": "a file without a name goes with its process",
    "store/sql/database.py:Database._rows": "a connection that only reads",
    "store/sql/database.py:Database._connect_to_write": "a temporary view, in memory; the file was made by then",
    "store/sql/database.py:Database._open_to_write": "what it calls has points; a count can be mended again",
    "store/sql/database.py:Database._empty_log": "only after an I/O error; the proof of those meets it",
    "store/sql/copies.py:Copies.backup_if_due": "what it calls has points",
    "store/sql/mended.py:Mended._around": "inside its caller's transaction, of a database that has no name yet",
    "store/sql/mended.py:Mended._begin": "inside its caller's transaction, of a database that has no name yet",
    "store/sql/mended.py:Mended._record": "inside its caller's transaction, of a database that has no name yet",
    "store/sql/salvage.py:Salvage._take": "inside its caller's transaction, of a database for a moment",
    "store/sql/salvage.py:Salvage.rows": "only reads",
    "store/sql/schema.py:_made": "in memory",
    "store/sql/swap.py:_index_held": "a lock on what is there already",
    "store/sql/doubt.py:Doubt.begin": "only after an I/O error",
    "store/sql/doubt.py:Doubt.end": "only after an I/O error",
    "store/sql/doubt.py:Doubt._write_anew": "only after an I/O error",
    "store/sql/sqlite.py:_asking": "questions only",
    "store/sql/sqlite.py:_create_run": "inside its caller's transaction, which has points before and after",
    "store/sql/sqlite.py:_post": "inside its caller's transaction, which has points before and after",
    "store/whole.py:_mark": "only after an I/O error",
    "store/whole.py:_is_marked": "only after an I/O error, and another boot",
    "store/whole.py:_nameless": "a file without a name goes with its process",
    "store/whole.py:_beside": "its caller has the point behind it",
    "store/whole.py:_fill": "its callers have points before and after it",
}

_OS = {
    "write", "pwrite", "writev", "replace", "rename", "renames", "link", "symlink", "unlink", "remove", "mkdir", 
    "makedirs", "rmdir", "removedirs", "truncate", "ftruncate", "fsync", "fdatasync", "chmod", "fchmod", "mkfifo",
    "copy_file_range", "sendfile", "utime", "posix_fallocate",
}  # fmt: skip
_PATH = {"write_bytes", "write_text", "mkdir", "unlink", "rmdir", "touch", "chmod", "symlink_to", "hardlink_to"}
_SHUTIL = {"rmtree", "copy", "copyfile", "copy2", "copytree", "move", "copymode", "copystat", "copyfileobj"}
_SQLITE = {"wal_checkpoint", "backup", "blob_open", "serialize", "deserialize", "executemany"}
_OTHER = {"bind"}
_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE", "O_APPEND"}
_CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER|BEGIN|COMMIT|VACUUM)\b")


def writes(node: ast.AST, known: dict[str, ast.expr]) -> bool:
    """Whether this is a call that changes something on a disk. `known` are the module's constants."""
    if not isinstance(node, ast.Call):
        return False
    name = called(node)
    owner, _, last = name.rpartition(".")
    if not last and isinstance(node.func, ast.Attribute):
        last = node.func.attr
    match owner, last:
        case "os", "open":
            return _opens_to_write(
                node.args[1:2] + [word.value for word in node.keywords if word.arg == "flags"], known
            )
        case "os", _:
            return last in _OS
        case "shutil", _:
            return last in _SHUTIL
        case "", "open":
            return _mode(node, 1) is not None
        case _, "open" if isinstance(node.func, ast.Attribute):
            return _mode(node, 0) is not None
        case _, "execute":
            return bool(node.args) and _changes(node.args[0], known)
    return last in _PATH | _SQLITE | _OTHER


def _opens_to_write(flags: list[ast.expr], known: dict[str, ast.expr]) -> bool:
    names = {dotted(part).rpartition(".")[2] for flag in flags for part in ast.walk(flag)}
    more = [known[name] for name in names if name in known]
    return bool(names & _FLAGS) or (bool(more) and _opens_to_write(more, {}))


def _mode(node: ast.Call, place: int) -> str | None:
    """The mode with which a file is opened, when it is one to write."""
    values = node.args[place : place + 1] + [word.value for word in node.keywords if word.arg == "mode"]
    modes = [one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return next((mode for mode in modes if set(mode) & set("wax+")), None)


def _changes(query: ast.expr, known: dict[str, ast.expr]) -> bool:
    """Whether a statement changes anything; one that nobody can tell here counts as if it did."""
    match query:
        case ast.Constant(value=str(text)):
            return bool(_CHANGES.match(text))
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return bool(_CHANGES.match(text))
        case ast.Attribute(value=ast.Name(id="q"), attr=name):
            return bool(_CHANGES.match(str(getattr(queries, name))))
        case ast.Name(id=name) if name in known:
            return _changes(known[name], {})
    return True


def functions(module: Module) -> Iterator[tuple[str, ast.AST]]:
    """(name, node) of each function, methods with their class; a function inside another belongs to that one."""

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from below(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child

    return below(module.tree, "")


def constants(module: Module, function: ast.AST | None = None) -> dict[str, ast.expr]:
    scopes = [module.tree.body, [] if function is None else list(ast.walk(function))]
    return {
        target.id: node.value
        for scope in scopes
        for node in scope
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def said(nodes: Iterable[ast.AST]) -> list[str]:
    """The names of the points that are passed here; one that is not written out is ''."""
    calls = [node for node in nodes if isinstance(node, ast.Call) and called(node) == "point"]
    return [
        node.args[0].value if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str) else ""
        for node in calls
    ]


@cache
def writers() -> list[tuple[str, ast.AST]]:
    """Every function of ours that writes, as `file:Class.name`."""
    return [
        (f"{module.path.removeprefix('src/callboard/')}:{name}", function)
        for module in modules()
        if module.room not in ASIDE and not module.path.endswith("cli/prove.py")
        for name, function in functions(module)
        if _any_writes(function, constants(module, function))
    ]


def _any_writes(function: ast.AST, known: dict[str, ast.expr]) -> bool:
    return any(writes(node, known) for node in ast.walk(function))


def test_whatever_writes_to_a_disk_has_a_point() -> None:
    without = [name for name, function in writers() if not said(ast.walk(function)) and name not in EXCEPTIONS]
    assert not without, 'say point("…") before or after the write, and add the name to callboard/crash.py'


def test_an_exception_is_still_one() -> None:
    found = dict(writers())
    stale = [name for name in EXCEPTIONS if name not in found or said(ast.walk(found[name]))]
    assert not stale


def test_the_table_has_every_name_that_is_said_and_no_other() -> None:
    names = [name for module in modules() for name in said(ast.walk(module.tree))]
    assert set(names) == set(POINTS)
    assert len(POINTS) >= 60


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("os.replace(a, b)", True),
        ("os.open(path, os.O_RDONLY | os.O_DIRECTORY)", False),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", True),
        ("os.open(path, FLAGS, 0o600)", True),
        ("os.open(path, _DIRECTORY)", False),
        ("open(path)", False),
        ("open(path, 'ab')", True),
        ("path.open(mode='w')", True),
        ("path.open('rb')", False),
        ("Path(x).write_text(text)", True),
        ("text.replace(a, b)", False),
        ("shutil.rmtree(folder)", True),
        ("writer.execute('COMMIT')", True),
        ("writer.execute('SELECT 1')", False),
        ("writer.execute(q.CLAIM, (run,))", True),
        ("writer.execute(q.RUN, (run,))", False),
        ("writer.execute(statement)", True),
        ("connection.wal_checkpoint(mode=x)", True),
    ],
)
def test_the_rule_sees_what_writes(source: str, found: bool) -> None:
    known = {
        "FLAGS": ast.parse("os.O_RDWR", mode="eval").body,
        "_DIRECTORY": ast.parse("os.O_RDONLY", mode="eval").body,
    }
    assert any(writes(node, known) for node in ast.walk(ast.parse(source))) is found
