"""`callboard adopt`: what a changed file would change for a run; with `--yes` the run goes on with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from callboard.app.commands.adopt import adopt, preview
from callboard.cli.context import Told, json_option
from callboard.cli.table import count, symbols, table

_FATES = {
    "kept": "kept",
    "held": "goes on waiting for approval",
    "partly": "in part kept",
    "again": "runs again",
    "begins": "runs",
}
_LONG = 60  # characters of a value that stand in a line


@click.command(
    help="Let RUN go on with its pipeline FILE as it is now (without FILE: the one it began with). Shows what differs, "
    "what is kept and what runs again, and changes nothing; with --yes another run goes on in its place. Only outcomes "
    "of steps that ask the same, as all steps before them, are kept."
)
@click.argument("run")
@click.argument("file", required=False)
@click.option("--yes", is_flag=True, help="Do it.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str, file: str | None, yes: bool, as_json: bool) -> None:
    told = Told(obj, as_json)
    house = told.house()
    try:
        row = house.find_run(run)
        path = Path(file) if file is not None else None
        found = adopt(house, row, path)[1] if yes else preview(house, row, path)
    finally:
        house.close()
    told.out(found, lambda: "\n".join(_text(found)))
    told.next(found["next"])


def _text(found: dict[str, Any]) -> list[str]:
    if "steps" not in found:
        return [f"run {found['run']} goes on as {found['adopted']} already"]
    lines = [symbols(line) for line in _changes(found)] or [f"{found['file']} says what the run began with"]
    rows = [(step["name"], _FATES[step["fate"]] + _items(step), step["why"]) for step in found["steps"]]
    lines += ["", table(("step", "", "why"), rows), ""]
    if found["adopted"]:
        return [*lines, f"run {found['run']} goes on as {found['adopted']}"]
    kept, again = count(found["kept"], "step"), count(found["again"], "step")
    return [*lines, f"{kept} would be kept, {again} would run again; nothing was changed"]


def _items(step: dict[str, Any]) -> str:
    return f" ({count(step['items'], 'item')})" if step.get("items") and step["fate"] == "partly" else ""


def _changes(found: dict[str, Any]) -> list[str]:
    lines = [line for change in found["changes"] for line in _change("the file", change)]
    for step in found["steps"]:
        if step["what"] == "new":
            lines.append(f"+ {step['name']}")
        elif step["what"] == "renamed":
            lines.append(f"~ {step['name']}: was {step['was']}")
        if step["moved"]:
            lines.append(f"~ {step['name']}: stands elsewhere")
        lines += [line for change in step["changes"] for line in _change(step["name"], change)]
    return lines + [f"- {name}" for name in found["removed"]]


def _change(where: str, change: dict[str, Any]) -> list[str]:
    if change["lines"]:
        return [f"~ {where}: {change['key']}", *(f"    {line}" for line in change["lines"])]
    return [f"~ {where}: {change['key']}: {_short(change['old'])} → {_short(change['new'])}"]


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
