"""A process of its own for the tests of the SQLite store: `child_of_store.py WHAT DATABASE …`."""

from __future__ import annotations

import os
import signal
import sys

from callboard.core.deadline import Now, after
from callboard.errors import ForkedProcess
from callboard.ports import Write
from callboard.store.sql.sqlite import SQLiteStore
from callboard.testing.kits.store import FACT, ME, PLAN

NOW = Now(2.0, "boot", 2.0)


def append(path: str, number: str, name: str, count: str) -> None:
    store = SQLiteStore(path)
    for place in range(int(count)):
        store.append(int(number), [(f"{name}-{place}", FACT)], 1.0)
    store.close()


def commit(path: str, number: str) -> None:
    """Commit outcomes without end and acknowledge each on stdout."""
    store, run = SQLiteStore(path), int(number)
    fence = store.claim(run, ME._replace(pid=os.getpid()), after(NOW, 9.0), NOW, alive=lambda _: False)
    assert fence is not None
    batch = len(store.journal(run))
    while True:
        batch += 1
        id = run << 40 | batch << 20 | 1
        store.commit([Write(run, fence, 1.0, [FACT], outcomes=[(id, 0, f'{{"value":{batch}}}')])])
        os.write(1, b"%d\n" % batch)


def hold(path: str, number: str) -> None:
    store = SQLiteStore(path)
    with store.transaction() as writer:
        writer.execute("UPDATE standing SET updated = 5 WHERE number = ?", (int(number),))
        os.write(1, b"held\n")
        signal.pause()


def fork(path: str) -> None:
    store = SQLiteStore(path)
    number = store.create_run(id="show", name="", plan=PLAN, params="{}", face="", at=1.0).number
    store.version()
    child = os.fork()
    if not child:
        for call in (
            lambda: store.find_run("show"),
            lambda: store.append(number, [("b", FACT)], 1.0),
            lambda: store.version(),
            lambda: store.commit([Write(number, 1, 1.0)]),
        ):
            try:
                call()
            except ForkedProcess as error:
                print(type(error).__name__, flush=True)
        store.close()
        return
    os.waitpid(child, 0)
    store.append(number, [("a", FACT)], 1.0)
    store.close()
    print("parent writes")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
