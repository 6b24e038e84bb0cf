"""`aitask` (also `ai-task`, and `ai-partitur` with its own words): the productions' command line, on our commands.

Result text goes to standard output; ids, progress and paths to standard error. Exit codes: 0 done, 1 a step
failed, 2 usage or configuration; the others as `callboard` has them.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import click

from callboard.app.commands.check import as_data
from callboard.app.commands.submit import Production, find_pipeline, submit_pipeline
from callboard.cli.carried import carry, given_text
from callboard.cli.context import Told
from callboard.cli.main import as_program
from callboard.cli.production import as_row, listing
from callboard.errors import UsageError
from callboard.productions.manager import create_production, load_production

_COLUMNS = ("instance_id", "name", "created_at", "updated_at", "status", "metadata", "path")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pipeline", required=False)
@click.argument("text", required=False)
@click.option("--production-config", metavar="FILE", help="The production's configuration.")
@click.option("--production-setup", is_flag=True, help="Create the directory structure.")
@click.option("--production-new", is_flag=True, help="Run in a new instance.")
@click.option("--production-instance", metavar="ID", help="Run in this instance (00001, 1 or its full name).")
@click.option("--production-list", is_flag=True, help="List all instances.")
@click.option("--document-type", metavar="TYPE", help="Save the result as a document of this type.")
@click.option("--step", metavar="STEP", help="Save it in this step (default: the last one).")
@click.option("--suffix", metavar="SUFFIX", help="Its suffix (default: txt, json for data).")
@click.option("--status", metavar="STATUS", help="With --production-list: only these.")
@click.option("--csv", "as_csv", is_flag=True, help="With --production-list: CSV.")
@click.option("--model", metavar="NAME", help="This model for every step (`offline` needs no network and no key).")
@click.option(
    "--keep/--overwrite",
    default=None,
    help="Keep outputs that are there, or overwrite even edited ones (default: overwrite ours).",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def aitask(
    pipeline: str | None,
    text: str | None,
    production_config: str | None,
    production_setup: bool,
    production_new: bool,
    production_instance: str | None,
    production_list: bool,
    document_type: str | None,
    step: str | None,
    suffix: str | None,
    status: str | None,
    as_csv: bool,
    model: str | None,
    keep: bool | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run PIPELINE on TEXT, alone or in a production (TEXT: - reads standard input, @PATH a file)."""
    actions = [
        name
        for name, given in (
            ("--production-setup", production_setup),
            ("--production-new", production_new),
            ("--production-instance", production_instance is not None),
            ("--production-list", production_list),
        )
        if given
    ]
    if len(actions) > 1:
        raise UsageError(f"{' and '.join(actions)} exclude each other")
    if actions and production_config is None:
        raise UsageError(f"{actions[0]} needs --production-config FILE")
    told = Told({}, as_json)
    if production_setup:
        manager = create_production(Path(str(production_config)))
        told.out({"name": manager.config.name, "dir": str(manager.dir)}, lambda: str(manager.dir))
        return 0
    if production_list:
        return _list(told, Path(str(production_config)), status, as_csv)
    if pipeline is None:
        raise UsageError("name a pipeline: aitask PIPELINE TEXT")
    production = Production(production_config, production_instance, document_type, step, suffix)
    overwrite = None if keep is None else not keep
    return _run(told, pipeline, text, production, model=model, overwrite=overwrite, quiet=quiet)


def _run(
    told: Told,
    pipeline: str,
    text: str | None,
    production: Production,
    *,
    model: str | None,
    overwrite: bool | None,
    quiet: bool,
    id: str | None = None,
) -> int:
    given = given_text(text)
    file = find_pipeline(pipeline)
    house = told.house_for(file, model=model)
    try:
        row = submit_pipeline(
            house,
            file,
            given,
            production=production,
            overwrite=overwrite,
            profile=id,
            remark=lambda one: told.warn(as_data(one)),
        )
        instance = house.production_of(row)
        if instance is not None:
            told.note(f"instance {instance['instance_id']} ({instance['instance_name']})")
        return carry(told, house, row, quiet=quiet)
    finally:
        house.close()


def _list(told: Told, config: Path, status: str | None, as_csv: bool) -> int:
    found = load_production(config).instances(status=status)
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(_COLUMNS)
        writer.writerows([_cell(value) for value in one[:7]] for one in found)
    else:
        told.out([as_row(one) for one in found], lambda: listing(found))
    return 0


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = value if isinstance(value, str) else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\0") else text


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
@click.argument("id", required=False)
@click.option("--overwrite", is_flag=True, help="Make outputs anew that are there already (default: keep them).")
@click.option("--file", "file", metavar="PATH", help="The pipeline file itself, instead of a NAME in partitur/.")
@click.option("--model", metavar="NAME", help="This model for every step.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def ai_partitur(
    name: str | None,
    id: str | None,
    overwrite: bool,
    file: str | None,
    model: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Play the pipeline NAME (from partitur/) for the profile ID; outputs that exist are kept."""
    if file is None and name is None:
        raise UsageError("name a pipeline: ai-partitur NAME [ID]")
    if file is not None and id is None:
        id, name = name, None
    production = Production(None, None, None, None, None)
    told = Told({}, as_json)
    return _run(told, str(file or name), None, production, model=model, overwrite=overwrite, quiet=quiet, id=id)


def main() -> None:
    """`aitask` and `ai-task`."""
    sys.exit(as_program(aitask))


def partitur() -> None:
    """`ai-partitur`."""
    sys.exit(as_program(ai_partitur))
