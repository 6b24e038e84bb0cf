"""Every boundary on one page: what the inside asks of the outside.

The engine, the executors and the doors speak to the world only through these protocols; `app/wiring.py`
alone knows which adapter stands behind each. Values that cross a boundary stand here too, beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from callboard.text.strict import canonical

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.core.deadline import Deadline, Now
    from callboard.core.facts import Fact
    from callboard.core.orders import Order

Json: TypeAlias = Any  # None, bool, int, float, str, list and dict with str keys: strict JSON only


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────


class Clock(Protocol):
    """Where time comes from. The fake one of `callboard.testing` moves only when a test says so."""

    def now(self) -> Now: ...

    async def sleep_until(self, elapsed: float) -> None:
        """Return once `now().elapsed >= elapsed`. Cancellable."""
        ...


# ── the store ───────────────────────────────────────────────────────────────────────────────────────────


class Owner(NamedTuple):
    """Who owns a run: an engine, told apart from any other that ever lived on any host."""

    host: str
    boot: str
    pid: int
    started: float  # start time of the process, in clock ticks since boot
    token: str = ""  # two engines of one process


class Call(NamedTuple):
    """A ledger row: one paid (or free) call of a model, settled. Money in billionths of a US dollar (nano-USD)."""

    run: int
    node: int
    number: int
    attempt: int
    index: int  # type: ignore[assignment]  # effect index inside the number, from 0; a tuple's own `index` is not used
    key: str  # idempotency key of the call
    provider: str
    model: str
    prompt_hash: str
    input_tokens: int
    output_tokens: int
    cost: int | None  # nano-USD, None when no price is known
    latency: float  # seconds
    at: float  # wall
    answer: str | None = None  # JSON text of the recorded answer, so that a paid call is never made again
    status: str = "settled"  # reserved | settled | failed | unknown | cached (answered without a call)


class Write(NamedTuple):
    """All that one step of one run writes, or what an engine writes beside its steps (empty journal).

    Rows are tuples in the order named here; `id` packs run << 40 | node << 20 | number.
    """

    run: int
    fence: int
    at: float  # wall
    journal: Sequence[str] = ()  # facts, encoded, in the order they were taken
    status: int | None = None  # the run's Status, when it moved
    state: str | None = None  # the run's own state (JSON text), when it moved
    executions: Sequence[tuple[Any, ...]] = ()  # (id, status, attempt, began, at, reason | None, state | None): upsert
    outcomes: Sequence[tuple[int, int, str]] = ()  # (id, revision, JSON text of an object): insert, written once
    items: Sequence[tuple[int, int, int, str, str]] = ()  # (node, parent node, position, key, value as JSON text)
    branches: Sequence[tuple[int, str]] = ()  # (branch, state as JSON text): upsert
    documents: Sequence[tuple[Any, ...]] = ()
    # ^ (path, hash, hash it replaces | None, execution id, status[, note]): upsert, history kept; see `Recorded`.
    # What no step wrote (execution 0) keeps the execution, the note and the conflict of the row that is there
    ledger: Sequence[Call] = ()  # upsert by key
    saves: Sequence[tuple[str, Mapping[str, Any]]] = ()  # (name of a registered write, parameters)
    inbox: int | None = None  # offsets up to here are consumed
    logs: Sequence[tuple[int, int, float, str, str]] = ()  # (node, number, wall, level, text); lossy
    contents: Sequence[bytes] = ()  # kept by content, synced, before the rest is recorded


class RunRow(NamedTuple):
    """A run as the index of runs tells it."""

    number: int  # integer, in the order of creation
    id: str  # [a-z0-9][a-z0-9._-]{0,63}
    name: str
    plan: str  # hash
    status: int
    state: str  # JSON text, the run's own state ("{}" before it began)
    params: str  # JSON text: input, vars, production, … what the run began with
    face: str  # pipelines, functions, …
    fence: int
    owner: Owner | None
    lease: Deadline | None  # until which a living owner elsewhere is believed
    created: float
    updated: float
    ended: float | None
    parent: int | None = None


class RunRows(NamedTuple):
    """All that is needed to have a run in memory again. Rows as in `Write`; only the latest number of each node."""

    run: RunRow
    plan: str  # JSON text
    executions: Sequence[tuple[Any, ...]]
    items: Sequence[tuple[int, int, int, str, str]]
    branches: Sequence[tuple[int, str]]
    documents: Sequence[tuple[str, str, str]]  # (path, hash, status)
    consumed: int = 0  # offset of the last letter whose effect is recorded


class Recorded(NamedTuple):
    """The latest version of a document that a run knows of.

    `status`: pending or published (ours), conflict (a person's is kept, ours lies beside it), edited or missing (a
    person's doing; the hash of what is missing is empty), source (no step wrote it).
    """

    hash: str
    status: str
    execution: int  # id of the one that wrote it; 0: none
    replaces: str | None  # the version it was meant to take the place of

    @property
    def is_ours(self) -> bool:
        return self.status in ("pending", "published")


class Placed(NamedTuple):
    """How a document was put in place; `beside` and `theirs` only where a person's version was kept."""

    beside: str = ""  # the path of ours
    theirs: str = ""  # hash of the person's version, its bytes kept; empty for what is no file


class Reserve(Protocol):
    """Room on the disk that is kept for the moment when there is none. What is missing is told in words, or empty."""

    def make(self) -> str:
        """Have it stand whole, with some room beside it; what is missing for that."""
        ...

    def give_up(self) -> bool:
        """Give its room back; whether there was any."""
        ...

    def lacking(self, size: int = ...) -> str:
        """What is missing to write so many bytes, or anything at all."""
        ...


class Finding(NamedTuple):
    """Something that is not as it should be: what, where, how bad, what to do."""

    how_bad: str  # damaged, refused (it cannot be used safely), warning, note (it is so, and may stay so)
    what: str
    where: str = ""
    fix: str = ""
    run: int | None = None


class Letter(NamedTuple):
    """A fact in a run's inbox."""

    offset: int
    run: int
    fact: str  # encoded
    id: str  # idempotency: the same id twice is one letter
    at: float


class Bounds(NamedTuple):
    """How much may wait in a project. Whoever brings more is refused, with `Busy`; what was accepted is never dropped.

    Runs hold down what an engine has to carry at once, letters what a run has to read before it moves. The letter that
    every run begins with is one of all.
    """

    runs: int = 10_000  # that have not ended
    letters: int = 10_000  # that a run has not consumed
    all_letters: int = 100_000  # that runs have not consumed, all together
    kept: int = 1_000  # letters beyond these, for what a person says


class Store(Protocol):
    """Where runs are recorded. All methods block; the engine decides on which thread. See `testing/kits/store.py`.

    Every method may be called from any process that opened the same project. `commit`, `claim`, `release` and
    `renew` are for engines; the others for anyone.
    """

    def create_run(
        self, *, id: str, name: str, plan: str, params: str, face: str, at: float, parent: int | None = None
    ) -> RunRow:
        """Record a run in INIT with `Begun` in its inbox, in one transaction.

        Raises Conflict when a run with this id exists already, unless plan and params are the same (then it is
        returned: creating is idempotent), Busy when as many runs are open as the store has room for. A run with a
        parent is a part of work that was accepted: it is counted, and never refused.
        """
        ...

    def create_runs(
        self,
        runs: Sequence[tuple[str, str, str, str, str, float, int | None]],
        *,
        owner: Owner | None = None,
        lease: Deadline | None = None,
    ) -> Sequence[RunRow]:
        """Many at once, each (id, name, plan, params, face, at, parent); with owner and lease they are claimed."""
        ...

    def adopt(
        self,
        write: Write,
        *,
        id: str,
        name: str,
        plan: str,
        params: str,
        face: str,
        facts: Sequence[tuple[str, str]],
        calls: Sequence[Call] = (),
    ) -> RunRow:
        """Record the `write` that ends a run, and the run that goes on in its place, in one transaction.

        That one is in INIT with `facts` (as of `append`) in its inbox and none other, its parent is the run of `write`,
        and `calls` are rows of its ledger, whatever run they name. Raises as `commit`, and Conflict when there is a run
        with this id.
        """
        ...

    def append(self, run: int, facts: Sequence[tuple[str, str]], at: float, *, urgent: bool = False) -> int:
        """Put (id, encoded fact) pairs into the inbox, synced; ids known already are left out. The last offset.

        All or none. Raises Busy when more would wait than the store has room for. `urgent` is what a person says:
        there is room kept for it beyond a full queue of events.
        """
        ...

    def inbox(self, run: int, after: int, most: int = 1000) -> Sequence[Letter]: ...

    def waiting(self) -> Sequence[tuple[int, int]]:
        """(run, last offset) of every run with letters not consumed."""
        ...

    def claim(
        self, run: int, owner: Owner, lease: Deadline, now: Now, *, alive: Callable[[Owner], bool | None]
    ) -> int | None:
        """Raise the run's fence and own it until `lease`; the new fence.

        None when its owner lives: `alive(owner)` is asked for an owner of this host; one elsewhere, or one of which it
        says None, is believed until its lease is over.
        """
        ...

    def release(self, run: int, fence: int) -> None: ...

    def release_all(self, runs: Sequence[tuple[int, int]]) -> None:
        """(run, fence) pairs; those whose fence is lost are left alone."""
        ...

    def renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        """Prolong the leases of (run, fence) pairs; the runs whose fence is lost."""
        ...

    def load(self, run: int) -> RunRows: ...

    def verify(self, run: int) -> None:
        """Hold a run against its journal before this process believes it, once. Raises StoreDamaged, NotFound."""
        ...

    def commit(self, writes: Sequence[Write]) -> None:
        """Record all writes in one synced transaction, or none.

        Raises FenceLost naming the runs whose fence is not the recorded one (nothing is written then), Conflict when
        an outcome exists already, StoreError for a full or broken disk.
        """
        ...

    def try_commit(self, writes: Sequence[Write]) -> bool:
        """As `commit` when no other writer is at it just now; False, and nothing written, when one is."""
        ...

    def outcome(self, run: int, node: int, number: int, revision: int = 0) -> str | None:
        """JSON text of an outcome (content that was moved to a file is read back)."""
        ...

    def outcomes(self, run: int, keys: Sequence[tuple[int, int, int]]) -> Mapping[tuple[int, int, int], str]: ...

    def calls(self, run: int, node: int | None = None, number: int | None = None) -> Sequence[Call]:
        """Ledger rows of a run, or of one number of one node."""
        ...

    def publish(self, events: Sequence[tuple[str, str, Json, str, Json]], at: float) -> Sequence[int]:
        """Append (key, namespace, value, sender, context) to the event log; their offsets, rising."""
        ...

    def events(self, after: int = 0, most: int = 1000) -> Sequence[tuple[int, str, str, Json, str, Json, float]]: ...

    def runs(self, *, status: int | None = None, most: int = 100, before: int | None = None) -> Sequence[RunRow]:
        """Newest first."""
        ...

    def find_run(self, id: str | int) -> RunRow:
        """By its number, or as a person names it: by id, number as text, or a unique beginning of an id.

        An id may be a number as well, and then not of the same run. Raises NotFound, Ambiguous when several begin so.
        """
        ...

    def open_runs(self) -> Sequence[RunRow]:
        """Runs in INIT or RUNNING."""
        ...

    def executions(self, run: int, *, node: int | None = None) -> Sequence[tuple[Any, ...]]:
        """All numbers, as in `Write.executions`."""
        ...

    def journal(self, run: int) -> Sequence[tuple[int, float, Sequence[str], str]]:
        """(batch, wall, encoded facts, chained hash) in order. Raises StoreDamaged when the chain is broken."""
        ...

    def documents(
        self, run: int | None = None, *, sources: bool = False
    ) -> Sequence[tuple[int, str, str, str | None, int, str]]:
        """(run, path, hash, hash it replaces, execution id, status), with `sources` also what no step wrote."""
        ...

    def document(self, run: int, path: str) -> Recorded | None:
        """The version a run has recorded for a path."""
        ...

    def notes(self, run: int) -> Mapping[str, str]:
        """By path: the name of ours beside a person's version, or why a pending document cannot be put in place."""
        ...

    def ours(self, hash: str, name: str) -> Sequence[tuple[int, str]]:
        """(run, path) of all documents called `name` that runs have written with this content: pending or published.

        Only at that very path are these bytes ours; elsewhere they are a user's.
        """
        ...

    def logs(
        self, run: int, node: int | None = None, most: int = 1000
    ) -> Sequence[tuple[int, int, float, str, str]]: ...

    def totals(self, run: int) -> Mapping[str, Any]:
        """{"calls", "cached", "input_tokens", "output_tokens", "cost", "unpriced"} of a run.

        `cost` is the sum of what is known, `unpriced` how many calls have been paid at a price nobody knows.
        """
        ...

    def version(self) -> int:
        """A number that changes when another connection has committed (PRAGMA data_version)."""
        ...

    def checkpoint(self) -> None:
        """Copy the log back, when there is nothing else to do."""
        ...

    def backup_if_due(self, wall: float) -> Path | None:
        """Keep a copy of all of it, once a day; where it is, if one was made. Raises StoreError: nothing is lost."""
        ...

    def put(self, data: bytes) -> str:
        """Keep bytes by content, synced; their SHA-256, hex."""
        ...

    def keep(self, data: bytes) -> str:
        """As `put`, for who must not fail because a disk is full.

        The bytes are kept no later than by the next `commit`, which fails as long as they cannot be.
        """
        ...

    def get(self, hash: str) -> bytes:
        """Raises NotFound, StoreDamaged when the bytes do not fit the hash."""
        ...

    def close(self) -> None: ...


class Record(NamedTuple):
    kind: str
    id: str
    revision: int
    value: Json


class Records(Protocol):
    """Mutable records (settings, tokens, schedules …) with compare-and-set on the revision."""

    def read(self, kind: str, id: str) -> Record | None: ...

    def write(self, kind: str, id: str, value: Json, *, revision: int) -> Record:
        """`revision` is the one read before, 0 for a new record. Raises Conflict when it is not the latest."""
        ...

    def remove(self, kind: str, id: str, *, revision: int) -> None: ...

    def list(self, kind: str) -> Sequence[Record]: ...


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────


class Message(NamedTuple):
    role: str  # system | user | assistant
    text: str


class Attachment(NamedTuple):
    path: str
    media_type: str
    data: bytes


class Request(NamedTuple):
    """One call of a model, complete and canonical: equal requests may share a cached answer."""

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    schema: Json = None  # JSON Schema the answer must satisfy
    options: Json = None  # provider's own, e.g. {"labels": […]} for the offline model
    attachments: tuple[Attachment, ...] = ()
    key: str = ""  # idempotency key; not part of what is cached

    def asked(self) -> Json:
        """What it asks as plain JSON, attachments by hash, its key left out."""
        return {
            "model": self.model,
            "messages": [list(message) for message in self.messages],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "schema": self.schema,
            "options": self.options,
            "attachments": [[one.media_type, sha256(one.data).hexdigest()] for one in self.attachments],
        }

    def hash(self) -> str:
        """SHA-256 of what it asks, hex: equal for equal questions, whatever their keys. Raises NotJson."""
        return sha256(canonical(self.asked()).encode()).hexdigest()


class Usage(NamedTuple):
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False


class Answer(NamedTuple):
    text: str
    data: Json = None  # parsed, when a schema was asked for
    provider: str = ""
    model: str = ""  # as the provider names the one that answered
    usage: Usage = Usage()
    cost: int | None = None  # nano-USD
    latency: float = 0.0  # seconds
    cached: bool = False


class Model(Protocol):
    """A model gateway. Raises Transient, RateLimited, Unreachable, Permanent, InvalidOutput; never a vendor's error."""

    async def complete(self, request: Request, *, on_text: Callable[[str], None] | None = None) -> Answer: ...

    def price(self, model: str) -> tuple[int, int] | None:
        """(input, output) in nano-USD per token."""
        ...


# ── executors ───────────────────────────────────────────────────────────────────────────────────────────


class Attempt(NamedTuple):
    """Which attempt this is, in the words of people: shown to executors and logs."""

    run: str
    task: str
    item: str | None  # key
    number: int
    attempt: int
    dir: str = "."  # directory that relative paths of the run's file are resolved against


#: Events and saves of one attempt, and bytes of their values: they gather in memory until its outcome is recorded.
MOST_GATHERED, MOST_GATHERED_BYTES = 10_000, 8 << 20
TOO_MUCH_GATHERED = (
    f"one attempt may publish and save {MOST_GATHERED:,} times, and {MOST_GATHERED_BYTES >> 20} MiB. Fix: write what "
    "is large to a document, and divide the work into items"
)


class Log(Protocol):
    def __call__(self, text: str, level: str = "info") -> None: ...


class Documents(Protocol):
    """Files an execution reads and writes. What is written appears only after the outcome is recorded.

    Inside of one attempt a file is read in one version.
    """

    def read(self, path: str) -> bytes:
        """Bytes of a file under the run's directory, recorded as read. Raises NotFound, InvalidName."""
        ...

    def write(self, path: str, data: bytes) -> str:
        """Stage bytes for `path`; put in place after the commit. The hash."""
        ...


class Watched(Documents, Protocol):
    """Documents that remember what was done with them."""

    @property
    def seen(self) -> Mapping[str, str]:
        """The version of each file that was read: hash by path."""
        ...

    @property
    def edits(self) -> Sequence[tuple[str, str, str]]:
        """Versions of people that were come upon, their bytes kept, as `DocumentEdited` has them."""
        ...


class Cache(Protocol):
    def get(self, key: str) -> str | None: ...

    def put(self, key: str, value: str) -> None: ...


class Context(Protocol):
    """What an executor may use; ports that wiring filled for this one attempt."""

    attempt: Attempt
    key: str  # idempotency key: of run, task, item, number; never of the attempt
    model: Model
    documents: Documents
    cache: Cache
    limits: Mapping[str, int]
    secrets: Mapping[str, str]
    log: Log

    def publish(self, key: str, value: Json = None) -> None:
        """An event, recorded no later than the outcome. Raises Permanent beyond `MOST_GATHERED`."""
        ...

    def save(self, write: str, params: Mapping[str, Json]) -> None:
        """A registered write, committed with the outcome. Raises Permanent beyond `MOST_GATHERED`."""
        ...

    def progress(self, done: float, of: float | None = None, note: str = "") -> None: ...


class Executor(Protocol):
    """One kind of task. `version` is part of the cache key; `effect` the default effect class."""

    kind: str
    version: str
    effect: str

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """The value of the outcome. Raises StepError; any other exception is a permanent failure with its traceback,
        of a user's function a transient one: its task's retry policy decides.

        `inputs` are the task's own inputs with templates filled in, plus under "upstream" the outcomes' values by task
        name, under "item" the item's value (mapped), and under "params" what the run began with.
        """
        ...


class Work(NamedTuple):
    """What the engine hands to a backend: one attempt with all its inputs resolved."""

    run: int
    node: int
    number: int
    attempt: Attempt
    attempt_number: int
    key: str
    executor: str
    inputs: Mapping[str, Json]  # the task's own, not yet rendered
    upstream: Mapping[str, Json]  # outcome objects by task name: {"value": …, "documents": […]}
    item: Json
    params: Mapping[str, Json]
    timeout: float
    effect: str
    settings: Mapping[str, Json]  # the plan's
    read: Mapping[str, str] = {}  # documents that values of `upstream` were found in: path → hash of that version


class Done(NamedTuple):
    """What a backend brings back from a work that succeeded."""

    outcome: str  # JSON text of an object, at least {"value": …}
    documents: Sequence[
        tuple[str, str, str | None]
    ] = ()  # (path, hash, hash it replaces); bytes are in the content store
    calls: Sequence[Call] = ()
    events: Sequence[tuple[str, Json]] = ()
    saves: Sequence[tuple[str, Mapping[str, Json]]] = ()
    skipped: str = ""  # why, when it found its `when` false
    reads: Sequence[tuple[str, str]] = ()  # documents it has read: (path, hash of the bytes)
    edits: Sequence[tuple[str, str, str]] = ()  # versions of people it came upon, as `DocumentEdited` has them


class Page(NamedTuple):
    """A page of a mapped task's list; `more` says that another one may follow."""

    items: Sequence[tuple[str, Json]]  # (stable key, value)
    more: bool = False
    reads: Sequence[tuple[str, str]] = ()
    edits: Sequence[tuple[str, str, str]] = ()


Handler: TypeAlias = Callable[[Work, "Context"], Awaitable[Done]]
Middleware: TypeAlias = Callable[[Work, "Context", Handler], Awaitable[Done]]


class Backend(Protocol):
    """Where executors run: this process, child processes, a cluster."""

    async def carry_out(self, work: Work) -> Done:
        """Raises StepError, TimeoutError, and CancelledError once the work has really stopped."""
        ...

    async def list_page(self, work: Work, page: int) -> Page:
        """A page of a mapped task's list, counted from 1."""
        ...

    def can(self, executor: str, inputs: Mapping[str, Json]) -> str | None:
        """None when it can carry this out, else the reason in words (its functions live in FILE; run it again)."""
        ...

    async def close(self) -> None: ...


# ── telling people ──────────────────────────────────────────────────────────────────────────────────────


class Watcher(Protocol):
    """Told of what moved after it is on disk; lossy, never a fact. Used for progress."""

    def __call__(self, run: int, facts: Iterable[Fact], orders: Iterable[Order]) -> None: ...


class Place(NamedTuple):
    """A position in a file that a person wrote; line and column count from 1."""

    file: str
    line: int
    column: int
