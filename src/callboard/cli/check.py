"""`callboard check`: is this pipeline file right, and is all it needs here? Nothing is run, and nothing is made."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from callboard.app.commands.check import check, check_override
from callboard.app.settings import from_environment
from callboard.app.wiring import look_around
from callboard.cli.context import Told, json_option, variables
from callboard.cli.table import symbols, table


@click.command(
    help="Check a pipeline FILE and show what it would do. Nothing is run. What is wrong is told all at once: keys, "
    "names and templates, and files, functions, programs, models and secrets that are not here."
)
@click.argument("file")
@click.option("--model", metavar="NAME", help="As `run --model`: this model for every step.")
@click.option("--var", "vars", multiple=True, metavar="NAME=VALUE", help="As `run --var`: a variable.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], file: str, model: str | None, vars: tuple[str, ...], as_json: bool) -> None:
    told = Told(obj, as_json)
    house = look_around(from_environment(os.environ, project=told.project, model=model), here=Path.cwd())
    try:
        check_override(house)
        found = check(house, Path(file), vars=variables(vars))
    finally:
        house.close()
    rows = [(task["name"], task["executor"], ", ".join(task["needs"]), task["each"]) for task in found["tasks"]]
    told.out(found, lambda: f"{symbols(found['name'])}: good\n" + table(("step", "kind", "needs", "each"), rows))
    for one in found["warnings"]:
        told.warn(one)
    told.next(shlex.join(["callboard", "run", file, *(["--model", model] if model else [])]))
