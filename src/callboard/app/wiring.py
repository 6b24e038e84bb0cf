"""The one place that builds: which adapter stands behind each port, and in which order middleware goes.

Rooms that own heavy vendors are loaded here by dotted name, when they are needed: listing runs imports neither
Jinja2 nor an HTTP client. Nobody else constructs an adapter.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from callboard.app import places
from callboard.app import project as projects
from callboard.app.attempt import Files, Link
from callboard.core.status import INIT
from callboard.engine.clock import SystemClock
from callboard.engine.owner import alive, host_id, keeps, new_owner
from callboard.errors import Ambiguous, Conflict, NotFound, StoreRefused, UsageError
from callboard.executors.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.app.project import Project
    from callboard.app.settings import Settings
    from callboard.app.shelf import Shelf
    from callboard.core.facts import Fact
    from callboard.core.plan import Task
    from callboard.core.run import Run
    from callboard.engine.apply import Applied
    from callboard.engine.engine import Engine
    from callboard.ports import Backend, Cache, Json, Owner, RunRow, RunRows

#: Children for user functions, and calls each carries at once.
CHILDREN, CALLS = 2, 16
#: Executions of these kinds that one engine has at work at once.
CAPACITY = {"command": 4}
#: Seconds for which the room that was found for something new is believed to be there.
_ROOMY = 0.5
_MOST_NAMESAKES = 100  # of so many runs it is asked whether they are one that goes on and on
_NAME = "project", "name"  # kind and id of the record that holds it


def load(module: str, name: str) -> Any:
    """What a room offers by name, imported now."""
    return getattr(importlib.import_module(f"callboard.{module}"), name)


class House:
    """A project, opened: its store, its clock, and all that is built around them on demand.

    `inside` runs user functions in this very process (the façade); else they run in warm children.
    """

    def __init__(self, settings: Settings, project: Project | None, store: Any, *, inside: bool = False) -> None:
        self.settings, self.project, self.store, self.inside = settings, project, store, inside
        self.clock = SystemClock()
        self.registry = REGISTRY
        self.pid = os.getpid()
        self._backends: list[Backend] = []
        self._roomy_until = 0.0

    # ── for commands and views ──────────────────────────────────────────────────────────────────────────

    @property
    def root(self) -> Path:
        return self.project.root if self.project is not None else Path.cwd()

    @property
    def base(self) -> Path | None:
        """The directory that may be moved with all that is recorded in it; None for a store in memory."""
        return self.project.root if self.project is not None else None

    @cached_property
    def name(self) -> str:
        """Names the project in the keys of paid calls: a random word it got once, wherever it is moved."""
        had = self.store.read(*_NAME)
        if had is None:
            with contextlib.suppress(Conflict):  # somebody was quicker
                self.store.write(*_NAME, secrets.token_hex(16), revision=0)
            had = self.store.read(*_NAME)
        return str(had.value)

    def find_run(self, name: str | None, *, open: bool = False) -> RunRow:
        """A run by id, its beginning, or number; without a name the newest (that has not ended, with `open`)."""
        if name is not None:
            return self._named(name)
        rows = self.store.open_runs() if open else self.store.runs(most=1)
        if not rows:
            raise NotFound("there is no run that has not ended" if open else "there is no run yet")
        newest: RunRow = max(rows, key=lambda row: row.number)
        return newest

    def _named(self, name: str) -> RunRow:
        """A beginning that a run shares only with those in whose place it goes on means the one that goes on."""
        try:
            row: RunRow = self.store.find_run(name)
        except Ambiguous as several:
            if len(several.ids) > _MOST_NAMESAKES:
                raise
            last = {one.number: one for one in (self.successor(self.store.find_run(id)) for id in several.ids)}
            if len(last) > 1:
                raise
            row = next(iter(last.values()))
        return row

    def successor(self, row: RunRow) -> RunRow:
        """The run that goes on in place of this one, after as many adoptions as there were; itself without any."""
        decode = load("text.strict", "decode")
        while (by := decode(row.state).get("replaced")) is not None:
            row = self.store.find_run(by)
        return row

    def begun(self, row: RunRow) -> dict[str, Any]:
        """What a run began with, every directory where it lies now."""
        return places.found(load("text.strict", "decode")(row.params), self.base)

    def production_of(self, row: RunRow) -> dict[str, Any] | None:
        """The values of the instance a run plays in."""
        return places.playing(self.begun(row))

    def placed(self, row: RunRow) -> dict[str, Any]:
        """As `begun`, for whoever carries the run out. Raises NotFound when a directory of it is gone."""
        begun = self.begun(row)
        gone = places.missing(begun, plays=row.status != INIT)
        if gone:
            raise NotFound(f"run {row.id} has its files in {gone}, which is not there; put it back, or begin a new run")
        return begun

    def keep_model(self, row: RunRow) -> None:
        """Let a run go on with the model it began with, unless another was named now."""
        began = load("text.strict", "decode")(row.params).get("model")
        if began and not self.settings.model:
            self.settings = self.settings._replace(model=began)

    def is_alive(self, owner: Owner) -> bool:
        """Whether an owner lives, or has to be believed because it is elsewhere."""
        return alive(owner) is not False if owner.host == host_id() else True

    def is_owned(self, row: RunRow) -> bool:
        return row.owner is not None and keeps(row.owner, row.lease, self.clock.now())

    def apply(self, run: int, facts: Sequence[Fact]) -> Applied:
        """Put facts into a run's inbox; judge them here when nobody carries the run out."""
        folder = self.project.bells if self.project is not None else None
        judge = load("engine.apply", "apply")
        applied: Applied = judge(self.store, self.clock, run, facts, folder=folder, clear=self.clear)
        return applied

    def replace(self, run: int, successor: Callable[[RunRows, Run], Any]) -> RunRow | None:
        """End a run and begin the one that `successor` makes of it, as `engine.replacing.replace` says."""
        swap = load("engine.replacing", "replace")
        replaced: RunRow | None = swap(self.store, self.clock, run, successor, self.shelf.put, clear=self.clear)
        return replaced

    def clear(self, had: Owner | None) -> None:
        """End what dead engines of this project have left behind, at least what this one has."""
        self.leavings.clear(had)

    @cached_property
    def reserve(self) -> Any:
        """Room that is kept on the project's disk; None for a store in memory."""
        return load("store.room", "Reserve")(self.project.reserve) if self.project is not None else None

    def short_of_room(self) -> str:
        """What keeps the engines of this project from starting anything, in words; empty when nothing does."""
        return self.reserve.missing() if self.reserve is not None else ""

    def demand_room(self) -> None:
        """That something new may begin. Raises NoRoom, with the fix. Of many at once one asks for all."""
        now = self.clock.now().elapsed
        if self.reserve is not None and now >= self._roomy_until:
            self.reserve.demand()
            self._roomy_until = now + _ROOMY

    def close(self) -> None:
        if self.pid == os.getpid():
            self.store.close()

    # ── what is built on demand ─────────────────────────────────────────────────────────────────────────

    @cached_property
    def gateway(self) -> Any:
        """The model gateway, with the offline model beside it."""
        settings = self.settings
        offline = load("llm.offline", "OfflineModel")(
            clock=self.clock,
            latency=settings.offline_latency,
            ledger=Path(settings.offline_ledger) if settings.offline_ledger else None,
        )
        return load("llm.gateway", "Gateway")(
            clock=self.clock,
            offline=offline,
            connect=_connect,
            secret=settings.keys.get,
            override=settings.model or "",
            server=_server(settings),
            providers=_providers(settings),
            prices=load("llm.prices", "read")(Path(settings.prices)) if settings.prices else None,
        )

    async def hang_up(self) -> None:
        """End the children and close the connections to providers, on the loop that used them. More may be opened
        later."""
        backends, self._backends = self._backends, []
        for backend in backends:
            await backend.close()
        if "gateway" in self.__dict__:
            await self.gateway.close()

    @cached_property
    def cache(self) -> Cache:
        cache: Cache
        if self.project is None:
            cache = load("store.cache", "MemoryCache")()
        else:
            cache = load("store.cache", "FileCache")(self.project.home / "cache")
        return cache

    @cached_property
    def leavings(self) -> Any:
        """What dead engines of this project have left behind. A copy of the project has its name, but another place on
        the disk; whoever sees other process numbers is on another host."""
        if self.project is None:
            return load("backends.leavings", "Leavings")(secrets.token_hex(16))
        place = os.stat(self.project.home)
        return load("backends.leavings", "Leavings")(f"{self.name} {place.st_dev} {place.st_ino} {host_id()}")

    @cached_property
    def executors(self) -> dict[str, Any]:
        """The built-in executors, by kind."""
        supervise = importlib.import_module("callboard.backends.supervisor")
        found = [
            load("executors.llm", "Llm")(),
            load("executors.command", "Command")(supervise, whose=self.leavings.whose),
            load("executors.human", "Human")(),
            load("executors.files", "AiSource")(),
            load("executors.files", "AiResult")(),
            load("executors.files", "Content")(),
            load("executors.docx", "ConvertToDocx")(),
        ]
        return {executor.kind: executor for executor in found}

    @cached_property
    def shelf(self) -> Shelf:
        """Where documents of runs lie, for who only looks."""
        shelf: Shelf = load("app.shelf", "Shelf")(self.store, self.begun)
        return shelf

    @cached_property
    def functions(self) -> Any:
        """User functions in this very process: `app.stage.own`."""
        return load("app.stage.own", "OwnFunctions")(self.registry)

    def engine(self, report: Callable[[str, str], None] = lambda state, why: None) -> Engine:
        """An engine of its own over this project's store. Start it on a running loop."""
        logs = load("store.logs", "LogFiles")(self.project.home / "logs") if self.project is not None else None
        link = Link(self.store, self.clock, logs)
        shelf = load("app.shelf", "Shelf")(self.store, self.begun, report)
        backend = _backend(self, link, shelf)
        self._backends.append(backend)
        engine: Engine = load("engine.engine", "Engine")(
            self.store,
            backend,
            self.clock,
            new_owner(),
            capacity=CAPACITY,
            put_document=shelf.put,
            see_document=shelf.see,
            folder=self.project.bells if self.project is not None else None,
            project=self.name,
            begun=self.placed,
            inside=self._is_inside,
            lease=self.settings.lease,
            report=report,
            reserve=self.reserve,
            clear=self.clear,
        )
        link.engine = engine
        return engine

    def _is_inside(self, task: Task) -> bool:
        """Whether a task runs in this process because it calls a function that is known here."""
        return self.inside and task.executor == "function" and self.functions.can(task.inputs) is None


def open_house(
    settings: Settings,
    *,
    here: Path,
    make: bool = False,
    memory: bool = False,
    readonly: bool = False,
    inside: bool = False,
) -> House:
    """Open the project around `here` (or the one the settings name). Raises NotFound, StoreRefused, StoreDamaged."""
    if memory:
        store = load("store.memory", "MemoryStore")(bounds=settings.bounds)
        return House(settings, None, store, inside=inside)
    project = _made(settings, here) if make else projects.need(settings.project, here)
    store = _store(project, readonly and project.database.exists(), settings)
    return House(settings, project, store, inside=inside)


def _made(settings: Settings, here: Path) -> Project:
    """The project; one is made when there is none, and room for it."""
    if not projects.is_there(settings.project, here):
        with contextlib.suppress(OSError):  # told where the project is made
            load("store.room", "demand_beginning")(projects.place(settings.project, here))
    project = projects.find_or_make(settings.project, here)
    if project.made:
        load("store.room", "Reserve")(project.reserve).make()
    return project


def visit(settings: Settings, project: Project) -> House:
    """A house in which everything stays as it is, to look around in. Raises StoreRefused, StoreDamaged."""
    return House(settings, project, load("store.sql.sqlite", "SQLiteStore")(project.database, readonly=True))


def _store(project: Project, readonly: bool, settings: Settings) -> Any:
    """The project's store. One that an older version has left is brought up to date first, whoever comes to look."""
    made = load("store.sql.sqlite", "SQLiteStore")
    if readonly:
        try:
            return made(project.database, readonly=True)
        except StoreRefused:
            made(project.database).close()  # refused again, in the same words, where nothing can be done about it
    return made(project.database, readonly=readonly, bounds=settings.bounds)


def _connect(endpoint: Any, clock: Any) -> Any:
    """The client of an endpoint. The HTTP library comes with the first call that leaves this machine or process."""
    return load("llm.openai", "connect")(endpoint, clock)


def look_around(settings: Settings, *, here: Path) -> House:
    """A house from which to look at the project around `here`, if there is one; nothing of it is opened or made."""
    there = projects.is_there(settings.project, here)
    project = projects.find(settings.project, here) if there else None
    return House(settings, project, load("store.memory", "MemoryStore")())


def _server(settings: Settings) -> Any:
    """The user's own server, with the key that was given for it, if any: no other key ever goes there."""
    if not settings.base_url:
        return None
    try:
        host = urlsplit(settings.base_url).hostname or ""
    except ValueError:
        raise UsageError(f"CALLBOARD_BASE_URL={settings.base_url!r} is not a URL; write https://host/v1") from None
    key = "CALLBOARD_API_KEY" if settings.keys.get("CALLBOARD_API_KEY") else ""
    return load("llm.providers", "Provider")(
        "server", settings.base_url, key=key, free=load("llm.providers", "is_loopback")(host)
    )


def _providers(settings: Settings) -> list[Any]:
    """Known providers that the environment gives another address."""
    known = load("llm.providers", "KNOWN")
    return [known["openai"]._replace(base_url=settings.openai_url)] if settings.openai_url else []


# ── how an attempt is carried out ───────────────────────────────────────────────────────────────────────


def _backend(house: House, link: Link, shelf: Shelf) -> Backend:
    """Built-in executors on the engine's loop; user functions in children, or in this process for the façade.

    The order of middleware, outermost first: collect, template, documents' reading, cache, budget, log. Time limits
    are the engine's.
    """
    files = Files(house.store, load("executors.staged", "Staged"), base=house.base, whose=shelf.whose)
    contexts = load("executors.context", "Contexts")(
        model=house.gateway,
        documents=files,
        cache=house.cache,
        log=link.log,
        progress=link.progress,
        secrets=house.settings.secrets,
    )
    lister = load("executors.lister", "Lister")(files)
    chain = load("executors.chain", "chain")
    executors = dict(house.executors)
    if house.inside:
        executors["function"] = house.functions
    middleware = [
        load("executors.middleware.collect", "collect"),
        load("executors.middleware.template", "template"),
        load("executors.middleware.documents", "Outputs")(places.of_document),
        load("executors.middleware.cache", "Cached")(executors, project=house.name),
        load("executors.middleware.budget", "Budgeted")(link, project=house.name),
        load("executors.middleware.log", "log"),
    ]

    def can(kind: str, inputs: Mapping[str, Json]) -> str | None:
        if kind not in executors:
            return f"there is no executor of kind {kind!r}"
        return house.functions.can(inputs) if kind == "function" else None

    inline = load("backends.inline", "Inline")(
        chain(middleware, load("executors.chain", "perform")(executors)),
        contexts,
        lister=lister,
        can=can,
        close=house.functions.close if house.inside else lambda: None,
    )
    children = load("backends.children", "Children")(
        load("backends.child", "Settings")(str(house.root), _child_environment(os.environ), whose=house.leavings.whose),
        wrap=lambda last: chain(middleware, last),
        context=contexts,
        seen=load("executors.chain", "seen_by_function"),
        lister=lister,
        count=CHILDREN,
        width=CALLS,
    )
    functions = load("backends.routes", "Whoever")(inline, children) if house.inside else children
    routed: Backend = load("backends.routes", "Routes")(inline, {"function": functions})
    return routed


def _child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    allowed = load("executors.command", "ALLOWED")
    return {name: environ[name] for name in (*allowed, "HOME") if name in environ}
