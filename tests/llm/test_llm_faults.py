"""Every bad answer of a provider is classified, and none becomes an answer. On real sockets of this machine."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import zlib
from typing import TYPE_CHECKING, NamedTuple

import pytest
from llm_provider import (
    DONE,
    DRIP,
    FLOOD,
    HANG,
    RESET,
    USAGE,
    WHOLE,
    answer,
    chunk,
    completion,
    provider,
    sse,
    stream,
)

from callboard.errors import InvalidOutput, Permanent, RateLimited, StepError, Transient, Unreachable
from callboard.llm.openai import Client
from callboard.llm.providers import Endpoint
from callboard.llm.providers import Provider as Row
from callboard.llm.secret import Secret
from callboard.ports import Answer, Message, Request
from callboard.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY = "sk-canary-4f1d/77+x="
HTML = "<!doctype html><html><body>Sign in to the network</body></html>"
RATE = {"error": {"message": "Slow down", "type": "rate_limit_error"}}
TOOL = [{"id": "t", "type": "function", "function": {"name": "delete_everything", "arguments": "{}"}}]
TEXT = json.dumps(completion())


def client(url: str, **limits: float) -> Client:
    given = {"stall": 5.0, "answer": 5.0, "reach": 5.0} | limits
    return Client(Endpoint(Row("acme", url, "ACME_KEY"), Secret(KEY)), FakeClock(wall=1_700_000_000.0), **given)


async def ask(
    url: str, *, streamed: bool = False, heard: Callable[[str], None] | None = None, **limits: float
) -> Answer:
    one = client(url, **limits)
    request = Request("m", (Message("user", "Say something."),), key="k-1")
    try:
        return await one.complete(request, max_tokens=100, on_text=heard or (lambda _: None) if streamed else None)
    finally:
        await one.close()


class Fault(NamedTuple):
    name: str
    script: Sequence[object]
    kind: type[StepError]
    streamed: bool = False
    says: str = ""
    retry_after: float | None = None
    limits: dict[str, float] = {}  # noqa: RUF012  never changed


def refused(
    status: str, kind: type[StepError], body: object = None, after: float | None = None, **headers: str
) -> Fault:
    name = " ".join([status, *headers.values()])
    return Fault(
        name, [answer(body or {"error": {"message": "No"}}, status=status, **headers)], kind, retry_after=after
    )


def cut_at(position: int) -> Fault:
    raw = answer(completion())
    return Fault(f"reset after {position} bytes of a body", [raw[:position], RESET], Transient)


def stopped_at(position: int) -> Fault:
    raw = stream(WHOLE, sse(USAGE), DONE)
    return Fault(f"closed after {position} bytes of a stream", [raw[:position]], Transient, streamed=True)


HEAD = len(stream())
END = len(stream(WHOLE)) - len(sse(chunk(reason="stop")))
FAULTS = [
    # the provider wants to be left alone
    refused("429 Too Many Requests", RateLimited, RATE),
    refused("429 Too Many Requests", RateLimited, RATE, 7.0, retry_after="7"),
    refused("429 Too Many Requests", RateLimited, RATE, 1.5, retry_after="1.5"),
    refused("429 Too Many Requests", RateLimited, RATE, 0.25, retry_after_ms="250", retry_after="9"),
    refused("429 Too Many Requests", RateLimited, RATE, 30.0, retry_after="Tue, 14 Nov 2023 22:13:50 GMT"),
    refused(
        "429 Too Many Requests",
        RateLimited,
        RATE,
        10.0,
        date="Tue, 14 Nov 2023 22:13:40 GMT",
        retry_after="Tue, 14 Nov 2023 22:13:50 GMT",
    ),
    refused("429 Too Many Requests", RateLimited, RATE, 0.0, retry_after="Sun, 06 Nov 1994 08:49:37 GMT"),
    refused("429 Too Many Requests", RateLimited, RATE, 0.0, retry_after="-5"),
    refused("429 Too Many Requests", RateLimited, RATE, 3_600.0, retry_after="99999999999"),
    refused("429 Too Many Requests", RateLimited, RATE, None, retry_after="soon"),
    refused("429 Too Many Requests", RateLimited, RATE, None, retry_after="NaN"),
    refused("429 Too Many Requests", RateLimited, RATE, None, retry_after="1e999"),
    refused("429 Too Many Requests", RateLimited, RATE, None, retry_after="Tue, 99 Foo 2023 22:13:50 GMT"),
    refused("429 Too Many Requests", Permanent, {"error": {"code": "insufficient_quota", "message": "Pay"}}),
    # the provider is in trouble
    refused("500 Internal Server Error", Transient),
    refused("500 Internal Server Error", Transient, HTML),
    refused("502 Bad Gateway", Transient, "<html>bad gateway</html>"),
    refused("503 Service Unavailable", Transient, None, 3.0, retry_after="3"),
    refused("504 Gateway Timeout", Transient, "   "),
    refused("529 Overloaded", Transient, {"error": {"type": "overloaded_error", "message": "Overloaded"}}),
    refused("599 Strange", Transient),
    refused("408 Request Timeout", Transient),
    refused("409 Conflict", Transient),
    Fault("204 with nothing", [answer(b"", status="204 No Content")], Transient),
    Fault("a 500 whose body never comes", [answer(b"", status="500 Oh", length=50), RESET], Transient, says="500"),
    Fault("a status with an endless body", [stream().replace(b"200 OK", b"503 No"), FLOOD], Transient, says="503"),
    # the request is wrong, or not allowed
    refused("400 Bad Request", Permanent),
    refused("401 Unauthorized", Permanent),
    refused("402 Payment Required", Permanent),
    refused("403 Forbidden", Permanent),
    refused("404 Not Found", Permanent),
    refused("413 Too Large", Permanent),
    refused("422 Unprocessable", Permanent),
    refused("302 Found", Permanent, HTML, location="http://127.0.0.1:1/elsewhere"),
    refused("308 Permanent Redirect", Permanent, HTML, location="/v2/chat/completions"),
    # the connection breaks
    Fault("closed before a word", [], Transient),
    Fault("reset before a word", [RESET], Transient),
    *map(cut_at, (1, 9, 17, 40, 100, len(answer(completion())) - 1)),
    *map(stopped_at, (HEAD - 3, HEAD, HEAD + 1, HEAD + 30, HEAD + len(WHOLE) // 2, END - 1, END, END + 12)),
    Fault("reset inside a stream", [stream(WHOLE)[:-40], RESET], Transient, streamed=True),
    Fault("a length that is too long", [answer(TEXT, length=len(TEXT) + 9)], Transient),
    Fault("a length that is too short", [answer(TEXT, length=len(TEXT) - 9)], Transient),
    Fault("a length that is no number", [answer(TEXT).replace(b"content-length: ", b"content-length: x")], Transient),
    Fault("an answer that is no HTTP", [b"hello there\r\n\r\n"], Transient),
    Fault("a chunk that lies about its size", [stream(transfer_encoding="chunked"), b"zz\r\n"], Transient),
    Fault("silence", [HANG], Transient, says="no output", limits={"answer": 0.05}),
    Fault("silence after the head", [answer(b"", length=99), HANG], Transient, limits={"answer": 0.05}),
    # the stream is sick
    Fault("a stream that never begins", [stream(), HANG], Transient, True, "no output", limits={"stall": 0.05}),
    Fault("a stream that stands still", [stream(sse(chunk("Well "))), HANG], Transient, True, limits={"stall": 0.05}),
    Fault("a stream of comments only", [stream(sse(chunk("Well "))), DRIP], Transient, True, limits={"stall": 0.05}),
    Fault("a stream without end", [stream(), FLOOD], InvalidOutput, True, "larger than"),
    Fault("no finish before [DONE]", [stream(sse(chunk("Well ")), DONE)], Transient, True, "stopped before"),
    Fault("[DONE] and nothing else", [stream(DONE)], Transient, True),
    Fault("nothing but comments", [stream(b": hi\n\n")], Transient, True),
    Fault(
        "text after the finish",
        [stream(sse(chunk("Well ")), sse(chunk(reason="stop")), sse(chunk("said.")), DONE)],
        Transient,
        True,
        "goes on after",
    ),
    Fault("an event twice", [stream(sse(chunk("a"), "7"), sse(chunk("a"), "7"), WHOLE)], Transient, True, "twice"),
    Fault("events out of order", [stream(sse(chunk("b"), "8"), sse(chunk("a"), "7"), WHOLE)], Transient, True, "order"),
    Fault(
        "a padded chunk twice",
        [stream(*[sse(chunk("a") | {"obfuscation": "x9"})] * 2, WHOLE, DONE)],
        Transient,
        True,
        "twice",
    ),
    Fault("two answers mixed", [stream(sse(chunk("a")), sse(chunk("b", id="c-2")), DONE)], Transient, True, "mixes"),
    Fault(
        "an error in the stream",
        [stream(sse(chunk("a")), sse({"error": {"message": "x", "code": 503}}))],
        Transient,
        True,
    ),
    Fault(
        "a limit in the stream",
        [stream(sse(chunk("a")), sse({"error": {"message": "x", "code": "429"}}))],
        RateLimited,
        True,
    ),
    Fault("a chunk cut in the middle", [stream(b'data: {"id": "c-1", "choi\n\n', DONE)], Transient, True, "not JSON"),
    Fault("a chunk that is a list", [stream(b"data: [1]\n\n", DONE)], Transient, True),
    Fault("a chunk with NaN", [stream(b'data: {"x": NaN}\n\n', DONE)], Transient, True),
    Fault("bytes that are no text in a stream", [stream(b"data: \xff\xfe\n\n", DONE)], Transient, True, "UTF-8"),
    Fault("a web page instead of a stream", [answer(HTML, content_type="text/html")], Transient, True, "web page"),
    Fault(
        "room for no more, streamed",
        [stream(sse(chunk("Well ")), sse(chunk(reason="length")), DONE)],
        InvalidOutput,
        True,
    ),
    Fault("a tool nobody offered, streamed", [stream(sse(chunk(tool_calls=TOOL)), DONE)], InvalidOutput, True, "tool"),
    Fault("an empty stream that finished", [stream(sse(chunk(reason="stop")), DONE)], InvalidOutput, True, "no text"),
    # the body is sick
    Fault("a web page", [answer(HTML, content_type="text/html; charset=utf-8")], Transient, says="web page"),
    Fault("a web page that says it is JSON", [answer("\n " + HTML)], Transient, says="web page"),
    Fault("nothing", [answer(b"")], Transient, says="nothing"),
    Fault("blanks", [answer(b"\n\n")], Transient),
    Fault("null", [answer(b"null")], Transient),
    Fault("a text", [answer(b'"well said"')], Transient),
    Fault("a list", [answer(b"[]")], Transient),
    Fault("an empty object", [answer(b"{}")], Transient),
    Fault("no choices", [answer(completion(choices=[]))], Transient),
    Fault("choices that are none", [answer(completion(choices=[{"index": 3}, "x", None]))], Transient),
    Fault("NaN in the body", [answer(TEXT.replace("11", "NaN"))], Transient),
    Fault("two values", [answer(TEXT + TEXT)], Transient),
    Fault("depth", [answer(b"[" * 200_000)], Transient),
    Fault("bad UTF-8", [answer(TEXT.replace("said", "\xff").encode("latin-1"))], Transient, says="UTF-8"),
    Fault("half a surrogate pair", [answer(TEXT.replace("said", "\\ud800"))], Transient),
    Fault("an error with status 200", [answer({"error": {"message": "boom", "code": 500}})], Transient, says="boom"),
    Fault("a limit with status 200", [answer({"error": {"message": "rate limit reached"}})], RateLimited),
    Fault("a refusal with status 200", [answer({"error": {"message": "no such model", "code": 404}})], Permanent),
    Fault("an empty text", [answer(completion(""))], InvalidOutput, says="no text"),
    Fault("no text at all", [answer(completion(None))], InvalidOutput),
    Fault("room for no more", [answer(completion("Well", "length"))], InvalidOutput, says="max_tokens"),
    Fault("a filter", [answer(completion("Well", "content_filter"))], InvalidOutput, says="filter"),
    Fault("an end nobody knows", [answer(completion("Well", "error"))], Transient),
    Fault("a tool nobody offered", [answer(completion(None, "tool_calls"))], InvalidOutput, says="tool"),
    # the packing is sick
    Fault("11 MB", [answer(completion("x" * 11_000_000))], InvalidOutput, says="larger than"),
    Fault(
        "a gzip bomb", [answer(gzip.compress(b" " * 60_000_000), content_encoding="gzip")], InvalidOutput, says="larger"
    ),
    Fault("gzip cut short", [answer(gzip.compress(TEXT.encode())[:-9], content_encoding="gzip")], Transient),
    Fault("gzip that is none", [answer(TEXT, content_encoding="gzip")], Transient, says="damaged"),
    Fault("a packing nobody asked for", [answer(TEXT, content_encoding="br")], Transient, says="packed"),
]


def test_there_are_more_faults_than_a_provider_has_in_a_year() -> None:
    assert len(FAULTS) >= 60


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_bad_answer_is_classified_and_never_an_answer(fault: Fault) -> None:
    async with provider(fault.script) as acme:
        with pytest.raises(StepError) as caught:
            await ask(acme.url, streamed=fault.streamed, **fault.limits)
    error = caught.value
    assert type(error) is fault.kind, repr(error)
    assert fault.says in str(error)
    assert getattr(error, "retry_after", None) == fault.retry_after
    assert len(acme.asked) <= 1, "the engine retries, not the client"
    json.dumps(error.evidence, allow_nan=False).encode()


EVERY_BYTE = sorted({*range(0, len(answer(completion())), 23), len(answer(completion())) - 1})


async def test_a_body_cut_at_any_byte_is_no_answer() -> None:
    raw = answer(completion())
    async with provider(*[[raw[:position]] for position in EVERY_BYTE]) as acme:
        for _ in EVERY_BYTE:
            with pytest.raises(Transient):
                await ask(acme.url)


async def test_a_stream_cut_at_any_byte_before_its_finish_is_no_answer() -> None:
    raw = stream(WHOLE, DONE)
    cuts = range(HEAD, END, 17)
    async with provider(*[[raw[:position]] for position in cuts]) as acme:
        for _ in cuts:
            with pytest.raises(Transient):
                await ask(acme.url, streamed=True)


async def test_malformed_json_at_every_token_is_no_answer() -> None:
    tokens = list(re.finditer(r'"[^"]*"|[{}\[\]:,]|\d+', TEXT))
    bodies = [TEXT[: one.start()] + "?" + TEXT[one.end() :] for one in tokens if one[0] != "," or True]
    async with provider(*[[answer(body)] for body in bodies]) as acme:
        for body in bodies:
            with pytest.raises(StepError):
                await ask(acme.url)
                pytest.fail(body)


# ── no way to the provider ──────────────────────────────────────────────────────────────────────────────


async def test_a_refused_connection_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(Unreachable, match="acme cannot be reached"):
            await ask(url)


async def test_a_name_that_does_not_resolve_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable, match="not known"):
        await ask("http://models.acme.test/v1")


async def test_a_server_without_tls_is_unreachable_over_https() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        with pytest.raises(Unreachable, match="acme cannot be reached"):
            await ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with provider([answer(completion())]) as acme:
        assert (await ask(acme.url)).text == "Well said."


# ── good answers, in all their forms ────────────────────────────────────────────────────────────────────

GOOD: dict[str, tuple[bytes, bool]] = {
    "a body": (answer(completion()), False),
    "a body with a byte order mark": (answer(b"\xef\xbb\xbf" + TEXT.encode()), False),
    "a body without a finish, as some servers send": (answer(completion(reason=None)), False),
    "a content in parts": (answer(completion([{"type": "text", "text": "Well "}, {"text": "said."}])), False),
    "a packed body": (answer(gzip.compress(TEXT.encode()), content_encoding="gzip"), False),
    "a deflated body": (answer(zlib.compress(TEXT.encode()), content_encoding="deflate"), False),
    "a stream": (stream(WHOLE, sse(USAGE), DONE), True),
    "a stream without [DONE]": (stream(WHOLE, sse(USAGE)), True),
    "a stream with carriage returns": (stream(WHOLE, sse(USAGE), DONE).replace(b"}\n\n", b"}\r\n\r\n"), True),
    "a stream with comments and a byte order mark": (
        stream(b"\xef\xbb\xbf: hello\n\n", WHOLE, b": x\n\n", sse(USAGE), DONE),
        True,
    ),
    "a stream that finishes twice alike": (stream(WHOLE, sse(chunk(reason="stop")), sse(USAGE), DONE), True),
    "a body where a stream was asked for": (answer(completion()), True),
    "numbered events": (
        stream(
            sse(chunk("Well "), "1"), sse(chunk("said."), "2"), sse(chunk(reason="stop"), "3"), sse(USAGE, "4"), DONE
        ),
        True,
    ),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_answer_is_read_whole(name: str) -> None:
    raw, streamed = GOOD[name]
    heard: list[str] = []
    async with provider([raw]) as acme:
        got = await ask(acme.url, streamed=streamed, heard=heard.append)
    assert got.text == "Well said."
    assert (got.provider, got.model) == ("acme", "m-0901")
    assert (got.usage.input_tokens, got.usage.output_tokens, got.usage.estimated) == (11, 7, False)
    assert "".join(heard) in ("", "Well said.")


async def test_a_stream_may_arrive_byte_by_byte() -> None:
    raw = stream(sse(chunk("Grüße, 世界 🎭")), sse(chunk(reason="stop")), DONE)
    async with provider([raw[n : n + 1] for n in range(len(raw))]) as acme:
        assert (await ask(acme.url, streamed=True)).text == "Grüße, 世界 🎭"


async def test_usage_that_makes_no_sense_is_estimated_and_marked() -> None:
    for usage in (None, {}, {"prompt_tokens": -1, "completion_tokens": 10**12}, {"prompt_tokens": "many"}, [1]):
        async with provider([answer(completion(usage=usage))]) as acme:
            got = await ask(acme.url)
        assert got.usage.estimated
        assert 0 < got.usage.input_tokens < 100
        assert 0 < got.usage.output_tokens < 100


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["401 Unauthorized", "400 Bad", "500 Oh", "429 Slow", "200 OK"])
async def test_a_key_that_the_provider_echoes_is_not_in_the_error(status: str) -> None:
    forms = (KEY, KEY.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D"), "c2stY2FuYXJ5LTRmMWQvNzcreD0")
    body = "x" * 1_985 + " ".join(forms)
    async with provider([answer(json.dumps({"error": {"message": f"bad key {KEY}"}}) + body, status=status)]) as acme:
        with pytest.raises(StepError) as caught:
            await ask(acme.url)
    shown = f"{caught.value} {caught.value!r} {caught.value.evidence}"
    assert not [form for form in forms if form in shown or form[:12] in shown]


async def test_the_key_travels_in_its_header_and_nowhere_else() -> None:
    async with provider([answer(completion())]) as acme:
        await ask(acme.url)
    (asked,) = acme.asked
    assert asked.headers.pop("authorization") == f"Bearer {KEY}"
    assert asked.head == "POST /v1/chat/completions HTTP/1.1"
    assert asked.headers["idempotency-key"] == "k-1"
    assert asked.headers["accept-encoding"] == "identity"
    assert KEY not in repr(asked)


def test_a_secret_shows_itself_to_nobody() -> None:
    import copy
    import pickle

    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]} {secret:>40}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            leak(secret)
    assert secret.reveal() == KEY
