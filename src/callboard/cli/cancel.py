"""`callboard cancel`: stop a run for good, whoever carries it out. Without a name, the newest that has not ended."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.context import json_option
from callboard.cli.words import say
from callboard.core.facts import Cancelled


@click.command(help="Stop a run for good: what is at work is ended, what has succeeded is kept.")
@click.argument("run", required=False)
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str | None, as_json: bool) -> None:
    say(obj, run, as_json, lambda _: [Cancelled()])
