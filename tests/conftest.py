"""What holds for every test: no network beyond this machine, and randomness that can be repeated.

The guard is an audit hook, because everything that opens a connection in this interpreter passes it: our code,
a vendor's, asyncio's, a thread's. The attempt is noted as well as refused, so that code which swallows the
refusal fails its test all the same. Replacing `socket.connect` was tried first and misses name look-ups.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("desk", deadline=None, max_examples=50)
settings.register_profile(
    "ci", deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "desk"))


class NoNetwork(RuntimeError):
    """A test tried to leave this machine."""


_refused: list[str] = []


def _is_here(host: object) -> bool:
    """Whether `host` (name, address, or None for any of ours) is this machine."""
    if isinstance(host, bytes):
        host = host.decode("idna")
    if not isinstance(host, str) or host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, args: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        host = address[0] if isinstance(address, tuple) else None  # a text is the path of a local socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if not _is_here(host):
        _refused.append(f"{event} {host!r}")
        raise NoNetwork(f"tests stay on this machine, but {event} asked for {host!r}")


sys.addaudithook(_guard)


@pytest.fixture
def refused_connections() -> list[str]:
    """What the guard has refused in this test; a test that provokes it on purpose clears the list."""
    return _refused


@pytest.fixture(autouse=True)
def _stay_on_this_machine() -> Iterator[None]:
    _refused.clear()
    yield
    assert not _refused, f"this test tried to leave the machine: {', '.join(_refused)}"
