"""Small shows, each of another kind, that every proof can harm: files, a beginning, a person's answers, an end.

All of them use the offline model and write nothing but what the program writes for them, so two undisturbed runs end
with the same bytes; what a proof has disturbed must end with them, too. A show is carried on from wherever it
stands: `drive` in this process, `begin`, `go_on` and `answer` as command lines for real ones. Documents of an
instance are told by their path in it, because a run that is begun again may have a new one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from contextlib import chdir, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app import project as projects
from callboard.app.commands.carry import Stop, carry_out
from callboard.app.commands.playing import tell_rest
from callboard.app.commands.post import post
from callboard.app.commands.submit import submit_functions, submit_pipeline
from callboard.app.settings import Settings
from callboard.app.stage.functions import FunctionPlan, plan, task
from callboard.app.views import run as views
from callboard.app.wiring import House
from callboard.battery.spawn import callboard
from callboard.core.facts import Approved, Edited
from callboard.core.status import ENDED, SUCCESS, Status
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.core.facts import Fact
    from callboard.core.run import Run
    from callboard.ports import RunRow

#: The run's id, the pipeline's file, a script of the façade: the same in every show.
ID, FILE, SCRIPT = "show", "show.ai", "script.py"
#: What the provider has booked, and what real processes have said.
LEDGER, SAID = "provider.jsonl", "said.txt"
_HIDDEN = (".callboard", "__pycache__", "settings")
#: What a person sends for a draft: the draft itself, or the text of the file `better.txt`.
APPROVE, EDIT = "approve", "edit"
BETTER = "better.txt"


class Workload(NamedTuple):
    """`files` by their path, `text` what the run begins with, `answers` what a person says to each task that asks.

    `plan` makes the plan of a show without a pipeline, whose functions live in the caller's process; `code` is the
    exit code of an undisturbed run.
    """

    name: str
    files: Mapping[str, str]
    text: str = ""
    answers: Mapping[str, str] = {}
    plan: Callable[[], FunctionPlan] | None = None
    code: int = 0

    def lay_out(self, folder: Path) -> Path:
        """Write the show's files into `folder`, which is made when it is not there."""
        (lay_out(folder, self.files) / LEDGER).touch()
        return folder

    # ── in this process ─────────────────────────────────────────────────────────────────────────────────

    def drive(self, folder: Path, *, vfs: str | None = None) -> Ending:
        """Begin, or go on from wherever the show stands, to its end, and answer as a person would.

        `vfs` names the one that SQLite's files are reached through. This process stands in `folder` meanwhile.
        """
        with chdir(folder), closing(self.house(vfs)) as house:
            tell_rest(house)
            row, calls = self._submitted(house)
            while Status(row.status) not in ENDED:
                self._carried(house, row, calls)
                row = house.find_run(ID)
                if Status(row.status) not in ENDED:
                    post(house, row, self._answer(views.in_memory(house.store, row)))
                    row = house.find_run(ID)
            value = views.result(house.store, row) if row.status == SUCCESS else None
            return Ending(Status(row.status), value, documents(folder, self))

    def house(self, vfs: str | None = None) -> House:
        """The project where this process stands."""
        project = projects.find_or_make(None, Path.cwd())
        settings = Settings(model="offline", offline_ledger=LEDGER)
        return House(settings, project, SQLiteStore(project.database, vfs=vfs), inside=self.plan is not None)

    def _submitted(self, house: House) -> tuple[RunRow, Mapping[str, Callable[..., Any]]]:
        if self.plan is None:
            return submit_pipeline(house, Path(FILE), self.text, id=ID), {}
        made = self.plan()
        row = submit_functions(house, made.plan, made.calls, self.text, id=ID)
        return row, {task.name: call for task, call in zip(made.plan.tasks, made.calls, strict=True)}

    def _carried(self, house: House, row: RunRow, calls: Mapping[str, Callable[..., Any]]) -> None:
        stop = Stop()
        if calls:
            house.functions.bind(row.id, calls, None, stop)
        asyncio.run(carry_out(house, [row.number], stop=stop))

    def _answer(self, run: Run) -> Sequence[Fact]:
        row = next(run.nodes[node] for node in sorted(run.held) if run.nodes[node].hold == "review")
        name, hash = run.name_of(row.id), row.draft[0] if row.draft else ""
        if self.answers[name] == APPROVE:
            return [Approved(name, row.number, hash)]
        outcome = json.dumps({"value": self.files[BETTER]}, ensure_ascii=False, separators=(",", ":"))
        edited = hashlib.sha256(outcome.encode()).hexdigest()
        return [Edited(name, row.number, edited, outcome), Approved(name, row.number, edited)]

    # ── as command lines ────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> list[str]:
        """The command that begins the run; given again it goes on with it."""
        if self.plan is not None:
            return [sys.executable, SCRIPT]
        return callboard("run", FILE, self.text or "text", "--id", ID)

    def go_on(self) -> list[str]:
        """The command that goes on with a run that is recorded."""
        return self.begin() if self.plan is not None else callboard("resume", ID)

    def answer(self, task: str) -> list[str]:
        """The command by which a person answers the task that asks."""
        more = ["--edit", BETTER] if self.answers[task] == EDIT else []
        return callboard("approve", ID, "--task", task, *more)


class Ending(NamedTuple):
    """How a show ended, what its last task gave, and its documents."""

    status: Status
    value: Any
    documents: Mapping[str, bytes]


def lay_out(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files into `folder`, which is made when it is not there."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    return folder


def documents(folder: Path, workload: Workload) -> dict[str, bytes]:
    """What the show has made: every file but its own, by path; those of an instance by their path in it."""
    own = {*workload.files, LEDGER, SAID}
    found = dict[str, bytes]()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.is_file() and str(path) not in own and not set(_HIDDEN) & set(path.parts):
            name = _in_instance(path)
            found[name if name not in found else str(path)] = file.read_bytes()
    return found


def _in_instance(path: Path) -> str:
    """`…/productions/cards/cards_00001/book/document_00001_x.md` is `cards/book/document_N_x.md`."""
    parts = path.parts
    if "productions" not in parts:
        return path.as_posix()
    name, instance, *rest = parts[parts.index("productions") + 1 :]
    return "/".join((name, *rest)).replace(f"_{instance.rpartition('_')[2]}_", "_N_")


# ── the shows ───────────────────────────────────────────────────────────────────────────────────────────────

LETTER = (
    "The harbour was opened in 1871. It has four gates and a long wall. People come every week from the north for "
    "fish and ropes. In winter the harbour is closed after dark. The keeper writes every name into a book."
)
_NOTES = {
    f"notes/{name}.md": f"# The {name}\n\nThe {name} was opened in {1860 + n}. It has {n + 2} doors. {LETTER}\n"
    for n, name in enumerate(("harbour", "market", "library", "station"))
}
_CSV = "name,email,play\nAda,ada@example.org,The Tempest\nBen,ben@example.org,Hamlet\nEve,eve@example.org,Faust\n"

CHAIN = """
name: Chain
pipe:
  - {name: gist, type: llm, tmpl: "Summarise in two sentences: {{input}}", output_file: gist.md}
  - {name: terms, type: llm, tmpl: "List the key terms: {{pipe.pipein-text}}"}
  - {name: part, type: function, function: content, params: {format: text}}
  - {name: note, type: llm, tmpl: "Write one line about {{pipe.pipein-text}}", output_file: "out/note.md"}
"""
DIAMOND = """
name: Diamond
pipe:
  - {name: top, type: llm, needs: [], tmpl: "Summarise: {{input}}", output_file: top.md}
  - {name: left, type: llm, needs: [top], tmpl: "What is praised in {{pipe.steps.top}}?", output_file: left.md}
  - {name: right, type: llm, needs: [top], tmpl: "What is wrong with {{pipe.steps.top}}?", output_file: right.md}
  - name: both
    type: llm
    needs: [left, right]
    tmpl: "Weigh these. {{pipe.steps.left}} {{pipe.steps.right}}"
    output_file: both.md
"""
GLOB = """
name: Notes
limits: {run: 3}
pipe:
  - name: gist
    type: llm
    each: {glob: "notes/*.md"}
    tmpl: "Summarise in one sentence. {{item.text}}"
    output_file: "gists/{{item.stem}}.md"
"""
LIST = """
name: Places
pipe:
  - {name: line, type: llm, each: [harbour, market, library], key: "{{item}}", tmpl: "Write about the {{item}}."}
  - {name: kind, type: llm, over: line, tmpl: "{{pipe.pipein-text}}", options: {labels: [harbour, market, library]}}
  - name: list
    type: function
    function: aisource
    needs: [kind]
    params: {file: list.md, content: "{% for one in pipe.items %}{{one.key}}: {{one.value}}\\n{% endfor %}"}
    output_file: list.md
"""
CSV = """
name: Guests
pipe:
  - name: note
    type: llm
    each: {csv: guests.csv, key: "{{item.email}}"}
    tmpl: "Thank {{item.name}} for coming to {{item.play}}."
  - {name: all, type: function, function: airesult, params: {file: notes.json}}
"""
CHILDREN = """
name: Functions
pipe:
  - {name: shout, type: function, function: shout, params: {end: "!!"}, output_file: loud.txt}
  - {name: count, type: function, function: count, each: [a, bb, ccc], key: "{{item}}"}
  - {name: all, type: function, function: airesult, params: {file: counts.json}}
"""
MODULE = """
from callboard.executors.registry import register


@register
def shout(pipe_data, params):
    return pipe_data["pipein_text"].upper() + params["end"]


@register
def count(pipe_data, params):
    return str(len(pipe_data["pipein_text"]))
"""
COMMAND = """
name: Commands
pipe:
  - {name: sort, type: command, command: [sort], stdin: "market\\nharbour\\n", output_file: sorted.txt}
  - {name: count, type: command, command: [wc, -l], effect: none}
  - {name: told, type: command, command: [sh, -c, "cat; echo told"], output_file: told.txt}
"""
HUMAN = """
name: Approval
pipe:
  - {name: draft, type: llm, tmpl: "Answer this letter in three sentences. {{input}}"}
  - {name: release, type: human, question: May this go out?}
  - {name: send, type: function, function: airesult, params: {file: answer.txt}}
"""
REVIEW = """
name: Reviews
pipe:
  - {name: draft, type: llm, tmpl: "Summarise: {{input}}", review: true, output_file: draft.md}
  - {name: final, type: llm, tmpl: "One sentence: {{pipe.pipein-text}}", review: {again: 1}, output_file: final.md}
"""
PRODUCTION = """
name: Cards
production:
  name: cards
  steps: [cards, book]
pipe:
  - name: card
    type: llm
    each: {glob: "notes/*.md"}
    tmpl: "Summarise in one sentence. {{item.text}}"
    output_file: "{{production.instance_dir}}/cards/{{item.stem}}.md"
  - name: guide
    type: function
    function: aisource
    needs: [card]
    params: {file: guide.md, content: "# {{pipe.items | length}} notes\\n"}
    document_type: guide
    suffix: md
    step: book
  - {name: kept, type: function, function: airesult, params: {file: guide.md}}
"""
DOCX = """
name: Book
pipe:
  - {name: text, type: llm, tmpl: "Write a guide: {{input}}", output_file: guide.md}
  - {name: book, type: function, function: convert_to_docx, params: {source: guide.md, result: guide.docx}}
"""
TURNS = """
name: Turns
pipe:
  - {name: gist, type: llm, tmpl: "Summarise: {{input}}"}
  - {name: never, type: llm, tmpl: "Never {{pipe.pipein-text}}", when: "false", output_file: never.md}
  - {name: broken, type: command, command: ["false"], on_error: continue, output_file: broken.md}
  - {name: last, type: llm, tmpl: "One line about {{input}}", output_file: last.md}
"""
_SCRIPT = """
from callboard import run
from callboard.battery.workloads import LETTER, own_plan

run(own_plan(), LETTER, id="show", model="offline")
"""


def _step(item: int) -> int:
    return item * 7


async def _later(step: int) -> int:
    return step + 1


def _total(later: list[dict[str, Any]]) -> int:
    return sum(one["value"] for one in later)


def own_plan() -> FunctionPlan:
    """A plan of functions of whoever asks for it."""
    return plan(
        task("step", _step, each=[1, 2, 3]),
        task("later", _later, over="step"),
        task("total", _total, needs=["later"]),
    )


WORKLOADS: tuple[Workload, ...] = (
    Workload("chain", {FILE: CHAIN}, LETTER),
    Workload("diamond", {FILE: DIAMOND}, LETTER),
    Workload("glob", {FILE: GLOB, **_NOTES}),
    Workload("list", {FILE: LIST}),
    Workload("csv", {FILE: CSV, "guests.csv": _CSV}),
    Workload("children", {FILE: CHILDREN, "function/loud.py": MODULE}, "the show goes on"),
    Workload("own", {SCRIPT: _SCRIPT}, LETTER, plan=own_plan),
    Workload("command", {FILE: COMMAND}),
    Workload("human", {FILE: HUMAN}, LETTER, {"release": APPROVE}),
    Workload("review", {FILE: REVIEW, BETTER: "A better text.\n"}, LETTER, {"draft": EDIT, "final": APPROVE}),
    Workload("production", {FILE: PRODUCTION, **_NOTES}),
    Workload("docx", {FILE: DOCX}, LETTER),
    Workload("turns", {FILE: TURNS}, LETTER, code=3),
)


def workload(name: str) -> Workload:
    return next(one for one in WORKLOADS if one.name == name)
