"""What a production is told of a run that plays in it: its status, and a record in its diagnostics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from callboard.app.views import run as views
from callboard.app.wiring import load
from callboard.core.status import FAILED, STOPPED, SUCCESS, Status
from callboard.errors import CallboardError

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.ports import Call, RunRow

_WORDS = {SUCCESS: "completed", FAILED: "failed", STOPPED: "failed"}


def tell_production(house: House, number: int, status: Status, because: str) -> None:
    """Set the instance's status and keep a record of the calls, errors and costs. A production that is gone is none."""
    row = house.store.find_run(str(number))
    playing = house.production_of(row)
    if playing is None or because == "interrupted":
        return
    try:
        manager = load("productions.manager", "ProductionManager")(playing["dir"])
        manager.set_status(playing["instance_id"], _WORDS.get(status, "paused"))
        if status in _WORDS:
            manager.record(
                "run" if status is SUCCESS else "error",
                _record(house, row, status),
                instance_id=playing["instance_id"],
                secrets=house.settings.keys.values(),
            )
    except CallboardError:
        return  # moved or deleted meanwhile: the run itself is recorded


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
        "documents": views.documents(house.store, row, run),
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
