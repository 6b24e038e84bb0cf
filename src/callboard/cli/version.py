"""`callboard version`: which Callboard, Python and SQLite these are, for whoever reports a fault."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import click


@click.command(help="Show the version.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_obj
def command(obj: dict[str, object], as_json: bool) -> None:
    told = {"callboard": version("callboard"), "python": platform.python_version(), "sqlite": _sqlite()}
    if as_json or obj["json"]:
        click.echo(json.dumps(told))
    else:
        click.echo(f"callboard {told['callboard']} (Python {told['python']}, SQLite {told['sqlite']})")


def _sqlite() -> str:
    return version("apsw")
