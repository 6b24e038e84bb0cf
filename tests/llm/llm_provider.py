"""A provider that does what a script says, byte by byte, on a real socket of this machine.

A web framework cannot be made to lie about a length or to reset a connection in the middle of a header; a bare socket
can. Each connection gets the next script (the last one is kept); each request is kept for the test to look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

RESET, HANG, DRIP, FLOOD = object(), object(), object(), object()


class Asked(NamedTuple):
    head: str
    headers: dict[str, str]
    body: dict[str, Any]


class Provider:
    """Where it listens, and what it was asked."""

    def __init__(self) -> None:
        self.url, self.asked = "", list[Asked]()


@asynccontextmanager
async def provider(*scripts: Sequence[object]) -> AsyncIterator[Provider]:
    """A script is a list of bytes to send and of RESET, HANG (say nothing), DRIP (comments for ever), FLOOD."""
    told, over = Provider(), asyncio.Event()
    left, serving = list(scripts), dict[asyncio.Task[None], asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        serving[me] = writer
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            told.asked.append(await _read(reader))
            script = left.pop(0) if len(left) > 1 else left[0]
            for act in script:
                await _act(act, writer, over)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield told
    finally:
        over.set()
        server.close()
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
        for _ in range(3):  # transports tell their end a turn of the loop later
            await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(first, headers, json.loads(body or b"{}"))


async def _act(act: object, writer: asyncio.StreamWriter, over: asyncio.Event) -> None:
    if isinstance(act, bytes):
        writer.write(act)
        await writer.drain()
    elif act is RESET:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    elif act is HANG:
        await over.wait()
    elif act is DRIP:
        while not over.is_set():
            writer.write(b": still here\n\n")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.005)
    else:
        event = sse(chunk("more " * 4_000))
        while not over.is_set():
            writer.write(event)
            await writer.drain()


# ── what providers send ─────────────────────────────────────────────────────────────────────────────────


def answer(
    body: bytes | str | dict[str, Any], *, status: str = "200 OK", length: int | None = None, **headers: str
) -> bytes:
    """A whole HTTP answer; its connection is closed afterwards."""
    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    given = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(raw) if length is None else length}", "connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {text}" for name, text in given.items()), "", ""]).encode() + raw


def stream(*parts: bytes, **headers: str) -> bytes:
    """The beginning of an answer that is streamed until the connection closes."""
    given = {"content-type": "text/event-stream", **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = ["HTTP/1.1 200 OK", "connection: close", *(f"{name}: {text}" for name, text in given.items()), "", ""]
    return "\r\n".join(head).encode() + b"".join(parts)


def sse(data: dict[str, Any] | str, id: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return f"{f'id: {id}' + chr(10) if id else ''}data: {text}\n\n".encode()


def completion(content: Any = "Well said.", reason: Any = "stop", **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion", "model": "m-0901", "choices": [choice], "usage": usage} | more


def chunk(text: str | None = None, reason: str | None = None, id: str = "c-1", **delta: Any) -> dict[str, Any]:
    content = {} if text is None else {"content": text}
    return {"id": id, "model": "m-0901", "choices": [{"index": 0, "delta": content | delta, "finish_reason": reason}]}


USAGE = {"id": "c-1", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}
DONE = sse("[DONE]")
WHOLE = sse(chunk("", role="assistant")) + sse(chunk("Well ")) + sse(chunk("said.")) + sse(chunk(reason="stop"))
