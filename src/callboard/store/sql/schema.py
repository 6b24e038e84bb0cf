"""The tables, as numbered migrations: append only, never edited once released, tested from every old version.

Each migration makes or changes a table, so that a release can be told by its tables too, where what a file says of
itself is damaged. A file of a newer release is refused, damaged or not: only that release knows what it lacks.

`execution` and `journal` are keyed by one packed integer (see `store/packing.py`), so a run is a range of the key
and no secondary index is written on the way of a task. What never changes about a run (`run`) is kept apart from
what changes with every step (`standing`), so a step rewrites a hundred bytes and not the parameters. Outcomes
stand alone: statuses load without reading them, and their key is what makes them *written once*.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import TYPE_CHECKING

import apsw

from callboard.crash import point
from callboard.errors import StoreRefused
from callboard.store.sql.telling import damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.errors import StoreError

APPLICATION = 0x43414C42  # "CALB": tells our file from any other SQLite database

_FIRST = """
CREATE TABLE plan (
  hash TEXT PRIMARY KEY CHECK (length(hash) = 64 AND hash NOT GLOB '*[^0-9a-f]*'),
  text TEXT NOT NULL
) STRICT;

CREATE TABLE run (
  number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 8388607),
  id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 64 AND id GLOB '[a-z0-9]*' AND id NOT GLOB '*[^a-z0-9._-]*'),
  name TEXT NOT NULL CHECK (length(name) <= 200),
  plan TEXT NOT NULL REFERENCES plan (hash),
  params TEXT NOT NULL CHECK (json_valid(params, 1)),
  face TEXT NOT NULL,
  created REAL NOT NULL,
  parent INTEGER
) STRICT;

-- owner: JSON array [host, boot, pid, started, token]; posted, consumed: offsets in the inbox; batches: journal rows
-- when the status last moved: so many there must be
CREATE TABLE standing (
  number INTEGER PRIMARY KEY REFERENCES run (number),
  status INTEGER NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 8),
  state TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(state, 1)),
  fence INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  lease REAL,
  updated REAL NOT NULL, -- a later journal row counts more
  ended REAL,
  posted INTEGER NOT NULL DEFAULT 0,
  consumed INTEGER NOT NULL DEFAULT 0,
  batches INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX standing_status ON standing (status, number);
CREATE INDEX standing_waiting ON standing (number) WHERE posted > consumed;

-- id: run << 40 | node << 20 | number; began: the run's counter when this number began; at: wall
CREATE TABLE execution (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  status INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  began INTEGER NOT NULL,
  at REAL,
  reason TEXT,
  state TEXT
) STRICT;

CREATE TABLE outcome (
  id INTEGER NOT NULL CHECK (id > 0),
  revision INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (id, revision)
) STRICT, WITHOUT ROWID;

-- id: run << 32 | batch, batches count from 1
CREATE TABLE journal (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  at REAL NOT NULL,
  facts BLOB NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE inbox (
  "offset" INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  id TEXT NOT NULL CHECK (length(id) BETWEEN 1 AND 200),
  fact TEXT NOT NULL,
  at REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX inbox_id ON inbox (run, id);
CREATE INDEX inbox_run ON inbox (run, "offset");

-- id: run << 20 | node
CREATE TABLE item (
  id INTEGER PRIMARY KEY,
  parent INTEGER NOT NULL,
  position INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL CHECK (json_valid(value, 1))
) STRICT;

CREATE TABLE branch (
  run INTEGER NOT NULL,
  branch INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (json_valid(state, 1)),
  PRIMARY KEY (run, branch)
) STRICT, WITHOUT ROWID;

-- hash: of the latest version anybody knows of, empty when the file is gone; execution: 0 where no step wrote it;
-- note: the name of ours beside a person's, or why it cannot be put in place
CREATE TABLE document (
  run INTEGER NOT NULL,
  path TEXT NOT NULL CHECK (length(path) > 0),
  hash TEXT NOT NULL,
  replaces TEXT,
  execution INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'published', 'conflict', 'edited', 'missing', 'source')),
  note TEXT,
  PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE document_history (
  number INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  path TEXT NOT NULL,
  hash TEXT NOT NULL,
  replaces TEXT,
  execution INTEGER NOT NULL,
  status TEXT NOT NULL,
  at REAL NOT NULL
) STRICT;
CREATE INDEX document_history_hash ON document_history (hash);

-- cost: nano-USD
CREATE TABLE ledger (
  key TEXT PRIMARY KEY CHECK (length(key) > 0),
  run INTEGER NOT NULL,
  node INTEGER NOT NULL,
  number INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  "index" INTEGER NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  prompt_hash TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost INTEGER,
  latency REAL NOT NULL,
  at REAL NOT NULL,
  answer TEXT,
  status TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_execution ON ledger (run, node, number, "index");

CREATE TABLE event (
  "offset" INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  namespace TEXT NOT NULL,
  value TEXT NOT NULL,
  sender TEXT NOT NULL,
  context TEXT NOT NULL,
  at REAL NOT NULL
) STRICT;

-- value: NULL where a record was removed; its revision stays, so a late writer with an old one is told
CREATE TABLE record (
  kind TEXT NOT NULL CHECK (length(kind) > 0),
  id TEXT NOT NULL CHECK (length(id) > 0),
  revision INTEGER NOT NULL CHECK (revision > 0),
  value TEXT,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
  number INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  node INTEGER NOT NULL,
  execution INTEGER NOT NULL,
  at REAL NOT NULL,
  level TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX log_run ON log (run, node);
"""

# seal: a checksum of what stands beside it (see `sound.py`); echo: `consumed` once more. NULL in older rows.
_SEALS = """
ALTER TABLE standing ADD COLUMN seal INTEGER;
ALTER TABLE standing ADD COLUMN echo INTEGER;
ALTER TABLE ledger ADD COLUMN seal INTEGER;
"""

# `lease` is when it is over by the wall; here by the elapsed clock of its owner's boot, and how long it was
_LEASES = """
ALTER TABLE standing ADD COLUMN lease_elapsed REAL;
ALTER TABLE standing ADD COLUMN lease_length REAL;
"""

# What waits, counted as it comes and goes, so that a refusal reads one row and never counts: `runs` that have not
# ended, `letters` that no run has consumed, and of each run its own. An inbox that is read to its end has none,
# whatever was counted before.
_QUEUE = """
CREATE TABLE queue (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  runs INTEGER NOT NULL,
  letters INTEGER NOT NULL
) STRICT;
ALTER TABLE standing ADD COLUMN letters INTEGER NOT NULL DEFAULT 0;
UPDATE standing SET letters = (SELECT count(*) FROM inbox WHERE run = standing.number AND "offset" > consumed)
  WHERE posted > consumed;
INSERT INTO queue
  SELECT 1, (SELECT count(*) FROM standing WHERE status < 5), (SELECT coalesce(sum(letters), 0) FROM standing);

CREATE TRIGGER queue_begun AFTER INSERT ON standing WHEN NEW.status < 5 BEGIN
  UPDATE queue SET runs = runs + 1;
END;
CREATE TRIGGER queue_ended AFTER UPDATE OF status ON standing WHEN (OLD.status < 5) <> (NEW.status < 5) BEGIN
  UPDATE queue SET runs = runs + iif(NEW.status < 5, 1, -1);
END;
CREATE TRIGGER queue_posted AFTER INSERT ON inbox BEGIN
  UPDATE standing SET letters = letters + 1 WHERE number = NEW.run;
  UPDATE queue SET letters = letters + 1;
END;
CREATE TRIGGER queue_read AFTER UPDATE OF consumed ON standing WHEN NEW.consumed > OLD.consumed BEGIN
  UPDATE queue SET letters = letters - iif(NEW.consumed >= NEW.posted, NEW.letters,
    (SELECT count(*) FROM inbox WHERE run = NEW.number AND "offset" > OLD.consumed AND "offset" <= NEW.consumed));
  UPDATE standing SET letters = iif(NEW.consumed >= NEW.posted, 0, letters -
    (SELECT count(*) FROM inbox WHERE run = NEW.number AND "offset" > OLD.consumed AND "offset" <= NEW.consumed))
    WHERE number = NEW.number;
END;
"""

# Releases of all times read this table, so its form is for ever: the rows 1, 2, … up to the schema that a file has.
_VERSIONS = "CREATE TABLE schema_version (number INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT"
_NEWEST = "SELECT max(number) FROM schema_version"
_TOLD = "SELECT count(*), min(number), max(number), total(typeof(at) <> 'real') FROM schema_version"
_CHECK = "PRAGMA quick_check(schema_version)"
_CAN_TELL = "SELECT count(*) FROM pragma_module_list WHERE name = 'dbstat'"  # else SQLite is believed as it is
_LONGEST = "SELECT max(mx_payload) FROM dbstat WHERE name = 'schema_version'"
_ROW = 11  # bytes of a row at most: three of its header, eight of the time
_OBJECTS = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'"
PAGE = 2  # on which its rows lie: it is the first table that is made, and they are few
_UPGRADE = "Upgrade: pip install --upgrade callboard"

MIGRATIONS: tuple[str, ...] = (_FIRST, _SEALS, _LEASES, _QUEUE)


def strange(connection: apsw.Connection) -> list[str]:
    """What of our tables and indexes is not as the migrations make it: a name that lost a letter is a damage, too."""
    have, made = _objects(connection), _made(MIGRATIONS).items()
    found = [f"{kind} {name} is not as it was made" for (kind, name), sql in made if have.get((kind, name)) != sql]
    return found if _is_told(connection) else [*found, "schema_version holds what was never written there"]


def _objects(connection: apsw.Connection) -> dict[tuple[str, str], str]:
    return {row[:2]: row[2] for row in connection.execute(_OBJECTS)}


@cache
def _made(migrations: tuple[str, ...]) -> dict[tuple[str, str], str]:
    new = apsw.Connection(":memory:")
    try:
        new.execute(_VERSIONS)
        for migration in migrations:
            new.execute(migration)
        return _objects(new)
    finally:
        new.close()


def version(connection: apsw.Connection) -> int:
    """The number of the last migration, 0 for an empty file.

    Raises StoreRefused for a database that is not ours, StoreDamaged for one of ours that does not tell.
    """
    if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        return 0
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
        if _objects(connection) == _made(MIGRATIONS):
            raise damaged(connection.filename, "it has our tables, and the mark of another program")
        raise StoreRefused(f"{connection.filename} is a database, but not one of Callboard")
    try:
        number: int | None = connection.execute(_NEWEST).get
    except (apsw.SQLError, apsw.CorruptError) as error:
        raise _untrue(connection, str(error)) from error
    if number is None or number < 1:
        raise _untrue(connection, f"it says that it has schema {number or 0}")
    return number


def check(connection: apsw.Connection, known: int) -> None:
    """Raises StoreRefused for a schema that is newer than this release knows, StoreDamaged where one only says so."""
    have, path = version(connection), connection.filename
    if not have:
        return
    is_told = _is_told(connection)
    if is_told and have > known:
        raise StoreRefused(newer(path, have, known))
    if not is_told or (have < known and _last(_objects(connection)) != _made(MIGRATIONS[:have])):
        error = _untrue(connection, f"it says that it has schema {have}, and that cannot be believed")
        if have != known or isinstance(error, StoreRefused):  # else its tables are those it says, and can be read
            raise error


def newer(path: str, have: int, known: int) -> str:
    """What is said of a newer release's database."""
    return f"{path} was written by a newer Callboard (schema {have}, this one knows {known}). {_UPGRADE}"


def is_version(values: Sequence[object]) -> bool:
    """Whether these are the columns of a row of `schema_version`, as they lie in the file."""
    return len(values) == 2 and values[0] is None and type(values[1]) in (int, float)


def _is_told(connection: apsw.Connection) -> bool:
    """Whether `schema_version` holds what migrations have written there, and not another table's page: those have
    numbers from 1 on, too, and longer rows."""
    try:
        count, first, last, alien = connection.execute(_TOLD).fetchall()[0]
        if (first, last) != (1, count) or alien or connection.execute(_CHECK).get != "ok":
            return False
        return not connection.execute(_CAN_TELL).get or int(connection.execute(_LONGEST).get or 0) <= _ROW
    except (apsw.SQLError, apsw.CorruptError):
        return False


def _last(objects: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """What the newest release has made whose tables are all there; others may be there, too."""
    each = [_made(MIGRATIONS[:number]) for number in range(len(MIGRATIONS), 0, -1)]
    return next((made for made in each if made.items() <= objects.items()), {})


def _untrue(connection: apsw.Connection, what: str) -> StoreError:
    """Of a database that says of its schema what cannot be. One that holds more than we make was made by a newer
    release: that one can mend it, we would take away what we do not know."""
    have, ours, path = _objects(connection), _made(MIGRATIONS), connection.filename
    if sum(map(len, have.values())) > sum(map(len, ours.values())):
        more = sorted(name for kind, name in have if len(have[kind, name]) > len(ours.get((kind, name), "")))
        return StoreRefused(
            f"{path} is damaged ({what}), and holds what this Callboard does not know ({', '.join(more[:3])}): "
            f"it may be of a newer one, which can mend it. {_UPGRADE}"
        )
    return damaged(path, what)


def upgrade(connection: apsw.Connection, migrations: Sequence[str], at: float, backup: Callable[[int], None]) -> None:
    """Bring the schema up to date in one transaction; `backup` is called with the old version first.

    The caller holds the writers' lock. Raises StoreRefused.
    """
    have = version(connection)
    check(connection, len(migrations))
    if have == len(migrations):
        return
    if have:
        backup(have)
    point("schema.begin")
    with connection:
        if not have:
            connection.execute(_VERSIONS)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        if not connection.pragma("user_version"):
            connection.execute(f"PRAGMA user_version = {secrets.randbelow((1 << 31) - 1) + 1}")  # which database it is
        for number in range(have, len(migrations)):
            connection.execute(migrations[number])
            connection.execute("INSERT INTO schema_version VALUES (?, ?)", (number + 1, at))
            point("schema.step")
        point("schema.commit")
    point("schema.done")
