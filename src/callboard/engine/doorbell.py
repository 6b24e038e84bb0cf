"""A bell that anyone who has written to an inbox may ring, so that no engine has to look all the time.

One datagram socket for each engine, in the project's run folder (0700, like all of `.callboard`). A lost ring
costs a quarter of a second, because engines also look at `store.version()`; so nothing here waits or raises.
The socket's path may be longer than the 107 bytes the kernel takes; then it is reached through the folder's
descriptor.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.crash import point

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_LONGEST = 100  # bytes of a path that every kernel takes


def ring(folder: Path | str) -> int:
    """Ring every bell in the folder; how many rang. That of a dead engine tells that there may be something left of it,
    and hangs until somebody has looked, see `tending.py`."""
    rung, bells = 0, _bells(folder)
    if not bells:
        return 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, _reach(folder) as place:
        sender.setblocking(False)
        for name in bells:
            try:
                sender.sendto(b"!", f"{place}/{name}")
                rung += 1
            except BlockingIOError:
                rung += 1  # it is ringing already
            except OSError:
                continue
    return rung


def silent(folder: Path | str) -> list[Path]:
    """The bells of engines that have died."""
    found, bells = list[Path](), _bells(folder)
    if bells:
        with _reach(folder) as place:
            for name in bells:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    try:
                        sender.connect(f"{place}/{name}")
                    except ConnectionRefusedError:
                        found.append(Path(folder) / name)
                    except OSError:
                        continue
    return found


def _bells(folder: Path | str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.name.endswith(".bell")]
    except OSError:
        return []


class Doorbell:
    """The bell of one engine. `answer` is called on the loop after one or more rings."""

    def __init__(self, folder: Path | str, name: str) -> None:
        self.path = Path(folder) / f"{name}.bell"
        self._socket: socket.socket | None = None

    def hang(self, loop: asyncio.AbstractEventLoop, answer: Callable[[], None]) -> None:
        """Begin to listen. Raises OSError when the folder takes no socket; looking every 250 ms remains."""
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            bell.setblocking(False)
            take_down(self.path)
            with _reach(self.path.parent) as place:
                point("bell.hang")
                bell.bind(f"{place}/{self.path.name}")
            point("bell.hung")
            self.path.chmod(0o600)
        except OSError:
            bell.close()
            raise
        self._socket, self._loop = bell, loop
        loop.add_reader(bell, self._heard, bell, answer)

    def take_down(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            take_down(self.path)

    def _heard(self, bell: socket.socket, answer: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            while bell.recv(16):
                pass
        answer()


@contextlib.contextmanager
def _reach(folder: Path | str):  # type: ignore[no-untyped-def]
    """A name of the folder short enough for the address of a socket."""
    if len(os.fsencode(folder)) < _LONGEST - 40:
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def take_down(path: Path) -> None:
    """Whoever hung it has gone."""
    point("bell.down")
    with contextlib.suppress(OSError):
        path.unlink()
