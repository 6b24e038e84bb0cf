"""How a child is heard: by the end of its supervisor, by its lines, and by what it writes where nobody asked it to.

Each pipe has an ear of its own. They pass on and decide nothing; what a child may say, and what becomes of one that
says too much, is `child.py`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from callboard.backends import wire


class Heard(Protocol):
    """The child, as far as its ears know it."""

    status: bytes  # what its supervisor has said
    ears: asyncio.ReadTransport | None  # the pipe that it speaks into
    is_believed: bool

    def supervisor_ended(self) -> None: ...

    def heard(self, line: bytes) -> None: ...

    def doubt(self, why: str) -> None: ...

    def wire_ended(self) -> None: ...

    def wrote(self, data: bytes) -> float: ...


class Status(asyncio.Protocol):
    """The supervisor's pipe: its end is the child's end."""

    def __init__(self, child: Heard) -> None:
        self._child = child

    def data_received(self, data: bytes) -> None:
        self._child.status += data

    def connection_lost(self, error: Exception | None) -> None:
        self._child.supervisor_ended()


class Wire(asyncio.Protocol):
    """The child's lines. A child that closes its pipe and lives on is of no use any more; to one that talks nonsense
    nobody listens until its end."""

    def __init__(self, child: Heard) -> None:
        self._child, self._lines = child, wire.Lines()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.ReadTransport)
        self._child.ears = transport

    def data_received(self, data: bytes) -> None:
        try:
            lines = self._lines.cut(data)
        except ValueError as error:
            self._child.doubt(str(error))
            lines = []
        for line in lines:
            if self._child.is_believed:
                self._child.heard(line)
        if not self._child.is_believed and self._child.ears is not None:
            self._lines = wire.Lines()
            self._child.ears.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._child.wire_ended()


class Output(asyncio.Protocol):
    """What the child writes to its standard output and error. A flood of it waits in the child."""

    def __init__(self, child: Heard) -> None:
        self._child = child
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.ReadTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        wait = self._child.wrote(data)
        if wait and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(wait, self._transport.resume_reading)
