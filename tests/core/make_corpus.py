"""`python tests/core/make_corpus.py` writes the next generation of the corpus: journals as today's machine makes them.

What lies in `corpus/` is never changed: `test_core_corpus.py` replays all of it, so a later machine that would tell the
past of an older run otherwise is found. A generation is worth adding when facts, plans or rows have learnt something
new. One line of JSON is one run: `{name, number, id, plan, status, state, journal: [[wall, [fact, …]], …], executions,
outcomes, items, branches}`; long outcomes stand there by their hash.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from machine_adapter import Adapter
from run_histories import histories

from callboard.battery.workloads import FILE, ID, WORKLOADS
from callboard.cli.main import cli, guarded
from callboard.core import machine
from callboard.core import plan as plans
from callboard.core.deadline import Now
from callboard.store.packing import unpack
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
MOST = 20_000  # characters of a line: a rule loop tells the same a thousand times
LONG = 200  # characters of an outcome that stand there as they are


def kept(text: str) -> str:
    """An outcome as the corpus has it."""
    return text if len(text) <= LONG else hashlib.sha256(text.encode()).hexdigest()


# ── real runs ───────────────────────────────────────────────────────────────────────────────────────────────

_LIVES = """
name: Lives
pipe:
  - {name: first, type: command, command: [cat], review: {again: 1}}
  - {name: second, type: command, command: ["false"], on_error: continue}
  - {name: third, type: command, command: [sh, -c, "test -e good && cat"]}
  - {name: parts, type: command, each: [a, b], key: "{{item}}", command: [echo, "{{item}}"]}
  - {name: sure, type: command, over: parts, command: [cat], retry: 2}
"""
_COMMANDS = (
    ["run", FILE, "text", "--id", ID], ["reject", ID, "--note", "again"], ["resume", ID], ["pause", ID],
    ["approve", ID], ["resume", ID], ["adopt", ID, "--yes"], ["resume", f"{ID}.2", "--retry"], ["resume", f"{ID}.2"],
    ["resume", f"{ID}.2", "--restart", "parts/a"], ["run", FILE, "other", "--id", "other"], ["cancel", "other"],
)  # fmt: skip


def real_runs() -> Iterator[dict[str, Any]]:
    for workload in WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            workload.drive(workload.lay_out(Path(folder)))
            yield from _of_project(Path(folder), workload.name)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path(FILE).write_text(_LIVES, "utf-8")
        for number, command in enumerate(_COMMANDS):
            if command[0] == "adopt":
                Path(FILE).write_text(_LIVES.replace("test -e good && cat", "cat; echo better"), "utf-8")
            code = guarded(cli, command)
            print(number, command, code, file=sys.stderr)
        yield from _of_project(Path(folder), "lives")


def _of_project(root: Path, name: str) -> Iterator[dict[str, Any]]:
    store = SQLiteStore(root / ".callboard/callboard.db", readonly=True)
    try:
        for row in sorted(store.runs(), key=lambda row: row.number):
            found = store.load(row.number)
            journal = [[at, list(facts)] for _, at, facts, _ in store.journal(row.number)]
            outcomes = store.rows("SELECT id, revision, text FROM outcome WHERE id >> 40 = ?", (row.number,))
            yield {
                "name": f"{name} {row.id}", "number": row.number, "id": row.id, "plan": found.plan,
                "status": row.status, "state": row.state, "journal": journal,
                "executions": [list(one) for one in store.executions(row.number)],
                "outcomes": [[*unpack(id), revision, kept(text)] for id, revision, text in outcomes if text[0] == "{"],
                "items": [list(one) for one in found.items], "branches": [list(one) for one in found.branches],
            }  # fmt: skip
    finally:
        store.close()


# ── golden histories ────────────────────────────────────────────────────────────────────────────────────────


class _Noted(Adapter):
    """Notes what each step of a history leaves."""

    def begin(self, plan: dict[str, Any]) -> None:
        super().begin(plan)
        self.journal: list[Any] = []
        self.rows: dict[str, dict[Any, Any]] = {"executions": {}, "outcomes": {}, "items": {}, "branches": {}}
        self.kept = [0, "{}"]

    def step(self, lines: list[str], at: float) -> list[str]:
        facts = [self.fact(line) for line in lines]
        while True:
            decision = machine.step(self.state, facts, Now(at, "", at), True, self.admission)
            if decision.journal:
                self.journal.append([at, decision.journal])
            self.rows["executions"].update({row[0]: list(row) for row in decision.executions})
            for id, revision, text in decision.outcomes:
                self.rows["outcomes"][id, revision] = [*unpack(id), revision, kept(text)]
            self.rows["items"].update({row[0]: list(row) for row in decision.items})
            self.rows["branches"].update({row[0]: list(row) for row in decision.branches})
            self.kept = [now if now is not None else was for now, was in zip(
                (decision.status, decision.state), self.kept, strict=True)]  # fmt: skip
            if not decision.orders:
                return []
            facts = []


def of_histories() -> Iterator[dict[str, Any]]:
    for folder in ("histories", "histories_ours"):
        for path in histories(HERE / folder):
            told = yaml.safe_load(path.read_text("utf-8"))
            adapter = _Noted()
            adapter.begin(told["plan"])
            at = 0.0
            for step in told["steps"]:
                at = step.get("at", at)
                adapter.step(step["in"], at)
            yield {
                "name": path.stem, "number": 1, "id": "run", "plan": plans.dump(adapter.state.plan),
                "status": adapter.kept[0], "state": adapter.kept[1], "journal": adapter.journal,
                **{name: list(rows.values()) for name, rows in adapter.rows.items()},
            }  # fmt: skip


def main() -> None:
    generation = 1 + len(list(CORPUS.glob("pipelines-*.jsonl")))
    CORPUS.mkdir(exist_ok=True)
    for name, runs in (("pipelines", real_runs()), ("histories", of_histories())):
        lines = [json.dumps(run, ensure_ascii=False, separators=(",", ":")) for run in runs]
        lines = [line for line in lines if len(line) <= MOST]
        file = CORPUS / f"{name}-{generation}.jsonl"
        file.write_text("\n".join(lines) + "\n", "utf-8")
        print(f"{file.name}: {len(lines)} runs, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
