"""The tables, as numbered migrations: append only, never edited once released, tested from every old version.

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

_VERSIONS = "CREATE TABLE schema_version (number INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT"
_OBJECTS = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"

MIGRATIONS: tuple[str, ...] = (_FIRST, _SEALS, _LEASES, _QUEUE)


def strange(connection: apsw.Connection) -> list[str]:
    """What of our tables and indexes is not as the migrations make it: a name that lost a letter is a damage, too."""
    have = {row[:2]: row[2] for row in connection.execute(_OBJECTS)}
    made = _made(MIGRATIONS).items()
    return [f"{kind} {name} is not as it was made" for (kind, name), sql in made if have.get((kind, name)) != sql]


@cache
def _made(migrations: tuple[str, ...]) -> dict[tuple[str, str], str]:
    new = apsw.Connection(":memory:")
    try:
        new.execute(_VERSIONS)
        for migration in migrations:
            new.execute(migration)
        return {row[:2]: row[2] for row in new.execute(_OBJECTS)}
    finally:
        new.close()


def version(connection: apsw.Connection) -> int:
    """The number of the last migration, 0 for an empty file. Raises StoreRefused for a database that is not ours."""
    if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        return 0
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
        if is_ours(connection):
            raise damaged(connection.filename, "it has our tables, and the mark of another program")
        raise StoreRefused(f"{connection.filename} is a database, but not one of Callboard")
    number: int = connection.execute("SELECT max(number) FROM schema_version").get
    return number


def is_ours(connection: apsw.Connection) -> bool:
    """Whether the tables are those of this release, no more and no less."""
    return {row[:2]: row[2] for row in connection.execute(_OBJECTS)} == _made(MIGRATIONS)


def check(connection: apsw.Connection, known: int) -> None:
    """Raises StoreRefused for a schema that is newer than this release knows, StoreDamaged where one only says so."""
    have, path = version(connection), connection.filename
    if have in (0, known):
        return
    numbers = [row[0] for row in connection.execute("SELECT number FROM schema_version ORDER BY number")]
    is_odd = numbers != list(range(1, have + 1)) or (have < known and _made(MIGRATIONS[:have]) != _made(MIGRATIONS))
    if is_odd and is_ours(connection):
        raise damaged(path, f"it says that it has schema {have}, and its tables are those of {known}")
    if have > known:
        raise StoreRefused(
            f"{path} was written by a newer Callboard (schema {have}, this one knows {known}). "
            "Upgrade: pip install --upgrade callboard"
        )


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
