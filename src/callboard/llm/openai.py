"""Our own client for everything that speaks OpenAI's dialect of chat completions.

Small on purpose: one POST, one answer, whole or stream. It never retries (the engine does), follows no redirect
and no proxy of the environment, bounds what it reads, and lets no error of the HTTP library out: each becomes one
of ours that says whether a later moment may heal it. A stream is watched for standing still: bytes alone are no
progress, since a relay that sends a comment every ten seconds can keep a dead answer alive for ever.

This is the only module of the room that imports the HTTP library, which takes a tenth of a second; wiring loads it
by name when the first call goes out.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpx2

from callboard.errors import Permanent, StepError, Transient, Unreachable
from callboard.llm.completion import Source, Stream, body_of, evidence, reply_of
from callboard.llm.faults import of_status, shown
from callboard.llm.secret import Redaction
from callboard.llm.sse import Event, Events
from callboard.llm.unpacking import Unpacking
from callboard.llm.usage import counted
from callboard.ports import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from callboard.llm.completion import Reply
    from callboard.llm.providers import Endpoint
    from callboard.ports import Clock, Request

CONNECT = 15.0  # seconds to reach the provider
ANSWER = 600.0  # seconds for an answer that is not streamed
STALL = 120.0  # seconds without output of a stream

_UNREACHABLE = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
_OURS = (httpx2.LocalProtocolError, httpx2.InvalidURL)


def connect(endpoint: Endpoint, clock: Clock) -> Client:
    """The client of an endpoint; no connection is made before the first call. What `Gateway(connect=…)` wants."""
    return Client(endpoint, clock)


class Client:
    """One endpoint. Use it on one event loop; close it when done."""

    def __init__(
        self, endpoint: Endpoint, clock: Clock, *, stall: float = STALL, answer: float = ANSWER, reach: float = CONNECT
    ) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._stall, self._patience, self._reach = stall, answer, reach
        self._redaction = Redaction(endpoint.secret)
        self._url = endpoint.provider.base_url.rstrip("/") + "/chat/completions"
        self._http: httpx2.AsyncClient | None = None

    async def complete(
        self, request: Request, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Answer:
        """Ask once; streamed when `on_text` wants the text as it comes. Cost and `data` are the gateway's to add.

        Raises RateLimited, Unreachable, Transient, Permanent and InvalidOutput, never an error of the HTTP library.
        """
        provider = self._endpoint.provider
        body = body_of(request, provider, stream=on_text is not None, max_tokens=max_tokens)
        began = self._clock.now()
        source = Source(provider.name, self._redaction, began.wall)
        reply = await self._classified(self._ask(request, body, on_text, source), on_text is not None)
        return Answer(
            reply.text,
            provider=provider.name,
            model=reply.model or request.model,
            usage=counted(reply.usage, request, reply.text),
            latency=max(0.0, self._clock.now().elapsed - began.elapsed),
        )

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    # ── one exchange ────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, request: Request, body: bytes, on_text: Callable[[str], None] | None, source: Source) -> Reply:
        is_stream = on_text is not None
        async with asyncio.timeout(self._limit(is_stream)) as limit:
            async with self._connected().stream("POST", self._url, content=body, headers=self._headers(request)) as got:
                await self._check(got, source)
                chunks = self._chunks(got)
                kind = got.headers.get("content-type", "").partition(";")[0].strip().lower()
                if is_stream and kind != "application/json":
                    return await self._follow(chunks, kind, on_text, source, limit)
                return reply_of(_decoded(await _all(chunks), kind, source), source)

    async def _check(self, got: httpx2.Response, source: Source) -> None:
        if got.status_code == 200:
            return
        try:
            text = (await _all(self._chunks(got, 100_000))).decode("utf-8", "replace")
        except (httpx2.HTTPError, StepError):
            text = ""  # the status says enough, even when the body does not arrive
        raise of_status(
            got.status_code,
            got.headers,
            text,
            provider=source.provider,
            wall=source.wall,
            redaction=source.redaction,
        )

    async def _follow(
        self,
        chunks: AsyncIterator[bytes],
        kind: str,
        on_text: Callable[[str], None] | None,
        source: Source,
        limit: asyncio.Timeout,
    ) -> Reply:
        """Read a stream to its end; each event in which the model moves on gives it another `stall` seconds."""
        if kind != "text/event-stream":
            return reply_of(_decoded(await _all(chunks), kind, source), source)
        events, stream, loop = Events(), Stream(source), asyncio.get_running_loop()
        async for chunk in chunks:
            for event in _fed(events, chunk, source):
                text, moved = stream.take(event)
                if moved:
                    limit.reschedule(loop.time() + self._stall)
                if text and on_text is not None:
                    on_text(text)
            if stream.has_ended:
                break
        if events.is_inside and not stream.has_ended:
            raise Transient(
                f"{source.provider}: the stream stopped inside an event", evidence=evidence(stream.text, source)
            )
        return stream.reply()

    async def _chunks(self, got: httpx2.Response, most: int | None = None) -> AsyncIterator[bytes]:
        name = self._endpoint.provider.name
        unpacking = Unpacking(got.headers.get("content-encoding", ""), name, *(() if most is None else (most,)))
        async for raw in got.aiter_raw():
            for part in unpacking.take(raw):
                yield part
        unpacking.check_end()

    # ── the connection ──────────────────────────────────────────────────────────────────────────────────

    def _connected(self) -> httpx2.AsyncClient:
        if self._http is None:
            # The limits of time are ours (above), but for reaching the other side at all.
            timeout = httpx2.Timeout(None, connect=self._reach)
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0)
            self._http = httpx2.AsyncClient(timeout=timeout, limits=limits, trust_env=False, follow_redirects=False)
        return self._http

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "callboard",
        }
        if self._endpoint.secret:
            headers["authorization"] = f"Bearer {self._endpoint.secret.reveal()}"
        if request.key:
            headers["idempotency-key"] = request.key
        return headers

    async def _classified(self, exchange: Awaitable[Reply], streamed: bool) -> Reply:
        """What `exchange` returns, with every error that is not ours already turned into one that is."""
        name = self._endpoint.provider.name
        try:
            return await exchange
        except TimeoutError:
            raise Transient(
                f"{name} gave no output for {self._limit(streamed):g} s", evidence={"provider": name}
            ) from None
        except _UNREACHABLE as error:
            raise Unreachable(f"{name} cannot be reached: {self._words(error)}", evidence=self._about(error)) from None
        except _OURS as error:
            raise Permanent(f"the call of {name} cannot be made: {self._words(error)}") from None
        except httpx2.HTTPError as error:
            said = f"the connection to {name} broke: {self._words(error)}"
            raise Transient(said, evidence=self._about(error)) from None
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(f"{name} cannot be reached: {self._words(error)}", evidence=self._about(error)) from None

    def _limit(self, streamed: bool) -> float:
        """Seconds without output after which an answer is given up."""
        return self._stall if streamed else self._patience

    def _words(self, error: BaseException) -> str:
        return shown(str(error) or type(error).__name__, self._redaction)[:300]

    def _about(self, error: BaseException) -> dict[str, str]:
        return {"provider": self._endpoint.provider.name, "error": type(error).__name__}


async def _all(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def _decoded(body: bytes, kind: str, source: Source) -> str:
    """The text of a body that ought to be JSON. Raises Transient for a web page, nothing, or bytes that are no text."""
    if not body.strip():
        raise Transient(f"{source.provider} answered with nothing", evidence=evidence("", source))
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        said = f"{source.provider} answered with bytes that are not UTF-8"
        raise Transient(said, evidence=evidence(body.decode("utf-8", "replace"), source)) from None
    if kind in ("text/html", "application/xhtml+xml") or text.lstrip()[:1] == "<":
        said = f"a web page came instead of an answer of {source.provider}"
        raise Transient(f"{said}: a wrong base URL, or a network that wants a login", evidence=evidence(text, source))
    return text


def _fed(events: Events, chunk: bytes, source: Source) -> list[Event]:
    try:
        return list(events.feed(chunk))
    except UnicodeDecodeError:
        raise Transient(f"the stream of {source.provider} holds bytes that are not UTF-8") from None
