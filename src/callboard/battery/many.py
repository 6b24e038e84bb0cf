"""T9: many processes on one project, for a minute: they run, resume, list and show, and are killed at random.

Four *players* are processes that do nothing but call the command line, again and again: a new run, or `resume` of one
that somebody else has or that a killed player has left behind. Beside them stands a reader who lists and shows all the
time, and command lines are started anew. Every exit code and every line that a person would have seen is looked at:
nobody may ever be told that a database is locked, and nothing may end in an error of ours. Who owned which run when is
noted by the database itself (`history.watch`), and the history checker says whether two ever did at once.

When the time is over, what was left behind is resumed, and every run must have succeeded. Share is counted in runs for
each second that a player lived. When a signal meets a player cannot be repeated.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.app import project as projects
from callboard.battery.crowd import Crowd, Member, let_pass, note
from callboard.battery.history import DATABASE, check, watch
from callboard.battery.proof import Found, Proving
from callboard.battery.spawn import TookTooLong
from callboard.battery.workloads import lay_out
from callboard.core.status import SUCCESS
from callboard.errors import StoreRefused
from callboard.store.sql.gate import check_file_system
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLAYERS = 4
FAIR = 0.5  # of the mean share
_CLI = "from callboard.cli.main import cli, guarded; from callboard.battery import many; "
_PLAY = _CLI + "many.play(lambda argv: guarded(cli, argv))"
_READ = _CLI + "many.read(lambda argv: guarded(cli, argv))"
_OVER = "over"

SHOWS = {
    "small.ai": """
name: Small
pipe:
  - {name: gist, type: llm, tmpl: "Summarise in one sentence: {{input}}"}
  - {name: part, type: function, function: content, params: {format: text}}
  - {name: line, type: llm, each: [one, two, three], tmpl: "Write a line about {{item}}: {{input}}"}
""",
    "work.ai": """
name: Work
pipe:
  - {name: gist, type: llm, tmpl: "Summarise in one sentence: {{input}}", output_file: "out/{{run.id}}.md"}
  - {name: count, type: command, command: [wc, -c]}
""",
}
#: What nobody may ever be told.
_NEVER = re.compile(r"database is locked|\bbusy\b|SQLITE|apsw|Traceback|This is a bug", re.IGNORECASE)


def prove_many(proving: Proving) -> Found:
    """`size` counts seconds."""
    folder, chance = proving.folder, random.Random(proving.seed)
    wrong = _network(folder)
    database = _project(folder)
    with Crowd(folder, CALLBOARD_OFFLINE_LATENCY="0.03", CALLBOARD_SEED=str(proving.seed)) as crowd:
        players = [crowd.python(_PLAY, str(slot)) for slot in range(PLAYERS)]
        others = [crowd.python(_READ)]
        lived, kills = [0.0] * PLAYERS, 0
        end = time.monotonic() + proving.size
        while time.monotonic() < end:
            others.append(crowd.callboard(*_anew(database, chance)))
            let_pass(chance.uniform(0.3, 1.5))
            slot = chance.randrange(PLAYERS)
            players[slot].send(signal.SIGKILL)
            players[slot].process.wait()
            lived[slot] += time.time() - players[slot].begun
            players[slot] = crowd.python(_PLAY, str(slot))
            kills += 1
            proving.say(f"{kills} kills, {max(0.0, end - time.monotonic()):.0f} s to go")
        (folder / _OVER).touch()
        for slot, player in enumerate(players):
            lived[slot] += time.time() - player.begun
        wrong += [f"a player left with {code}" for player in players if (code := player.wait()) != 0]
        wrong += [what for other in others for what in _left(other)]
        left = _left_behind(database)
        wrong += [what for id in left for what in _left(crowd.callboard("resume", id, "--quiet"))]
        wrong += _said(crowd)
    calls = [call for slot in range(PLAYERS) for call in _calls(folder / f"calls-{slot}.jsonl")]
    wrong += [
        f"{' '.join(call['argv'])} ended with {call['code']}"
        for call in calls
        if call["code"] not in _ALLOWED[call["argv"][0]]
    ]
    shares = [_share(calls, slot, seconds) for slot, seconds in enumerate(lived)]
    mean = sum(shares) / PLAYERS
    if min(shares) < FAIR * mean:
        wrong.append(f"shares were not fair: {', '.join(f'{share:.1f}' for share in shares)} runs a second")
    runs, failed = _ended(database)
    wrong += failed + check(database)
    if runs < 200 * min(1.0, proving.size / 60):
        wrong.append(f"there were {runs} runs only")
    busy = sum(call["code"] == 9 for call in calls)
    figures = {"runs": runs, "kills": kills, "left behind by kills": len(left), "refused as another's": busy}
    return Found(proving.size, wrong, figures | {"smallest share of the mean": min(shares) / mean if mean else 0.0})


#: Exit codes of each verb that are an answer: done, ended already, not there any more, another process has it.
_ALLOWED = {"run": (0, 9), "resume": (0, 2, 8, 9), "ls": (0,), "show": (0, 8)}


def _network(folder: Path) -> list[str]:
    """A project on another machine's disk is refused: here as the mount table would say it."""
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        try:
            check_file_system(
                folder, f"/dev/root / ext4 rw 0 0\nserver:/home {os.path.realpath(folder)} {kind} rw 0 0\n"
            )
        except StoreRefused:
            continue
        return [f"a project on {kind} was not refused"]
    return []


def _project(folder: Path) -> Path:
    database = projects.find_or_make(None, lay_out(folder, SHOWS)).database
    watch(database)
    return database


def _anew(database: Path, chance: random.Random) -> Sequence[str]:
    """A command line of its own."""
    with closing(SQLiteStore(database, readonly=True)) as store:
        open_runs = [row.id for row in store.open_runs()]
    if open_runs and chance.random() < 0.5:
        return ("resume", chance.choice(open_runs), "--quiet")
    return chance.choice((("run", "work.ai", "some text"), ("ls", "--json"), ("ls",), ("show", "--json")))


def _left(member: Member) -> list[str]:
    """What was wrong with the end of a command line."""
    arguments = member.process.args
    verb = arguments[3] if isinstance(arguments, list) and len(arguments) > 3 else "ls"
    try:
        code = member.wait()
    except TookTooLong as error:
        return [str(error)]
    return [] if code in _ALLOWED[str(verb)] else [f"{verb} ended with {code}: {member.said()[-300:]}"]


def _left_behind(database: Path) -> list[str]:
    with closing(SQLiteStore(database, readonly=True)) as store:
        return [row.id for row in store.open_runs()]


def _said(crowd: Crowd) -> list[str]:
    found = []
    for member in crowd.members:
        found += [line for line in member.said().splitlines() if _NEVER.search(line)]
    return [f"a person was told: {line[:300]}" for line in found[:20]]


def _calls(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _share(calls: list[dict[str, Any]], slot: int, seconds: float) -> float:
    done = sum(call["slot"] == slot and call["argv"][0] == "run" and call["code"] == 0 for call in calls)
    return done / seconds if seconds else 0.0


def _ended(database: Path) -> tuple[int, list[str]]:
    with closing(SQLiteStore(database, readonly=True)) as store:
        rows = store.runs(most=1_000_000)
    wrong = Counter(row.status for row in rows if row.status != SUCCESS)
    return len(rows), [f"{count} runs ended as {status}" for status, count in wrong.items()]


# ── the processes ───────────────────────────────────────────────────────────────────────────────────────────


def play(callboard: Callable[[list[str]], int]) -> None:
    """A player: calls of the command line, one after the other, each noted with its exit code."""
    slot = int(sys.argv[1])
    chance = random.Random(f"{os.environ['CALLBOARD_SEED']} {slot} {time.time()}")
    database = Path(DATABASE)
    while not Path(_OVER).exists():
        others = _left_behind(database)
        if others and chance.random() < 0.2:
            argv = ["resume", chance.choice(others), "--quiet"]
        else:
            argv = ["run", "small.ai" if chance.random() < 0.9 else "work.ai", f"text of {slot}", "--quiet"]
        _note(slot, argv, callboard(argv))


def read(callboard: Callable[[list[str]], int]) -> None:
    """A reader: lists and shows."""
    chance = random.Random(os.environ["CALLBOARD_SEED"])
    while not Path(_OVER).exists():
        for argv in (["ls", "--json"], ["ls", "-n", "100"], ["show", "--json"], ["show"]):
            _note(-1, argv, callboard(argv))
        let_pass(chance.uniform(0.0, 0.2))


def _note(slot: int, argv: list[str], code: int) -> None:
    note(f"calls-{max(slot, 0)}.jsonl", json.dumps({"slot": slot, "argv": argv, "code": code}))
