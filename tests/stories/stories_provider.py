"""A provider on this machine that speaks OpenAI's dialect, answers what it is told to, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request


class Provider:
    """`asked` holds the bodies of the requests, oldest first; `url` is what CALLBOARD_BASE_URL wants."""

    def __init__(self, answer: str) -> None:
        self.answer, self.asked, self.url = answer, list[dict[str, Any]](), ""
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    @property
    def prompts(self) -> list[str]:
        """The text of the last message of each request."""
        return [request["messages"][-1]["content"] for request in self.asked]

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if body.get("stream"):
            return StreamingResponse(self._pieces(), media_type="text/event-stream")
        choice = {"index": 0, "message": {"role": "assistant", "content": self.answer}, "finish_reason": "stop"}
        return JSONResponse({"id": "1", "object": "chat.completion", "choices": [choice], "usage": _USAGE})

    async def _pieces(self) -> Any:
        for delta, finish in (({"role": "assistant", "content": self.answer}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            yield "data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [choice]}) + "\n\n"
        yield "data: " + json.dumps({"id": "1", "choices": [], "usage": _USAGE}) + "\n\n"
        yield "data: [DONE]\n\n"


_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@contextlib.contextmanager
def serving(answer: str) -> Iterator[Provider]:
    """A provider that listens on a free port of the loopback."""
    provider = Provider(answer)
    server = _Server(uvicorn.Config(provider.app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listens.wait(20)
        port = server.servers[0].sockets[0].getsockname()[1]
        provider.url = f"http://127.0.0.1:{port}/v1"
        yield provider
    finally:
        server.should_exit = True
        thread.join(20)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
