"""`callboard show`: one run as it stands, its story, or its result. Asks the store, never an engine."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import click

from callboard.app.commands.noticing import shown_edits
from callboard.app.views import run as views
from callboard.app.views.story import story
from callboard.app.views.words import brief, waits
from callboard.cli.context import Told, as_text, json_option
from callboard.cli.draft import asked
from callboard.cli.table import clock, count, money, symbols, table
from callboard.cli.written import below, from_here, stands

_MOST, _FEW = 50, 10  # rows of tasks, documents and failed items; of tasks of which none is worth a look
_DULL = ("success", "skipped", "init")  # of a very long list these are only counted


@click.command(help="Show a run: its tasks, reasons, documents and money. RUN is an id, its beginning, or a number.")
@click.argument("run", required=False)
@click.option("--story", "as_story", is_flag=True, help="Every recorded fact, in order.")
@click.option("--result", "as_result", is_flag=True, help="Only the result.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str | None, as_story: bool, as_result: bool, as_json: bool) -> None:
    told = Told(obj, as_json)
    house = told.house(readonly=True)
    try:
        row = house.find_run(run)
        if as_result:
            result = views.result(house.store, row)
            told.out(result, lambda: as_text(result) if result is not None else "")
        elif as_story:
            facts = story(house.store, row, views.in_memory(house.store, row))
            told.out(facts, lambda: "\n".join(_fact(fact) for fact in facts))
        else:
            shown = views.show(
                house.store,
                row,
                alive=house.is_alive,
                base=house.base,
                room=house.short_of_room(),
                edits=shown_edits(house, row),
            )
            told.out(shown, lambda: _text(shown))
            if shown["next"] != views.look_at(row):
                told.next(shown["next"])
    finally:
        house.close()


def _fact(fact: dict[str, Any]) -> str:
    rest = {name: value for name, value in fact.items() if name not in ("at", "fact")}
    return symbols(f"{clock(fact['at'])}  {fact['fact']:<12} {' '.join(f'{n}={v}' for n, v in rest.items())}".rstrip())


def _text(run: dict[str, Any]) -> str:
    totals = run["totals"]
    lines = [
        click.style(f"{run['id']}  {symbols(run['name'])}", bold=True),
        *_where(run),
        f"{_status(run)}, begun {clock(run['created'])} UTC"
        + (f", ended {clock(run['ended'])}" if run["ended"] else ""),
        f"{count(totals['calls'], 'model call')}, {totals['input_tokens']:,} tokens in, {totals['output_tokens']:,} "
        f"out, {money(run['cost'], run['unpriced'])}",
        "",
        *_tasks(run["tasks"]),
    ]
    failed = [(f"{task['name']}/{item['key']}", item["reason"]) for task in run["tasks"] for item in _failed(task)]
    if failed:
        lines += ["", table(("failed items", "reason"), failed[:_MOST]), *_more(len(failed))]
    stale = [(f"{task['name']}/{item['key']}", brief(item["reason"])) for task in run["tasks"] for item in _stale(task)]
    if stale:
        lines += ["", table(("stale items", "reason"), stale[:_MOST]), *_more(len(stale))]
    for held in run["held"]:
        lines += ["", *map(symbols, asked(run["id"], held, several=len(run["held"]) > 1))]
    if run["documents"]:
        lines += ["", *_documents(run["documents"])]
    return "\n".join(lines)


def _tasks(found: list[dict[str, Any]]) -> list[str]:
    """The tasks; of very many those that a person may look for, below a count by status."""
    told = found
    lines = []
    if len(found) > _MOST:
        count_by = Counter(task["status"] for task in found)
        lines = [
            f"{len(found):,} tasks: {', '.join(f'{count:,} {status}' for status, count in count_by.most_common())}"
        ]
        told = [task for task in found if task["status"] not in _DULL][:_MOST] or found[:_FEW]
    items = any("items" in task for task in told)
    head = ("task", "status", *(["items"] if items else []), "reason")
    rows = [[cell for at, cell in enumerate(_row(task)) if items or at != 2] for task in told]
    left = len(found) - len(told)
    return [*lines, table(head, rows, status=1), *([f"… and {left:,} more; --json has all of them"] if left else [])]


def _where(run: dict[str, Any]) -> list[str]:
    instance = run["instance"]
    lines = [] if run["dir"] == os.getcwd() else [f"begun in {from_here(run['dir'])}"]
    if run["adopts"]:
        lines.append(f"in place of {run['adopts']}, with a changed file")
    if instance:
        where = from_here(os.path.join(run["dir"], instance["instance_dir"]))
        lines.append(f"instance {instance['instance_id']} in {where}")
    return [symbols(line) for line in lines]


def _status(run: dict[str, Any]) -> str:
    because = f" ({symbols(waits(run['because']))})" if run["because"] else ""
    by = f", carried out by process {run['carried_out_by']}" if run["carried_out_by"] else ""
    return f"{run['status']}{because}{by}"


def _failed(task: dict[str, Any]) -> list[dict[str, Any]]:
    failed: list[dict[str, Any]] = task["items"]["failed"] if "items" in task else []
    return failed


def _stale(task: dict[str, Any]) -> list[dict[str, Any]]:
    stale: list[dict[str, Any]] = task["items"]["stale"] if "items" in task else []
    return stale


def _documents(found: list[dict[str, Any]]) -> list[str]:
    where, short = below([from_here(one["file"]) for one in found])
    rows = [(path, one["task"] or "", stands(one)) for path, one in zip(short, found, strict=True)]
    head = [click.style(symbols(f"documents in {where}"), bold=True)] if where else []
    return [*head, table(("document", "by", ""), rows[:_MOST]), *_more(len(found))]


def _more(count: int) -> list[str]:
    return [f"… and {count - _MOST} more; --json has all of them"] if count > _MOST else []


def _row(task: dict[str, Any]) -> tuple[str, str, str, str]:
    items = task.get("items")
    done = f"{items['done']}/{items['all']}" if items else ""
    if items and items["failed"]:
        done += f", {len(items['failed'])} failed"
    return task["name"], task["status"], done, brief(task["reason"])
