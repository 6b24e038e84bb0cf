"""`callboard approve`: a draft that waits for review, or an effect of unknown end that waits for a decision."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.waiting import waiting
from callboard.cli.carried import given_text
from callboard.cli.context import json_option
from callboard.cli.words import say
from callboard.core.facts import Approved, Decided, Edited

if TYPE_CHECKING:
    from callboard.core.facts import Fact
    from callboard.core.run import Run


@click.command(
    help="Approve the draft a run waits with (the version `callboard show` has shown), or, with --done, --redo or "
    "--failed, decide about an effect whose end is unknown."
)
@click.argument("run", required=False)
@click.option("--task", help="The task or task/item, when several wait.")
@click.option("--hash", "version", help="Approve only this version of the draft (its beginning is enough).")
@click.option("--edit", type=click.Path(exists=True, dir_okay=False), help="Approve the text of this file instead.")
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
    edit: str | None,
    verdict: str | None,
    as_json: bool,
) -> None:
    text = given_text(f"@{edit}") if edit else None
    hold = "decision" if verdict else "review"
    say(obj, run, as_json, lambda state: _facts(state, task, version, text, verdict), hold)


def _facts(state: Run, task: str | None, version: str | None, text: str | None, verdict: str | None) -> list[Fact]:
    row = waiting(state, "decision" if verdict else "review", task)
    name = state.name_of(row.id)
    if verdict:
        return [Decided(name, row.number, verdict)]
    hash = row.draft[0] if row.draft else ""
    if version is not None and not hash.startswith(version):
        hash = version  # the machine refuses it, and says why
    if text is None:
        return [Approved(name, row.number, hash)]
    outcome = json.dumps({"value": text}, ensure_ascii=False, separators=(",", ":"))
    edited = hashlib.sha256(outcome.encode()).hexdigest()
    return [Edited(name, row.number, edited, outcome), Approved(name, row.number, edited)]
