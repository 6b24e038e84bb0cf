"""`callboard repair`: mend what can be mended, keep what was damaged, say what is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.repair import repair
from callboard.app.project import need
from callboard.app.settings import from_environment
from callboard.cli.context import Told, json_option
from callboard.cli.doctor import as_line
from callboard.cli.line import Line
from callboard.cli.table import count, symbols

if TYPE_CHECKING:
    from callboard.app.commands.repair import Outcome

PARTLY = 3


@click.command(help="Mend a damaged project. What was damaged is kept in .callboard/damaged/.")
@click.option("--dry-run", is_flag=True, help="Say what would come of it; change nothing.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], dry_run: bool, as_json: bool) -> int:
    told = Told(obj, as_json)
    settings = from_environment(os.environ, project=told.project)
    project = need(settings.project, Path.cwd())
    line = Line("repair")
    try:
        outcome = repair(project, settings, time.time(), line.say, dry_run=dry_run)
    finally:
        line.end()
    told.out(_as_json(outcome, dry_run), lambda: _lines(outcome, dry_run))
    told.next("callboard repair" if dry_run and outcome.found else "callboard ls")
    return PARTLY if _is_partly(outcome) else 0


def _is_partly(outcome: Outcome) -> bool:
    return outcome.done is not None and bool(outcome.done.partly or outcome.done.lost or outcome.lost)


def _lines(outcome: Outcome, dry_run: bool) -> str:
    if outcome.done is None:
        return "nothing is damaged; nothing was done"
    done, would = outcome.done, "would be " if dry_run else ""
    lines = list[str]()
    if done.whole:
        lines.append(f"{count(len(done.whole), 'run')} {would}brought back whole")
    lines += [
        f"run {one.run} ({one.id}) {would}brought back to step {one.steps} of at least {one.of}; the rest is lost"
        for one in done.partly
    ]
    lines += [f"run {one.run}{f' ({one.id})' if one.id else ''} is lost: {one.why}" for one in done.lost]
    lines += [*done.said, *outcome.lost]
    if outcome.healed:
        lines.append(f"{count(outcome.healed, 'content')} restored from documents")
    if done.evidence is not None:
        lines.append(f"what was damaged is kept in {done.evidence}")
    return "\n".join([*map(as_line, outcome.found), *map(symbols, lines)])


def _as_json(outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    done = outcome.done
    return {
        "mended": done is not None and not dry_run,
        "found": [one._asdict() for one in outcome.found],
        "whole": [{"run": run, "id": id} for run, id in done.whole] if done else [],
        "partly": [one._asdict() for one in done.partly] if done else [],
        "lost": [one._asdict() for one in done.lost] if done else [],
        "said": [*(done.said if done else []), *outcome.lost],
        "healed": outcome.healed,
        "evidence": str(done.evidence) if done is not None and done.evidence is not None else None,
    }
