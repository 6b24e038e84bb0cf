"""A need whose outcome is a document: the version that a person has made of it is what the next step gets."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from engine_stage import reload, turn

from callboard.core.facts import DocumentEdited
from callboard.core.plan import Map, Task
from callboard.core.reasons import why
from callboard.core.status import FAILED, SUCCESS
from callboard.engine.versions import Versions
from callboard.ports import Done, Placed, Recorded

if TYPE_CHECKING:
    from engine_stage import Stage

    from callboard.ports import Work


class Disk:
    """What lies where, by path; `beside` are paths that somebody else has."""

    def __init__(self, stage: Stage, *beside: str) -> None:
        self.stage, self.files, self.beside = stage, dict[str, bytes](), beside

    def put(self, run: int, path: str, hash: str, replaces: str | None) -> Placed:
        if path in self.beside:
            return Placed(f"{path} (ours 1)", self.stage.store.put(self.files.setdefault(path, b"theirs")))
        self.files[path] = self.stage.store.get(hash)
        return Placed()

    def see(self, run: int, path: str, known: str) -> str:
        data = self.files.get(path)
        return "" if data is None else self.stage.store.put(data)

    async def edited(self, work: Work, path: str, data: bytes) -> None:
        """A person saves it, once ours is in place and known to be."""
        while (known := self.stage.store.document(work.run, path)) is None or known.status != "published":
            await turn()
        self.files[path] = data

    def writes(self, path: str, value: Any = "ours") -> Any:
        """An attempt that hands on what it has written."""

        def act(work: Work) -> Done:
            data = (value if isinstance(value, str) else json.dumps(value, indent=2) + "\n").encode()
            hash = self.stage.store.put(data)
            told = {"value": value, "documents": [{"path": path, "hash": hash}]}
            return Done(json.dumps(told), documents=[(path, hash, None)])

        return act


def hands_on(work: Work) -> Any:
    return next(iter(work.upstream.values()))["value"]


async def played(stage: Stage, disk: Disk, *tasks: Task, status: Any = SUCCESS) -> int:
    run = stage.run(*tasks)
    engine = await stage.engine(put_document=disk.put, see_document=disk.see)
    await engine.submit(run)
    assert await engine.ended(run) is status
    return run


def edits(stage: Stage, run: int) -> list[list[str]]:
    facts = [json.loads(fact) for _, _, facts, _ in stage.store.journal(run) for fact in facts]
    return [fact[1:] for fact in facts if fact[0] == DocumentEdited.__name__]


async def test_a_persons_version_is_the_value_of_the_need(stage: Stage) -> None:
    disk = Disk(stage)
    stage.backend.script["a"] = disk.writes("p")
    stage.backend.script["b"] = hands_on
    tasks = Task("a"), Task("x", needs=("a",)), Task("b", needs=("a", "x"))

    async def edited(work: Work) -> None:
        await disk.edited(work, "p", b"theirs")

    stage.backend.script["x"] = edited
    run = await played(stage, disk, *tasks)
    ours, theirs = (sha256(data).hexdigest() for data in (b"ours", b"theirs"))
    assert json.loads(stage.value(run, 2) or "")["value"] == "theirs"
    assert json.loads(stage.value(run, 0) or "")["value"] == "ours", "the producer's outcome is untouched"
    assert edits(stage, run) == [["p", ours, theirs]]
    loaded = reload(stage.store, run)
    assert loaded.nodes[2].read == {"p": theirs}
    assert why(loaded, 1) == "stale p" and why(loaded, 2) == ""


async def test_a_join_reads_the_items_where_they_lie(stage: Stage) -> None:
    disk = Disk(stage)
    stage.backend.lists["m"] = [[("x", 1), ("y", 2)]]
    stage.backend.script["m/x"], stage.backend.script["m/y"] = disk.writes("x.md"), disk.writes("y.md")
    stage.backend.script["j"] = lambda work: [one["value"] for one in work.upstream["m"]["value"]]

    async def edited(work: Work) -> None:
        await disk.edited(work, "y.md", b"theirs")

    stage.backend.script["e"] = edited
    tasks = Task("m", map=Map()), Task("e", needs=("m",)), Task("j", needs=("m", "e"))
    run = await played(stage, disk, *tasks)
    assert json.loads(stage.value(run, 2) or "")["value"] == ["ours", "theirs"]
    assert set(reload(stage.store, run).nodes[2].read or {}) == {"x.md", "y.md"}


async def test_a_file_that_kept_its_place_beside_ours_is_no_version_of_it(stage: Stage) -> None:
    disk = Disk(stage, "p")
    stage.backend.script["a"], stage.backend.script["b"] = disk.writes("p"), hands_on
    run = await played(stage, disk, Task("a"), Task("b", needs=("a",)))
    assert json.loads(stage.value(run, 1) or "")["value"] == "ours"
    assert [why(reload(stage.store, run), node) for node in (0, 1)] == ["", ""]


async def test_a_version_that_is_no_json_fails_the_step_and_is_noticed(stage: Stage) -> None:
    disk = Disk(stage)
    stage.backend.script["a"] = disk.writes("p", ["ours"])

    async def edited(work: Work) -> None:
        await disk.edited(work, "p", b"[broken")

    stage.backend.script["x"] = edited
    run = await played(stage, disk, Task("a"), Task("x", needs=("a",)), Task("b", needs=("a", "x")), status=FAILED)
    assert "p was edited, and is no JSON any more" in why(reload(stage.store, run), 2)
    assert len(edits(stage, run)) == 1


def outcome(hash: str) -> Any:
    return {"value": "ours", "documents": [{"path": "p", "hash": hash}]}


@pytest.mark.parametrize(
    ("status", "execution", "there", "value", "read"),
    [
        ("pending", 7, "theirs", "ours", "ours"),
        ("published", 7, "ours", "ours", "ours"),
        ("published", 7, "", "ours", "ours"),
        ("published", 7, "theirs", "theirs", "theirs"),
        ("published", 8, "theirs", "ours", None),
        ("conflict", 7, "theirs", "ours", None),
        ("missing", 7, "", "theirs", "theirs"),
    ],
)
def test_which_version_is_taken(stage: Stage, status: str, execution: int, there: str, value: str, read: str) -> None:
    hashes = {text: stage.store.put(text.encode()) if text else "" for text in ("ours", "theirs", "")}
    known = Recorded("" if status == "missing" else hashes["ours"], status, execution, hashes["theirs"])
    store: Any = stage.store
    versions = Versions(_Knows(store, known), lambda run, path, hash: hashes[there])  # type: ignore[arg-type]
    found = versions.of(1, 7, outcome(hashes["ours"]))
    assert found.outcome["value"] == value
    assert found.read == ({} if read is None else {"p": hashes[read]})
    assert list(found.edits) == (
        [("p", hashes["ours"], hashes[there])] if status == "published" and execution == 7 and there != "ours" else []
    )


class _Knows:
    def __init__(self, store: Any, known: Recorded) -> None:
        self._known, self.get = known, store.get

    def document(self, run: int, path: str) -> Recorded:
        return self._known
