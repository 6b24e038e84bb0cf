"""T18: a person edits the documents of a run while it goes on, and when it stands still.

Each interleaving is one run of a small show whose steps hand on exactly the bytes they were given, so that what an
outcome was made from can be read in it. The person (`person.py`) acts at crash points of ours, on the thread that
passes them, and between commands: saves, moves, deletes, swaps for a link. The run is interrupted now and then, and
goes on. Then every outcome is held against the versions it is recorded to have been made from, what the run calls
stale against what the person's diary says, the disk against the record; and what is stale is redone, until nothing is.

A seed repeats who does what and at which passing of which point; where threads meet cannot be repeated exactly.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
from contextlib import chdir, closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callboard.app import project as projects
from callboard.app.commands.carry import Stop, carry_out
from callboard.app.commands.noticing import notice
from callboard.app.commands.resume import resume
from callboard.app.commands.submit import submit_pipeline
from callboard.app.settings import Settings
from callboard.app.views.run import in_memory
from callboard.app.wiring import House
from callboard.battery import history
from callboard.battery.person import Person
from callboard.battery.proof import Found
from callboard.battery.show import fast_folder
from callboard.battery.workloads import FILE, ID
from callboard.core.documents import stale
from callboard.core.status import ENDED, SUCCESS
from callboard.crash import listening
from callboard.errors import NotFound, Refused
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from callboard.battery.proof import Proving
    from callboard.core.run import Node, Run
    from callboard.engine.engine import Engine

SHOW = """
name: Edits
pipe:
  - {name: source, type: function, function: aisource, needs: [], params: {file: in.md}, output_file: a.md}
  - name: told
    type: function
    function: aisource
    needs: [source]
    params: {file: a.md, content: "told<{{pipe.steps.source}}>"}
    output_file: b.md
  - {name: read, type: function, function: aisource, needs: [told], params: {file: b.md}, output_file: c.md}
  - name: note
    type: function
    function: aisource
    needs: []
    each: {glob: "notes/*.md"}
    params: {file: a.md, content: "note<{{item.text}}>"}
    output_file: "o/{{item.stem}}.md"
  - name: all
    type: function
    function: aisource
    needs: [read, note]
    params:
      file: a.md
      content: "{{pipe.steps.read}}|{% for one in pipe.steps.note | fromjson %}{{one.value}}{% endfor %}"
    output_file: all.md
"""
SOURCES = ("in.md", "notes/p.md", "notes/q.md")
PATHS = (*SOURCES, "a.md", "b.md", "c.md", "o/p.md", "o/q.md")
#: What steps hand on as it is: an empty one would make an empty document of ours, which nobody can tell from theirs.
COPIED = ("in.md", "b.md")
#: Passings of points in one run, more or less: the moments at which a person may act.
MOMENTS = 400
#: Points between which nothing of ours is written where documents lie, on the thread that alone puts them there.
_QUIET = ("document.", "publish.")
#: … and those where the last moment is in which a version could be lost.
_LAST = ("publish.replace", "publish.exchanged", "publish.back")
_MOST_TURNS = 8
_OUR_LATEST = "SELECT hash FROM document_history WHERE path = ? AND status = 'pending' ORDER BY number DESC LIMIT 1"


class Trial(NamedTuple):
    wrong: list[str]
    acts: int
    stale: int
    conflicts: int


def prove_edits(proving: Proving) -> Found:
    """`size` counts interleavings."""
    failures, acts, older, conflicts = list[str](), 0, 0, 0
    with fast_folder() as folder:
        for number in range(proving.size):
            seed = f"{proving.seed}-{number}"
            trial = interleave(folder / seed, seed)
            failures += [f"interleaving {seed}: {one}" for one in trial.wrong]
            acts, older, conflicts = acts + trial.acts, older + trial.stale, conflicts + trial.conflicts
            proving.say(f"{number + 1} of {proving.size}, {len(failures)} failures")
    figures = {"acts of a person": float(acts), "outcomes redone": float(older), "conflicts": float(conflicts)}
    return Found(proving.size, failures, figures)


def interleave(folder: Path, seed: str) -> Trial:
    """One run, from its beginning until nothing of it is stale."""
    folder.mkdir()
    chance = random.Random(f"edits-{seed}")
    with chdir(folder):
        (folder / FILE).write_text(SHOW)
        person = Person(folder, PATHS, COPIED, chance)
        person.mend(SOURCES)
        project = projects.find_or_make(None, folder)
        store = SQLiteStore(project.database)
        with closing(House(Settings(model="offline"), project, store)) as house:
            stage = _Stage(house, store, person, chance)
            wrong = list(stage.play())
            conflicts = sum(row[5] == "conflict" for row in store.documents())
        wrong += history.check(project.database)
    return Trial(wrong, len(person.diary), stage.redone, conflicts)


class _Stage:
    """A run, the person who meddles with it, and what is wrong on the way."""

    def __init__(self, house: House, store: SQLiteStore, person: Person, chance: random.Random) -> None:
        self._house, self._store, self._person, self._chance = house, store, person, chance
        self._number = submit_pipeline(house, Path(FILE), "", id=ID).number
        self._lock = threading.Lock()
        self.redone = 0

    def play(self) -> Iterator[str]:
        if self._chance.random() < 0.3:
            self._person.act(in_place=True)
        self._carry(meddling=True)
        yield from self._ended(meddling=True)
        self._meddle()
        for turn in range(_MOST_TURNS):
            self._person.mend(SOURCES)
            yield from self._checked()
            run = self._run()
            older = {node.id for node in run.nodes if stale(run, node)}
            if not older:
                return
            yield from self._redone(run, older, meddling=turn == 0 and self._chance.random() < 0.5)
        yield f"after {_MOST_TURNS} turns something is stale yet"

    # ── what is done ────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> Run:
        return in_memory(self._house.store, self._house.find_run(ID))

    def _meddle(self) -> None:
        for _ in range(self._chance.randrange(4)):
            self._person.act(in_place=True)

    def _carry(self, *, meddling: bool) -> None:
        """Carry the run out, with a person who acts at a few moments of it, and now and then pulls the cord."""
        chance = self._chance
        moments = {chance.randrange(MOMENTS) for _ in range(chance.randrange(5))} if meddling else set[int]()
        pulled = chance.randrange(3 * MOMENTS) if meddling else -1
        stop, passed, loops = Stop(), 0, list[asyncio.AbstractEventLoop]()

        def passing(name: str) -> None:
            nonlocal passed
            with self._lock:
                passed += 1
                if passed in moments:
                    self._person.act(in_place=name.startswith(_QUIET))
                if meddling and name in _LAST and chance.random() < 0.2:
                    self._person.check_out()
                if passed == pulled and loops:
                    loops[0].call_soon_threadsafe(stop.pull)

        def watch(engine: Engine) -> None:
            loops.append(asyncio.get_running_loop())

        with listening(passing):
            asyncio.run(carry_out(self._house, [self._number], watch=watch, stop=stop))

    def _ended(self, *, meddling: bool) -> Iterator[str]:
        """Go on until the run has ended well; what fails because something was taken from it is mended first."""
        for turn in range(_MOST_TURNS):
            row = self._house.find_run(ID)
            if row.status == SUCCESS:
                return
            self._person.mend([*SOURCES, *(path for path in PATHS if os.path.islink(path))])
            resume(self._house, row, again="retry" if row.status in ENDED else None)
            self._carry(meddling=meddling and turn < 2)
        yield f"it does not end: {self._why()}"

    def _why(self) -> str:
        run = self._run()
        return ", ".join(f"{run.name_of(node.id)} {node.status.name} {node.reason}" for node in run.nodes)

    def _redone(self, run: Run, older: set[int], *, meddling: bool) -> Iterator[str]:
        """`resume --stale` does again exactly what is stale and what is made from that."""
        self.redone += len(older)
        before = {node.id: (node.number, node.revision) for node in run.nodes}
        try:
            resume(self._house, self._house.find_run(ID), again="stale")
        except Refused as error:
            yield f"{_names(run, older)} is stale, and the run says: {error}"
        self._carry(meddling=meddling)
        yield from self._ended(meddling=False)
        after = self._run()
        if not meddling:
            begun = {node.id for node in after.nodes if (node.number, node.revision) != before[node.id]}
            if begun != (want := _closure(run, older)):
                yield f"redone were {_names(run, begun)}, and should have been {_names(run, want)}"

    # ── what must be so ─────────────────────────────────────────────────────────────────────────────────

    def _checked(self) -> Iterator[str]:
        """With everything noticed."""
        notice(self._house, self._house.find_run(ID))
        run = self._run()
        yield from (f"a version of the person's is lost: {hash[:12]}" for hash in self._person.lost(self._has))
        yield from self._recorded(run)
        for node in run.nodes:
            if node.status is SUCCESS and node.mapped is None:
                yield from self._made(run, node)
        machine = {node.id for node in run.nodes if stale(run, node)}
        model = {node.id for node in run.nodes if any(self._is_older(*one) for one in (node.read or {}).items())}
        if machine != model:
            yield f"stale is {_names(run, machine)}, and should be {_names(run, model)}: {self._why()}"

    def _is_older(self, path: str, hash: str) -> bool:
        """By the diary; but the version of ours that lies beside a person's file is not older than that."""
        known = self._store.document(self._number, path)
        if known is not None and known.status == "conflict" and (hash,) == self._store.row(_OUR_LATEST, (path,)):
            return False
        return self._person.is_older(path, hash, (known and known.replaces) or hash)

    def _has(self, hash: str) -> bool:
        try:
            self._store.get(hash)
        except NotFound:
            return False
        return True

    def _recorded(self, run: Run) -> Iterator[str]:
        """The record says what lies there, and that somebody else's file lies where ours was to be."""
        notes = self._store.notes(self._number)
        for _, path, hash, _, _, status in self._store.documents(self._number, sources=True):
            there = self._person.hash_of(path)
            if there != hash:
                yield f"{path} is recorded as {hash[:12] or 'gone'} ({status}), and is {there[:12] or 'gone'}"
            if status == "conflict" and not Path(notes.get(path, "?")).exists():
                yield f"{path} is in conflict, and nobody says where ours is"
            if hash and status in ("edited", "conflict") and not self._has(hash):
                yield f"{path} is {status}, and its bytes are not kept"

    def _made(self, run: Run, node: Node) -> Iterator[str]:
        """An outcome holds exactly the bytes of the versions it is recorded to have been made from."""
        made = json.loads(self._store.outcome(self._number, node.id, node.number, node.revision) or "null")
        try:
            want = self._echo(run, node)
        except LookupError as error:
            want = f"made from {error}"
        if made is None or made["value"] != want:
            read = {path: hash[:12] for path, hash in (node.read or {}).items()}
            has = f"{run.name_of(node.id)} {node.number} has read {read}"
            yield f"{has}, and is {made and made['value']!r:.120}, not {want!r:.120}"

    def _echo(self, run: Run, node: Node) -> str:
        read = node.read or {}
        match node.task.name:
            case "source":
                return self._text(read["in.md"])
            case "told":
                return f"told<{self._handed(_above(run, node), read, 'a.md')}>"
            case "read":
                return self._text(read["b.md"])
            case "note":
                return f"note<{self._text(read[str(node.key)])}>"
        items = next(row.mapped for row in run.nodes if row.mapped is not None).items
        notes = [self._handed(run.nodes[item], read, f"o/{Path(str(run.nodes[item].key)).name}") for item in items]
        return f"{self._handed(_above(run, node), read, 'c.md')}|{''.join(notes)}"

    def _handed(self, above: Node, read: Mapping[str, str], path: str) -> str:
        """What a need has handed on: the version of its document that was recorded as read. Only where somebody else's
        file has kept the place it is the outcome itself. Raises LookupError when it should have been read."""
        known = self._store.document(self._number, path)
        if path in read or known is None or known.status != "conflict":
            return self._text(read[path])
        text = self._store.outcome(self._number, above.id, above.number, above.revision)
        return str(json.loads(text or "{}")["value"])

    def _text(self, hash: str) -> str:
        data = self._person.texts.get(hash)
        return (self._store.get(hash) if data is None else data).decode("utf-8-sig")


def _above(run: Run, node: Node) -> Node:
    return run.nodes[run.inputs(node.id)[0][0]]


def _closure(run: Run, older: set[int]) -> set[int]:
    """What is stale, and all that is made from it; a list is begun again where its own making is older."""
    found, todo = set[int](), list(older)
    while todo:
        node = run.nodes[todo.pop()]
        if node.id in found:
            continue
        found.add(node.id)
        todo += [child for child, _ in run.graph.children[node.id]] if node.parent < 0 else [node.parent]
        if node.mapped is not None and (node.id in older or not older.intersection(node.mapped.items)):
            todo += list(node.mapped.items)
    return found


def _names(run: Run, nodes: set[int]) -> str:
    return ", ".join(run.name_of(node) for node in sorted(nodes)) or "nothing"
