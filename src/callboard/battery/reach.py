"""What a simulated process sees of its store: it takes time, it fails, and who owns what is watched.

`Reach` stands between an engine and a store, whichever that is. `Disk` says how slow the store is just now and which of
its writes fail, before anything is written or when all of it is and nobody has been told. `Claims` is held against
every write: under a fence that is not the last, or by a process that does not own the run, is a finding, and so is a
run that is taken from a living owner before his lease is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from callboard.errors import StoreError
from callboard.testing.loop import Halt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.deadline import Deadline
    from callboard.ports import Json, Owner, Store, Write
    from callboard.testing.virtual import Process, World

T = TypeVar("T")

#: Names of what a process asks of the store that only reads.
_READS = {"load", "inbox", "waiting", "outcome", "outcomes", "find_run", "open_runs", "version", "documents", "journal"}


class Claim(NamedTuple):
    fence: int
    process: Process
    until: float  # elapsed
    released: bool = False


class Claims:
    """Who owns which run, by what the store was asked for and has granted. `say` hears what is wrong."""

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self._world, self._say = world, say
        self._of: dict[int, Claim] = {}

    def last(self, run: int) -> Process | None:
        """Who claimed it last."""
        claim = self._of.get(run)
        return None if claim is None else claim.process

    def claimed(self, run: int, claim: Claim) -> None:
        """Nobody takes a run from a living owner before his lease is over."""
        was, fence, process = self._of.get(run), claim.fence, claim.process
        if was is not None and fence <= was.fence:
            self._say(f"run {run}: claimed with fence {fence} after {was.fence}")
        if was is not None and not was.released and not was.process.dead and was.process is not process:
            is_seen = was.process.owner.host == process.owner.host and not was.process.frozen
            if is_seen or process.host.now().elapsed < was.until:
                self._say(f"run {run}: {process.name} stole it from {was.process.name}, whose lease is not over")
        self._of[run] = claim
        self._world.note(f"{process.name} claims {run} with {fence}")

    def wrote(self, process: Process, write: Write) -> None:
        claim = self._of.get(write.run)
        if claim is None or (claim.fence, claim.process) != (write.fence, process) or claim.released:
            self._say(f"run {write.run}: {process.name} wrote under fence {write.fence}, {claim} holds")
        self._world.note(f"{process.name} commits {write.run} {write.journal} {write.executions}")

    def released(self, run: int, fence: int) -> None:
        claim = self._of.get(run)
        if claim is not None and claim.fence == fence:
            self._of[run] = claim._replace(released=True)

    def renewed(self, run: int, until: float) -> None:
        self._of[run] = self._of[run]._replace(until=until)


class Disk:
    """Where the store lies: how slow it is, and how it fails."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.slow = 1.0
        self.full = self.unreadable = False
        self.failing = 0  # writes to come that fail …
        self.after = False  # … when they are on it already

    def reading(self, process: Process) -> None:
        if self._world.chance(4 if self.slow == 1.0 else 30):
            self._world.spend(process, self._world.between(0.0, 0.0005) * self.slow)
        elif process.dead:
            raise Halt
        if self.unreadable and self._world.chance(50):
            raise StoreError("the disk cannot be read")

    def writing(self, process: Process) -> None:
        self._world.spend(process, self._world.between(0.0, 0.002) * self.slow)
        if self.full:
            raise StoreError("the disk is full")
        if self.failing and not self.after:
            self.failing -= 1
            raise StoreError("the disk failed")

    def written(self, process: Process) -> None:
        if self.failing and self.after:
            self.failing -= 1
            raise StoreError("the disk failed, and it is written")
        if self._world.chance(20):
            self._world.spend(process, self._world.between(0.0, 0.002) * self.slow)

    def heal(self) -> None:
        self.slow, self.full, self.unreadable, self.failing = 1.0, False, False, 0


class Reach:
    """The store of one process."""

    def __init__(self, store: Store, process: Process, disk: Disk, claims: Claims) -> None:
        self._store, self.process, self._disk, self._claims = store, process, disk, claims

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)
        if name not in _READS:
            return call

        def read(*args: Any, **kwargs: Any) -> Any:
            self._disk.reading(self.process)
            return call(*args, **kwargs)

        return read

    def commit(self, writes: Sequence[Write]) -> None:
        self._write(self._commit, writes)

    def try_commit(self, writes: Sequence[Write]) -> bool:
        if self.process.world.chance(5):
            return False
        self._write(self._commit, writes)
        return True

    def claim(self, run: int, owner: Owner, *args: Any, **kwargs: Any) -> int | None:
        return self._write(self._claim, run, owner, *args, **kwargs)

    def release(self, run: int, fence: int) -> None:
        self.release_all([(run, fence)])

    def release_all(self, runs: Sequence[tuple[int, int]]) -> None:
        self._write(self._release, runs)

    def renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        return self._write(self._renew, runs, lease)

    def append(self, run: int, facts: Sequence[tuple[str, str]], at: float, *, urgent: bool = False) -> int:
        return self._write(self._store.append, run, facts, at, urgent=urgent)

    def publish(self, events: Sequence[tuple[str, str, Json, str, Json]], at: float) -> Sequence[int]:
        return self._write(self._store.publish, events, at)

    def put(self, data: bytes) -> str:
        return self._write(self._store.put, data)

    def _write(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Before, or after it was written and before anybody knows, the disk may be slow or fail, or we may die."""
        self._disk.writing(self.process)
        result = call(*args, **kwargs)
        self._disk.written(self.process)
        return result

    # ── what is done at one instant, and watched ────────────────────────────────────────────────────────

    def _commit(self, writes: Sequence[Write]) -> None:
        self._store.commit(writes)
        for write in writes:
            self._claims.wrote(self.process, write)

    def _claim(self, run: int, owner: Owner, lease: Deadline, *args: Any, **kwargs: Any) -> int | None:
        fence = self._store.claim(run, owner, lease, *args, **kwargs)
        if fence is not None:
            self._claims.claimed(run, Claim(fence, self.process, lease.elapsed))
        return fence

    def _release(self, runs: Sequence[tuple[int, int]]) -> None:
        self._store.release_all(runs)
        for run, fence in runs:
            self._claims.released(run, fence)

    def _renew(self, runs: Sequence[tuple[int, int]], lease: Deadline) -> Sequence[int]:
        lost = self._store.renew(runs, lease)
        for run, _ in runs:
            if run not in lost:
                self._claims.renewed(run, lease.elapsed)
        return lost
