"""`callboard approve`: a draft that waits for review, or an effect of unknown end that waits for a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.answer import approval, decision
from callboard.cli.carried import given_text
from callboard.cli.context import json_option
from callboard.cli.words import say
from callboard.errors import UsageError

if TYPE_CHECKING:
    from callboard.core.facts import Fact
    from callboard.core.run import Run


@click.command(
    help="Approve the draft a run waits with, another text in its place (--edit), or one of its choices (--choose). "
    "--hash approves the version that was read and no other. With --done, --redo or --failed: decide about an effect "
    "whose end is unknown."
)
@click.argument("run", required=False)
@click.option("--task", metavar="TASK", help="The task or task/item, when several wait.")
@click.option("--hash", "version", metavar="VERSION", help="Only this version of the draft (its beginning is enough).")
@click.option("--choose", "choice", metavar="CHOICE", help="One of the step's choices; it is the step's output then.")
@click.option(
    "--edit",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Approve the text of this file instead; - reads standard input.",
)
@click.option("--done", "verdict", flag_value="done", help="The effect happened.")
@click.option("--redo", "verdict", flag_value="redo", help="It did not; do it again under the same key.")
@click.option("--failed", "verdict", flag_value="failed", help="It did not, and it will not.")
@json_option
@click.pass_obj
def command(
    obj: dict[str, Any],
    run: str | None,
    task: str | None,
    version: str | None,
    choice: str | None,
    edit: str | None,
    verdict: str | None,
    as_json: bool,
) -> None:
    given = [
        name for name, value in (("--choose", choice), ("--edit", edit), (f"--{verdict}", verdict)) if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    text = None if edit is None else given_text("-" if edit == "-" else f"@{edit}")

    def facts(state: Run) -> list[Fact]:
        if verdict:
            return decision(state, task, verdict)
        return approval(state, task, version=version, text=text, choice=choice)

    say(obj, run, as_json, facts, "decision" if verdict else "review")
