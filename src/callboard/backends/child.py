"""One warm child process, seen from the engine: what is sent to it, what comes back, and its end.

The child carries user code, so nothing it does may harm us: its lines are limited and checked, whoever talks
nonsense is ended with its whole tree, and its standard output is a log and never the wire, read at a pace at which
it cannot fill our time. Its death is noticed by the end of its supervisor, not only by the end of the pipe, since a
process it has forked may keep that open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import callboard.backends as _here
from callboard.backends import asks, ears, supervisor, wire
from callboard.backends.flight import STOPPED, Flight
from callboard.core.pace import Pace
from callboard.errors import CallboardError, Permanent, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.ports import Context, Json

_PATIENCE = 2.0  # seconds beyond the grace period after which a supervisor is taken for lost
_DIED = "the child process died"
_TAIL = 4_096  # bytes of what a child wrote last, kept as evidence
_MOST_ASKS = 1_000  # questions of a child that wait for their answer; beyond them its pipe is left to fill
_MOST_LINES = 50  # of what is read at once that are passed on
_LONGEST_LINE = 4_096  # bytes of a line of its output that are passed on
_RATE, _BURST = 16 << 20, 32 << 20  # bytes of its output that are read a second, after so many
_MOST_STRAYS = 10_000  # of calls that have ended
_BOOT = (
    "import sys, importlib.util as u\n"
    "found = u.find_spec('callboard')\n"
    "found and found.origin.startswith(sys.argv[1]) or sys.path.insert(0, sys.argv[1])\n"
    "from callboard.app.child import main\n"
    "main(sys.argv[2:])\n"
)


Pipe: TypeAlias = asyncio.ReadTransport | asyncio.WriteTransport


class Settings(NamedTuple):
    """How children are started: `root` is the project's directory (None: no user modules), `env` all they get;
    `whose` tells in their marks who has started them."""

    root: str | None
    env: Mapping[str, str]
    grace: float = supervisor.GRACE
    nice: int = supervisor.NICE
    output: Callable[[str], None] = lambda line: None  # what a child writes outside of any call
    whose: str = ""


class Child:
    """A child process and the calls in flight in it. `on_end` is called once, when nothing of it is left; `without`
    are files of the project's folder that it does not import."""

    def __init__(self, settings: Settings, on_end: Callable[[Child], None], without: Sequence[str] = ()) -> None:
        self._settings, self._on_end, self._without = settings, on_end, without
        self._loop = asyncio.get_running_loop()
        self.flights: dict[int, Flight] = {}
        self.condemned = ""  # why it is given no more calls
        self.is_believed = True  # until it talks nonsense
        self.functions: list[str] | None = None  # names, once it has told them
        self.importing = ""  # the file of the project's folder that it was importing last
        self._strays = 0
        self._pace = Pace(_RATE, _BURST)
        self._last = self._asked = 0
        self.ears: asyncio.ReadTransport | None = None  # the pipe that it speaks into
        self._greeted: float | None = None  # when it was ready
        self._waiting: list[bytes] = []
        self._is_flushing = False
        self._wire: asyncio.WriteTransport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._tail = self.status = b""
        self._has_ended = self._innocent = False
        self.has_cost = False  # it has taken calls along
        self._killing: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.living = self._loop.create_task(self._live())

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────

    def fly(self, ctx: Context, inputs: Mapping[str, Json]) -> Flight:
        """Send a call. Raises NotJson and ValueError for inputs that are no JSON."""
        self._last += 1
        flight = Flight(self._last, ctx)
        granted = {name: ctx.secrets[name] for name in inputs.get("secrets", ()) if name in ctx.secrets}
        line = wire.pack("work", flight.id, ctx.attempt, ctx.key, inputs, granted, dict(ctx.limits))
        self.flights[flight.id] = flight
        self._send(line)
        return flight

    def stop(self, flight: Flight) -> None:
        """Ask a call to stop. It waits for no answer any more."""
        flight.is_stopping = True
        for ask in flight.asks:
            ask.cancel()
        self._send(wire.pack("cancel", flight.id))

    @property
    def is_up(self) -> bool:
        """Whether it has begun to listen."""
        return self._greeted is not None

    def condemn(self, why: str) -> None:
        """No more calls; those in flight may end."""
        self.condemned = self.condemned or why

    async def has_offspring(self, flight: Flight) -> bool:
        """Whether a process lives below it that began after this call did."""
        if self._process is None or self._greeted is None or self.living.done():
            return False
        since = max(flight.began, self._greeted)
        return bool(await asyncio.to_thread(supervisor.offspring, self._process.pid, since))

    def kill(self, why: str, *, innocent: bool = False) -> None:
        """End it with its whole tree. Its calls end when nothing of it is left; `innocent`: they did no harm."""
        self.condemn(why)
        if self._killing is None and self._process is not None:
            self._innocent = innocent
            self._signal(supervisor.HURRY)
            self._killing = self._loop.call_later(self._settings.grace + _PATIENCE, self._signal, signal.SIGKILL)

    async def close(self) -> None:
        """End it in good order: its pipe closes, it leaves; by force when it does not."""
        self.condemn("closed")
        if self._wire is not None and not self._wire.is_closing():
            self._wire.close()
            await asyncio.wait([self.living], timeout=_PATIENCE)
        if not self.living.done():
            self.kill("closed")
            await asyncio.wait([self.living])

    def _send(self, line: bytes) -> None:
        """Lines of one turn of the loop leave in one write."""
        self._waiting.append(line)
        if not self._is_flushing and self._wire is not None:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(b"".join(self._waiting))
        self._waiting.clear()

    # ── its life ────────────────────────────────────────────────────────────────────────────────────────

    async def _live(self) -> None:
        marked = supervisor.mark(self._settings.whose)
        pipes: list[Pipe] = []
        files: list[Any] = []
        try:
            files = self._start(marked)
            for file, protocol in zip(files, (ears.Status(self), ears.Wire(self), ears.Output(self)), strict=False):
                pipes.append(await self._reading(file, protocol))
            self._wire = (await self._loop.connect_write_pipe(asyncio.BaseProtocol, files[3]))[0]
            pipes.append(self._wire)
            self._flush()
            await self._gone
        except OSError as error:
            self.condemn(f"a child could not be started: {error}")
        finally:
            self._leave(pipes, files, marked)

    async def _reading(self, file: Any, protocol: asyncio.Protocol) -> asyncio.ReadTransport:
        return (await self._loop.connect_read_pipe(lambda: protocol, file))[0]

    def _start(self, marked: str) -> list[Any]:
        """Start the process; our ends of its pipes: status, wire in, output, wire out."""
        settings = self._settings
        ours: list[int] = []
        theirs: list[int] = []
        for _ in range(3):
            read, write = os.pipe()
            ours.append(read)
            theirs.append(write)
        read, write = os.pipe()
        ours.append(write)
        theirs.append(read)
        status, wire_out, output, wire_in = theirs
        told = [str(wire_in), str(wire_out), settings.root or "", *self._without]
        command = [sys.executable, "-I", "-c", _BOOT, _package(), *told]
        try:
            self._process = subprocess.Popen(
                supervisor.argv(command, status=status, grace=settings.grace, nice=settings.nice),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[status, wire_out, wire_in],
                env={**settings.env, supervisor.MARK: marked},
                process_group=0,
            )
        except OSError:
            for number in ours:
                os.close(number)
            raise
        finally:
            for number in theirs:
                os.close(number)
        return [*(os.fdopen(number, "rb", 0) for number in ours[:3]), os.fdopen(ours[3], "wb", 0)]

    def _leave(self, pipes: list[Pipe], files: list[Any], marked: str) -> None:
        """Nothing of it may be left behind; then its calls are lost, whatever happens."""
        try:
            if self._killing is not None:
                self._killing.cancel()
            if self._process is not None:
                if not self._has_ended:  # our task was cancelled: the loop ends before the child
                    self._process.kill()
                self._process.wait()
                if not self.status:
                    supervisor.sweep(marked)
            for pipe in pipes:
                if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
                    pipe.abort()
                elif not isinstance(pipe, asyncio.WriteTransport):
                    pipe.close()
            for file in files[len(pipes) :]:
                file.close()
        finally:
            self._lose()
            self._on_end(self)

    def _lose(self) -> None:
        why = self.condemned or _DIED
        self.condemn(why)
        how = supervisor.told(self.status)
        if self._killing is not None and how.get("signal") == signal.SIGTERM:
            how = {"closed": True}
        innocent = self._innocent or any(flight.is_stopping for flight in self.flights.values()) or why == "closed"
        said = self._tail.decode(errors="replace").strip()
        evidence = {**how, **({"output": said} if said else {})}
        if why == _DIED:
            ended = "closed its line to us, and was ended" if "closed" in how else supervisor.words(how)
            why = f"its process {ended}" + _last_words(said)
            if self.importing:
                why, innocent = f"{why}, while it imported {self.importing}", True
        for flight in list(self.flights.values()):
            if flight.is_stopping:
                flight.end(STOPPED)
            else:
                flight.end(error=WorkerLost(why, innocent=innocent, evidence=evidence or None, begun=self.is_up))
                self.has_cost = self.has_cost or not innocent
        self.flights.clear()

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:  # else its number may be somebody else's
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    # ── what it says ────────────────────────────────────────────────────────────────────────────────────

    def supervisor_ended(self) -> None:
        self._has_ended = True
        if not self._gone.done():
            self._gone.set_result(None)

    def wire_ended(self) -> None:
        """It has closed its pipe: one that lives on is of no use any more."""
        self.kill(_DIED)

    def heard(self, line: bytes) -> None:
        """One line of the child. Whatever is wrong with it, the child is lost and nothing else."""
        try:
            operation, *rest = wire.unpack(line)
            _HEARD[operation](self, *rest)
        except Exception as error:  # whatever it is: lines that came with it belong to others, who wait for them
            self.doubt(f"{type(error).__name__}: {str(error)[:200]}")

    def doubt(self, why: str) -> None:
        self.is_believed = False
        self.kill(f"the child talked nonsense: {why}")

    def wrote(self, data: bytes) -> float:
        """Output outside of the wire: for the log, and the end of it for evidence. Seconds until more is read."""
        self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]
        for line in data.split(b"\n", _MOST_LINES)[:_MOST_LINES]:
            if line:
                self._settings.output(line[:_LONGEST_LINE].decode(errors="replace").rstrip("\r"))
        return self._pace.wait(len(data), self._loop.time())

    def _on_importing(self, file: str) -> None:
        self.importing = str(file)

    def _on_hello(self, functions: list[str], ready: float) -> None:
        self._greeted, self.importing = float(ready), ""
        self.functions = [str(name) for name in functions]

    def _on_done(self, id: int, value: Json) -> None:
        self.flights.pop(id).end(value)

    def _on_failed(self, id: int, told: Json) -> None:
        error = wire.error_in(told)
        self.flights.pop(id).end(error=error)

    def _on_exhausted(self, id: int, told: Json) -> None:
        """Memory ran out in a call: by its own doing if it is alone, else nobody knows by whose."""
        alone = len(self.flights) == 1 and not self.condemned
        why = "memory ran out in its process"
        self.condemn(why)
        error = wire.error_in(told)
        self.flights.pop(id).end(error=error if alone else WorkerLost(f"{why}, which it shared"))

    def _on_stopped(self, id: int) -> None:
        flight = self.flights.pop(id)
        if flight.is_stopping:
            flight.end(STOPPED)
        else:
            flight.end(error=Permanent("it stopped itself, which is not an answer"))

    def _on_log(self, id: int, text: str, level: str) -> None:
        if (flight := self._telling(id)) is not None:
            flight.ctx.log(str(text), str(level))

    def _on_publish(self, id: int, key: str, value: Json) -> None:
        self.flights[id].ctx.publish(str(key), value)

    def _on_save(self, id: int, write: str, params: Json) -> None:
        self.flights[id].ctx.save(str(write), dict(params))

    def _telling(self, id: int) -> Flight | None:
        flight = self.flights.get(id)
        if flight is not None:
            flight.tells()
        else:
            self._strays += 1
            if self._strays > _MOST_STRAYS:
                raise ValueError("log lines of calls that have ended")
        return flight

    def _on_progress(self, id: int, done: float, of: float | None, note: str) -> None:
        if (flight := self._telling(id)) is not None:
            flight.ctx.progress(float(done), None if of is None else float(of), str(note))

    def _on_ask(self, id: int, ask: int, what: str, *arguments: Json) -> None:
        flight = self.flights[id]
        answer = asks.ANSWERS[what]
        if flight.is_stopping:
            self._send(wire.pack("answer", int(ask), False, wire.error_out(Permanent("it was asked to stop"))))
            return
        task = self._loop.create_task(self._answer(flight, int(ask), answer, arguments))
        flight.asks.add(task)
        task.add_done_callback(flight.asks.discard)
        self._asked += 1
        task.add_done_callback(self._answered)
        if self._asked == _MOST_ASKS and self.ears is not None:
            self.ears.pause_reading()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asked -= 1
        if self._asked == _MOST_ASKS - 1 and self.is_believed and self.ears is not None:
            self.ears.resume_reading()

    async def _answer(self, flight: Flight, ask: int, answer: asks.Answering, arguments: tuple[Json, ...]) -> None:
        try:
            line = wire.pack("answer", ask, True, await answer(flight.ctx, *arguments))
        except Exception as error:
            if not isinstance(error, CallboardError):
                error = Permanent(f"{type(error).__name__}: {error}")
            line = wire.pack("answer", ask, False, wire.error_out(error))
        self._send(line)


_HEARD: dict[str, Callable[..., None]] = {
    "importing": Child._on_importing,
    "hello": Child._on_hello,
    "done": Child._on_done,
    "failed": Child._on_failed,
    "exhausted": Child._on_exhausted,
    "stopped": Child._on_stopped,
    "log": Child._on_log,
    "publish": Child._on_publish,
    "save": Child._on_save,
    "progress": Child._on_progress,
    "ask": Child._on_ask,
}


def _last_words(said: str) -> str:
    """What a process said at its end: the line above a traceback of its crash, else its last line."""
    lines = said.splitlines()
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return f": {(fatal or lines)[-1][:200]}" if lines else ""


def _package() -> str:
    """The directory our package lies in, for a child that would not find it, or another one than ours."""
    return str(Path(_here.__file__).parents[2])
