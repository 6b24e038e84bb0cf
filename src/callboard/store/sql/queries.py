"""Every query has a name and stands here.

A batch of writes is one statement: rows inserted into the temporary view `batch`, each of one kind; triggers
check the fences, unfold the JSON and write the tables. One statement is one implicit transaction and one
hand-over of the interpreter lock; five statements made 42 links a second beside a busy thread where this makes
153. Flat arrays and objects keyed by an id cost a third of nested arrays with `value ->> n`, so only what comes
by the step and not by the task is nested; and in a batch of a few rows every row is itself, because there JSON
costs more than it saves. (Executions share almost everything but `began` and their state:
those two travel as one value.) `n` is the number of rows the sender meant: a text that smuggles in a
row of its own is refused. A link of a chain (an outcome, the execution it ends, the one it frees) has a view of its
own, `link`, where one row is the whole transaction: a third of the statement less.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# kinds of rows of the view `batch`
STEP, EXECUTION, OUTCOME_ROW = range(3)  # one row each: what a small batch is made of
FENCES, JOURNAL, EXECUTIONS, MIXED, OUTCOMES = range(3, 8)  # the same in bulk
STATUSES, STATES, CONSUMED, ITEMS, BRANCHES, DOCUMENTS, LEDGER, LOGS = range(8, 16)

# texts of RAISE, told apart by the store
FENCE_LOST, NOT_JSON, WRONG_COUNT = "callboard: fence", "callboard: json", "callboard: count"

_COUNTED = f"SELECT RAISE(ABORT, '{WRONG_COUNT}') WHERE changes() <> NEW.n;"
_UPSERT = """ON CONFLICT (id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
  began = excluded.began, at = excluded.at, reason = excluded.reason, state = excluded.state;"""

_TRIGGERS = {
    # a: run, b: fence, c: id of the journal row or NULL, d: wall, e: blob, f: hash
    STEP: f"""
        SELECT RAISE(ABORT, '{FENCE_LOST}') WHERE NOT EXISTS (
          SELECT 1 FROM standing WHERE number = NEW.a AND fence = NEW.b AND owner IS NOT NULL);
        INSERT INTO journal (id, at, facts, hash) SELECT NEW.c, NEW.d, NEW.e, NEW.f WHERE NEW.c IS NOT NULL;""",
    # a: id, b: status, c: attempt, d: began, e: wall, f: reason, g: state
    EXECUTION: f"""
        INSERT INTO execution (id, status, attempt, began, at, reason, state)
        VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g)
        {_UPSERT}""",
    # a: id, b: revision, c: outcome or [hash of its content]
    OUTCOME_ROW: f"""
        SELECT RAISE(ABORT, '{NOT_JSON}') WHERE NOT json_valid(NEW.c, 1);
        INSERT INTO outcome (id, revision, text) VALUES (NEW.a, NEW.b, NEW.c);""",
    # a: {run: fence}; a step changes nothing of its run's own row unless it says so: one page less to sync
    FENCES: f"""
        SELECT RAISE(ABORT, '{FENCE_LOST}') WHERE NEW.n <> (
          SELECT count(*) FROM json_each(NEW.a) AS f JOIN standing ON number = CAST(f.key AS INTEGER)
          WHERE fence = f.value AND owner IS NOT NULL);""",
    # a: {id: [offset in b from 1, length, wall, hash]}, b: the blobs in a row
    JOURNAL: f"""
        INSERT INTO journal (id, at, facts, hash)
        SELECT CAST(key AS INTEGER), value ->> 2, substr(NEW.b, value ->> 0, value ->> 1), unhex(value ->> 3)
        FROM json_each(NEW.a);
        {_COUNTED}""",
    # a: {id: began or "began state"}, which all have: b status, c attempt, d wall, e reason
    EXECUTIONS: f"""
        INSERT INTO execution (id, status, attempt, began, at, reason, state)
        SELECT CAST(key AS INTEGER), NEW.b, NEW.c, CAST(value AS INTEGER), NEW.d, NEW.e,
          CASE type WHEN 'text' THEN substr(value, instr(value, ' ') + 1) END
        FROM json_each(NEW.a) WHERE true
        {_UPSERT}
        {_COUNTED}""",
    # a: {id: [status, attempt, began, at, reason, state]}
    MIXED: f"""
        INSERT INTO execution (id, status, attempt, began, at, reason, state)
        SELECT CAST(key AS INTEGER), value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
        FROM json_each(NEW.a) WHERE true
        {_UPSERT}
        {_COUNTED}""",
    # a: {id: outcome or [hash of its content]}, b: revision
    OUTCOMES: f"""
        SELECT RAISE(ABORT, '{NOT_JSON}') WHERE NOT json_valid(NEW.a, 1);
        INSERT INTO outcome (id, revision, text) SELECT CAST(key AS INTEGER), NEW.b, value FROM json_each(NEW.a);
        {_COUNTED}""",
    # a: {run: [status, wall, journal rows so far, seal]}
    STATUSES: """
        UPDATE standing SET status = f.value ->> 0, ended = CASE WHEN f.value ->> 0 >= 5 THEN f.value ->> 1 END,
          updated = f.value ->> 1, batches = f.value ->> 2, seal = f.value ->> 3
        FROM json_each(NEW.a) AS f WHERE number = CAST(f.key AS INTEGER);""",
    # a: {run: state as text}
    STATES: """
        UPDATE standing SET state = f.value FROM json_each(NEW.a) AS f WHERE number = CAST(f.key AS INTEGER);""",
    # a: {run: offset}
    CONSUMED: """
        UPDATE standing SET consumed = max(consumed, f.value), echo = max(consumed, f.value) FROM json_each(NEW.a) AS f
        WHERE number = CAST(f.key AS INTEGER);""",
    # a: [[id, parent, position, key, value as text], …]
    ITEMS: """
        INSERT INTO item (id, parent, position, key, value)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
        FROM json_each(NEW.a) WHERE true ON CONFLICT DO UPDATE SET
          parent = excluded.parent, position = excluded.position, key = excluded.key, value = excluded.value;""",
    # a: [[run, branch, state as text], …]
    BRANCHES: """
        INSERT INTO branch (run, branch, state) SELECT value ->> 0, value ->> 1, value ->> 2
        FROM json_each(NEW.a) WHERE true ON CONFLICT DO UPDATE SET state = excluded.state;""",
    # a: [[run, wall, path, hash, replaces, execution, status, note], …]; an edit of what a step wrote keeps which step
    # that was, and that ours lies beside it
    DOCUMENTS: """
        INSERT INTO document (run, path, hash, replaces, execution, status, note)
        SELECT value ->> 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
        FROM json_each(NEW.a) WHERE true ON CONFLICT DO UPDATE SET
          hash = excluded.hash, replaces = excluded.replaces,
          execution = CASE excluded.execution WHEN 0 THEN execution ELSE excluded.execution END,
          note = CASE excluded.execution WHEN 0 THEN note ELSE excluded.note END,
          status = CASE WHEN excluded.execution = 0 AND status = 'conflict' THEN status ELSE excluded.status END;
        INSERT INTO document_history (run, path, hash, replaces, execution, status, at)
        SELECT value ->> 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 1
        FROM json_each(NEW.a);""",
    # a: [[…the fields of a Call], …]; what is settled is not unsettled
    LEDGER: """
        INSERT INTO ledger (run, node, number, attempt, "index", key, provider, model, prompt_hash, input_tokens,
          output_tokens, cost, latency, at, answer, status, seal)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
          value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14, value ->> 15,
          value ->> 16
        FROM json_each(NEW.a) WHERE true ON CONFLICT DO UPDATE SET
          attempt = excluded.attempt, provider = excluded.provider, model = excluded.model,
          prompt_hash = excluded.prompt_hash, input_tokens = excluded.input_tokens,
          output_tokens = excluded.output_tokens, cost = excluded.cost, latency = excluded.latency,
          at = excluded.at, answer = coalesce(excluded.answer, answer), status = excluded.status,
          seal = CASE WHEN excluded.answer IS NULL AND answer IS NOT NULL THEN seal ELSE excluded.seal END
        WHERE status <> 'settled' OR excluded.status = 'settled';""",
    # a: [[run, node, number, wall, level, text], …]
    LOGS: """
        INSERT INTO log (run, node, execution, at, level, text)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(NEW.a);""",
}

# id … outcome: of the execution that has ended; next …: of the one that begins
_LINK_COLUMNS = (
    "run", "fence", "journal", "wall", "facts", "hash", "id", "status", "attempt", "began", "at", "reason", "state",
    "revision", "outcome", "next", "next_status", "next_attempt", "next_began", "next_at", "next_reason", "next_state",
)  # fmt: skip
_LINK = f"""
    SELECT RAISE(ABORT, '{FENCE_LOST}') WHERE NOT EXISTS (
      SELECT 1 FROM standing WHERE number = NEW.run AND fence = NEW.fence AND owner IS NOT NULL);
    SELECT RAISE(ABORT, '{NOT_JSON}') WHERE NOT json_valid(NEW.outcome, 1);
    INSERT INTO journal (id, at, facts, hash) VALUES (NEW.journal, NEW.wall, NEW.facts, NEW.hash);
    INSERT INTO execution (id, status, attempt, began, at, reason, state)
    VALUES (NEW.id, NEW.status, NEW.attempt, NEW.began, NEW.at, NEW.reason, NEW.state) {_UPSERT}
    INSERT INTO execution (id, status, attempt, began, at, reason, state)
    VALUES (NEW.next, NEW.next_status, NEW.next_attempt, NEW.next_began, NEW.next_at, NEW.next_reason,
      NEW.next_state) {_UPSERT}
    INSERT INTO outcome (id, revision, text) VALUES (NEW.id, NEW.revision, NEW.outcome);"""


def _view(name: str, columns: Sequence[str], triggers: Mapping[str, str]) -> str:
    """A temporary view that is only inserted into; each trigger under the condition it is asked by."""
    made = "".join(
        f"CREATE TEMP TRIGGER {name}_{number} INSTEAD OF INSERT ON {name} WHEN {when} BEGIN {body} END;"
        for number, (when, body) in enumerate(triggers.items())
    )
    return f"CREATE TEMP VIEW {name} AS SELECT {', '.join(f'0 AS {column}' for column in columns)};{made}"


#: What a writing connection has beside the tables.
VIEWS = _view(
    "batch",
    ("kind", "a", "b", "c", "d", "e", "f", "g", "n"),
    {f"NEW.kind = {kind}": body for kind, body in _TRIGGERS.items()},
) + _view("link", _LINK_COLUMNS, {"true": _LINK})
INSERT_LINK = f"INSERT INTO link VALUES ({','.join('?' * len(_LINK_COLUMNS))})"


@cache
def insert_batch(rows: int) -> str:
    """The statement that writes a batch of so many rows."""
    return "INSERT INTO batch VALUES " + ",".join(["(?,?,?,?,?,?,?,?,?)"] * rows)


# ── writing beside the batches ──────────────────────────────────────────────────────────────────────────

ADD_PLAN = "INSERT INTO plan (hash, text) VALUES (?, ?) ON CONFLICT DO NOTHING"
ADD_RUN = """INSERT INTO run (id, name, plan, params, face, created, parent) VALUES (?, ?, ?, ?, ?, ?, ?)
    RETURNING number"""
ADD_STANDING = "INSERT INTO standing (number, updated, seal, echo) VALUES (?, ?, ?, 0)"
ADD_BIRTH = "INSERT INTO journal (id, at, facts, hash) VALUES (? << 32, ?, ?, ?)"
ADD_LETTERS = """INSERT INTO inbox (run, id, fact, at) SELECT ?1, value ->> 0, value ->> 1, ?2 FROM json_each(?3)
    WHERE true ON CONFLICT (run, id) DO NOTHING"""
LAST_LETTER = 'SELECT coalesce(max("offset"), 0) FROM inbox WHERE run = ?'
POST = "UPDATE standing SET posted = ?2 WHERE number = ?1"
CLAIM = """UPDATE standing SET fence = fence + 1, owner = ?3, lease = ?5, lease_elapsed = ?6, lease_length = ?7
    WHERE number = ?1 AND fence = ?2 AND owner IS ?4 RETURNING fence"""
RELEASE = """UPDATE standing SET owner = NULL, lease = NULL, lease_elapsed = NULL, lease_length = NULL
    WHERE number = ? AND fence = ?"""
RENEW = """UPDATE standing SET lease = ?2, lease_elapsed = ?3, lease_length = ?4 FROM json_each(?1) AS f
    WHERE number = CAST(f.key AS INTEGER) AND fence = f.value AND owner IS NOT NULL RETURNING number"""
RECOUNT = """UPDATE queue SET runs = counted.runs, letters = counted.letters FROM (
      SELECT (SELECT count(*) FROM standing WHERE status < 5) AS runs,
        (SELECT coalesce(sum(letters), 0) FROM standing WHERE posted > consumed) AS letters) AS counted
    WHERE (queue.runs, queue.letters) <> (counted.runs, counted.letters)"""
ADD_EVENTS = """INSERT INTO event (key, namespace, value, sender, context, at)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, ?2 FROM json_each(?1)"""
LAST_EVENT = 'SELECT coalesce(max("offset"), 0) FROM event'
WRITE_RECORD = """INSERT INTO record (kind, id, revision, value) SELECT ?1, ?2, 1, ?3 WHERE ?4 = 0
    ON CONFLICT DO UPDATE SET revision = revision + 1, value = ?3 WHERE value IS NULL RETURNING revision"""
CHANGE_RECORD = """UPDATE record SET revision = revision + 1, value = ?3
    WHERE kind = ?1 AND id = ?2 AND revision = ?4 AND value IS NOT NULL RETURNING revision"""

# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────

_RUN = """SELECT number, id, name, plan, status, state, params, face, fence, owner, lease, created, max(updated,
      coalesce((SELECT at FROM journal WHERE journal.id >= number << 32 AND journal.id < (number + 1) << 32
      ORDER BY journal.id DESC LIMIT 1), updated)), ended, parent,
      lease_elapsed, lease_length FROM run JOIN standing USING (number)"""
RUN = f"{_RUN} WHERE number = ?"
RUN_BY_ID = f"{_RUN} WHERE id = ?"
RUNS_BY_BEGINNING = f"{_RUN} WHERE id >= ?1 AND id < ?1 || char(127) ORDER BY number DESC LIMIT 101"
RUNS = f"""{_RUN} WHERE (?1 IS NULL OR status = ?1) AND number < ?2 ORDER BY number DESC LIMIT ?3"""
OPEN_RUNS = f"{_RUN} WHERE status IN (0, 2) ORDER BY number"
PLAN = "SELECT text FROM plan WHERE hash = ?"
OWNER = "SELECT fence, owner, lease, lease_elapsed, lease_length FROM standing WHERE number = ?"
HELD_FENCES = """SELECT number FROM standing JOIN json_each(?) AS f ON number = CAST(f.key AS INTEGER)
    WHERE fence = f.value AND owner IS NOT NULL"""
HEAD = "SELECT id, hash FROM journal WHERE id >= ?1 << 32 AND id < (?1 + 1) << 32 ORDER BY id DESC LIMIT 1"
INBOX = 'SELECT "offset", run, fact, id, at FROM inbox WHERE run = ? AND "offset" > ? ORDER BY "offset" LIMIT ?'
OPEN = "SELECT runs FROM queue"
UNREAD = "SELECT queue.letters, standing.letters FROM standing JOIN queue WHERE number = ?"
IS_RUN = "SELECT 1 FROM run WHERE id = ?"
KNOWN_LETTERS = """SELECT count(*) FROM json_each(?2) AS f
    WHERE EXISTS (SELECT 1 FROM inbox WHERE run = ?1 AND id = f.value)"""
CONSUMED_OF = "SELECT consumed FROM standing WHERE number = ?"
WAITING = "SELECT number, posted FROM standing WHERE posted > consumed ORDER BY number"
EXECUTIONS_PAGE = """SELECT id, status, attempt, began, at, reason, state FROM execution
    WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"""
ITEMS_OF = """SELECT id & 1048575, parent, position, key, value FROM item
    WHERE id >= ?1 << 20 AND id < (?1 + 1) << 20 ORDER BY id"""
BRANCHES_OF = "SELECT branch, state FROM branch WHERE run = ? ORDER BY branch"
PATHS_OF = "SELECT path, hash, status FROM document WHERE run = ? ORDER BY path"
DOCUMENT_OF = "SELECT hash, status, execution, replaces FROM document WHERE run = ? AND path = ?"
NOTES_OF = "SELECT path, note FROM document WHERE run = ? AND note IS NOT NULL ORDER BY path"
DOCUMENTS_OF = """SELECT run, path, hash, replaces, execution, status FROM document
    WHERE (?1 IS NULL OR run = ?1) AND (?2 OR status <> 'source') ORDER BY run, path"""
OURS = """SELECT DISTINCT run, path FROM document_history
    WHERE hash = ?1 AND status IN ('pending', 'published') AND substr('/' || path, -length(?2) - 1) = '/' || ?2
    ORDER BY run DESC, path"""
OUTCOME = "SELECT text FROM outcome WHERE id = ? AND revision = ?"
OUTCOMES_OF = "SELECT o.id, o.revision, o.text FROM json_each(?) AS f JOIN outcome AS o ON o.id = f.value"
_CALLS = """SELECT run, node, number, attempt, "index", key, provider, model, prompt_hash, input_tokens, output_tokens,
    cost, latency, at, answer, status, seal FROM ledger"""
CALLS = f"""{_CALLS} WHERE run = ?1 AND (?2 IS NULL OR node = ?2) AND (?3 IS NULL OR number = ?3)
    ORDER BY node, number, "index", key"""
TOTALS = """SELECT count(*) FILTER (WHERE status <> 'cached'), count(*) FILTER (WHERE status = 'cached'),
    coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost), 0),
    count(*) FILTER (WHERE cost IS NULL AND status NOT IN ('cached', 'reserved'))
    FROM ledger WHERE run = ?"""
EVENTS = """SELECT "offset", key, namespace, value, sender, context, at FROM event
    WHERE "offset" > ? ORDER BY "offset" LIMIT ?"""
JOURNAL_PAGE = """SELECT id & 4294967295, at, facts, hash FROM journal
    WHERE id > ?1 << 32 | ?2 AND id < (?1 + 1) << 32 ORDER BY id LIMIT ?3"""
BATCHES = "SELECT batches FROM standing WHERE number = ?"
BIRTH = "SELECT at, facts, hash FROM journal WHERE id = ? << 32"
FIRST_BIRTH = "SELECT at, facts, hash FROM journal WHERE id = 1 << 32"
ROW = "SELECT id, name, plan, params, face, created, parent FROM run WHERE number = ?"
STANDING = "SELECT status, updated, batches, seal, consumed, echo, posted, state FROM standing WHERE number = ?"
PLAN_OF = "SELECT hash, text FROM plan JOIN run ON run.plan = hash WHERE number = ?"
COUNT_EXECUTIONS = "SELECT count(*) FROM execution WHERE id >= ? AND id < ?"
COUNT_SUCCESSES = "SELECT count(*) FROM execution WHERE id >= ? AND id < ? AND status = 5"
COUNT_OUTCOMES = "SELECT count(*) FROM outcome WHERE id >= ? AND id < ?"
OUTCOMES_PAGE = """SELECT id, revision, text FROM outcome WHERE id >= ?1 AND id < ?2 AND (id, revision) > (?3, ?4)
    ORDER BY id, revision LIMIT ?5"""
IN_HISTORY = "SELECT 1 FROM document_history WHERE hash = ? AND run = ? AND path = ? LIMIT 1"
QUEUE_MISCOUNTED = """SELECT 'the queue says ' || runs || ' runs and ' || letters || ' letters' FROM queue
    WHERE runs <> (SELECT count(*) FROM standing WHERE status < 5)
    OR letters <> (SELECT coalesce(sum(letters), 0) FROM standing)"""
RUN_NUMBERS = """SELECT number FROM run UNION SELECT number FROM standing
    UNION SELECT id >> 32 FROM journal WHERE id & 4294967295 = 0 ORDER BY 1"""
CONTENT_MARKS = """SELECT text FROM outcome WHERE id >= ? AND id < ? AND substr(text, 1, 1) = '['"""
LOGS_OF = """SELECT node, execution, at, level, text FROM log WHERE run = ?1 AND (?2 IS NULL OR node = ?2)
    ORDER BY number DESC LIMIT ?3"""
RECORD = "SELECT kind, id, revision, value FROM record WHERE kind = ? AND id = ? AND value IS NOT NULL"
RECORDS = "SELECT kind, id, revision, value FROM record WHERE kind = ? AND value IS NOT NULL ORDER BY id"

# ── a database made anew ────────────────────────────────────────────────────────────────────────────────

RESTORE_RUN = """INSERT INTO run (number, id, name, plan, params, face, created, parent)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
RESTORE_STANDING = (
    """INSERT INTO standing (number, updated, seal, echo, owner, fence) VALUES (?, ?, ?, 0, 'mended', ?)"""
)
RESTORE_JOURNAL = "INSERT INTO journal (id, at, facts, hash) VALUES (? << 32 | ?, ?, ?, ?)"
RESTORE_LETTER = """INSERT INTO inbox ("offset", run, id, fact, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
RESTORE_PLACE = """UPDATE standing SET posted = max(?2, (SELECT coalesce(max("offset"), 0) FROM inbox WHERE run = ?1)),
    consumed = ?2, echo = ?2, owner = NULL WHERE number = ?1"""
RESTORE_RECORD = "INSERT INTO record (kind, id, revision, value) VALUES (?, ?, ?, ?)"
RESTORE_EVENT = (
    """INSERT INTO event ("offset", key, namespace, value, sender, context, at) VALUES (?, ?, ?, ?, ?, ?, ?)"""
)
RESTORE_LOG = """INSERT INTO log (number, run, node, execution, at, level, text) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING"""
