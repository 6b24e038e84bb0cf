"""`callboard`: finds the verb and imports only that one, so that `--help` costs what click costs.

Errors of ours end with their own exit code and one message; anything else is a bug of ours and says so.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from callboard.cli.streams import Streams, leave, take_numbers
from callboard.cli.table import symbols
from callboard.errors import CallboardError, InvalidFile, OutputLost, RunInterrupted

if TYPE_CHECKING:
    from typing import TextIO

VERBS = {
    "run": "carry out a pipeline file",
    "resume": "go on with runs that were paused, interrupted or left behind",
    "check": "check a pipeline file; nothing is run",
    "ls": "list runs, the newest first",
    "show": "show a run: its tasks, reasons, documents and money",
    "logs": "show what a run has said",
    "pause": "let what is at work end, start nothing new",
    "cancel": "stop a run for good",
    "adopt": "let a run go on with its changed pipeline file",
    "approve": "approve the draft a run waits with, or decide about an effect",
    "reject": "reject the draft a run waits with",
    "production": "set up productions, list their instances, update their index",
    "doctor": "check every record, content and copy of the project; nothing is changed",
    "repair": "mend a damaged project, and keep what was damaged",
    "prove": "try to break Callboard on this disk: kills, power cuts, damage",
    "version": "show the version",
}


class Verbs(click.Group):
    """Knows the verbs by name; imports a verb's file when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"callboard.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the verb that is probably meant by one that there is not."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = importlib.import_module("callboard.text.names").close(args[0], VERBS)
            raise click.UsageError(error.message.rstrip(".") + (near or "."), ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--project", metavar="DIR", help="The project's directory (default: CALLBOARD_PROJECT, else upwards).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_context
def cli(ctx: click.Context, project: str | None, as_json: bool) -> None:
    """Durable, local-first orchestration for AI work."""
    ctx.obj = {"project": project, "json": as_json}


def main(argv: list[str] | None = None) -> None:
    """The entry point; always ends with SystemExit."""
    sys.exit(as_program(cli, argv))


def as_program(command: click.Command, argv: list[str] | None = None) -> int:
    """Run a click command as what this process is for; the exit code."""
    take_numbers()
    code = guarded(command, argv)
    leave()
    return code


def guarded(command: click.Command, argv: list[str] | None = None) -> int:
    """Run a click command; the exit code. `NO_COLOR` is honoured here, for every verb."""
    with Streams(), warnings.catch_warnings():
        warnings.showwarning = _warned
        return _run(command, argv, "--json" in (sys.argv[1:] if argv is None else argv))


def _run(command: click.Command, argv: list[str] | None, as_json: bool) -> int:
    try:
        return int(command.main(argv, standalone_mode=False, color=colour()) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _misused(error, as_json)
    except (KeyboardInterrupt, click.Abort, RunInterrupted) as error:
        click.echo(str(error) or "interrupted", err=True)
        return RunInterrupted.exit_code
    except SystemExit:
        return 0  # click's answer to a reader that has left, which is no fault of the program
    except Exception as error:
        return _told(error, as_json)


def colour() -> bool | None:
    """None lets the stream decide (a terminal has colours, a pipe has none)."""
    return False if os.environ.get("NO_COLOR") else None


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of Python's, which a person reads here: what it says, and not the line of ours that says it."""
    click.secho(f"warning: {symbols(str(message))}", err=True, fg="yellow", color=colour())


def _misused(error: click.ClickException, as_json: bool) -> int:
    """Click's own words, with the line that shows how the verb is used; a verb that needs another one shows them."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    if as_json:
        _echo_json({"error": "UsageError", "message": error.format_message(), "exit_code": 2})
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
    message = error.format_message()
    _say(message[:1].lower() + message[1:])
    return 2


def _told(error: Exception, as_json: bool) -> int:
    """What went wrong: ours in its own words, the operating system's in its, and anything else is a bug of ours."""
    if os.environ.get("CALLBOARD_DEBUG"):
        raise error
    code = error.exit_code if isinstance(error, CallboardError) else CallboardError.exit_code
    message = _words(error)
    if as_json:
        told: dict[str, Any] = {"error": type(error).__name__, "message": message, "exit_code": code}
        for field in ("file", "line", "column", "fix", "run", "retry_after"):
            if getattr(error, field, None) is not None:
                told[field] = getattr(error, field)
        if isinstance(error, InvalidFile):
            told["faults"] = [
                {name: getattr(one, name) for name in ("what", "file", "line", "column", "fix")} for one in error.faults
            ]
        _echo_json(told)
    for one in error.faults if isinstance(error, InvalidFile) else [message]:
        _say(one.said if isinstance(one, InvalidFile) else one)
    return code


def _say(message: str) -> None:
    """One error: the first line stands out, the fix below it is read."""
    first, *rest = symbols(message).split("\n")
    click.secho(f"error: {first}", err=True, fg="red", color=colour())
    for line in rest:
        click.echo(line, err=True)


#: What the interpreter and the loader say instead of MemoryError.
_NO_MEMORY = ("can't start new thread", "failed to map segment", "Cannot allocate memory")
_MORE = "fix: end some programs, or raise the limit (`ulimit -v`), and say it again"


def _words(error: Exception) -> str:
    if isinstance(error, CallboardError):
        return str(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return f"there is too little memory for this ({error or 'MemoryError'}); nothing recorded is lost\n  {_MORE}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno}). This is a bug in "
        "Callboard; nothing recorded is lost. CALLBOARD_DEBUG=1 shows where it comes from"
    )


def _echo_json(value: dict[str, Any]) -> None:
    with suppress(OSError, OutputLost):  # the exit code and standard error tell it as well
        click.echo(json.dumps(value, ensure_ascii=False))
