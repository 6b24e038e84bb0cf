"""Damaged files: what is damaged is found or does no harm, nothing wrong is served, and a repair brings back the rest.

A project with many small runs (ended, under way, waiting for a person, not begun) is left as a killed process
leaves it, with a copy of its database from halfway. One thing of it is damaged; then all is read as a person would read
it, and whatever is served must be what was recorded. If `doctor` finds damage, it is repaired: each run whose journal
rows lie somewhere as they were must be whole again. At the end all runs are carried to their ends, whether they were
damaged or not, and their documents must be those of an undamaged project, no answer paid for twice that was still
known.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import chdir, closing
from pathlib import Path
from random import Random
from struct import pack
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app import project as projects
from callboard.app.commands.carry import carry_out
from callboard.app.commands.post import post
from callboard.app.commands.repair import repair
from callboard.app.commands.submit import submit_pipeline
from callboard.app.settings import Settings
from callboard.app.views import run as views
from callboard.app.views.doctor import doctor
from callboard.app.wiring import House
from callboard.battery import history
from callboard.battery.aftermath import asked
from callboard.battery.damages import DAMAGES, Harm, Place
from callboard.battery.history import DATABASE
from callboard.battery.proof import Found
from callboard.battery.show import Wrong, as_if_new, fast_folder
from callboard.battery.workloads import LEDGER, LETTER
from callboard.core.facts import Approved
from callboard.core.status import ENDED
from callboard.crash import listening
from callboard.errors import CallboardError, NotFound
from callboard.store.packing import ids_of, unpack
from callboard.store.sql.pages import PAGE, Pages
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.battery.proof import Proving
    from callboard.ports import RunRow

_GROWN = 100_000  # bytes to which logs are grown in advance: a small file has more that can be hit
_ENDED, _HELD, _UNDER_WAY, _NEW = 6, 2, 1, 1
_ENOUGH = 60  # runs that were not hit of which a share says something
_RUNS = _ENDED + _HELD + _UNDER_WAY + _NEW
_LARGE = "The keeper of the harbour writes. " * 2500
_CHAIN = """
name: Run {n}
pipe:
  - {{name: gist, type: llm, tmpl: "Summarise: {{{{input}}}}", output_file: "{n}/gist.md"}}
  - {{name: terms, type: llm, tmpl: "List the key terms: {{{{pipe.pipein-text}}}}"}}
  - {{name: words, type: llm, each: [harbour, gate {n}], key: "{{{{item}}}}", tmpl: "Write about the {{{{item}}}}."}}
  - {{name: note, type: llm, tmpl: "Write one line about gate {n}: {{{{input}}}}", output_file: "{n}/note.md"{review}}}
"""


class Told(NamedTuple):
    """What is recorded of a run: its status, its value, the outcome of each execution. Of the journal each row's
    payload as it lies in a file, by the batch, and the plan's."""

    status: int
    outcomes: Mapping[tuple[int, int], str]
    rows: Sequence[bytes]


class World(NamedTuple):
    """`left` is the project as it is damaged, `stranger` another one; `told` what is recorded in it, by the run's id,
    and `plan` where each run's plan is written; `ending` its documents and statuses when nothing is damaged."""

    left: Path
    stranger: Path
    told: Mapping[str, Told]
    ending: tuple[Mapping[str, int], Mapping[str, bytes]]
    pages: Mapping[Any, tuple[bytes, frozenset[int] | None]]


class Tally:
    """Over all damages: how many were found, did no harm, and how many runs were not hit and could be read."""

    def __init__(self) -> None:
        self.found = self.harmless = self.unhit = self.read = self.whole = self.partly = self.lost = 0


def prove_damage(proving: Proving) -> Found:
    """Damage a project so many times; each damage on its own."""
    failures, tally = list[str](), Tally()
    with fast_folder() as folder, as_if_new(_GROWN):
        world = make(folder)
        for number in range(proving.size):
            seed = f"{proving.seed}-{number}"
            failures += damaged(world, folder / "disk", seed, tally)
            proving.say(f"{number + 1} of {proving.size} damages, {len(failures)} failures")
    share = tally.read / tally.unhit if tally.unhit else 1.0
    if tally.unhit >= _ENOUGH and share < 0.95:
        failures.append(f"of runs that were not hit only {share:.1%} could be read (seed {proving.seed})")
    figures = {
        "found": float(tally.found), "harmless": float(tally.harmless), "not hit and read %": round(100 * share, 2),
        "runs whole again": float(tally.whole), "in part": float(tally.partly), "lost": float(tally.lost),
    }  # fmt: skip
    return Found(proving.size, failures, figures)


# ── the project ─────────────────────────────────────────────────────────────────────────────────────────


def make(folder: Path) -> World:
    """Play the project until it is left, note what it holds, and how it ends when nobody damages it."""
    for name, first in (("stranger", 50), ("left", 1)):
        _play(folder / "live", folder / name, first)
        shutil.rmtree(folder / "live")
    told = _told(shutil.copytree(folder / "left", folder / "look"))
    ending = end(shutil.copytree(folder / "left", folder / "sound"))
    if wrong := history.check(folder / "sound" / DATABASE):
        raise Wrong(f"a project that nobody has damaged: {'; '.join(wrong)}")
    return World(folder / "left", folder / "stranger", told, ending, _hit(folder / "left/.callboard"))


def _play(live: Path, left: Path, first: int) -> None:
    live.mkdir()
    (live / LEDGER).touch()
    with chdir(live), closing(_house(live)) as house:
        _carry(house, _submit(house, first))
    with chdir(live), closing(_house(live)) as house:
        for number in range(first + 1, first + _ENDED):
            _carry(house, _submit(house, number))
            if number == first + _ENDED // 2:
                house.store.backup(live / ".callboard/backups/callboard-20260101T000000Z.db")
        for number in range(first + _ENDED, first + _ENDED + _HELD):
            _carry(house, _submit(house, number, review=", review: true"))
        row = _submit(house, first + _ENDED + _HELD)
        _submit(house, first + _ENDED + _HELD + _UNDER_WAY)
        house.store.checkpoint()
        house.store.writer.execute("PRAGMA wal_autocheckpoint = 0")  # what comes now stands in the log only
        commits = 0

        def killed(name: str) -> None:
            nonlocal commits
            commits += name == "commit.done"
            if commits == 4 and not left.exists():
                shutil.copytree(live, left, ignore=shutil.ignore_patterns("*.bell"))

        with listening(killed):
            _carry(house, row)


def _submit(house: House, number: int, review: str = "") -> RunRow:
    file = Path(f"{number}.ai")
    file.write_text(_CHAIN.format(n=number, review=review), "utf-8")
    text = LETTER if number % 5 else _LARGE
    return submit_pipeline(house, file, f"{number}. {text}", id=f"run-{number}")


def _house(folder: Path) -> House:
    project = projects.find_or_make(None, folder)
    settings = Settings(model="offline", offline_ledger=LEDGER, lease=0.01)
    store = SQLiteStore(project.database)
    store.writer.execute("PRAGMA wal_autocheckpoint = 25")  # a small log: what is overwritten in it is no second copy
    return House(settings, project, store)


def _carry(house: House, row: RunRow) -> None:
    asyncio.run(carry_out(house, [row.number]))


def end(folder: Path) -> tuple[dict[str, int], dict[str, bytes]]:
    """Carry every run to its end, and approve what waits: (status by id, documents by path)."""
    with chdir(folder), closing(_house(folder)) as house:
        while waiting := [row.number for row in house.store.open_runs()]:
            asyncio.run(carry_out(house, waiting))
            for row in house.store.open_runs():
                _approve(house, row)
        statuses = {row.id: int(row.status) for row in house.store.runs(most=1000)}
    return statuses, {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("*/*.md")}


def _approve(house: House, row: RunRow) -> None:
    state = views.in_memory(house.store, row)
    held = next(state.nodes[node] for node in sorted(state.held))
    hash = held.draft[0] if held.draft is not None else ""
    post(house, row, [Approved(state.name_of(held.id), held.number, hash)])


def _told(folder: Path, *, readonly: bool = False) -> dict[str, Told]:
    with closing(SQLiteStore(folder / DATABASE, readonly=readonly)) as store:
        return {row.id: _of(store, row) for row in store.runs(most=1000)}


def _of(store: SQLiteStore, row: RunRow) -> Told:
    outcomes = {key: _outcome(store, *key) for key in _keys(store, row.number)}
    first, end = row.number << 32, row.number + 1 << 32
    rows = store.rows("SELECT at, facts, hash FROM journal WHERE id >= ? AND id < ? ORDER BY id", (first, end))
    return Told(int(row.status), outcomes, [_record(*one) for one in rows])


def _record(at: float, facts: bytes, hash: bytes) -> bytes:
    """A row of the journal as SQLite writes it: what is overwritten in part is no row any more."""
    kind = 12 + 2 * len(facts)
    sevens = [kind >> shift & 0x7F | 0x80 * (shift > 0) for shift in (14, 7, 0) if kind >> shift or not shift]
    types = bytes([0, 7, *sevens, 12 + 2 * len(hash)])
    return bytes([1 + len(types)]) + types + pack(">d", at) + facts + hash


def _outcome(store: SQLiteStore, id: int, revision: int) -> str:
    return store.outcome(*unpack(id), revision) or ""


# ── one damage ──────────────────────────────────────────────────────────────────────────────────────────


def damaged(world: World, folder: Path, seed: str, tally: Tally, harm: Harm | None = None) -> list[str]:
    """What does not hold after one damage, of this kind or of any."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world.left, folder)
    chance = Random(f"damage-{seed}")
    home = folder / ".callboard"
    place = Place(home, chance, world.stranger / ".callboard", home / "callboard.db")
    harm = harm or chance.choice(DAMAGES)
    what = harm(place)
    try:
        wrong = _after(world, folder, tally, _unhit(world.pages, home))
    except Exception as error:
        wrong = [f"it broke with {type(error).__name__}: {error}"]
    return [f"{harm.__name__}, {what}: {one} (seed {seed})" for one in wrong]


def _after(world: World, folder: Path, tally: Tally, unhit: frozenset[int]) -> list[str]:
    intact = _intact(world, folder / ".callboard")
    wrong, readable = _read(world, folder)
    tally.unhit += len(unhit)
    tally.read += len(unhit & readable)
    project = projects.Project(folder, folder / ".callboard")
    settings = Settings(model="offline", offline_ledger=LEDGER)
    found = [one for one in doctor(project, settings, 1.8e9, _quiet) if one.how_bad in ("damaged", "refused")]
    gone = set[str]()
    if found:
        tally.found += 1
        done = repair(project, settings, 1.8e9, _quiet).done
        whole = {id for _, id in done.whole} if done is not None else set()
        if done is None or not (whole or done.partly or done.lost):  # the database was sound, and stayed
            whole = set(world.told)
        gone = set(world.told) - whole - {part.id for part in done.partly} if done is not None else set()
        tally.whole, tally.partly = tally.whole + len(whole), tally.partly + len(world.told) - len(whole) - len(gone)
        tally.lost += len(gone)
        whole &= _as_they_were(world, folder)
        wrong += [f"{id} is not whole, and its journal is" for id in sorted(intact - whole)]
        again = [one for one in doctor(project, settings, 1.8e9, _quiet) if one.how_bad in ("damaged", "refused")]
        wrong += [f"after the repair: {one.where}: {one.what}" for one in again if "content of" not in one.what]
        more, _ = _read(world, folder)
        wrong += more
    else:
        tally.harmless += 1
    return wrong + _to_the_end(world, folder, gone)


def _as_they_were(world: World, folder: Path) -> set[str]:
    """Runs of which every row of the journal is there again."""
    found = _told(folder, readonly=True)
    return {id for id, told in world.told.items() if id in found and set(told.rows) <= set(found[id].rows)}


def _quiet(text: str) -> None:
    """Nobody listens."""


def _read(world: World, folder: Path) -> tuple[list[str], frozenset[int]]:
    """(what was served that is not true, runs that could be read), as `show` and `ls` read them."""
    wrong, readable = list[str](), set[int]()
    try:
        store = SQLiteStore(folder / DATABASE, readonly=True)
    except CallboardError:
        return wrong, frozenset()
    with closing(store):
        for number in range(1, len(world.told) + 1):
            try:
                row = store.find_run(number)
                run = views.in_memory(store, row)
                outcomes = {key: _outcome(store, *key) for key in _keys(store, number)}
                views.documents(store, row, run)
                store.calls(number)
            except (NotFound, CallboardError):
                continue
            readable.add(number)
            truth = world.told.get(row.id)
            if truth is None:
                wrong.append(f"a run was served that is not ours: {row.id}")
            elif any(truth.outcomes.get(key) != text for key, text in outcomes.items()):
                wrong.append(f"{row.id} was served with an outcome that is not true")
            elif row.status in ENDED and row.status != truth.status:
                wrong.append(f"{row.id} was served as {row.status}, and is {truth.status}")
    return wrong, frozenset(readable)


def _keys(store: SQLiteStore, number: int) -> list[Any]:
    return store.rows("SELECT id, revision FROM outcome WHERE id >= ? AND id < ?", ids_of(number))


def _to_the_end(world: World, folder: Path, gone: set[str]) -> list[str]:
    """All runs that there are end as they would have, and what was paid and is known is not paid again."""
    with closing(SQLiteStore(folder / DATABASE)) as store:
        settled = {call.key for row in store.runs(most=1000) for call in store.calls(row.number) if call.answer}
    before = len(asked(folder))
    statuses, documents = end(folder)
    made_since = [call["key"] for call in asked(folder)[before:]]
    told, made = world.ending
    wrong = [f"{id} ended as {statuses.get(id)}, not {status}" for id, status in told.items()
             if id not in gone and statuses.get(id) != status]  # fmt: skip
    wrong += [f"{id} is not ours" for id in statuses.keys() - told.keys()]
    wrong += [f"{path} is not what it would have been" for path, data in made.items()
              if f"run-{path.partition('/')[0]}" not in gone and documents.get(path) != data]  # fmt: skip
    return wrong + [f"the call {key} was made again" for key in made_since if key in settled]


# ── what was hit ────────────────────────────────────────────────────────────────────────────────────────


def _intact(world: World, home: Path) -> set[str]:
    """Runs of whose journal each row lies in some file, as it was."""
    files = [home / "callboard.db", home / "callboard.db-wal", *home.glob("backups/*.db")]
    data = [file.read_bytes() for file in files if file.exists()]
    return {id for id, told in world.told.items() if all(any(row in one for one in data) for row in told.rows)}


def _hit(home: Path) -> dict[Any, tuple[bytes, frozenset[int] | None]]:
    """Each page of the file and its log, and the runs that have rows on it: None where that is everybody's."""
    database, log = home / "callboard.db", home / "callboard.db-wal"
    pages = Pages(*(file.read_bytes() if file.exists() else b"" for file in (database, log)))
    found: dict[Any, tuple[bytes, frozenset[int] | None]] = {"log": (log.read_bytes() if log.exists() else b"", None)}
    for image in pages.of_file():
        runs = [_run_of(row.rowid, row.values) for row in pages.rows(image, {})]
        whose = None if None in runs or image.data[0] not in (10, 13) else frozenset(run for run in runs if run)
        found[image.number] = (image.data, whose if runs else None)
    return found


def _run_of(rowid: int | None, values: Sequence[Any]) -> int | None:
    """Of a row of the journal, an execution, an outcome, a document or a paid call."""
    match rowid, len(values):
        case None, 3:
            return int(values[0]) >> 40 if type(values[0]) is int else None
        case None, 7:
            return int(values[0])
        case None, 17:
            return int(values[1])
        case int(id), 4:
            return id >> 32
        case int(id), 7 if id >> 40:
            return id >> 40
    return None


def _unhit(before: Mapping[Any, tuple[bytes, frozenset[int] | None]], home: Path) -> frozenset[int]:
    """Runs that have nothing on the one page that has changed; none when it is everybody's, or more has changed."""
    database, log = home / "callboard.db", home / "callboard.db-wal"
    data = database.read_bytes() if database.exists() else b""
    if not log.exists() or log.read_bytes() != before["log"][0] or len(data) != PAGE * (len(before) - 1):
        return frozenset()
    changed = [page for page in before if page != "log" and data[(page - 1) * PAGE : page * PAGE] != before[page][0]]
    owners = before[changed[0]][1] if len(changed) == 1 else None
    return frozenset() if owners is None else frozenset(range(1, _RUNS + 1)) - owners
