"""`callboard show`."""

from __future__ import annotations

import json
from typing import Any

import click

from callboard.app.views import run as views
from callboard.app.views.story import story
from callboard.cli.context import Told, json_option, symbols
from callboard.cli.table import clock, money, table


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
            told.out(result, lambda: result if isinstance(result, str) else json.dumps(result, ensure_ascii=False))
        elif as_story:
            facts = story(house.store, row, views.in_memory(house.store, row))
            told.out(facts, lambda: "\n".join(_fact(fact) for fact in facts))
        else:
            shown = views.show(house.store, row, alive=house.is_alive)
            told.out(shown, lambda: _text(shown))
            told.next(shown["next"])
    finally:
        house.close()


def _fact(fact: dict[str, Any]) -> str:
    rest = {name: value for name, value in fact.items() if name not in ("at", "fact")}
    return symbols(f"{clock(fact['at'])}  {fact['fact']:<12} {' '.join(f'{n}={v}' for n, v in rest.items())}".rstrip())


def _text(run: dict[str, Any]) -> str:
    because = f" ({run['because']})" if run["because"] else ""
    totals = run["totals"]
    lines = [
        click.style(f"{run['id']}  {symbols(run['name'])}", bold=True),
        f"{run['status']}{because}, begun {clock(run['created'])} UTC"
        + (f", ended {clock(run['ended'])}" if run["ended"] else ""),
        f"{totals['calls']} model calls, {totals['input_tokens']:,} tokens in, {totals['output_tokens']:,} out, "
        f"{money(run['cost'])}",
        "",
        table(("task", "status", "items", "reason"), [_row(task) for task in run["tasks"]], status=1),
    ]
    for task in run["tasks"]:
        if "draft" in task:
            lines += ["", f"draft of {task['name']} (version {task['draft']['hash'][:12]}):", _draft(task)]
    if run["documents"]:
        lines += ["", click.style("documents", bold=True)]
        lines += [f"  {symbols(one['path'])}" + _stage(one["status"]) for one in run["documents"]]
    return "\n".join(lines)


def _draft(task: dict[str, Any]) -> str:
    value = task["draft"]["value"]
    return symbols(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))


def _stage(status: str) -> str:
    return "" if status == "published" else f"  ({status})"


def _row(task: dict[str, Any]) -> tuple[str, str, str, str]:
    items = task.get("items")
    count = f"{items['done']}/{items['all']}" if items else ""
    if items and items["failed"]:
        count += f", {len(items['failed'])} failed"
    return (symbols(task["name"]), task["status"], count, symbols(task["reason"]))
