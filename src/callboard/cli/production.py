"""`callboard production`: set up, make, list, update and find, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callboard.cli.context import Told, json_option
from callboard.cli.table import clock, symbols, table
from callboard.productions.manager import ProductionManager, create_production, load_production

if TYPE_CHECKING:
    from callboard.productions.manager import Instance

config_argument = click.argument("config", type=click.Path(path_type=Path))


@click.group(
    name="production", help="Productions: containers of instances on disk. CONFIG is their YAML file or folder."
)
def command() -> None:
    """Verbs of productions."""


@command.command(help="Create the directories of a production; may be run again.")
@config_argument
@json_option
@click.pass_obj
def setup(obj: dict[str, Any], config: Path, as_json: bool) -> None:
    manager = create_production(config)
    told = Told(obj, as_json)
    told.out({"name": manager.config.name, "dir": str(manager.dir)}, lambda: str(manager.dir))


@command.command(help="Make an instance; prints its id.")
@config_argument
@json_option
@click.pass_obj
def new(obj: dict[str, Any], config: Path, as_json: bool) -> None:
    id = ProductionManager(config).create_instance()
    Told(obj, as_json).out({"instance_id": id}, lambda: id)


@command.command(name="list", help="List the instances.")
@config_argument
@click.option("--status", help="Only those with this status.")
@json_option
@click.pass_obj
def list_(obj: dict[str, Any], config: Path, status: str | None, as_json: bool) -> None:
    found = load_production(config).instances(status=status)
    Told(obj, as_json).out([as_row(one) for one in found], lambda: listing(found))


@command.command(help="Bring the index up to date with what is on disk.")
@config_argument
@json_option
@click.pass_obj
def update(obj: dict[str, Any], config: Path, as_json: bool) -> None:
    counts = load_production(config).update_productions()
    Told(obj, as_json).out(counts, lambda: ", ".join(f"{count} {what}" for what, count in counts.items()))


@command.command(help="Find documents, by type, step or instance.")
@config_argument
@click.option("--document-type", "document_type")
@click.option("--instance")
@click.option("--step")
@json_option
@click.pass_obj
def find(
    obj: dict[str, Any], config: Path, document_type: str | None, instance: str | None, step: str | None, as_json: bool
) -> None:
    found = load_production(config).find_documents(document_type, instance_id=instance, step=step)
    rows = [{"path": str(one.path), "instance_id": one.instance_id, "step": one.step} for one in found]
    Told(obj, as_json).out(rows, lambda: "\n".join(symbols(row["path"]) for row in rows))


def as_row(one: Instance) -> dict[str, Any]:
    return {**one._asdict(), "dir": str(one.dir)}


def listing(found: list[Instance]) -> str:
    """A line for each instance."""
    if not found:
        return "no instances"
    rows = [(o.instance_id, o.name, o.status, clock(o.created_at), clock(o.updated_at)) for o in found]
    return table(("id", "name", "status", "created (UTC)", "updated (UTC)"), rows, status=2)
