"""`command`: an outside program, named by its arguments.

Rule: values fill whole arguments, and no text of a stranger is ever read by a shell. A shell opens only under
`shell: true`, and then its line is fixed: it takes no templates, values reach it as environment variables. The
environment is empty but for an allow-list, what the step names and the idempotency key; standard input is the
pipe's text, standard output the value.

A program that ends in its own words, with an exit code, has failed. One that was ended by a signal has not: it crashed,
or somebody killed it or its supervisor. Then it is *lost*, begun again, and set aside when that happens three times.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from callboard.errors import InvalidOutput, NotJson, Permanent, Transient, WorkerLost
from callboard.executors.failures import SCARCE
from callboard.executors.flow import field
from callboard.executors.process import Finished, Supervise, run
from callboard.executors.values import decode, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Json

ALLOWED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_MOST_OUTPUT = 10 << 20  # bytes


class Command:
    """Implements `ports.Executor`. `supervise` starts processes and ends trees; `environ` is where what
    the allow-list names is read from; `whose` tells in the marks of processes who has started them."""

    kind = "command"
    version = "1"
    effect = "keyed"

    def __init__(
        self,
        supervise: Supervise,
        *,
        environ: Mapping[str, str] | None = None,
        grace: float | None = None,
        whose: str = "",
    ) -> None:
        self._supervise, self._grace, self._whose = supervise, grace, whose
        self._base = {name: value for name, value in (environ or os.environ).items() if name in ALLOWED}

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        command = _command(inputs)
        stdin = field(inputs, "stdin", inputs.get("pipe", ""))
        try:
            finished = await run(
                command,
                supervise=self._supervise,
                stdin=text_of(stdin).encode(errors="replace"),
                env=self._environment(ctx, inputs),
                cwd=_directory(ctx, str(field(inputs, "cwd", "."))),
                most=int(field(inputs, "max_output", _MOST_OUTPUT)),
                on_line=lambda line: ctx.log(line, "stderr"),
                grace=self._grace,
                whose=self._whose,
            )
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            kind = Transient if error.errno in SCARCE else Permanent
            raise kind(f"{command[0]} cannot be started: {error.strerror}{where}") from error
        _check(command, finished, inputs, self._supervise)
        return _value(finished, inputs)

    def _environment(self, ctx: Context, inputs: Mapping[str, Json]) -> dict[str, str]:
        """Raises Permanent for a secret that was not granted, or a name or value no environment can hold."""
        named = field(inputs, "env", {})
        environment = {**self._base, **{str(name): text_of(value) for name, value in named.items()}}
        for name in field(inputs, "secrets", []):
            if name not in ctx.secrets:
                raise Permanent(f"the secret {name!r} is not granted to this step")
            environment[name] = ctx.secrets[name]
        environment |= {
            "CALLBOARD_KEY": ctx.key,
            "CALLBOARD_RUN": ctx.attempt.run,
            "CALLBOARD_TASK": ctx.attempt.task,
            "CALLBOARD_ITEM": ctx.attempt.item or "",
        }
        for name, value in environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise Permanent(f"the environment variable {name!r:.80} has a name or a value that none can have")
        return environment


def _directory(ctx: Context, cwd: str) -> str:
    """Where it runs: the run's directory or one below it. Raises Permanent for any other."""
    run = os.path.abspath(ctx.attempt.dir)
    below = os.path.normpath(os.path.join(run, cwd))
    if os.path.commonpath([run, below]) != run:
        raise Permanent(f"`cwd` is {cwd!r}, which is outside of {run}")
    return below


def _command(inputs: Mapping[str, Json]) -> list[str]:
    """The argument list. Raises Permanent for a line without `shell: true`, or a shell line with templates."""
    command = field(inputs, "argv", field(inputs, "command"))
    if field(inputs, "shell", False) is True:
        if not isinstance(command, str):
            raise Permanent("under `shell: true` the command is one line of text")
        if "{{" in command or "{%" in command:
            raise Permanent("a shell line takes no templates. Fix: pass the values as environment variables (`env:`)")
        return [_shell(), "-c", command]
    if not isinstance(command, list) or not command:
        raise Permanent('write the command as a list of arguments, ["program", "argument"], or add `shell: true`')
    words = [text_of(word) for word in command]
    if not words[0] or any("\0" in word for word in words):
        raise Permanent("an argument is empty where the program should be, or holds a NUL character")
    return words


def _shell() -> str:
    return shutil.which("sh", path="/bin:/usr/bin") or "sh"


def _check(command: list[str], finished: Finished, inputs: Mapping[str, Json], supervise: Supervise) -> None:
    """Raises what fits how the process ended, if it did not end well: a StepError, or WorkerLost."""
    evidence = {"exit": finished.exit, "signal": finished.signal, "stderr": finished.tail}
    program = os.path.basename(command[0])
    if finished.overflown:
        raise Permanent(f"{program} wrote more than it may (`max_output`)", evidence=evidence)
    if finished.cannot:
        raise Permanent(f"cannot be started: {finished.cannot}", evidence=evidence)
    if finished.exit == 0:
        return
    if finished.exit is None:
        how = supervise.words({"signal": finished.signal} if finished.signal else {})
        raise WorkerLost(f"{program} {how}{_last_line(finished.tail)}", evidence=evidence)
    kind = Transient if finished.exit in field(inputs, "transient_codes", []) else Permanent
    raise kind(f"{program} ended with exit code {finished.exit}{_last_line(finished.tail)}", evidence=evidence)


def _last_line(tail: str) -> str:
    lines = tail.strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""


def _value(finished: Finished, inputs: Mapping[str, Json]) -> Json:
    """Text, or data under `format: json` or `json: true`. One trailing line break belongs to the terminal, not us."""
    try:
        text = finished.out.decode()
    except UnicodeDecodeError:
        raise InvalidOutput("its output is not UTF-8 text", evidence={"bytes": finished.out[:200].hex()}) from None
    if field(inputs, "json", False) is not True and field(inputs, "format", "text") != "json":
        return text.removesuffix("\n").removesuffix("\r")
    try:
        return decode(text)
    except NotJson as error:
        raise InvalidOutput(f"its output is not JSON: {error}", evidence={"output": text[:500]}) from None
