"""`callboard pause`: what is at work ends, nothing new starts; `callboard resume` goes on."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.context import json_option
from callboard.cli.words import say
from callboard.core.facts import Paused


@click.command(help="What is at work ends, nothing new starts. `callboard resume` goes on.")
@click.argument("run", required=False)
@json_option
@click.pass_obj
def command(obj: dict[str, Any], run: str | None, as_json: bool) -> None:
    say(obj, run, as_json, lambda _: [Paused()])
