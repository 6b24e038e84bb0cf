"""`run_in_production`: a pipeline played in an instance of a production; the text and the instance's id."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.app.commands.carry import carry_out
from callboard.app.commands.submit import Production, submit_pipeline
from callboard.app.settings import from_environment
from callboard.app.views import run as views
from callboard.app.wiring import House, open_house
from callboard.core.status import FAILED, STOPPED, SUCCESS
from callboard.errors import RunCancelled, RunFailed
from callboard.text.strict import pipe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.app.commands.carry import Left
    from callboard.ports import RunRow
    from callboard.productions.manager import ProductionManager


def run_in_production(
    pipeline_file: str | os.PathLike[str],
    production_config: str | os.PathLike[str] | Mapping[str, Any] | ProductionManager,
    input_data: str = "",
    document_type: str | None = None,
    step: str | None = None,
    *,
    instance_id: str | int | None = None,
    suffix: str | None = None,
    model: str | None = None,
    overwrite: bool | None = None,
) -> tuple[str, str]:
    """Run a pipeline in a new instance (or the one that is named): (the last step's text, the instance's id).

    With `document_type` the result is saved as a document of that type in `step` (the last one of the production by
    default). The instance becomes `active`, then `completed`, or `failed` with a record in the diagnostics; then the
    error is raised. Raises RunFailed, RunCancelled, InvalidFile, NotFound, Permanent for a model without a key.
    """
    settings = from_environment(os.environ, model=model)
    house = open_house(settings, here=Path.cwd(), make=True, inside=True)
    try:
        row = submit_pipeline(
            house,
            Path(pipeline_file),
            input_data,
            production=Production(
                production_config, None if instance_id is None else str(instance_id), document_type, step, suffix
            ),
            overwrite=overwrite,
        )
        left = _carried(house, row)
        playing = house.production_of(row) or {}
        return _outcome(house, row, left), str(playing.get("instance_id", ""))
    finally:
        house.close()


def _carried(house: House, row: RunRow) -> Left:
    """Wait on a loop of our own, in a thread when this thread has one that runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(carry_out(house, [row.number]))[row.number]
    found: list[Any] = []

    def there() -> None:
        try:
            found.append(asyncio.run(carry_out(house, [row.number]))[row.number])
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=there, name="callboard production")
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    left: Left = found[0]
    return left


def _outcome(house: House, row: RunRow, left: Left) -> str:
    if left.status is SUCCESS:
        value = views.result(house.store, house.store.find_run(row.id))
        return pipe_text(value) if value is not None else ""
    if left.status is STOPPED:
        raise RunCancelled(f"run {row.id} was stopped", run=row.id)
    if left.status is FAILED:
        run = views.in_memory(house.store, house.store.find_run(row.id))
        failed = [f"{run.name_of(node.id)}: {node.reason}" for node in run.nodes if node.status is FAILED]
        raise RunFailed(f"run {row.id} failed: {'; '.join(failed[:5])}", run=row.id)
    raise RunFailed(f"run {row.id} waits: {left.because}. Go on with: callboard resume {row.id}", run=row.id)
