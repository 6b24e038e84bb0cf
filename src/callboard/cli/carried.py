"""How the command line carries a run out: signals, progress, the result, the exit code.

Ctrl-C once halts what is at work in good order (the run can be resumed), twice leaves at once. The exit codes are
those of the manual: 0 done, 1 failed, 3 partly, 4 waiting, 5 budget, 6 cancelled, 7 timed out, 130, 143.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callboard.app.commands.adopt import changed_file
from callboard.app.commands.carry import Left, Stop, carry_out
from callboard.app.views import run as views
from callboard.app.views.words import brief, waits
from callboard.cli.context import Told, as_text
from callboard.cli.draft import asked
from callboard.cli.progress import Progress
from callboard.cli.table import count, money, span
from callboard.cli.written import below, from_here, stands
from callboard.core.status import FAILED, STOPPED, SUCCESS
from callboard.errors import CallboardError, NotFound, UsageError

#: Seconds in which a run that has no memory left may halt in good order.
_GRACE = 5.0

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.app.wiring import House
    from callboard.core.run import Run
    from callboard.ports import RunRow


def given_text(text: str | None) -> str | None:
    """TEXT as the command line gives it: itself, `-` for standard input, `@PATH` for a file."""
    if text == "-" or (text is None and _is_piped()):
        data = sys.stdin.buffer.read()
    elif text is not None and text.startswith("@"):
        try:
            data = Path(text[1:]).read_bytes()
        except OSError as error:
            raise NotFound(f"{text[1:]}: {error.strerror}") from None
    else:
        return text
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"the input is not UTF-8 text (byte {error.start})") from None


def _is_piped() -> bool:
    """Something was piped or redirected into us, which is not the case under CI or cron."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except OSError:
        return False
    return (mode & 0o170000) in (0o010000, 0o100000)


def carry(told: Told, house: House, row: RunRow, *, quiet: bool = False) -> int:
    """Carry one run out and tell how it went; the exit code."""
    signals: list[int] = []
    progress = Progress(house, row.number, quiet=quiet or told.json)
    try:
        left = asyncio.run(_carry(house, row.number, progress, signals))
    finally:
        progress.end()
    return _tell(told, house, row, left, signals, progress)


def tell_changed(told: Told, house: House, row: RunRow) -> None:
    """That its file has changed since: who has mended it expects that this goes on with what is mended."""
    if file := changed_file(house, row):
        told.note(
            f"  {from_here(file)} has changed since; this run goes on with what it began with. "
            f"To let it go on with the changed file: callboard adopt {row.id}"
        )


async def _carry(house: House, number: int, progress: Progress, signals: list[int]) -> Left:
    stop = Stop()

    def asked(sign: int) -> None:
        if signals:
            os._exit(128 + sign)
        signals.append(sign)
        stop.pull()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_out_of_memory(stop))
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, asked, sign)
    try:
        left = await carry_out(house, [number], watch=progress.watch, report=progress.report, stop=stop)
    finally:
        progress.end()  # its clock runs on this loop
    return left[number]


def _out_of_memory(stop: Stop) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """What the loop does with an error that nobody waits for. Without memory it would meet the same one for ever: the
    run is halted, in good order if that can still be done."""
    met: list[BaseException] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, MemoryError):
            return loop.default_exception_handler(context)
        if not met:
            met.append(error)
            os.write(2, b"error: there is too little memory to go on; what is recorded is safe, and can be resumed\n")
            loop.call_later(_GRACE, os._exit, CallboardError.exit_code)
            stop.pull()
        return None

    return handle


def _tell(told: Told, house: House, row: RunRow, left: Left, signals: list[int], progress: Progress) -> int:
    row = house.store.find_run(row.id)
    run = views.in_memory(house.store, row)
    code = exit_code(run, left, signals)
    shown = views.show(house.store, row, alive=house.is_alive, base=house.base)
    result = views.result(house.store, row) if left.status is SUCCESS else None
    if told.json:
        click.echo(json.dumps({**shown, "result": result, "exit_code": code}, ensure_ascii=False))
        return code
    try:
        if result is not None:
            click.echo(as_text(result))
    finally:  # how it went is told also where the result cannot be
        told.note("\n".join(_summary(run, shown, left, code, progress)))
        told.next(shown["next"] or f"callboard show {row.id}")
    return code


def exit_code(run: Run, left: Left, signals: list[int]) -> int:
    """The code of design: what a script needs to know of how a run was left."""
    tasks = run.nodes[: len(run.plan.tasks)]
    if left.status is SUCCESS:
        return 3 if any(row.status is FAILED or (row.mapped and row.mapped.failed) for row in tasks) else 0
    if left.status is STOPPED:
        return 6
    if left.status is FAILED:
        failed = [row for row in run.nodes if row.status is FAILED and row.reason == "timed out"]
        return 7 if failed else 1
    if left.because == "interrupted":
        return 128 + signals[0] if signals else 130
    return 5 if left.because == "budget" else 4


def _summary(run: Run, shown: dict[str, Any], left: Left, code: int, progress: Progress) -> list[str]:
    """How it was left, what failed, what was written, and what somebody has to look at."""
    word = _WORDS.get(code, "") or waits(left.because) or shown["status"]
    totals = shown["totals"]
    figures = [count(totals["calls"], "model call"), money(shown["cost"], shown["unpriced"]), span(progress.passed)]
    if progress.cached:
        figures.insert(1, f"{progress.cached} from the cache")
    failed = [(run.name_of(row.id), row.reason) for row in run.nodes if row.status is FAILED and row.mapped is None]
    lists = [task for task in shown["tasks"] if task["status"] == "failed" and "items" in task]
    failed += [(task["name"], task["reason"]) for task in lists if not task["items"]["failed"]]
    lines = [f"{word}: run {shown['id']} · {' · '.join(figures)}"]
    lines += _some([f"{name} failed: {reason}" for name, reason in failed], "failures")
    empty = [task for task in shown["tasks"] if task["status"] == "success" and task.get("items", {}).get("all") == 0]
    lines += _some([f"{task['name']} had {task['reason']}" for task in empty], "lists")
    lines += _written([from_here(one["file"]) for one in shown["documents"] if not stands(one)])
    odd = [f"{from_here(one['file'])}: {said}" for one in shown["documents"] if (said := stands(one))]
    lines += _some(odd, "documents")
    older = [task for task in shown["tasks"] if task["reason"].startswith("stale ")]
    lines += _some([f"{task['name']} is {brief(task['reason'])}" for task in older], "steps")
    for held in shown["held"][:1]:
        lines += ["", *asked(shown["id"], held, several=len(shown["held"]) > 1, most=_DRAFT)]
    return lines


_WORDS = {
    0: "done",
    1: "failed",
    3: "partly done",
    6: "cancelled",
    7: "timed out",
    130: "interrupted",
    143: "interrupted",
}
_MOST, _DRAFT = 10, 20  # lines of one sort, and of a draft


def _some(lines: list[str], what: str, indent: str = "  ") -> list[str]:
    """The first of many, and how many more there are."""
    if len(lines) <= _MOST + 1:
        return [indent + line for line in lines]
    return [*(indent + line for line in lines[:_MOST]), f"{indent}… and {len(lines) - _MOST} more {what}"]


def _written(paths: list[str]) -> list[str]:
    where, short = below(paths)
    if not where:
        return _some([f"wrote {path}" for path in paths], "documents")
    return [f"  wrote {count(len(paths), 'document')} in {where}", *_some(short, "documents", "    ")]
