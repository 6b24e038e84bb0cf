"""The `ctx` of one attempt: the ports wiring filled, and what the attempt has to say beside its value.

Events and saves are only gathered here; they leave with the outcome, in its transaction, or not at all. At most
twelve members, because whatever stands here has to work in a child process as well, as lines of JSON.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from callboard.errors import Permanent
from callboard.executors.values import encode
from callboard.ports import MOST_GATHERED, MOST_GATHERED_BYTES, TOO_MUCH_GATHERED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callboard.ports import Attempt, Cache, Documents, Json, Log, Model, Work


class AttemptContext:
    """Implements `ports.Context`; `gathered` is for the middleware that hands it on."""

    __slots__ = (
        "_progress", "attempt", "cache", "documents", "gathered", "key", "limits", "log", "model", "secrets"
    )  # fmt: skip

    def __init__(
        self,
        attempt: Attempt,
        key: str,
        *,
        model: Model,
        documents: Documents,
        cache: Cache,
        log: Log,
        progress: Callable[[float, float | None, str], None],
        limits: Mapping[str, int],
        secrets: Mapping[str, str],
    ) -> None:
        self.attempt, self.key = attempt, key
        self.model, self.documents, self.cache, self.log = model, documents, cache, log
        self.limits, self.secrets = limits, secrets
        self.gathered = Gathered()
        self._progress = progress

    def publish(self, key: str, value: Json = None) -> None:
        """An event, recorded no later than the outcome. Raises NotJson, Permanent when there are too many."""
        self.gathered.weigh(encode(value, self.attempt.task))
        self.gathered.events.append((key, value))

    def save(self, write: str, params: Mapping[str, Json]) -> None:
        """A registered write, committed with the outcome. Raises NotJson, Permanent when there are too many."""
        self.gathered.weigh(encode(dict(params), self.attempt.task))
        self.gathered.saves.append((write, dict(params)))

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        """Lossy; never a fact."""
        self._progress(done, of, note)


class Gathered:
    """What an attempt has published and saved so far, in order."""

    __slots__ = ("_bytes", "events", "saves")

    def __init__(self) -> None:
        self._bytes = 0
        self.events: list[tuple[str, Json]] = []
        self.saves: list[tuple[str, Mapping[str, Json]]] = []

    def weigh(self, text: str) -> None:
        """One more will be gathered. Raises Permanent when there is no room for it."""
        self._bytes += len(text)
        if len(self.events) + len(self.saves) >= MOST_GATHERED or self._bytes > MOST_GATHERED_BYTES:
            raise Permanent(TOO_MUCH_GATHERED)


class Contexts:
    """Makes the context of an attempt. Wiring builds one per engine.

    `documents(work)` opens the files of one attempt; `log(work, text, level)` and `progress(work, done, of, note)`
    take what may be lost.
    """

    def __init__(
        self,
        *,
        model: Model,
        documents: Callable[[Work], Documents],
        cache: Cache,
        log: Callable[[Work, str, str], None],
        progress: Callable[[Work, float, float | None, str], None],
        limits: Mapping[str, int] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._model, self._documents, self._cache = model, documents, cache
        self._log, self._progress = log, progress
        self._limits, self._secrets = limits or {}, secrets or {}

    def __call__(self, work: Work) -> AttemptContext:
        return AttemptContext(
            work.attempt,
            work.key,
            model=self._model,
            documents=self._documents(work),
            cache=self._cache,
            log=_Log(self._log, work),
            progress=partial(self._progress, work),
            limits=self._limits,
            secrets=self._secrets,
        )


class _Log:
    """`ports.Log` of one work."""

    __slots__ = ("_sink", "_work")

    def __init__(self, sink: Callable[[Work, str, str], None], work: Work) -> None:
        self._sink, self._work = sink, work

    def __call__(self, text: str, level: str = "info") -> None:
        self._sink(self._work, text, level)
