"""What the tests of executors work with: real files and a content store on disk, a context, a work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from callboard.executors.context import AttemptContext
from callboard.executors.staged import Staged
from callboard.ports import Attempt, Recorded, Work
from callboard.testing.scripted import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path


class Content:
    """A content store: bytes by their hash, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)

    def put(self, data: bytes) -> str:
        hash = hashlib.sha256(data).hexdigest()
        (self.directory / hash).write_bytes(data)
        return hash

    def get(self, hash: str) -> bytes:
        return (self.directory / hash).read_bytes()


class KeptCache(dict[str, str]):
    """`ports.Cache` in memory."""

    def put(self, key: str, value: str) -> None:
        self[key] = value


class Desk:
    """One run's directory and everything an attempt in it may use; `lines` are what it logged."""

    def __init__(self, tmp_path: Path) -> None:
        self.dir = tmp_path / "run"
        self.dir.mkdir()
        self.content = Content(tmp_path / "content")
        self.model: Any = ScriptedModel("an answer")
        self.cache = KeptCache()
        self.lines: list[tuple[str, str]] = []
        self.progress: list[tuple[float, float | None, str]] = []
        self.secrets: dict[str, str] = {}
        self.recorded: dict[str, Recorded] = {}
        self.more: tuple[str, ...] = ()

    def staged(self, *, replace: bool = False) -> Staged:
        return Staged(
            str(self.dir),
            put=self.content.put,
            get=self.content.get,
            recorded=self.recorded.get,
            more=self.more,
            replace=replace,
        )

    def context(self, item: str | None = None) -> AttemptContext:
        return AttemptContext(
            Attempt("r1", "task", item, 1, 1, str(self.dir)),
            "the-key",
            model=self.model,
            documents=self.staged(),
            cache=self.cache,
            log=lambda text, level="info": self.lines.append((level, text)),
            progress=lambda done, of, note: self.progress.append((done, of, note)),
            limits={},
            secrets=self.secrets,
        )

    def inputs(self, **fields: Any) -> dict[str, Any]:
        """What an executor sees: a step's fields, and an empty world around them."""
        around = {"upstream": {}, "item": None, "params": {}, "run": {}, "settings": {}, "pipe": ""}
        return {**around, **fields}

    def work(self, executor: str = "llm", **changes: Any) -> Work:
        base = Work(
            run=1,
            node=0,
            number=1,
            attempt=Attempt("r1", "task", None, 1, 1, str(self.dir)),
            attempt_number=1,
            key="the-key",
            executor=executor,
            inputs={},
            upstream={},
            item=None,
            params={"input": "the input"},
            timeout=60.0,
            effect="none",
            settings={},
        )
        return base._replace(**changes)
