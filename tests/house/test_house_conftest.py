"""The guard of `tests/conftest.py` is itself worth a test: a guard that lets everything pass looks just as green."""

from __future__ import annotations

import asyncio
import socket

import pytest


def test_a_connection_beyond_this_machine_is_refused_and_noted(refused_connections: list[str]) -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match="stay on this machine"):
        client.connect(("192.0.2.1", 80))
    assert refused_connections == ["socket.connect '192.0.2.1'"]
    refused_connections.clear()


def test_a_name_beyond_this_machine_is_not_even_looked_up(refused_connections: list[str]) -> None:
    with pytest.raises(RuntimeError, match="stay on this machine"):
        socket.create_connection(("callboard.invalid", 80))
    refused_connections.clear()


async def test_an_asynchronous_connection_is_refused_too(refused_connections: list[str]) -> None:
    with pytest.raises(RuntimeError, match="stay on this machine"):
        await asyncio.open_connection("2001:db8::1", 443)
    refused_connections.clear()


async def test_loopback_is_open() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "localhost", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        assert await reader.read() == b"here"
        writer.close()
        await writer.wait_closed()
