"""What a file says of its schema: a newer Callboard's is refused and left alone, a damaged one is mended."""

from __future__ import annotations

import shutil
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import apsw
import pytest

from callboard.app.commands.repair import repair
from callboard.app.project import Project
from callboard.app.settings import Settings
from callboard.app.views.doctor import doctor
from callboard.battery.show import PLAN, as_if_new
from callboard.errors import CallboardError, StoreRefused
from callboard.store.sql import schema
from callboard.store.sql.pages import PAGE, Pages
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)

RUNS = 8
WALL = 1.8e9
OURS = schema.MIGRATIONS
NEWER = {
    "a table": ("CREATE TABLE more (a INTEGER) STRICT",),
    "a column": ("ALTER TABLE run ADD COLUMN more INTEGER",),
    "two of them": ("CREATE TABLE more (a INTEGER) STRICT", "CREATE INDEX more_a ON more (a)"),
}


@contextmanager
def release(*migrations: str) -> Iterator[None]:
    """As if our release had these migrations."""
    schema.MIGRATIONS = migrations
    try:
        yield
    finally:
        schema.MIGRATIONS = OURS


def made(folder: Path, migrations: Sequence[str] = OURS) -> Path:
    """A project's database that a release with these migrations has made, all of it copied back from the log."""
    path = folder / ".callboard" / "callboard.db"
    with release(*migrations), as_if_new(40_000):
        with closing(SQLiteStore(path)) as store:
            for number in range(1, RUNS + 1):
                store.create_run(id=f"run-{number}", name="", plan=PLAN, params="{}", face="", at=1.0)
    alone(path)
    return path


def alone(path: Path) -> None:
    """Without a log, an index and what was noted of it: the file is all there is."""
    for left in path.parent.iterdir():
        if left != path:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def put(path: Path, data: bytes, at: int = 0) -> None:
    alone(path)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def told(path: Path, *, readonly: bool = True) -> str:
    """How it is opened: "" well, else the error or the first fault."""
    try:
        with closing(SQLiteStore(path, readonly=readonly)) as store:
            return f"StoreDamaged: {store.faults[0]}" if store.faults else ""
    except CallboardError as error:
        return f"{type(error).__name__}: {error}"


def quiet(text: str) -> None:
    """Nobody listens."""


def of(path: Path) -> Project:
    return Project(path.parent.parent, path.parent)


def found(path: Path) -> list[tuple[str, str]]:
    return [(one.how_bad, one.what) for one in doctor(of(path), Settings(), WALL, quiet)]


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The page of `schema_version` with each one of its bits flipped, but for those that nothing lies on."""
    page = data[PAGE : 2 * PAGE]
    first = int.from_bytes(page[5:7], "big")
    for at in (*range(8 + 2 * int.from_bytes(page[3:5], "big")), *range(first, PAGE)):
        for bit in range(8):
            yield at * 8 + bit, page[:at] + bytes([page[at] ^ 1 << bit]) + page[at + 1 :]


# ── damaged ─────────────────────────────────────────────────────────────────────────────────────────────


def test_whatever_page_lies_over_that_of_the_schema_it_is_damage_and_is_mended(tmp_path: Path) -> None:
    path = made(tmp_path)
    data = path.read_bytes()
    pages = [image for image in Pages(data).of_file() if any(image.data) and image.number != schema.PAGE]
    assert len(pages) > 20
    for image in pages:
        for readonly in (True, False):
            put(path, data[:PAGE] + image.data + data[2 * PAGE :])
            assert told(path, readonly=readonly).startswith("StoreDamaged"), image.number
        if image.number % 3:
            continue
        assert [one for one in found(path) if one[0] == "damaged"], image.number
        done = repair(of(path), Settings(), WALL, quiet).done
        assert len(done.whole) == RUNS and not done.partly and not done.lost, image.number
        assert told(path) == "" and not [one for one in found(path) if one[0] in ("damaged", "refused")]


def test_whichever_bit_of_the_schema_flips_it_is_read_or_is_damage(tmp_path: Path) -> None:
    path = made(tmp_path)
    data, said = path.read_bytes(), set[str]()
    for bit, page in flips(data):
        put(path, page, PAGE)
        what = told(path)
        assert not what or what.startswith("StoreDamaged"), f"bit {bit}: {what}"
        said.add(what)
    assert len(said) > 10 and "" in said, "a time that is another harms nobody"


@pytest.mark.parametrize("have", range(1, len(OURS)))
def test_an_older_schema_is_brought_up_to_date_and_ours_that_says_it_is_older_is_damaged(
    have: int, tmp_path: Path
) -> None:
    older, ours = tmp_path / "older/.callboard/callboard.db", made(tmp_path / "ours")
    older.parent.mkdir(parents=True, mode=0o700)
    with closing(apsw.Connection(str(older))) as connection:
        schema.upgrade(connection, OURS[:have], 1.0, lambda before: None)
    assert [what for _, what in found(older) if "older schema" in what]
    assert told(older).startswith("StoreRefused") and not told(older, readonly=False) and not told(older)
    with closing(apsw.Connection(str(ours))) as connection:
        connection.execute("DELETE FROM schema_version WHERE number > ?", (have,))
    for readonly in (True, False):
        assert told(ours, readonly=readonly).startswith("StoreDamaged")


@pytest.mark.parametrize("mark", ["run", "schema_version", "log_run"])
def test_an_older_schema_of_which_a_name_was_changed_is_not_brought_up_to_date(mark: str, tmp_path: Path) -> None:
    path = made(tmp_path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("DROP TRIGGER queue_begun")
        connection.execute("DELETE FROM schema_version WHERE number = ?", (len(OURS),))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'number', 'numbeq') WHERE name = ?", (mark,))
    alone(path)
    before = path.read_bytes()
    for readonly in (True, False):
        assert told(path, readonly=readonly).startswith("StoreDamaged")
    assert path.read_bytes() == before


# ── newer ───────────────────────────────────────────────────────────────────────────────────────────────


def refused(path: Path) -> None:
    """By whoever opens, examines or mends it, and nothing of it is changed."""
    before = path.read_bytes()
    for readonly in (True, False):
        assert told(path, readonly=readonly).startswith("StoreRefused"), told(path, readonly=readonly)
    assert "refused" in dict(found(path)) and "damaged" not in dict(found(path))
    not_mended(path)
    assert path.read_bytes() == before


def not_mended(path: Path) -> None:
    for dry_run in (True, False):
        with pytest.raises(StoreRefused, match="newer"):
            repair(of(path), Settings(), WALL, quiet, dry_run=dry_run)
    assert not (path.parent / "damaged").exists()


@pytest.mark.parametrize("what", NEWER)
def test_what_a_newer_release_has_made_is_refused_and_never_mended(what: str, tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, *NEWER[what]))
    assert "was written by a newer Callboard" in told(path)
    refused(path)


def test_a_newer_release_that_made_no_other_table_is_refused_too(tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, "UPDATE standing SET fence = fence"))
    assert "was written by a newer Callboard" in told(path)
    refused(path)


@pytest.mark.parametrize("what", NEWER)
def test_whichever_bit_of_a_newer_schema_flips_it_is_refused(what: str, tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, *NEWER[what]))
    every = 1 if what == "a table" else 13
    for bit, page in list(flips(path.read_bytes()))[::every]:
        put(path, page, PAGE)
        said = told(path)
        assert said.startswith("StoreRefused") and "newer" in said, f"bit {bit}: {said}"
        if not bit % 117:
            refused(path)


def test_whatever_page_lies_over_that_of_a_newer_schema_it_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, *NEWER["a table"]))
    data = path.read_bytes()
    for image in Pages(data).of_file():
        put(path, image.data, PAGE)
        assert told(path).startswith("StoreRefused") and "newer" in told(path), f"{image.place}: {told(path)}"


def test_a_newer_release_of_which_a_table_is_damaged_is_refused_and_not_called_damaged(tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, *NEWER["a table"]))
    with closing(apsw.Connection(str(path))) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'standing'").get
    put(path, bytes(PAGE), (root - 1) * PAGE)
    refused(path)


def test_what_of_a_newer_release_cannot_be_opened_is_not_mended_either(tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, *NEWER["a table"]))
    put(path, bytes(PAGE - 100), 100)
    assert told(path).startswith("StoreDamaged") and "damaged" in dict(found(path))
    not_mended(path)


def test_damaged_content_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = made(tmp_path, (*OURS, *NEWER["a table"]))
    content = path.parent / "content/ab/cd"
    content.parent.mkdir(parents=True)
    content.write_bytes(b"no such hash")
    not_mended(path)
    assert content.read_bytes() == b"no such hash"


# ── the rule ────────────────────────────────────────────────────────────────────────────────────────────


def test_each_release_can_be_told_by_its_tables(tmp_path: Path) -> None:
    tables = []
    for have in range(1, len(OURS) + 1):
        with closing(apsw.Connection(str(tmp_path / f"{have}.db"))) as connection:
            schema.upgrade(connection, OURS[:have], 1.0, lambda before: None)
            tables.append(connection.execute("SELECT group_concat(sql) FROM sqlite_schema").get)
            pages = Pages((tmp_path / f"{have}.db").read_bytes())
            rows = [row for image in pages.of_file() if image.number == schema.PAGE for row in pages.rows(image, {})]
            assert [row.rowid for row in rows if schema.is_version(row.values)] == [*range(1, have + 1)]
    assert len(set(tables)) == len(OURS)
    assert sorted(tables, key=len) == tables
