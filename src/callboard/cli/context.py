"""What every verb needs: the project, its store, and how answers are printed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.check import check_override, read_pipeline
from callboard.app.project import is_there
from callboard.app.settings import from_environment
from callboard.app.wiring import House, look_around, open_house
from callboard.cli.table import symbols
from callboard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


class Told:
    """Prints: results on stdout, everything else on stderr."""

    def __init__(self, obj: dict[str, Any], as_json: bool = False) -> None:
        self.project: str | None = obj.get("project")
        self.json = bool(as_json or obj.get("json"))

    def house(self, *, make: bool = False, model: str | None = None, readonly: bool = False) -> House:
        """The project, opened. Raises NotFound when there is none and `make` is not given."""
        settings = from_environment(os.environ, project=self.project, model=model)
        house = open_house(settings, here=Path.cwd(), make=make, readonly=readonly)
        if house.project is not None and house.project.made:
            self.note(f"made a project: {house.project.home}")
        return house

    def house_for(self, file: Path, *, model: str | None = None, vars: Mapping[str, Any] | None = None) -> House:
        """The project to carry a pipeline file out in. One is made only when the file is right."""
        settings = from_environment(os.environ, project=self.project, model=model)
        if not is_there(settings.project, Path.cwd()):
            visit = look_around(settings, here=Path.cwd())
            check_override(visit)
            read_pipeline(visit, file, vars=vars)
        return self.house(make=True, model=model)

    def out(self, value: Any, lines: Callable[[], str]) -> None:
        """A result: as JSON, or as the text that `lines` makes."""
        click.echo(json.dumps(value, ensure_ascii=False) if self.json else lines())

    def note(self, text: str) -> None:
        """A message beside the result."""
        click.echo(symbols(text), err=True)

    def warn(self, remark: Mapping[str, Any]) -> None:
        """Something odd in a file that is no fault; in JSON it stands with the rest."""
        if not self.json:
            place = ":".join(str(remark[part]) for part in ("file", "line", "column") if remark[part])
            click.secho(f"warning: {symbols(place)}: {symbols(remark['what'])}", err=True, fg="yellow")
            click.echo(f"  fix: {symbols(remark['fix'])}", err=True)

    def next(self, command: str | None) -> None:
        """The command a person may want next, as the last line."""
        if command and not self.json:
            click.secho(f"next: {symbols(command)}", err=True, dim=True)


def variables(pairs: tuple[str, ...]) -> dict[str, str]:
    """What `--var NAME=VALUE` said. Raises UsageError."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--var {pair!r}: write it as NAME=VALUE")
        found[name] = value
    return found


def as_text(value: Any) -> str:
    """A value for standard output: text as it is for a pipe or a file, harmless for a terminal; else JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return symbols(text) if sys.stdout.isatty() else text
