"""`callboard doctor`: is the project sound? Looks at everything, changes nothing."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callboard.app.project import need
from callboard.app.settings import from_environment
from callboard.app.views.doctor import doctor, facts
from callboard.cli.context import Told, json_option
from callboard.cli.line import Line
from callboard.cli.table import count, symbols

if TYPE_CHECKING:
    from callboard.ports import Finding

BAD = ("damaged", "refused")
_COLOURS = {"damaged": "red", "refused": "red", "warning": "yellow", "note": "blue"}


@click.command(help="Check the project: every record, content and copy. Nothing is changed.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], as_json: bool) -> int:
    told = Told(obj, as_json)
    settings = from_environment(os.environ, project=told.project)
    project = need(settings.project, Path.cwd())
    line = Line("doctor")
    found: list[Finding] = []
    try:
        for finding in doctor(project, settings, time.time(), line.say):
            found.append(finding)
            if not told.json:
                line.end()
                click.echo(as_line(finding))
    finally:
        line.end()
    bad = [one for one in found if one.how_bad in BAD]
    known = facts(project)
    told.out({"sound": not bad, **known, "findings": [one._asdict() for one in found]}, lambda: _summary(found))
    told.next(next((one.fix for one in bad if one.fix), None))
    return 1 if bad else 0


def as_line(finding: Finding) -> str:
    """What, where and what to do."""
    word = click.style(f"{finding.how_bad:<8}", fg=_COLOURS[finding.how_bad])
    place = "" if finding.where in finding.what else f"{finding.where}: "
    fix = f"\n         fix: {finding.fix}" if finding.fix and finding.fix not in finding.what else ""
    return f"{word} {symbols(place + finding.what + fix)}"


def _summary(found: list[Finding]) -> str:
    counted = Counter(one.how_bad for one in found)
    if not any(counted[word] for word in BAD):
        rest = ", ".join(count(counted[word], word) for word in ("warning", "note") if counted[word])
        return "sound" + (f" ({rest})" if rest else "")
    return ", ".join(f"{counted[word]:,} {word}" for word in _COLOURS if counted[word])
