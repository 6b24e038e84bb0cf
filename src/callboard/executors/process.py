"""Runs one outside process to its end, its output bounded, its whole tree ended when it is not wanted any more.

The process is started under a supervisor that wiring passes in (see `Supervise`), because only a process above
the tree can end what left it, and because ending takes up to five seconds that must not be the loop's. Reading
is by protocols on the loop, so that a process that writes faster than we read waits, and one that writes more
than allowed is ended instead of filling our memory. Its messages are read at a pace at which they do not fill our
time either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from callboard.core.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PATIENCE = 2.0  # seconds beyond its grace period after which a supervisor is taken for lost
_LONGEST_LINE = 4_096  # bytes of a line of standard error that are passed on
_MOST_LINES = 1_000  # lines of it that are passed on
_TAIL = 4_096  # bytes of it kept as evidence
_RATE, _BURST = 16 << 20, 32 << 20  # bytes of it that are read a second, after so many


class Supervise(Protocol):
    """What starts processes and ends trees: the module `callboard.backends.supervisor`."""

    GRACE: float
    MARK: str

    def argv(self, command: list[str], *, status: int, grace: float = ...) -> list[str]: ...
    def mark(self, whose: str = ...) -> str: ...
    def sweep(self, marked: str) -> int: ...
    def words(self, how: Mapping[str, Any]) -> str: ...


class Finished(NamedTuple):
    """How a process ended: `exit` or `signal`, or why it `cannot` start; all None and "" when its supervisor was
    killed. `out` is its standard output, dropped when `overflown`; `tail` the end of its standard error."""

    exit: int | None
    signal: int | None
    cannot: str
    out: bytes
    overflown: bool
    tail: str


async def run(
    command: Sequence[str],
    *,
    supervise: Supervise,
    stdin: bytes,
    env: Mapping[str, str],
    cwd: str,
    most: int,
    on_line: Callable[[str], None],
    grace: float | None = None,
    whose: str = "",
) -> Finished:
    """Run `command` (argv) to its end. `most`: bytes of output; `on_line` gets its standard error line by line; `whose`
    tells in the mark of its processes who has started them.

    When cancelled, the whole tree is ended first, then the cancellation goes on. Raises OSError when not even the
    supervisor can be started (no such directory, arguments too long).
    """
    grace = supervise.GRACE if grace is None else grace
    marked = supervise.mark(whose)
    process, status = _start(list(command), supervise, grace, {**env, supervise.MARK: marked}, cwd)
    tree = _Tree(process, grace)
    out, lines, said = _Output(most, tree.end), _Lines(on_line), _Output(4_096, lambda: None)
    pipes: list[asyncio.ReadTransport | asyncio.WriteTransport] = []
    try:
        for file, protocol in ((status, said), (process.stdout, out), (process.stderr, lines)):
            pipes.append(await _reading(file, protocol))
        pipes.append(await _writing(process, stdin))
        await _ended(said, tree)
        if not said.data:
            supervise.sweep(marked)
        await asyncio.wait([out.ended, lines.ended], timeout=_PATIENCE)
    finally:
        if not said.ended.done():  # cancelled before we had even begun to listen
            process.kill()
            supervise.sweep(marked)
        process.wait()
        tree.forget()
        _close(pipes, status, process)
    return _finished(bytes(said.data), out, lines)


def _close(pipes: list[asyncio.ReadTransport | asyncio.WriteTransport], *files: Any) -> None:
    for pipe in pipes:
        if not pipe.is_closing():
            pipe.close()
    status, process = files
    for file in (status, process.stdout, process.stderr, process.stdin)[len(pipes) :]:
        file.close()


def _start(
    command: list[str], supervise: Supervise, grace: float, env: Mapping[str, str], cwd: str
) -> tuple[subprocess.Popen[bytes], Any]:
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            supervise.argv(command, status=write, grace=grace),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[write],
            env=env,
            cwd=cwd,
            process_group=0,
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return process, os.fdopen(read, "rb", 0)


async def _ended(said: _Output, tree: _Tree) -> None:
    """Wait until the supervisor has ended; cancelled meanwhile, end the tree and wait all the same."""
    cancelled: asyncio.CancelledError | None = None
    while not said.ended.done():
        try:
            await asyncio.wait([said.ended])
        except asyncio.CancelledError as error:
            cancelled = error
            tree.end()
    if cancelled is not None:
        raise cancelled


class _Tree:
    """Ends a supervised tree: asks the supervisor, and kills it when it does not answer in time."""

    def __init__(self, process: subprocess.Popen[bytes], grace: float) -> None:
        self._process, self._grace = process, grace
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        if self._timer is None:
            self._send(signal.SIGTERM)
            self._timer = asyncio.get_running_loop().call_later(self._grace + _PATIENCE, self._send, signal.SIGKILL)

    def forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)  # not yet waited for, so the pid is still its own


class _Output(asyncio.Protocol):
    """Gathers up to `most` bytes; when there are more it says so, drops them and listens no longer."""

    def __init__(self, most: int, on_overflow: Callable[[], None]) -> None:
        self.data, self.overflown = bytearray(), False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._most, self._on_overflow = most, on_overflow
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > self._most:
            self.data.clear()
            self.overflown = True
            self._on_overflow()
            if self._transport is not None:
                self._transport.close()  # who goes on writing reads of it, and costs us nothing

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class _Lines(asyncio.Protocol):
    """Passes the first `_MOST_LINES` lines on, long ones cut; of all others it keeps only the end and their number.
    A flood of them waits in the process that makes it."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.tail = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_line, self._line, self._cut, self._count = on_line, bytearray(), False, 0
        self._pace, self._loop = Pace(_RATE, _BURST), asyncio.get_running_loop()
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.ReadTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        wait = self._pace.wait(len(data), self._loop.time())
        if wait and self._transport is not None:
            self._transport.pause_reading()
            self._loop.call_later(wait, self._transport.resume_reading)
        self.tail = (self.tail + data[-_TAIL:])[-_TAIL:]
        at = 0
        while self._count < _MOST_LINES and (end := data.find(b"\n", at)) >= 0:
            self._add(data[at:end])
            self._flush()
            at = end + 1
        if self._count < _MOST_LINES:
            self._add(data[at:])
        else:
            self._count += data.count(b"\n", at)

    def connection_lost(self, error: Exception | None) -> None:
        if self._line:
            self._flush()
        if self._count > _MOST_LINES:
            self._on_line(f"… and {self._count - _MOST_LINES} more lines")
        if not self.ended.done():
            self.ended.set_result(None)

    def _add(self, part: bytes) -> None:
        room = _LONGEST_LINE - len(self._line)
        self._cut = self._cut or len(part) > room
        self._line += part[:room]

    def _flush(self) -> None:
        self._on_line(self._line.decode(errors="replace").rstrip("\r") + (" …" if self._cut else ""))
        self._line, self._cut = bytearray(), False
        self._count += 1


async def _reading(file: Any, protocol: asyncio.Protocol) -> asyncio.ReadTransport:
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    return transport


async def _writing(process: subprocess.Popen[bytes], data: bytes) -> asyncio.WriteTransport:
    """Feed standard input and close it; a process that does not read it is no fault."""
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, process.stdin)
    transport.write(data)
    transport.write_eof()
    return transport


def _finished(said: bytes, out: _Output, lines: _Lines) -> Finished:
    how = json.loads(said) if said else {}
    return Finished(
        exit=how.get("exit"),
        signal=how.get("signal"),
        cannot=str(how.get("cannot", "")),
        out=bytes(out.data),
        overflown=out.overflown,
        tail=lines.tail.decode(errors="replace"),
    )
