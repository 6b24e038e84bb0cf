"""`kill -9` at random moments, of a run, of its children, of the commands that people give: nothing recorded is lost.

Most kills meet a pipeline over sixty files: begun, killed, resumed, killed again, until it ends. Its documents are then
those of a run that nobody disturbed, the provider was never asked again for an answer that was recorded, nothing is
half written, and what a command acknowledged (it ended with 0) is in the database. Others meet a child that carries
functions, whose run has to go on by itself; and `approve`, `resume` and `cancel`, which have happened or have not.

Where a signal meets a process cannot be repeated: the same seed waits equally long, on a machine that is never equally
busy. So the limit for going on counts from how long our program takes to start here and now.
"""

from __future__ import annotations

import os
import signal
import subprocess
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery import aftermath
from callboard.battery.aftermath import Known, asked, asked_again, began_again, copy_if_due, instances, known, repeated
from callboard.battery.census import children_of
from callboard.battery.open_steps import resumed
from callboard.battery.processes import Show
from callboard.battery.proof import Found, p99
from callboard.battery.spawn import PATIENCE, callboard
from callboard.battery.workloads import FILE, ID, Workload, documents, workload
from callboard.core.status import STOPPED, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from callboard.battery.proof import Proving

#: Seconds that an answer takes in the pipeline over many files; kills of one play, so that a slow machine finishes it.
LATENCY, MOST = 0.1, 8
#: Seconds within which a process that was started to go on has recorded something new, where one starts in `START`.
SOON, START = 2.0, 0.25
_NOTES, _ITEMS = 60, 24
#: Steps that are open when a large run is resumed; one restart in so many kills, where there are many of them.
OPEN, _SELDOM, _MANY = 10_000, 50, 1_000
_DEFEAT = 3  # times that one may lose its process before its work is set aside

CARDS = """
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
_FUNCTIONS = f"""
name: Functions
pipe:
  - {{name: count, type: function, function: count, each: {list(range(_ITEMS))}, key: "{{{{item}}}}"}}
  - {{name: all, type: function, function: airesult, params: {{file: counts.json}}}}
"""
_MODULE = """
import time

from callboard.executors.registry import register


@register
def count(pipe_data, params):
    time.sleep(0.02)
    return str(int(pipe_data["pipein_text"]) * 7)
"""
_PLACES = ("harbour", "market", "library", "station", "garden")
_GOODS = ("fish", "books", "bread", "coal", "letters", "lamps", "ropes")


def cards(notes: int = _NOTES) -> Workload:
    """A pipeline over so many small files, in a production."""
    files = {f"notes/note-{n:03}.md": _note(n) for n in range(1, notes + 1)}
    return Workload("cards", {FILE: CARDS, **files}, "text")


def _note(n: int) -> str:
    place, goods = _PLACES[n % len(_PLACES)], _GOODS[n % len(_GOODS)]
    return (
        f"# The {place} number {n}\n\nThe {place} number {n} was opened in {1800 + n}. It has {n + 2} gates and a long "
        f"wall. People come every week from the north for {goods}. In winter the {place} is closed after dark.\n"
    )


_CARDS = cards()
_CHILDREN = Workload("functions", {FILE: _FUNCTIONS, "function/count.py": _MODULE}, "text")
_HUMAN = workload("human")


class Undisturbed(NamedTuple):
    """What nobody has killed: documents by workload, and the seconds that a run of the cards takes."""

    documents: Mapping[str, Mapping[str, bytes]]
    run: float


class Tally:
    """What was seen so far. `waits` are seconds from the start of a process until it had recorded something new;
    `start` is the longest that the bare program took to start, seen now and then in between."""

    def __init__(self) -> None:
        self.kills, self.again, self.plays, self.start = 0, 0, 0, 0.0
        self.waits: list[float] = []
        self.failures: list[str] = []

    def take(self, show: Show, wrong: list[str]) -> None:
        if not self.plays % 3:
            self.start = max(self.start, show.lived(callboard("version")).seconds)
        self.kills += show.kills
        self.plays += 1
        self.again += repeated(asked(show.root))
        self.failures += [f"{show.root.name}: {one}" for one in wrong]


def prove_kills(proving: Proving) -> Found:
    """Kill, go on, compare; `size` counts kills: of ten, seven of a run, one of a child, two of commands. A
    thousand and more also meet a run with thousands of open steps, beside those that are counted."""
    chance, tally = Random(f"kills-{proving.seed}"), Tally()
    usual = undisturbed(proving.folder)
    shares: list[tuple[int, Callable[[Path, Random, Undisturbed, Tally], None]]] = [
        (proving.size * 7 // 10, killed_runs),
        (proving.size // 10, killed_children),
        (proving.size, killed_commands),
    ]
    done = 0
    for share, kill in shares:
        done = share if share == proving.size else done + share
        while tally.kills < done:
            kill(proving.folder / f"{kill.__name__}-{tally.plays}", chance, usual, tally)
            proving.say(f"{tally.kills} kills, {len(tally.failures)} failures")
    late, limit = p99(tally.waits), SOON * max(1.0, tally.start / START)
    if late > limit:
        tally.failures.append(f"went on after {late:.2f} s (p99), where our program starts in {tally.start:.2f} s")
    figures = large(proving, limit, tally) | {
        "plays": float(tally.plays), "went on": float(len(tally.waits)), "restart to resume p99 s": round(late, 3),
        "start of the program s": round(tally.start, 3), "calls under way asked again": float(tally.again),
    }  # fmt: skip
    return Found(tally.kills, tally.failures, figures)


def large(proving: Proving, limit: float, tally: Tally) -> dict[str, float]:
    """A run with thousands of open steps is resumed again and again, where there is time for it: the p99."""
    if proving.size < _MANY:
        return {}
    times = proving.size // _SELDOM
    waits, wrong = resumed(proving.folder / "open", OPEN, times)
    tally.failures += [f"open: {one}" for one in wrong]
    late = p99(waits)
    if late > limit:
        tally.failures.append(f"with {OPEN:,} open steps it went on after {late:.2f} s (p99)")
    return {f"with {OPEN:,} open steps p99 s": round(late, 3)}


def undisturbed(folder: Path) -> Undisturbed:
    """Play each show once, and let it be."""
    found = {one.name: dict(one.drive(one.lay_out(folder / one.name)).documents) for one in (_CARDS, _CHILDREN, _HUMAN)}
    show = Show(_CARDS.lay_out(folder / "undisturbed"), latency=LATENCY)
    return Undisturbed(found, show.lived(_CARDS.begin()).seconds)


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────


def killed_runs(root: Path, chance: Random, usual: Undisturbed, tally: Tally) -> None:
    """Run, kill, go on, kill … until it is done."""
    show = Show(_CARDS.lay_out(root), latency=LATENCY)
    seen, wrong = [Known()], list[str]()
    while seen[-1].status != SUCCESS:
        going_on = seen[-1].status is not None
        delay = chance.uniform(0.03, 0.95) * usual.run
        left = show.lived(_CARDS.go_on() if going_on else _CARDS.begin(), delay if show.kills < MOST else None)
        seen.append(known(root))
        if not left.is_killed and (left.code or seen[-1].status != SUCCESS):
            wrong.append(f"it ended with {left.code}, its run is {seen[-1].status}: {left.out[-500:]}")
            break
        if going_on and (waited := began_again(root, left.began)) is not None:
            tally.waits.append(waited)
    if left.is_killed and show.lived(callboard("resume")).code != 8:  # killed in the moment after its end
        wrong.append("it had ended, and was resumed")
    for before in seen:
        wrong += [f"{key} was asked again although its answer was recorded" for key in asked_again(root, before)]
    if not wrong and seen[-1].answered != 2 * _NOTES:
        wrong.append(f"{seen[-1].answered} executions have an answer")
    if not wrong and [*instances(root).values()] != ["completed"]:
        wrong.append(f"one performance has left these instances: {instances(root)}")
    tally.take(show, wrong + _ended(show, _CARDS, usual))


def _ended(show: Show, played: Workload, usual: Undisturbed) -> list[str]:
    """What is not as it has to be when a show has ended."""
    found = documents(show.root, played)
    copy_if_due(show.root)
    wrong = [f"{path} differs" for path in aftermath.unlike(found, usual.documents[played.name])]
    return wrong + aftermath.litter(show.root) + aftermath.unsound(show.root)


# ── a child ─────────────────────────────────────────────────────────────────────────────────────────────────


def killed_children(root: Path, chance: Random, usual: Undisturbed, tally: Tally) -> None:
    """Kill processes that carry functions: the run goes on with others, and ends by itself."""
    show, kills, wrong = Show(_CHILDREN.lay_out(root)), 0, list[str]()
    process = show.begin(_CHILDREN.begin())
    while process.poll() is None:
        try:
            process.wait(chance.uniform(0.05, 0.4) if kills < _DEFEAT - 1 else PATIENCE)
        except subprocess.TimeoutExpired:
            if kills == _DEFEAT - 1:
                wrong.append("it did not end")
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(PATIENCE)
            elif children := children_of(process.pid):
                os.kill(chance.choice(children), signal.SIGKILL)
                kills += 1
    if process.returncode:
        wrong.append(f"it ended with {process.returncode}: {show.said()[-500:]}")
    tally.kills += kills
    tally.take(show, wrong + _ended(show, _CHILDREN, usual))


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────


def killed_commands(root: Path, chance: Random, usual: Undisturbed, tally: Tally) -> None:
    """A run that waits for a person; `approve` and `resume` are killed, or `cancel` is."""
    show, wrong = Show(_HUMAN.lay_out(root)), list[str]()
    until_it_waits = show.lived(_HUMAN.begin())
    if until_it_waits.code != 4:
        return tally.take(show, [f"it ended with {until_it_waits.code}: {until_it_waits.out[-500:]}"])
    cancels = chance.random() < 0.3
    steps = [callboard("cancel", ID)] if cancels else [_HUMAN.answer("release"), _HUMAN.go_on()]
    for step in steps:
        wrong += _until_done(show, step, chance, until_it_waits.seconds)
    status = known(root).status
    if cancels:
        if status != STOPPED:
            wrong.append(f"it was cancelled, and its run is {status}")
        wrong += aftermath.unsound(root)
    elif status == SUCCESS:
        wrong += _ended(show, _HUMAN, usual)
    else:
        wrong.append(f"it was approved and resumed, and its run is {status}")
    return tally.take(show, wrong)


def _until_done(show: Show, command: list[str], chance: Random, length: float) -> list[str]:
    """Give a command, kill it, give it again, until it ends: it is done then, or says that it was done before."""
    for kills in range(MOST):
        left = show.lived(command, chance.uniform(0.3, 1.1) * length if kills < MOST - 1 else None)
        if left.is_killed:
            continue
        if left.code not in ((0,) if not kills else (0, 2, 8)):
            return [f"{command[3]} ended with {left.code}: {left.out[-500:]}"]
        return []
    return []
