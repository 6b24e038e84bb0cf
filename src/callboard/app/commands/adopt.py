"""Let a run go on with its changed pipeline file: what differs, what of the run stands, and then a run in its place.

The file is read as if a run began with it, all faults at once, with the text, variables, model and instance of the run.
What stands is judged in three rooms: the face says which steps ask the same (`changes`), the machine what of the run
belongs together (`handover`), and a trial of the successor what it takes over. A preview and the adoption ask the same
questions; the adoption asks them while it owns the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app import places
from callboard.app.commands.check import check_override, read_pipeline
from callboard.app.commands.noticing import notice, shown_edits
from callboard.app.commands.playing import make_instance
from callboard.app.commands.submit import with_saved
from callboard.app.views.run import in_memory
from callboard.app.views.words import word
from callboard.app.wiring import load
from callboard.core import handover, machine
from callboard.core import plan as plans
from callboard.core import rows as stored
from callboard.core.facts import DocumentEdited
from callboard.core.graph import Graph
from callboard.core.reasons import older
from callboard.core.run import Run
from callboard.core.status import INIT, QUEUED
from callboard.errors import CallboardError, Conflict, NotFound, Refused
from callboard.text.strict import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from callboard.app.wiring import House
    from callboard.core.facts import Fact
    from callboard.core.plan import Plan
    from callboard.core.run import Node
    from callboard.ports import Call, RunRow, RunRows

_PAGE = 1 << 20  # characters of outcomes that one fact brings
_THEIRS = ("edited", "missing", "conflict")


class Adoption(NamedTuple):
    """What an adoption is about: the run as it stands, the changed plan, and what of the one the other takes over."""

    row: RunRow
    run: Run
    plan: Plan
    file: str  # as the successor records it
    difference: Any  # faces.pipelines.changes.Difference
    left: handover.Left
    trial: Run  # the successor as it begins
    facts: Sequence[Fact]


def preview(house: House, row: RunRow, file: Path | None = None) -> dict[str, Any]:
    """`{run, file, adopted, steps: [{name, was, what, changes, fate, why, items?}], removed, changes, kept, again}`.

    `what` is new, renamed, changed, moved or same; `fate` kept, held, partly, again or begins. Nothing is written.
    Raises InvalidFile with all faults, NotFound, Refused.
    """
    return _told(_looked(house, row, file), None)


def adopt(house: House, row: RunRow, file: Path | None = None) -> tuple[RunRow, dict[str, Any]]:
    """End the run and begin the one in its place: its row, and what `preview` says of it. Done twice it is one.

    Raises as `preview`, and Conflict while another living process carries the run out.
    """
    made: list[Adoption] = []

    def successor(rows: RunRows, run: Run) -> Any:
        one = _adoption(house, rows.run, run, rows, plan, recorded)
        if one.difference.is_none:
            raise Refused(f"{recorded} says what run {row.id} began with: there is nothing to adopt")
        made.append(one)
        return _successor(house, one)

    plan, recorded = _compiled(house, row, file)
    notice(house, row)
    before = row
    had = house.successor(row)
    if had.number != row.number:
        return _already(house, row, had, plan)
    new = house.replace(row.number, successor)
    if new is None:
        owner = house.find_run(row.id).owner
        by = f" by process {owner.pid}" if owner else ""
        raise Conflict(f"run {row.id} is being carried out{by}; interrupt that (Ctrl-C) and adopt it then")
    if not made:  # somebody was quicker
        return _already(house, row, house.successor(new), plan)
    if before.status == INIT:
        make_instance(house, new)
    house.apply(new.number, ())
    return house.find_run(new.id), _told(made[0], new.id)


def _already(house: House, row: RunRow, new: RunRow, plan: Plan) -> tuple[RunRow, dict[str, Any]]:
    """It was adopted before: by this very plan, which is the same adoption again, or by another. Raises Refused."""
    if new.plan != plans.digest(plans.dump(plan)):
        raise Refused(f"run {row.id} goes on as {new.id}: callboard adopt {new.id}")
    return new, {"run": row.id, "adopted": new.id, "next": f"callboard resume {new.id}"}


def changed_file(house: House, row: RunRow) -> str:
    """The pipeline file of a run, in full, when it says something else by now than what the run goes on with.

    Empty also where that cannot be told: the file is gone, has faults, or the run was begun by a program.
    """
    try:
        plan, recorded = _compiled(house, row, None)
        if row.plan == plans.digest(plans.dump(plan)):
            return ""  # as nearly always: no run has to be read for that
        begun = house.begun(row)
        run = in_memory(house.store, row)
        changed = not load("faces.pipelines.changes", "compare")(run.plan, plan, begun).is_none
    except (CallboardError, OSError):
        return ""
    return os.path.normpath(os.path.join(begun["dir"], recorded)) if changed else ""


# ── the two plans ───────────────────────────────────────────────────────────────────────────────────────────


def _looked(house: House, row: RunRow, file: Path | None) -> Adoption:
    plan, recorded = _compiled(house, row, file)
    if (new := house.successor(row)).number != row.number:
        raise Refused(f"run {row.id} goes on as {new.id}: callboard adopt {new.id}")
    house.store.verify(row.number)
    rows = house.store.load(row.number)
    run = stored.load(
        row.number, row.id, plans.load(rows.plan), status=rows.run.status, state=rows.run.state,
        executions=rows.executions, items=rows.items, branches=rows.branches, documents=rows.documents,
    )  # fmt: skip
    machine.step(run, shown_edits(house, row), house.clock.now(), False, None)  # on this copy alone
    return _adoption(house, rows.run, run, rows, plan, recorded)


def _compiled(house: House, row: RunRow, file: Path | None) -> tuple[Plan, str]:
    """The plan of the file as it is now, for what the run began with, and the path to record."""
    if row.face != "pipelines":
        raise Refused(f"run {row.id} was begun by a program, and its steps are there: change them and run it again")
    begun = house.placed(row)
    full = Path.cwd() / file if file is not None else Path(begun["dir"]) / begun["file"]
    if not full.is_file():
        raise NotFound(f"{full} is not there: name the pipeline's file, callboard adopt {row.id} FILE")
    house.keep_model(row)
    check_override(house)
    recorded = places.pipeline(str(full), begun["dir"], house.base)
    with chdir(begun["dir"]):
        parsed = read_pipeline(house, Path(recorded), vars=begun.get("vars"), has_begun=True)
        plan = load("faces.pipelines.compile", "compile")(parsed, production=_production(house, row, parsed))
    return with_saved(plan, begun["result"]) if begun.get("result") else plan, recorded


def _production(house: House, row: RunRow, parsed: Any) -> Mapping[str, Any] | None:
    """The configuration the run plays with; the instance stays the same. Raises Refused for another production."""
    block = dict(parsed.production) if parsed.production else None
    playing = house.production_of(row)
    named = block.get("name") if block is not None else None
    if named is not None and (playing is None or playing["name"] != named):
        has = f"in {playing['name']!r}" if playing else "in none"
        raise Refused(f"the file belongs to the production {named!r}, and run {row.id} plays {has}: begin a new run")
    before = plans.load(house.store.load(row.number).plan).settings.get("production")
    return None if before is None else dict(before)


def _adoption(house: House, row: RunRow, run: Run, rows: RunRows, plan: Plan, file: str) -> Adoption:
    held = [run.name_of(node) for node in sorted(run.held) if run.nodes[node].hold == "decision"]
    if held:
        raise Refused(f"{held[0]} of run {row.id} waits for a decision: callboard approve {row.id} --done, or --redo")
    difference = load("faces.pipelines.changes", "compare")(run.plan, plan, house.begun(row))
    graph = Graph(plan)
    left = handover.left(
        run, graph, difference.same, difference.partly,
        lambda node, number, revision: house.store.outcome(row.number, node, number, revision),
        {node: value for node, _, _, _, value in rows.items},
    )  # fmt: skip
    facts: list[Fact] = [*handover.facts(row.id, left, _PAGE), *_edited(house, row, left)]
    trial = Run(0, "trial", plan, graph)
    machine.step(trial, facts, house.clock.now(), True, None)
    return Adoption(row, run, plan, file, difference, left, trial, facts)


def _edited(house: House, row: RunRow, left: handover.Left) -> Iterator[Fact]:
    """What a person has made of documents that are taken over."""
    ours = {one.path: one.hash for known in left.known for one in known.documents}
    for _, path, hash, _, _, status in house.store.documents(row.number):
        if status in _THEIRS and path in ours:
            yield DocumentEdited(path, ours[path], hash)


# ── the run in its place ────────────────────────────────────────────────────────────────────────────────────


def _successor(house: House, one: Adoption) -> Any:
    row = one.row
    params = {**decode(row.params), "file": one.file, "adopts": row.id}
    new = _free_id(house, row)
    return load("engine.replacing", "Successor")(
        new,
        row.name,
        plans.dump(one.plan),
        json.dumps(params, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        row.face,
        one.facts,
        tuple(_calls(house, one, new)),
    )


def _free_id(house: House, row: RunRow) -> str:
    """The id with a number behind it, so that one sees where it comes from."""
    stem = re.sub(r"\.\d+$", "", row.id) if "adopts" in decode(row.params) else row.id
    number = 2
    while True:
        id = f"{stem[: 63 - len(str(number))]}.{number}"
        try:
            if house.store.find_run(id).id != id:
                return id
        except NotFound:
            return id
        number += 1


def _calls(house: House, one: Adoption, new: str) -> Iterator[Call]:
    """The ledger of the successor: what was paid for what it takes over, and what an execution that is to go on has
    paid for already, at no cost and with where it comes from."""
    by_execution: dict[tuple[int, int], list[Call]] = {}
    for call in house.store.calls(one.row.number):
        by_execution.setdefault((call.node, call.number), []).append(call)
    for (task, item), node in _carried(one).items():
        target = one.trial.find(task if item is None else f"{task}/{item}")
        for call in by_execution.get((node, one.run.nodes[node].number), ()) if target is not None else ():
            if call.status in ("settled", "cached"):
                yield _taken(call, one, target or 0, new)


def _carried(one: Adoption) -> dict[tuple[str, str | None], int]:
    """Where executions of the successor stood in the run: those taken over, and those that go on from there."""
    found = dict(one.left.sources)
    for node in one.trial.nodes:
        if node.status is QUEUED and node.task.name in one.difference.same:
            was = one.difference.same[node.task.name]
            there = one.run.find(was if node.parent < 0 else f"{was}/{node.key}")
            if there is not None:
                found.setdefault((node.task.name, node.key), there)
    return found


def _taken(call: Call, one: Adoption, node: int, new: str) -> Call:
    done = one.trial.nodes[node].has_ended
    return call._replace(
        run=0, node=node, number=1, attempt=0, provider=f"adopted {one.row.id}", input_tokens=0, output_tokens=0,
        cost=0, latency=0.0, status="cached", answer=None if done else call.answer,
        key=hashlib.sha256(f"{new} adopted {call.key}".encode()).hexdigest(),
    )  # fmt: skip


# ── in words ────────────────────────────────────────────────────────────────────────────────────────────────


def _told(one: Adoption, new: str | None) -> dict[str, Any]:
    steps = [_step(one, step) for step in one.difference.steps]
    command = f"callboard adopt {one.row.id}{_named(one)} --yes"
    return {
        "run": one.row.id,
        "file": one.file,
        "adopted": new,
        "steps": steps,
        "removed": list(one.difference.removed),
        "changes": [change._asdict() for change in one.difference.file],
        "kept": sum(step["fate"] == "kept" for step in steps),
        "again": sum(step["fate"] in ("again", "partly") for step in steps),
        "next": f"callboard resume {new}" if new else None if one.difference.is_none else command,
    }


def _named(one: Adoption) -> str:
    """The file, where it is another than the run's own."""
    return "" if one.file == decode(one.row.params)["file"] else f" {os.path.relpath(one.file)}"


def _step(one: Adoption, step: Any) -> dict[str, Any]:
    what = "new" if not step.was else "renamed" if step.was != step.name else ""
    what = what or ("changed" if step.changed else "moved" if step.moved else "same")
    row = one.trial.nodes[one.trial.graph.names[step.name]]
    fate, why = _fate(one, step, row)
    told = {"name": step.name, "was": step.was or None, "what": what, "moved": step.moved, "fate": fate, "why": why}
    told["changes"] = [change._asdict() for change in step.changed]
    if row.mapped is not None:
        told["items"] = sum(task == step.name and item is not None for task, item in one.left.sources)
    return told


def _fate(one: Adoption, step: Any, row: Node) -> tuple[str, str]:
    """What becomes of a step, and why it is not simply kept."""
    was = one.run.nodes[one.run.graph.names[step.was]] if step.was else None
    if step.name in one.left.whole:
        return "kept", ""
    if any(task == step.name for task, _ in one.left.sources):
        return ("held", "") if row.hold else ("partly", step.why or _state(one, was))
    if was is None or not (was.number and (was.attempt or was.has_ended)):
        return "begins", step.why or "it had not begun"
    return "again", step.why or _state(one, was) or f"after {_above(one, step.name)}, which is not kept"


def _state(one: Adoption, was: Node | None) -> str:
    """What there is not to keep of a step that asks the same."""
    if was is None:
        return ""
    if path := older(one.run, was):
        return f"it was made from an older version of {path}"
    if was.has_ended and word(was.status) in ("success", "skipped") and was.current:
        return ""
    return "it had not ended" if not was.has_ended else f"it had {word(was.status)}"


def _above(one: Adoption, name: str) -> str:
    graph = one.trial.graph
    above = [one.plan.tasks[node].name for node, _ in graph.parents[graph.names[name]]]
    return next((step for step in above if step not in one.left.whole), above[0] if above else "")
