"""What about this run? Its tasks with status and reason, items, documents and money, and what to do next."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

from callboard.app import places
from callboard.app.views.held import choices, held
from callboard.app.views.standing import reason, stale
from callboard.app.views.summary import begun, summary
from callboard.app.views.words import iso, word
from callboard.core import machine, rows
from callboard.core.deadline import Now
from callboard.core.executions import unpack
from callboard.core.reasons import older, why
from callboard.core.status import FAILED, INIT, RUNNING, SKIPPED, STOPPED, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from callboard.core.facts import DocumentEdited
    from callboard.core.run import Node, Run
    from callboard.ports import Owner, RunRow, Store

_INSTANCE = ("instance_id", "instance_name", "instance_dir")
_NEVER = Now(0.0, "", 0.0)


def in_memory(store: Store, row: RunRow) -> Run:
    """The run as its rows tell it, for reading. Raises StoreDamaged: what is damaged is not told as if it were true."""
    store.verify(row.number)
    return rows.loaded(store.load(row.number))


def show(
    store: Store,
    row: RunRow,
    *,
    alive: Callable[[Owner], bool],
    base: Path | None = None,
    room: str = "",
    edits: Sequence[DocumentEdited] = (),
) -> dict[str, Any]:
    """`{…summary, because, adopts, adopted_by, carried_out_by, instance, tasks: [{name, status, …, items?}], held, …}`.

    `base` is the directory of the project, `room` what it lacks to write; `edits` are versions of people that are not
    recorded yet. `held` is what a person is waited for with, a list of `held.held`; `next` the command to say.
    """
    playing = places.playing(begun(row, base))
    run = in_memory(store, row)
    for edit in edits:
        machine.step(run, [edit], _NEVER, drained=False)  # on this copy alone
    owned = row.owner is not None and alive(row.owner)
    return {
        **summary(store, row, base),
        "because": reason(run, owned=owned, room=room),
        "adopts": begun(row, base).get("adopts"),
        "adopted_by": run.replaced or None,
        "instance": {name: playing[name] for name in _INSTANCE} if playing else None,
        "carried_out_by": row.owner.pid if owned and row.owner else None,
        "tasks": [_task(store, run, task) for task in run.nodes[: len(run.plan.tasks)]],
        "held": [held(store, run, run.nodes[node]) for node in sorted(run.held)],
        "documents": documents(store, row, run, base),
        "totals": dict(store.totals(row.number)),
        "next": next_command(run, row, owned=owned),
    }


def _task(store: Store, run: Run, row: Node) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": row.task.name,
        "executor": row.task.executor,
        "status": word(row.status),
        "number": row.number,
        "attempt": row.attempt,
        "reason": why(run, row.id),
        "at": iso(row.at or None),
        "read": dict(row.read or {}),
    }
    if row.mapped is not None:
        items = [run.nodes[item] for item in row.mapped.items]
        told["items"] = {
            "all": len(items),
            "done": sum(item.status in (SUCCESS, SKIPPED) for item in items),
            "failed": [{"key": item.key, "reason": item.reason} for item in items if item.status in (FAILED, STOPPED)],
            "stale": [{"key": item.key, "reason": why(run, item.id)} for item in items if older(run, item)],
        }
        if row.status == FAILED and row.reason == "list failed":
            told["reason"] = _list_fault(store, run, row)
        elif row.status == SUCCESS and not items and not told["reason"]:
            told["reason"] = _no_items(row)
    return told


def _no_items(row: Node) -> str:
    each = row.task.inputs.get("each")
    pattern = each.get("glob") if isinstance(each, dict) else None
    return f"no items: {pattern} matches no file" if pattern else "no items"


def _list_fault(store: Store, run: Run, row: Node) -> str:
    """Why a list could not be made: the machine keeps the word, the journal the whole reason."""
    for _, _, facts, _ in reversed(store.journal(run.number)):
        for text in facts:
            name, *fields = json.loads(text)
            if name == "ListFailed" and fields[0] == row.id:
                return f"{row.reason}: {fields[2]}"
    return row.reason


def documents(store: Store, row: RunRow, run: Run, base: Path | None = None) -> list[dict[str, Any]]:
    """`[{path, file, hash, status, task, beside?, why?}]` of a run, by path; `file` is the whole path.

    `hash` is that of the latest version (None when it is gone), `task` who wrote it first (None: a person);
    `beside` where ours lies when a person's was kept, `why` what keeps a pending one from its place.
    """
    home, notes = begun(row, base).get("dir", "."), store.notes(row.number)
    told = []
    for _, path, hash, _, execution, status in store.documents(row.number, sources=True):
        latest = run.documents.get(path, hash)
        if latest != hash and status != "conflict":
            status = "edited" if latest else "missing"
        if status == "source":
            continue
        one = {
            "path": path,
            "file": os.path.normpath(os.path.join(home, path)),
            "hash": latest or None,
            "status": status,
            "task": run.name_of(unpack(execution)[1]) if execution else None,
        }
        if path in notes:
            one["why" if status == "pending" else "beside"] = notes[path]
        told.append(one)
    return told


def next_command(run: Run, row: RunRow, *, owned: bool) -> str | None:
    """The command that brings this run on, if a person can do something about it."""
    if run.replaced:
        return f"callboard show {run.replaced}"
    if run.status in (INIT, RUNNING):
        again = f"callboard resume {row.id}" if run.holds or not owned else None
        return _answer(run, row) or again
    tasks = run.nodes[: len(run.plan.tasks)]
    if run.status != SUCCESS or any(task.status == FAILED for task in tasks):
        return f"callboard resume {row.id} --retry"
    if stale(run):
        return f"callboard resume {row.id} --stale"
    failed = [min(task.mapped.failed) for task in tasks if task.mapped is not None and task.mapped.failed]
    return f"callboard resume {row.id} --restart {shlex.quote(run.name_of(failed[0]))}" if failed else None


def _answer(run: Run, row: RunRow) -> str | None:
    """What a person says to the first execution that is held."""
    for node in sorted(run.held):
        named = f" --task {shlex.quote(run.name_of(node))}" if len(run.held) > 1 else ""
        if run.nodes[node].hold == "review":
            return f"callboard approve {row.id}{named}{_version(run.nodes[node])}"
        if run.nodes[node].hold == "decision":
            return look_at(row)
    return None


def look_at(row: RunRow) -> str:
    """Nobody should answer what they have not seen."""
    return f"callboard show {row.id}"


def _version(row: Node) -> str:
    """What makes an approval one of exactly what was read; and the choice that has to be made."""
    version = f" --hash {row.draft[0][:12]}" if row.draft is not None else ""
    return version + (" --choose CHOICE" if choices(row) else "")


def result(store: Store, row: RunRow) -> Any:
    """The value of a run that is a chain or has one last task: that task's; else values by name of all last tasks."""
    run = in_memory(store, row)
    tasks = run.nodes[: len(run.plan.tasks)]
    last = [task for task in tasks if not run.graph.children[task.id]]
    values = {task.task.name: value(store, run, task) for task in last if task.status in (SUCCESS, SKIPPED)}
    if len(last) == 1:
        return values.get(last[0].task.name)
    return values


def value(store: Store, run: Run, row: Node) -> Any:
    """The value of a task's latest outcome: a list of `{key, value}` of a mapped one, what flowed in of a skipped."""
    if row.status == SKIPPED:
        above = [run.nodes[node] for node, _, _ in run.inputs(row.id)]
        return value(store, run, above[0]) if len(above) == 1 else None
    text = store.outcome(run.number, row.id, row.number, row.revision)
    if text is None:
        return None
    outcome = json.loads(text)
    if "items" in outcome and row.mapped is not None:
        keys = [(node, number, 0) for _, node, number in outcome["items"]]
        found = store.outcomes(run.number, keys)
        return [
            {"key": key, "value": json.loads(found[node, number, 0])["value"] if (node, number, 0) in found else None}
            for key, node, number in outcome["items"]
        ]
    return outcome.get("value")
