"""Named places where a process may be killed: before and after everything that it writes.

Whatever writes says so with `point("publish.linked")`. Nobody listens as a rule, and then it costs a look at a global.
With `CRASH_AT=publish.linked:2` in its environment a process kills itself (SIGKILL: nothing is cleaned up, no buffer is
flushed) when it passes that place for the second time; a proof may listen in its own process instead. What a process
starts does not inherit it: children, commands and their supervisors get an environment of their own.

The names are a table, so that a proof can go through all of them and the house can see that each function which
writes has one. Patching the calls of `os` from outside was tried first: it finds every write, but has no name for it
that still means the same after the code was changed, and it does not see between two of SQLite's.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE = "CRASH_AT"

#: What is about to happen at a point, or has just happened.
POINTS = {
    # a project, its database and its schema
    "project.make": "a directory of `.callboard` will be made",
    "project.made": "`.callboard` has all its directories",
    "reserve.make": "the file that keeps room for a full disk will be made",
    "reserve.made": "it is there, whole",
    "reserve.give_up": "it will be removed, because the disk is full",
    "lock.open": "the writers' lock files will be made",
    "file.create": "an empty file for a database will be made",
    "file.created": "it is there, its name not yet durable",
    "file.clear": "what SQLite keeps beside a copy will be removed",
    "file.sync": "a file that another process may have left unsynced will be synced",
    "schema.begin": "a database will get a new schema",
    "schema.step": "one migration was carried out inside the transaction",
    "schema.commit": "all migrations were, and their transaction will be committed",
    "schema.done": "the schema is up to date",
    "wal.grow": "the write-ahead log will be grown in advance",
    "wal.grown": "it is, and will be emptied",
    "wal.checkpoint": "the write-ahead log will be copied back",
    "wal.checkpointed": "it was",
    "store.close": "the writing connection will be closed",
    "store.closed": "it is",
    "backup.begin": "an empty file for a copy of the database was made",
    "backup.copy": "some pages were copied",
    "backup.copied": "the copy is whole, under a temporary name",
    "backup.rename": "it is synced and will get its name",
    "backup.renamed": "it has its name, not yet durable",
    # a repair
    "repair.gather": "what was found on damaged pages will be put aside",
    "repair.build": "a part of the database that is made anew will be written",
    "repair.built": "it is whole, synced and closed",
    "repair.clear": "what a repair has made for itself will be removed",
    "repair.keep": "a damaged file will get a second name among the evidence",
    "repair.report": "what was found will be written beside the evidence",
    "repair.begin": "the note will be made that the databases change places",
    "repair.aside": "the log of the damaged database will lose its first name",
    "repair.swap": "the mended database will get the name",
    "repair.swapped": "it has it, not yet durable",
    "repair.end": "the note will be taken away",
    # transactions
    "transaction.begin": "a transaction will begin",
    "transaction.commit": "all of it is written, and will be committed",
    "transaction.committed": "it is, and nobody has been told",
    "run.create": "a run was inserted",
    "run.adopt": "a run was ended, and the one that goes on in its place was inserted",
    "run.claim": "a run was claimed",
    "run.release": "runs were released",
    "lease.renew": "leases were renewed",
    "inbox.append": "facts were put into an inbox",
    "event.publish": "events were published",
    "record.write": "a record was written",
    "commit.begin": "a batch of an engine will be recorded",
    "commit.saves": "a batch is written, and what executors save will be",
    "commit.write": "a batch and its saves are written, and will be committed",
    "commit.done": "a batch is recorded, and nobody has been told",
    "orders.leave": "what a batch has ordered will be carried out",
    # content, cache, logs
    "content.put": "bytes will be kept by their content",
    "content.kept": "they are, durably",
    "whole.folder": "a directory of the store or of documents will be made",
    "whole.folder_made": "it is there, its name not yet durable",
    "whole.nameless": "a file without a name is open",
    "whole.link": "it is filled, and will get its name",
    "whole.linked": "it has its name, not yet durable",
    "whole.clear": "what a killed writer has left beside a name will be removed",
    "whole.beside": "a file with a temporary name is open",
    "whole.rename": "it is filled, and will get its name",
    "whole.renamed": "it has its name, not yet durable",
    "whole.sync": "names in a directory will be synced",
    "cache.put": "an answer will be put into the cache",
    "cache.kept": "it is there",
    "log.append": "a line will be appended to a run's log",
    "log.appended": "it is",
    # documents in place
    "document.place": "a recorded document will be put in place",
    "document.placed": "it is, and the engine has not heard of it",
    "publish.write": "a document's temporary file will be written",
    "publish.open": "its temporary file is open",
    "publish.link": "it is written, and will get its name, which is free",
    "publish.replace": "it is written, and will take the place of an older version",
    "publish.exchanged": "it has, and what came out is to be looked at",
    "publish.back": "a person's version came out, and will go back",
    "publish.named": "it has its name, not yet durable",
    "publish.beside": "it will lie beside a user's version",
    "publish.clear": "a temporary file will be removed",
    # calls of models
    "call.ask": "a model will be asked",
    "call.paid": "it has answered, and its ledger row waits for a transaction",
    "provider.write": "the offline model's own ledger will get a line",
    "provider.written": "it has",
    # engines
    "bell.hang": "an engine's doorbell will be hung",
    "bell.hung": "it hangs, not yet private",
    "bell.down": "a doorbell will be taken down",
    # productions
    "submit.recorded": "a run was recorded, and the instance it plays in is not made yet",
    "submit.instance": "the instance of a production that a recorded run plays in will be made",
    "production.promise": "a promise to tell a production how its run ends will be left",
    "production.tell": "a production will be told how its run ended",
    "production.told": "it was told, and the promise will be taken back",
    "folder.make": "a directory of a production will be made",
    "folder.made": "it is there, its name not yet durable",
    "folder.nameless": "a file without a name is open",
    "folder.link": "it is filled, and will get its name",
    "folder.linked": "it has its name, not yet durable",
    "folder.beside": "a file with a temporary name is open",
    "folder.rename": "it is filled, and will get its name",
    "folder.renamed": "it has its name, not yet durable",
    "folder.name": "a file that is filled will get a name that must be free",
    "folder.fill": "a file's bytes will be written",
    "folder.sync": "names in a directory will be synced",
    "folder.move": "a directory will get another name or place",
    "folder.moved": "it has, not yet durably",
    "folder.tree": "a directory with all that is in it will be removed",
    "folder.remove": "a file will be removed",
    "index.lock": "the index's lock file will be made and taken",
    "index.write": "the index will be replaced",
    "index.written": "it is",
    "index.aside": "a damaged index will be kept under another name",
    "index.note": "the largest id that was given will be noted",
    "instance.taken": "an instance has its directory, and no steps",
    "instance.steps": "it has its steps, and no row in the index",
    "config.keep": "a production's own copy of its configuration will be written",
    "diagnostics.keep": "a record of a run will be kept among a production's diagnostics",
}

_listener: Callable[[str], None] | None = None


def point(name: str) -> None:
    """This place is passed now."""
    if _listener is not None:
        _listener(name)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with the name of each point that is passed, on the thread that passes it; who listened before
    hears of it first."""
    global _listener
    before = _listener

    def both(name: str) -> None:
        assert before is not None
        before(name)
        listener(name)

    _listener = listener if before is None else both
    try:
        yield
    finally:
        _listener = before


def arm(at: str) -> None:
    """Let this process be killed where `at` says: a point, `:`, and how often it is passed (1 when left away).

    Raises ValueError for a point that is not known.
    """
    global _listener
    wanted, _, count = at.partition(":")
    if wanted not in POINTS:
        raise ValueError(f"{VARIABLE}={at}: there is no point {wanted!r}")
    left = int(count or 1)

    def passed(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    _listener = passed


if _at := os.environ.get(VARIABLE):
    arm(_at)
