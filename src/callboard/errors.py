"""Every error Callboard raises, one tree with one root.

    CallboardError
    ├── UsageError                  the call itself is wrong                      exit 2
    │   ├── InvalidFile             a file a person wrote; names places and fixes exit 2
    │   ├── InvalidPlan             a plan that cannot run                        exit 2
    │   ├── InvalidName             an id, name or path component                 exit 2
    │   ├── NotJson                 a value that is not strict JSON               exit 2
    │   └── MissingExtra            an optional library is not installed          exit 2
    ├── NotFound                    a run, task, document or production           exit 8
    │   └── Ambiguous               several runs begin with what was named        exit 8
    ├── Refused                     a person's command that cannot be carried out exit 2
    ├── Conflict                    someone else changed it first                 exit 9
    ├── Busy                        queue full, lock held; try again later        exit 9
    ├── StepError                   raised by executors, becomes a Failed fact
    │   ├── Transient               may go away by itself; retried
    │   │   ├── RateLimited         the provider says when to come back
    │   │   └── Unreachable         no way to the provider
    │   ├── Permanent               will not go away; never retried
    │   │   └── InvalidOutput       the answer does not fit what was asked for
    │   ├── UnknownEffect           a once effect that may have happened
    │   └── BudgetRefused           the purse refused a reservation
    ├── WorkerLost                  what carried an attempt is gone, becomes a LeaseLost fact
    ├── RunFailed                   a run the caller waited for has failed         exit 1
    ├── RunCancelled                … was cancelled                                exit 6
    ├── RunInterrupted              … was interrupted and can be resumed           exit 130
    ├── RunWaiting                  … waits for a person or an event               exit 4
    ├── StoreError                  the store cannot be read or written
    │   ├── FenceLost               another engine owns the run now
    │   ├── NoRoom                  a full or read-only disk, no descriptors       exit 9
    │   ├── StoreDamaged            the state file is damaged
    │   └── StoreRefused            a network file system, an unsafe SQLite, a newer schema
    ├── OutputLost                  a result that standard output did not take
    └── ForkedProcess               a forked child must not use its parent's connections

The message says what is wrong, where, and what to do; the class says how it is treated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class CallboardError(Exception):
    """Root of all errors of Callboard."""

    exit_code = 70


class UsageError(CallboardError):
    """The call itself is wrong."""

    exit_code = 2


class InvalidFile(UsageError):
    """A file a person wrote is wrong: `file:line:column: what. Fix: how`.

    `line` and `column` count from 1; both are None when the fault has no place in the file. A file may have several
    faults: the error is the first of them, its message tells all, and `faults` has one error for each.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str = "",
        line: int | None = None,
        column: int | None = None,
        fix: str = "",
        more: Sequence[InvalidFile] = (),
    ) -> None:
        place = ":".join(str(part) for part in (file, line, column) if part not in ("", None))
        self.said = "".join((f"{place}: " if place else "", what, f"\n  fix: {fix}" if fix else ""))
        super().__init__("\n".join([self.said, *(one.said for one in more)]))
        self.what, self.file, self.line, self.column, self.fix = what, file, line, column, fix
        self._more = tuple(more)

    @property
    def faults(self) -> tuple[InvalidFile, ...]:
        """Every fault by itself, in the order of the file."""
        return (self.alone(), *self._more) if self._more else (self,)

    def alone(self) -> InvalidFile:
        """This fault without those that were found beside it."""
        return InvalidFile(self.what, file=self.file, line=self.line, column=self.column, fix=self.fix)

    @classmethod
    def of(cls, faults: Sequence[InvalidFile]) -> InvalidFile:
        """One error for several faults, of which there is at least one."""
        first, *more = [alone for fault in faults for alone in fault.faults]
        return cls(first.what, file=first.file, line=first.line, column=first.column, fix=first.fix, more=more)


class InvalidPlan(UsageError):
    """A plan that cannot run: a circle of needs, an unknown task, a name twice."""


class InvalidName(UsageError):
    """An id, a name or a path component that is not allowed."""


class NotJson(UsageError):
    """A value that is not strict JSON: NaN, a lone surrogate, a key that is not text, a Python object."""


class MissingExtra(UsageError):
    """An optional library is not installed; the message holds the command that installs it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed. Install it with: pip install 'callboard[{extra}]'")
        self.library, self.extra = library, extra


class NotFound(CallboardError, FileNotFoundError):
    """A run, task, document, production or file does not exist."""

    exit_code = 8

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class Ambiguous(NotFound):
    """Several runs begin with what was named. `ids` are theirs, the newest first."""

    def __init__(self, named: str, ids: Sequence[str]) -> None:
        shown = ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
        super().__init__(f"no run {named!r}, but several begin so: {shown}. Fix: name one of them in full")
        self.ids = tuple(ids)


_NAMED = 3


class Refused(CallboardError):
    """A person's command that cannot be carried out in the present state. Nothing was changed."""

    exit_code = 2


class Conflict(CallboardError):
    """Someone else changed it first."""

    exit_code = 9


class Busy(CallboardError):
    """A queue is full or a lock is held. `retry_after` is in seconds."""

    exit_code = 9

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StepError(CallboardError):
    """Raised by an executor; becomes a `Failed` fact. `evidence` is JSON shown to people, never secrets."""

    exit_code = 1
    kind = "permanent"

    def __init__(self, message: str, *, evidence: object = None) -> None:
        super().__init__(message)
        self.evidence = evidence


class Transient(StepError):
    """May go away by itself: a reset, a 5xx. Retried as the task's retry policy says."""

    kind = "transient"

    def __init__(self, message: str, *, evidence: object = None, retry_after: float | None = None) -> None:
        super().__init__(message, evidence=evidence)
        self.retry_after = retry_after


class RateLimited(Transient):
    """The provider asks to come back later; `retry_after` in seconds is honoured."""


class Unreachable(Transient):
    """No way to the provider: no network, DNS, TLS, refused connection."""


class Permanent(StepError):
    """Will not go away by itself. Never retried."""


class InvalidOutput(Permanent):
    """The answer does not fit what was asked for: not the schema, empty, truncated."""


class UnknownEffect(StepError):
    """A `once` effect that may have happened; the task is held, *needs a decision*."""

    kind = "unknown"


class BudgetRefused(StepError):
    """The purse refused a reservation; the task waits and the run is held, *budget*."""

    kind = "budget"


class WorkerLost(CallboardError):
    """The process that carried an attempt is gone. `innocent`: it was ended because of another attempt; `begun` is
    False when it surely had not come to this one.

    The attempt begins again; one whose process is lost three times in a row is set aside, with its `evidence`.
    """

    def __init__(self, message: str, *, innocent: bool = False, evidence: object = None, begun: bool = True) -> None:
        super().__init__(message)
        self.innocent, self.evidence, self.begun = innocent, evidence, begun


class RunFailed(CallboardError):
    """A run the caller waited for has failed. `run` names it."""

    exit_code = 1

    def __init__(self, message: str, *, run: str = "") -> None:
        super().__init__(message)
        self.run = run


class RunCancelled(RunFailed):
    """A run the caller waited for was cancelled."""

    exit_code = 6


class RunInterrupted(RunFailed):
    """The wait was interrupted; the run is recorded and can be resumed."""

    exit_code = 130


class RunWaiting(RunFailed):
    """The run waits for a person or an event, and nobody carries it out meanwhile; the message says what to say."""

    exit_code = 4


class StoreError(CallboardError):
    """The store cannot be read or written."""


class FenceLost(StoreError):
    """Another engine has claimed the run; nothing of this write was recorded."""

    def __init__(self, runs: tuple[int, ...]) -> None:
        super().__init__(f"another engine owns run {', '.join(map(str, runs))}")
        self.runs = runs


class NoRoom(StoreError):
    """Nothing can be written for now: the disk is full or read-only, or no descriptors are left.

    `lacks` says in words what is missing. Nothing was half made; it may be tried again when that is mended.
    """

    exit_code = 9

    def __init__(self, message: str, lacks: str) -> None:
        super().__init__(message)
        self.lacks = lacks


class StoreDamaged(StoreError):
    """The state file is damaged. It is kept as evidence; the message names the way to repair it."""


class StoreRefused(StoreError):
    """This file cannot be used safely: a network file system, an unsafe SQLite, a newer schema."""

    exit_code = 2


class OutputLost(CallboardError):
    """A result was made and recorded, and standard output did not take it."""


class ForkedProcess(CallboardError):
    """This process was forked from one that has the project open; open it anew with spawn or exec."""
