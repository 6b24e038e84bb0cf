"""What the crash points are tried with: the small shows, and scenes for what no show does in its few moments.

A scene is acted from wherever it stands to its end, as often as somebody kills it, and then everything that counts has
to be as if nobody had: `act` returns that, and raises `show.Wrong` when something is not as it must be in every case.
Where a scene does several things one after the other, it notes on its own disk how many are done, as any program would.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import AbstractContextManager, chdir, closing, contextmanager, nullcontext
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app import project as projects
from callboard.app.commands.adopt import adopt
from callboard.app.commands.carry import carry_out
from callboard.app.commands.repair import repair
from callboard.app.commands.submit import submit_pipeline
from callboard.app.settings import Settings
from callboard.app.views import run as views
from callboard.app.views.doctor import doctor
from callboard.battery import late
from callboard.battery.history import DATABASE
from callboard.battery.show import ME, SAVES, sure
from callboard.battery.workloads import FILE, ID, LEDGER, LETTER, WORKLOADS, Ending, Workload, documents, workload
from callboard.core.deadline import Now, after
from callboard.core.facts import Heard, encode
from callboard.core.plan import Plan, Task
from callboard.core.plan import dump as dump_plan
from callboard.core.status import ENDED, Status
from callboard.errors import NotFound
from callboard.ports import Write
from callboard.productions.manager import ProductionManager, create_production
from callboard.store.sql import schema
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from callboard.app.wiring import House
    from callboard.ports import RunRow

_NOTED = "noted"
_PRODUCTION = {"name": "cards", "project_home": "home", "steps": ["cards", "book"]}


class Scene(NamedTuple):
    """`lay_out` makes what lies there before; `act(folder, vfs)` plays to the end from wherever it stands, in a
    `world` that may be another than ours. `theirs` is what a person saves meanwhile."""

    name: str
    lay_out: Callable[[Path], object]
    act: Callable[[Path, str | None], Any]
    world: Callable[[], AbstractContextManager[None]] = nullcontext
    theirs: Collection[bytes] = ()


def of(workload: Workload, name: str = "", lay_out: Callable[[Path], object] | None = None) -> Scene:
    """A show as a scene."""
    return Scene(
        name or workload.name, lay_out or workload.lay_out, lambda folder, vfs: workload.drive(folder, vfs=vfs)
    )


# ── shows with a past ───────────────────────────────────────────────────────────────────────────────────────

_CHAIN, _CARDS = workload("chain"), workload("production")
_TAKEN = Workload("taken", {**_CHAIN.files, "gist.md": "what the user wrote\n"}, LETTER)
_AGAIN = late.SHOW._replace(name="again")


def _lay_out_stale(folder: Path) -> None:
    """A project whose history was thrown away, with a cache of which every answer is damaged, and left unfinished."""
    _CHAIN.drive(_CHAIN.lay_out(folder))
    for file in (*folder.glob(f"{DATABASE}*"), *folder.glob("*.md"), folder / "out/note.md"):
        file.unlink()
    shutil.rmtree(folder / ".callboard/content")
    for answer in folder.glob(".callboard/cache/*/*"):
        answer.write_bytes(b"0" * 64 + b"\ndamaged")
        answer.with_name(f".{answer.name[:16]}.left").write_bytes(b"by a writer who was killed")
    (folder / LEDGER).write_bytes(b"")


@contextmanager
def _old_files() -> Iterator[None]:
    """On a file system that knows no files without names."""
    had = os.__dict__.pop("O_TMPFILE", None)
    try:
        yield
    finally:
        if had is not None:
            os.__dict__["O_TMPFILE"] = had


# ── a run that goes on with a changed file ──────────────────────────────────────────────────────────────────

_CHANGED = "changed.ai"
_BEFORE = Workload(
    "adopting", {FILE: _CHAIN.files[FILE], _CHANGED: _CHAIN.files[FILE].replace("note", "remark")}, LETTER
)


def _adopt(folder: Path, vfs: str | None) -> Ending:
    """Carried out to its end, then moved to a file whose last step is another, and carried out again."""
    with chdir(folder), closing(_BEFORE.house(vfs)) as house:
        row = submit_pipeline(house, Path(FILE), LETTER, id=ID)
        _to_its_end(house, row)
        if row.id == ID:
            row, _ = adopt(house, house.find_run(ID), Path(_CHANGED))
        _to_its_end(house, row)
        replaced, row = house.find_run(ID), house.find_run(row.id)
        sure(house.successor(replaced).number == row.number, "it goes on as that run")
        sure(len(house.store.runs()) == 2, "there is one successor")
        return Ending(Status(row.status), views.result(house.store, row), documents(folder, _BEFORE))


def _to_its_end(house: House, row: RunRow) -> None:
    if Status(house.find_run(row.id).status) not in ENDED:
        asyncio.run(carry_out(house, [row.number]))


# ── a store's housekeeping ──────────────────────────────────────────────────────────────────────────────────

_LATER = "CREATE TABLE later (number INTEGER PRIMARY KEY) STRICT"
_LATEST = "INSERT INTO later VALUES (1)"


def _lay_out_store(folder: Path) -> None:
    _lay_out_nothing(folder)
    store = SQLiteStore(folder / DATABASE)
    plan = dump_plan(Plan((Task("first"),)))
    store.create_run(id=ID, name="", plan=plan, params="{}", face="pipelines", at=1.0)
    store.put(b"kept before")
    store.close()
    for index in folder.glob(".callboard/*-shm"):
        index.unlink()  # a killed process leaves it, and SQLite makes it anew


_KEPT = sha256(b"kept before").hexdigest()


def _keep_house(folder: Path, vfs: str | None) -> Any:
    """Open with a newer schema, and do what an engine does now and then."""
    with closing(SQLiteStore(folder / DATABASE, vfs=vfs, saves=SAVES)) as store:
        _in_steps(folder, [partial(step, store, folder) for step in _HOUSE])
        return _house(store)


def _claim(store: SQLiteStore, folder: Path) -> None:
    now = Now(2.0, ME.boot, 2.0)
    fence = store.claim(1, ME, after(now, 1e12), now, alive=lambda owner: True)
    sure(fence is not None and not store.renew([(1, fence)], after(now, 2e12)), "the run is ours")


def _fence(store: SQLiteStore) -> int:
    return store.find_run(ID).fence


def _link(store: SQLiteStore, folder: Path) -> None:
    """A batch with a save: once, however often it is tried."""
    id = 1 << 40 | 0 << 20 | 1
    if store.outcome(1, 0, 1) is None:
        save = ("credit", {"id": "one", "value": "1"})
        store.commit([Write(1, _fence(store), 3.0, [encode(Heard("a", 1))], outcomes=[(id, 0, '{"value":1}')],
                            executions=[(id, 5, 1, 1, 3.0, None, None)], saves=[save])])  # fmt: skip


def _events(store: SQLiteStore, folder: Path) -> None:
    if not store.events():
        store.publish([("key", "", 1, "me", None)], 4.0)
    store.append(1, [("letter", encode(Heard("b", 2)))], 4.0)


def _backup(store: SQLiteStore, folder: Path) -> None:
    store.backup(folder / ".callboard/backups/kept.db")


_HOUSE: tuple[Callable[[SQLiteStore, Path], object], ...] = (
    _claim,
    _link,
    _events,
    _backup,
    lambda store, folder: store.checkpoint(),
    lambda store, folder: store.release(1, _fence(store)),
)


def _house(store: SQLiteStore) -> Any:
    home = store.path.parent
    for backup in (home / "backups").glob("*.db"):
        copy = SQLiteStore(backup, readonly=True) if backup.name == "kept.db" else _as_it_was(backup)
        sure(copy.check() == [] and len(copy.runs()) == 1, f"{backup.name} is whole")
        copy.close()
    sure(store.check() == [], "the database is sound")
    return [
        store.rows("SELECT number FROM schema_version ORDER BY 1"),
        store.rows("SELECT number FROM later"),
        store.outcome(1, 0, 1),
        [facts for _, _, facts, _ in store.journal(1)],
        store.rows("SELECT id, value FROM record"),
        [(one[1], one[3]) for one in store.events()],
        [letter.id for letter in store.inbox(1, 0)],
        store.find_run(ID).owner,
        (home / "backups/kept.db").exists() and len(list((home / "backups").glob(f"*schema{len(_RELEASED)}-*.db"))) > 0,
        store.get(_KEPT),
    ]


def _as_it_was(backup: Path) -> SQLiteStore:
    """A copy that was made before a migration, opened by a release that knows no more."""
    with _migrations():
        return SQLiteStore(backup, readonly=True)


def _newer() -> AbstractContextManager[None]:
    return _migrations(_LATER, _LATEST)


@contextmanager
def _migrations(*more: str) -> Iterator[None]:
    """As if our releases had so many migrations."""
    before = schema.MIGRATIONS
    schema.MIGRATIONS = (*_RELEASED, *more)
    try:
        yield
    finally:
        schema.MIGRATIONS = before


_RELEASED = schema.MIGRATIONS


# ── a damaged project ───────────────────────────────────────────────────────────────────────────────────────

_DAMAGES = "DELETE FROM execution; UPDATE outcome SET text = '{}'; UPDATE standing SET status = 7"


def _lay_out_damaged(folder: Path) -> None:
    """A project that has ended, what its tables say of it changed, a content and a copy of it no longer whole."""
    _CHAIN.drive(_CHAIN.lay_out(folder))
    home = folder / ".callboard"
    with closing(SQLiteStore(home / "callboard.db")) as store:
        damaged_copy = store.backup(home / "backups" / "callboard-20260101T000000Z.db")
        with store.transaction() as writer:
            writer.execute(_DAMAGES)
    damaged_copy.write_bytes(b"no database")
    next(home.glob("content/??/*")).write_bytes(b"damaged")
    for index in home.glob("*-shm"):
        index.unlink()


def _repair(folder: Path, vfs: str | None) -> Any:
    """Mend until there is nothing left to be mended; what the project holds then."""
    with chdir(folder):
        project = projects.need(None, folder)
        for wall in (1.8e9, 1.9e9):
            repair(project, Settings(), wall, lambda text: None, vfs=vfs)
        found = list(doctor(project, Settings(), 1.9e9, lambda text: None))
        sure(not [one for one in found if one.how_bad == "damaged"], f"damaged still: {found}")
        with closing(SQLiteStore(project.database, readonly=True)) as store:
            kept = {file.name for file in project.home.glob("damaged/*/*")}
            sure({"callboard.db", "callboard-20260101T000000Z.db"} <= kept, f"evidence is gone: {kept}")
            row = store.find_run(ID)
            return [row.status, store.executions(row.number), store.documents(row.number), len(store.calls(row.number))]


# ── a production on its own ─────────────────────────────────────────────────────────────────────────────────


def _produce(folder: Path, vfs: str | None) -> Any:
    """Instances made, renamed and removed, documents saved and replaced, an index damaged and built anew."""
    with chdir(folder):
        manager = create_production(_PRODUCTION)
        _in_steps(folder, [partial(step, manager) for step in _ACTS])
        return _stands(ProductionManager(config_dict=_PRODUCTION))


def _make(manager: ProductionManager) -> None:
    if len(manager.instances()) < 2:
        manager.create_instance({"title": "A title"})


def _save(manager: ProductionManager) -> None:
    for number in (1, 2):
        manager.save_document("00001", "raw", f"text {number}\n" * 50, step="cards")
    manager.save_document("00002", "raw", "gone\n", step="cards")
    manager.set_status("00001", "active")


def _rename(manager: ProductionManager) -> None:
    manager.rename_instance("00001", "premiere")


def _remove(manager: ProductionManager) -> None:
    try:
        manager.delete_instance("00002")
    except NotFound:
        sure("00002" not in _ids(manager), "what is removed is not listed")


def _damage(manager: ProductionManager) -> None:
    """Somebody writes nonsense into the index, beside it lies what a killed writer left; then they are needed."""
    for name in ("production_db.csv", ".callboard-left.tmp"):
        file = os.open(manager.settings_dir / name, os.O_WRONLY | os.O_TRUNC | os.O_CREAT)
        os.write(file, b'"nonsense')
        os.close(file)
    manager.set_status("00001", "completed")
    manager.update_productions()


def _ids(manager: ProductionManager) -> list[str]:
    return [one.instance_id for one in manager.instances()]


_ACTS: tuple[Callable[[ProductionManager], object], ...] = (_make, _make, _save, _rename, _remove, _damage)


def _stands(manager: ProductionManager) -> Any:
    manager.update_productions()  # an instance that somebody died over is found
    listed = manager.instances()
    manager.update_productions()
    sure(_ids(manager) == [one.instance_id for one in listed], "a scan finds nothing else")
    first = manager.get_instance("00001")
    sure(sorted(one.instance_id for one in listed) == sorted({one.instance_id for one in listed}), "an id is one's own")
    sure(all(one.dir.is_dir() for one in listed), "what is listed is there")
    sure("00002" not in _ids(manager), "the removed one is gone")
    sure(int(manager.create_instance()) > max(2, *(int(one.instance_id) for one in listed)), "no id is given twice")
    return [first.name, first.status, manager.load_document("00001", "raw", step="cards")]


# ── scenes ──────────────────────────────────────────────────────────────────────────────────────────────────


def _in_steps(folder: Path, steps: Sequence[Callable[[], object]]) -> None:
    """Do what was not done yet. A step that was done and not noted is done again."""
    done = (folder / _NOTED).stat().st_size
    for step in steps[done:]:
        step()
        file = os.open(folder / _NOTED, os.O_WRONLY | os.O_APPEND)
        os.write(file, b".")
        os.close(file)


def _lay_out_nothing(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / _NOTED).touch()


SCENES: tuple[Scene, ...] = (
    *map(of, WORKLOADS),
    of(_TAKEN),
    of(_AGAIN),
    of(_CHAIN, "stale", _lay_out_stale),
    of(_CARDS, "old files")._replace(world=_old_files),
    Scene("late", late.SHOW.lay_out, late.act, theirs=(late.SAVED,)),
    Scene("adopting", _BEFORE.lay_out, _adopt),
    Scene("house", _lay_out_store, _keep_house, _newer),
    Scene("repair", _lay_out_damaged, _repair),
    Scene("shelf", _lay_out_nothing, _produce),
    Scene("old shelf", _lay_out_nothing, _produce, _old_files),
)
