"""`callboard run`: a pipeline file, carried out here, with progress; the result on standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callboard.app.commands.check import as_data
from callboard.app.commands.submit import Production, submit_pipeline
from callboard.cli.carried import carry, given_text, tell_changed
from callboard.cli.context import Told, json_option, variables
from callboard.core.status import INIT


@click.command(
    help="Carry out a pipeline FILE. TEXT is what flows into the first step; - reads it from standard input, "
    "@PATH from a file. The run is recorded in the project around the current directory; one is made if there is none."
)
@click.argument("file")
@click.argument("text", required=False)
@click.option("--model", metavar="NAME", help="This model for every step; `offline` needs no network and no key.")
@click.option("--name", help="A name for the run (default: the pipeline's).")
@click.option("--id", "id", help="An id of your own; with one that is known the same run goes on.")
@click.option("--var", "vars", multiple=True, metavar="NAME=VALUE", help="A variable, `vars.NAME` in templates.")
@click.option("--production", "production", metavar="FILE", help="A production's configuration; makes an instance.")
@click.option("--instance", metavar="ID", help="An existing instance of the production instead of a new one.")
@click.option("--document-type", metavar="TYPE", help="Save the result as a document of this type.")
@click.option("--step", metavar="STEP", help="… in this step of the production (default: the last).")
@click.option("--suffix", metavar="SUFFIX", help="… with this suffix (default: txt, json for data).")
@click.option(
    "--keep/--overwrite",
    default=None,
    help="Keep outputs that exist and skip their steps, or overwrite them even where a person has edited them "
    "(default: write anew what is ours, and beside what is not).",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@json_option
@click.pass_obj
def command(
    obj: dict[str, Any],
    file: str,
    text: str | None,
    model: str | None,
    name: str | None,
    id: str | None,
    vars: tuple[str, ...],
    production: str | None,
    instance: str | None,
    document_type: str | None,
    step: str | None,
    suffix: str | None,
    keep: bool | None,
    quiet: bool,
    as_json: bool,
) -> int:
    told = Told(obj, as_json)
    given = given_text(text)
    values = variables(vars)
    house = told.house_for(Path(file), model=model, vars=values)
    try:
        row = submit_pipeline(
            house,
            Path(file),
            given,
            name=name,
            id=id,
            vars=values,
            production=Production(production, instance, document_type, step, suffix),
            overwrite=None if keep is None else not keep,
            remark=lambda one: told.warn(as_data(one)),
        )
        playing = house.production_of(row)
        told.note(f"run {row.id}" + (f" in instance {playing['instance_name']}" if playing else ""))
        if id is not None and row.status != INIT:
            tell_changed(told, house, row)
        return carry(told, house, row, quiet=quiet)
    finally:
        house.close()
