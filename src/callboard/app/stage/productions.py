"""`run_in_production`: a pipeline played in an instance of a production; the text and the instance's id.

It waits as `run` does, on the same engine thread. What it gives is a text, so a run that waits for a person, which has
none yet, is an error that says how it goes on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from callboard.app.commands.carry import Stop
from callboard.app.commands.submit import Production
from callboard.app.stage.facade import result, thread_of, wait
from callboard.app.stage.thread import Play, Played
from callboard.app.views import run as views
from callboard.app.views.words import waits
from callboard.errors import RunWaiting
from callboard.text.strict import pipe_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

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
    error is raised. Ctrl-C halts the run in good order and raises KeyboardInterrupt, whose cause is a RunInterrupted
    with the run's id. Raises RunFailed, RunCancelled, RunInterrupted (halted by somebody else), RunWaiting (for a
    person; its message says what to say), InvalidFile (also for a model without a key), NotFound, UsageError.
    """
    instance = None if instance_id is None else str(instance_id)
    playing = Production(production_config, instance, document_type, step, suffix)
    thread = threading.current_thread()
    play = Play(pipeline_file, input_data, None, None, None, None, thread, Stop(), playing, overwrite)
    played = wait(thread_of(model=model), play)
    left = result(play, played)
    if left.status != "success":
        raise _waiting(played)
    value = left.value
    instance = (played.house.production_of(played.row) or {}).get("instance_id", "")
    return pipe_text(value) if value is not None else "", str(instance)


def _waiting(played: Played) -> RunWaiting:
    house = played.house
    row = house.store.find_run(played.row.id)
    next = views.next_command(views.in_memory(house.store, row), row, owned=False)
    return RunWaiting(f"run {row.id} is {waits(played.left.because)}. Go on with: {next}", run=row.id)
