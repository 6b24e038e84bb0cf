"""What a production is told of a run that plays in it: its status, and a record in its diagnostics.

A production's index is no part of the store's transactions, so whoever carries a run out first leaves a promise in
the project's records: *this run's end is yet to be told*. The promise is taken back once it was told; one that is
left by a process that died, or of a run that somebody cancelled meanwhile, is kept by the next who comes along.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from callboard.app import places
from callboard.app.views import run as views
from callboard.app.wiring import load
from callboard.core.status import ENDED, FAILED, INIT, STOPPED, SUCCESS, Status
from callboard.crash import point
from callboard.errors import CallboardError, Conflict, NoRoom
from callboard.ports import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.app.wiring import House
    from callboard.ports import Call, RunRow

PROMISE = "production to be told"  # the kind of those records; their id is the run's number, their value an owner
_WORDS = {SUCCESS: "completed", FAILED: "failed", STOPPED: "failed"}


def make_instance(house: House, row: RunRow) -> None:
    """Make the instance a run plays in. Once it has begun it was made, and a person may have removed it since."""
    begun = house.begun(row)
    playing = places.playing(begun)
    if playing is None or row.status != INIT:
        return
    point("submit.instance")
    layout = {name: playing[name] for name in ("id_format", "document_pattern", "steps")}
    manager = load("productions.manager", "ProductionManager")(playing["dir"], config_dict=layout)
    manager.create_instance({"pipeline": os.path.basename(begun["file"])}, instance_id=playing["instance_id"])
    manager.set_status(playing["instance_id"], "active")


def promise(house: House, number: int, owner: Owner) -> None:
    """Leave a promise that `owner` will tell this run's end, when it plays in a production at all."""
    row = house.store.find_run(number)
    if house.production_of(row) is None:
        return
    make_instance(house, row)
    had = house.store.read(PROMISE, str(number))
    point("production.promise")
    house.store.write(PROMISE, str(number), list(owner), revision=had.revision if had else 0)


def tell_production(house: House, number: int, status: Status, because: str) -> str:
    """Set the instance's status and keep a record of the calls, errors and costs. A production that is gone is none.

    Why it could not be told just now, when its disk takes nothing: the promise stays, for whoever comes next.
    """
    row = house.store.find_run(number)
    playing = house.production_of(row)
    if json.loads(row.state).get("replaced"):
        _keep(house, number)  # the run that goes on in its place has an end to tell
        return ""
    if playing is None or because == "interrupted":
        return ""
    point("production.tell")
    try:
        _tell(house, row, playing, status)
    except CallboardError:
        pass  # moved or deleted meanwhile: the run itself is recorded
    except OSError as error:
        return f"the production is told later how it ended: {error.strerror or error}"
    point("production.told")
    if status in ENDED:
        _keep(house, number)
    return ""


def tell_rest(house: House) -> None:
    """Tell what nobody else will: ends of runs whose process died in between, or that were ended by a command."""
    for left in house.store.list(PROMISE):
        row = house.store.find_run(int(left.id))
        if Status(row.status) in ENDED and not house.is_alive(Owner(*left.value)):
            tell_production(house, row.number, Status(row.status), "")


def _keep(house: House, number: int) -> None:
    had = house.store.read(PROMISE, str(number))
    if had is not None:
        with contextlib.suppress(Conflict, NoRoom):
            house.store.remove(PROMISE, str(number), revision=had.revision)


def _tell(house: House, row: RunRow, playing: Mapping[str, Any], status: Status) -> None:
    manager = load("productions.manager", "ProductionManager")(playing["dir"])
    manager.set_status(playing["instance_id"], _WORDS.get(status, "paused"))
    if status in _WORDS:
        manager.record(
            "run" if status is SUCCESS else "error",
            _record(house, row, status),
            instance_id=playing["instance_id"],
            secrets=house.settings.secrets.values(),
        )


def _record(house: House, row: RunRow, status: Status) -> dict[str, Any]:
    run = views.in_memory(house.store, row)
    failed = [node for node in run.nodes if node.status is FAILED]
    return {
        "run": row.id,
        "pipeline": json.loads(row.params).get("file"),
        "plan": row.plan,
        "status": status.name.lower(),
        "errors": [{"step": run.name_of(node.id), "message": node.reason, "at": node.at} for node in failed],
        "calls": [_call(run, call) for call in house.store.calls(row.number)],
        "documents": views.documents(house.store, row, run, house.base),
    }


def _call(run: Any, call: Call) -> dict[str, Any]:
    return {
        "step": run.name_of(call.node),
        "model": call.model,
        "provider": call.provider,
        "prompt_hash": call.prompt_hash,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "latency": call.latency,
        "cost_nano_usd": call.cost,
        "status": call.status,
    }
