"""A show for a disk that fails: every kind of write of the store, one after another, each acknowledged or not.

Each step is one transaction at most, and they are the same each time, so the whole content of the database after
each of them is known beforehand (`dump`). Whatever is found on a disk later must be exactly one of these contents:
none that was acknowledged is missing, nothing is there by halves, nothing twice. What is wrong is raised as `Wrong`
and not asserted: a proof has to prove something under `python -O` too.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import closing, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.history import DATABASE
from callboard.core.deadline import Now, after
from callboard.core.facts import Heard, encode
from callboard.core.plan import Plan, Task
from callboard.core.plan import dump as dump_plan
from callboard.ports import Call, Owner, Write
from callboard.store import room, whole
from callboard.store.publish import publish
from callboard.store.sql import database, doubt
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAN = dump_plan(Plan((Task("first"), Task("second", needs=("first",)))))
ME = Owner("here", "boot", 100, 1.5, "me")
_NOW = Now(1.0, ME.boot, 1.0)
_LEASE = after(_NOW, 1e9)
LINKS = 24
USERS = b"what the user wrote\n"
LARGE = 70_000  # an outcome that is kept as content
SAVES = {"credit": "INSERT INTO record (kind, id, revision, value) VALUES ('credit', :id, 1, :value)"}


class Wrong(Exception):
    """What is there is not what must be there."""


def sure(condition: object, what: str) -> None:
    """Raises Wrong."""
    if not condition:
        raise Wrong(what)


class Step(NamedTuple):
    """`act` is acknowledged when it returns; `holds` is so from then on, in every state that comes later."""

    name: str
    act: Callable[[SQLiteStore, Path], object]
    holds: Callable[[SQLiteStore, Path], bool] | None = None


def start(root: Path) -> Path:
    """What lies in a project's directory before we come."""
    root.mkdir()
    (root / "kept.md").write_bytes(USERS)
    return root


def open_store(root: Path, vfs: str | None = None) -> SQLiteStore:
    return SQLiteStore(root / DATABASE, vfs=vfs, saves=SAVES)


def dump(store: SQLiteStore) -> str:
    """The whole content of the database, in short. (When the tables were made is the clock's, not ours.)"""
    tables = store.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'schema_version' ORDER BY 1")
    content = {name: store.rows(f'SELECT * FROM "{name}" ORDER BY 1, 2') for (name,) in tables}
    return sha256(repr(content).encode()).hexdigest()


def steps(links: int = LINKS) -> list[Step]:
    """The show. Runs 1 and 2 are owned with fence 1; `links` commits of a chain, and everything else in between."""
    show = [
        Step("create", lambda store, root: _create(store)),
        Step("claim 1", lambda store, root: _claim(store, 1)),
        Step("claim 2", lambda store, root: _claim(store, 2)),
    ]
    for link in range(1, links + 1):
        show.append(_link(link))
        more = _BETWEEN.get(link % 12)
        if more is not None:
            show += more(link)
    show.append(Step("release", lambda store, root: store.release_all([(1, 1), (2, 1)])))
    return show


def verify(store: SQLiteStore) -> None:
    """What must hold in every state: the file is sound, the journal's chain is whole, content is there."""
    sure(store.check() == [], f"integrity: {store.check()}")
    for row in store.runs():
        sure(row.number in (1, 2), f"run {row.number}")
        facts = [batch[2] for batch in store.journal(row.number)]
        ended = store.rows("SELECT count(*) FROM outcome WHERE id >> 40 = ?", (row.number,))[0][0]
        sure(sum(map(len, facts)) == ended, "a journal row is an outcome in this show")
        sure(store.totals(row.number)["calls"] == (ended if row.number == 1 else 0), "a call is an outcome of run 1")
    for (text,) in store.rows("SELECT text FROM outcome"):
        if text[0] == "[":
            sure(store.get(json.loads(text)[0]), "an outcome without content")
    for _, _, hash, *_ in store.documents():
        sure(store.get(hash), "a document without content")


def recover(store: SQLiteStore, root: Path) -> None:
    """What an engine does first: put pending documents in place. Then all of them are, and users' are theirs."""
    for run, path, hash, replaces, execution, status in store.documents():
        if status == "pending":
            said = publish(root, path, hash, replaces, _ours(store, path), store.get)
            sure(said == ("conflict" if path == "kept.md" else "published"), f"{path}: {said}")
            row = (path, hash, replaces, execution, "published")
            fence = store.load(run).run.fence
            if store.load(run).run.owner is None:
                fence = store.claim(run, ME, _LEASE, _NOW, alive=lambda owner: False) or 0
            store.commit([Write(run, fence, 999.0, documents=[row])])
    for _, path, hash, _, _, status in store.documents():
        sure(status == "published", f"{path} is {status}")
        if path != "kept.md":
            sure((root / path).read_bytes() == store.get(hash), f"{path} is not what was recorded")
    sure((root / "kept.md").read_bytes() == USERS, "a user's file was overwritten")


def _ours(store: SQLiteStore, path: str) -> Callable[[str], bool]:
    """Whether a run has written this content to this path. (All of them stand in one directory here.)"""
    return lambda hash: any(path == other for _, other in store.ours(hash, os.path.basename(path)))


def whole_or_not_at_all(root: Path) -> None:
    """No document, and no content, is there by halves; whatever has a temporary name does not count."""
    for path in root.rglob("*.md"):
        if not path.name.startswith(".callboard-"):
            sure(path.read_bytes() in _whole_texts(), f"{path} is there by halves")
    for path in root.glob(".callboard/content/??/*"):
        if not path.name.startswith("."):
            sure(sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name, f"{path} by halves")


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A directory in memory where there is one: images are many and nothing of them is to last."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="callboard-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_if_new(grown: int | None = None, synchronous: str | None = None) -> Iterator[None]:
    """What a process remembers of its disk is forgotten, before and after.

    Its log and its reserve are `grown` to so many bytes in advance, and its commits are as `synchronous` as is said.
    """
    before = database.GROWN, database.SETTINGS, whole.doubtful_folders, doubt.logs_here, room.SIZE
    whole.doubtful_folders, doubt.logs_here = set(), set()
    if grown is not None:
        database.GROWN = room.SIZE = grown
    if synchronous is not None:
        database.SETTINGS = database.SETTINGS.replace("FULL", synchronous)
    try:
        yield
    finally:
        database.GROWN, database.SETTINGS, whole.doubtful_folders, doubt.logs_here, room.SIZE = before


# ── the steps ───────────────────────────────────────────────────────────────────────────────────────────


def _create(store: SQLiteStore) -> None:
    runs = [(id, id, PLAN, '{"input":"text"}', "pipelines", 1.0, None) for id in ("one", "two")]
    sure([row.number for row in store.create_runs(runs)] == [1, 2], "two runs")


def _claim(store: SQLiteStore, run: int) -> None:
    sure(store.claim(run, ME, _LEASE, _NOW, alive=lambda owner: True) == 1, "the first fence")


def _link(link: int) -> Step:
    """One commit: an outcome, its ledger row, the next nodes begun, a letter consumed; of two runs, or of many rows."""
    outcome = json.dumps({"value": "x" * LARGE if link % 9 == 4 else f"value {link}"})
    return Step(
        f"link {link}", lambda store, root: store.commit(_writes(link, outcome)),
        lambda store, root: store.outcome(1, link, 1) == outcome and len(store.journal(1)) >= link,
    )  # fmt: skip


def _writes(link: int, outcome: str) -> list[Write]:
    at, id = 10.0 + link, 1 << 40 | link << 20 | 1
    call = Call(1, link, 1, 1, 0, f"key-{link}", "offline", "model", "hash", 10, 5, 250, 0.125, at, '"answer"')
    begun = list[tuple[object, ...]]()
    begun += [((1 << 40 | node << 20 | 1), 2, 1, node, at, None, None) for node in range(link + 1, link + 3)]
    if link % 5 == 3:  # many rows take another way through the batch
        begun += [((1 << 40 | node << 20 | 1), 2, 1, node, at, "reason", None) for node in range(500, 540)]
    first = Write(
        1, 1, at, [encode(Heard("key", link, "value"))], status=2, state=f'{{"link":{link}}}',
        executions=[(id, 5, 1, link, at, None, None), *begun], outcomes=[(id, 0, outcome)], ledger=[call], inbox=1,
        items=[(1000 + link, 3, link, f"item {link}", '"value"')], branches=[(link % 3, f"{link}")],
        saves=[("credit", {"id": str(link), "value": "1"})] if link % 7 == 5 else (),
        logs=[(link, 1, at, "info", "a line")],
    )  # fmt: skip
    if link % 4:
        return [first]
    other = 2 << 40 | link << 20 | 1
    return [first, Write(2, 1, at, [encode(Heard("key", link))], outcomes=[(other, 0, '{"value":2}')])]


def _letters(link: int) -> list[Step]:
    letters = [(f"letter-{link}-{n}", encode(Heard("letter", n))) for n in range(3)]
    return [
        Step(
            f"append {link}", lambda store, root: store.append(2, letters, 20.0),
            lambda store, root: {one[0] for one in letters} <= {one.id for one in store.inbox(2, 0)},
        )
    ]  # fmt: skip


def _events(link: int) -> list[Step]:
    return [
        Step(
            f"event {link}", lambda store, root: store.publish([(f"event-{link}", "", {"a": 1}, "me", None)], 30.0),
            lambda store, root: f"event-{link}" in {one[1] for one in store.events()},
        ),
        Step(f"renew {link}", lambda store, root: store.renew([(1, 1), (2, 1)], _LEASE._replace(wall=1e9 + link))),
    ]  # fmt: skip


def _record(link: int) -> list[Step]:
    return [
        Step(
            f"record {link}", lambda store, root: store.write("setting", str(link), {"n": link}, revision=0),
            lambda store, root: store.read("setting", str(link)) is not None,
        )
    ]  # fmt: skip


def _backup(link: int) -> list[Step]:
    name = f".callboard/backups/{link}.db"

    def holds(store: SQLiteStore, root: Path) -> bool:
        with closing(SQLiteStore(root / name, readonly=True)) as copy:
            return not copy.check() and len(copy.journal(1)) >= link

    return [Step(f"backup {link}", lambda store, root: store.backup(root / name), holds)]


def _housekeeping(link: int) -> list[Step]:
    return [Step(f"checkpoint {link}", lambda store, root: store.checkpoint())]


def _document(link: int) -> list[Step]:
    """Bytes are kept, the document is recorded as pending, put in place and recorded as published: three acts."""
    old = _hash(link - 12) if link > 12 else None
    replaced = {f"out/{link}/new.md": None, "again/again.md": old, "kept.md": None}
    later = {_text(later) for later in range(link, 1000, 12)}

    def put(store: SQLiteStore, root: Path) -> None:
        sure(store.put(_text(link)) == _hash(link), "a hash of content")

    def record(status: str) -> Callable[[SQLiteStore, Path], None]:
        rows = [(path, _hash(link), before, 1, status) for path, before in replaced.items()]
        return lambda store, root: store.commit([Write(1, 1, 40.0 + link, documents=rows)])

    def place(path: str) -> Step:
        def act(store: SQLiteStore, root: Path) -> None:
            said = publish(root, path, _hash(link), replaced[path], _ours(store, path), store.get)
            sure(said == ("conflict" if path == "kept.md" else "published"), f"{path}: {said}")

        def holds(store: SQLiteStore, root: Path) -> bool:
            if path == "kept.md":
                return _text(link) in {beside.read_bytes() for beside in root.glob("kept (ours *).md")}
            return (root / path).is_file() and (root / path).read_bytes() in later

        return Step(f"publish {path} {link}", act, holds)

    return [
        Step(f"put {link}", put, lambda store, root: store.get(_hash(link)) == _text(link)),
        Step(f"pending {link}", record("pending")),
        *map(place, replaced),
        Step(f"published {link}", record("published")),
    ]


_BETWEEN: dict[int, Callable[[int], list[Step]]] = {
    1: _letters, 3: _document, 5: _events, 6: _housekeeping, 8: _record, 9: _backup, 10: _letters, 11: _housekeeping,
}  # fmt: skip


@cache
def _text(link: int) -> bytes:
    return f"document of {link}\n".encode() * 90


@cache
def _whole_texts() -> frozenset[bytes]:
    return frozenset({USERS, *map(_text, range(1, 1000))})


def _hash(link: int) -> str:
    return sha256(_text(link)).hexdigest()
