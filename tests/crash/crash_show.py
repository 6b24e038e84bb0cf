"""A show that is killed: a pipeline over many small files in a directory of its own, real processes, a provider.

Nothing of the program is replaced. The offline model's ledger is what a provider would have charged; what the project
knows is read from a *copy* of its database, so that looking after a kill repairs nothing the next process should.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.productions.manager import load_production
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Seconds that an answer takes.
LATENCY = 0.1
#: Seconds that no process of ours may need, whatever it does here and however busy the machine is.
PATIENCE = 60.0

SHOW = """
name: Cards
production:
  name: cards
  steps: [cards, book]

pipe:
  - name: gist
    type: llm
    each:
      glob: "notes/*.md"
    tmpl: |
      Summarise this document in two sentences.

      {{item.text}}
    output_file: "{{production.instance_dir}}/cards/{{item.stem}}.md"

  - name: shelf
    type: llm
    over: gist
    tmpl: "{{item.text}}"
    options:
      labels: [harbour, market, library, station, garden]

  - name: guide
    type: function
    function: aisource
    needs: [shelf]
    params:
      file: guide.md
      content: |
        # A guide to {{pipe.items | length}} notes

        {% for one in pipe.items %}
        - {{one.key}}: {{one.value}}
        {% endfor %}
    output_file: "{{production.instance_dir}}/book/guide.md"

  - name: book
    type: function
    function: convert_to_docx
    params:
      source: "{{production.instance_dir}}/book/guide.md"
      result: "{{production.instance_dir}}/book/guide.docx"
"""

_PLACES = ("harbour", "market", "library", "station", "garden")
_GOODS = ("fish", "books", "bread", "coal", "letters", "lamps", "ropes")


class Left(NamedTuple):
    """A process that has ended. `code` is negative for a signal; times are epoch seconds."""

    code: int
    out: str
    began: float
    ended: float

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Known(NamedTuple):
    """What the project knows of its run: its status (a number), the keys of calls whose answer is recorded, how many
    executions have an answer (the provider's, or one that was kept in the cache), and how many calls the provider had
    been asked for when this was read."""

    status: int | None
    settled: frozenset[str]
    answered: int
    asked: int


class Show:
    """A directory with notes, the pipeline `show.ai` and whatever our processes make of them."""

    def __init__(self, root: Path, *, notes: int = 60, show: str = SHOW, latency: float = LATENCY) -> None:
        self.root, self.ledger, self._latency = root, root / "provider.jsonl", latency
        (root / "notes").mkdir(parents=True)
        for n in range(1, notes + 1):
            (root / "notes" / f"note-{n:03}.md").write_text(_note(n), "utf-8")
        (root / "show.ai").write_text(show, "utf-8")
        self.ledger.touch()
        self.lives: list[Left] = []

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────

    def start(self, *argv: str, program: str = "callboard.cli.main", **env: str) -> subprocess.Popen[bytes]:
        """A process of ours in a group of its own; what it says goes to a file."""
        with open(self.root / "said.txt", "ab") as said:
            return subprocess.Popen(
                [sys.executable, "-c", f"from {program} import main; main()", *argv],
                cwd=self.root,
                env=self._environment() | env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lived(self, *argv: str, kill_after: float | None = None, program: str = "callboard.cli.main") -> Left:
        """Start a process and wait for its end; if it still lives after so many seconds, `kill -9` its group."""
        heard = self._said()
        began = time.time()
        process = self.start(*argv, program=program)
        try:
            process.wait(PATIENCE if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        left = Left(process.returncode, self._said()[len(heard) :], began, time.time())
        assert not left.is_killed or kill_after is not None, f"{argv} lasted longer than {PATIENCE} s:\n{left.out}"
        self.lives.append(left)
        return left

    @property
    def kills(self) -> int:
        return sum(left.is_killed for left in self.lives)

    def _said(self) -> str:
        file = self.root / "said.txt"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        return kept | {
            "CALLBOARD_MODEL": "offline",
            "CALLBOARD_OFFLINE_LATENCY": str(self._latency),
            "CALLBOARD_OFFLINE_LEDGER": str(self.ledger),
            "PYTHONWARNINGS": "error",
        }

    # ── what there is ───────────────────────────────────────────────────────────────────────────────────

    @property
    def home(self) -> Path:
        return self.root / ".callboard"

    def asked(self) -> list[dict[str, Any]]:
        """The provider's books: what it was asked, in the order it was asked. A line that was torn was never asked."""
        lines = self.ledger.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def store(self, to: Path) -> SQLiteStore | None:
        """A copy of the database as it lies there, opened; None when there is none yet."""
        if not (self.home / "callboard.db").exists():
            return None
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        for file in ("callboard.db", "callboard.db-wal"):
            if (self.home / file).exists():
                shutil.copyfile(self.home / file, to / file)
        return SQLiteStore(to / "callboard.db")

    def known(self) -> Known:
        """What is recorded just now; the file and the journal are whole."""
        asked = len(self.asked())
        store = self.store(self.root / "copy")
        if store is None:
            return Known(None, frozenset(), 0, asked)
        try:
            assert store.check() == []
            runs = store.runs()
            assert len(runs) <= 1, "the show is one run"
            if not runs:
                return Known(None, frozenset(), 0, asked)
            store.journal(runs[0].number)
            calls = store.calls(runs[0].number)
            answered = {(call.node, call.number) for call in calls if call.status in ("settled", "cached")}
            settled = frozenset(call.key for call in calls if call.status == "settled")
            return Known(runs[0].status, settled, len(answered), asked)
        finally:
            store.close()

    def documents(self) -> dict[str, bytes]:
        """The documents of all instances, by their path."""
        place = self.root / "project-home/productions/cards"
        found = (file for file in place.glob("cards_*/**/*") if file.is_file())
        return {file.relative_to(place).as_posix(): file.read_bytes() for file in found}

    def half_written(self) -> list[str]:
        """Files that only a writer who was not done leaves behind."""
        return sorted(
            file.relative_to(self.root).as_posix()
            for place in (self.home, self.root / "project-home")
            for file in _files(place)
            if file.name.startswith(".") or file.suffix == ".tmp"
        )

    def differing(self) -> list[str]:
        """Documents whose bytes are not those that the index has, and content that does not fit its name."""
        wrong = [
            file.as_posix() for file in _files(self.home / "content") if _digest(file) != file.parent.name + file.name
        ]
        store = self.store(self.root / "copy")
        assert store is not None
        try:
            for _, path, hash, _, _, status in store.documents(store.runs()[0].number):
                if status != "published" or _digest(self.root / path) != hash:
                    wrong.append(f"{path} ({status})")
        finally:
            store.close()
        return wrong

    def began_again(self, left: Left) -> float | None:
        """Seconds from the start of a process until the first step of the run it recorded; None when it did none."""
        store = self.store(self.root / "copy")
        assert store is not None
        try:
            steps = [at for _, at, _, _ in store.journal(store.runs()[0].number) if at >= left.began]
        finally:
            store.close()
        return steps[0] - left.began if steps else None

    def instances(self) -> dict[str, str]:
        """Status by instance, as the production's own index has it."""
        manager = load_production(self.root / "project-home/productions/cards")
        table = manager.list_instances()
        return dict(zip(table["instance_id"], table["status"], strict=True))


def _note(n: int) -> str:
    place, goods = _PLACES[n % len(_PLACES)], _GOODS[n % len(_GOODS)]
    return (
        f"# The {place} number {n}\n\nThe {place} number {n} was opened in {1800 + n}. It has {n + 2} gates and a long "
        f"wall. People come every week from the north for {goods}. In winter the {place} is closed after dark.\n"
    )


def _files(place: Path) -> Iterator[Path]:
    return (file for file in place.rglob("*") if file.is_file())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def repeated(asked: Sequence[dict[str, Any]]) -> int:
    """How many calls were made more than once: those that were under way when somebody was killed."""
    return len(asked) - len({call["key"] for call in asked})
