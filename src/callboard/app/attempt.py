"""What an attempt reaches of the house around it: the engine that hears it, and the files it reads and writes.

An executor knows neither: it has a context, and wiring fills that from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.app import places

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.ports import Clock, Documents, Store, Work
    from callboard.store.logs import LogFiles


class Link:
    """What executors say to the engine: log lines, progress, paid calls. The engine is put in once it is built."""

    def __init__(self, store: Store, clock: Clock, files: LogFiles | None) -> None:
        self._store, self._clock, self._files = store, clock, files
        self.engine: Any = None

    def log(self, work: Work, text: str, level: str) -> None:
        """Into the run's file in full, and a few lines a second beside what happened.

        The file knows no fence. Who has stood still for a lease writes nothing there before he knows that
        the run is his.
        """
        self.engine.note(work.run, work.node, work.number, text, level)
        if self._files is not None and self.engine.is_sure(work.run):
            attempt = work.attempt
            line = {"at": self._clock.now().wall, "level": level, "task": attempt.task, "item": attempt.item}
            self._files.write(attempt.run, {**line, "number": work.number, "text": text})

    def progress(self, work: Work, done: float, of: float | None, note: str) -> None:
        share = f"{done:g} of {of:g}" if of is not None else f"{done:g}"
        self.engine.note(work.run, work.node, work.number, f"{share} {note}".strip(), "progress")

    async def recorded(self, work: Work, index: int) -> Any:
        calls = self._store.calls(work.run, work.node, work.number)
        return next((call for call in calls if call.index == index), None)

    async def reserve(self, work: Work, call: Any) -> None:
        """Without a purse every call may be made."""

    def paid(self, work: Work, call: Any) -> None:
        self.engine.note_paid(call)


class Files:
    """Opens the files of one attempt: under the run's directory, and in the production it plays in. They are `staged`
    until the outcome is recorded; `whose(run, path, hash)` says who has written that content there."""

    def __init__(
        self, store: Any, staged: Callable[..., Documents], *, base: Path | None, whose: Callable[[int, str, str], str]
    ) -> None:
        self._store, self._staged, self._base, self._whose = store, staged, base, whose

    def __call__(self, work: Work) -> Documents:
        store, production = self._store, places.playing(work.params)
        return self._staged(
            work.attempt.dir,
            base=str(self._base) if self._base is not None else None,
            put=store.keep,
            get=store.get,
            recorded=lambda path: store.document(work.run, path),
            whose=lambda path, hash: self._whose(work.run, path, hash),
            pinned=work.read,
            more=[production["dir"]] if production else [],
            replace=work.inputs.get("overwrite", work.params.get("overwrite")) is True,
        )
