"""Documents are put in place once, and never out of order: who comes late with an old version leaves the new one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from callboard.app import project as projects
from callboard.app.settings import Settings
from callboard.app.shelf import Shelf
from callboard.app.wiring import House
from callboard.core.deadline import Now, after
from callboard.core.plan import Plan, Task, dump
from callboard.engine.owner import new_owner
from callboard.ports import Write
from callboard.store.packing import pack
from callboard.store.sql.sqlite import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path


def test_an_old_version_is_not_put_over_a_later_one(tmp_path: Path) -> None:
    """As an owner would that stood still between its commit and this."""
    project = projects.find_or_make(None, tmp_path)
    house = House(Settings(), project, SQLiteStore(project.database))
    try:
        store, told = house.store, list[str]()
        plan = dump(Plan(tasks=(Task(name="a", executor="llm", inputs={}),)))
        params = json.dumps({"dir": str(tmp_path)})
        row = store.create_run(id="show-1", name="", plan=plan, params=params, face="pipelines", at=1.0)
        now = Now(1.0, "boot", 1.0)
        fence = store.claim(row.number, new_owner(), after(now, 1e12), now, alive=lambda owner: False)
        old, new = store.put(b"old"), store.put(b"new")
        shelf = Shelf(store, house.begun, lambda state, why: told.append(state))
        for hash, replaces in ((old, None), (new, old)):
            pending = [("a.md", hash, replaces, pack(row.number, 0, 1), "pending")]
            store.commit([Write(row.number, fence, 2.0, documents=pending)])
            shelf.put(row.number, "a.md", hash, replaces)
        shelf.put(row.number, "a.md", old, None)
        assert (tmp_path / "a.md").read_bytes() == b"new"
        (tmp_path / "a.md").unlink()
        shelf.put(row.number, "a.md", old, None)
        assert not (tmp_path / "a.md").exists() and told == []
    finally:
        house.close()
