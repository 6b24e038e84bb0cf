"""Who answers, under which conditions, and what is said when nobody can."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from llm_provider import DONE, USAGE, WHOLE, answer, completion, provider, sse, stream

from callboard.errors import InvalidFile, InvalidOutput, NotFound, Permanent, RateLimited
from callboard.llm.gateway import Gateway
from callboard.llm.limits import Limit, Limiter
from callboard.llm.offline import OfflineModel
from callboard.llm.openai import connect
from callboard.llm.prices import LISTED, cost, price_of, read
from callboard.llm.providers import Provider, Route
from callboard.ports import Attachment, Message, Request, Usage
from callboard.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEYS = {"OPENAI_API_KEY": "sk-o", "GEMINI_API_KEY": "g-1", "ANTHROPIC_API_KEY": "a-1", "ACME_KEY": "acme-key-1"}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def gateway(keys: dict[str, str] | None = None, **given: Any) -> Gateway:
    clock = given.pop("clock", None) or FakeClock()
    secret = (KEYS if keys is None else keys).get
    return Gateway(clock=clock, offline=OfflineModel(clock=clock), connect=connect, secret=secret, **given)


def ask(model: str = "acme:m", text: str = "Say something.", **given: Any) -> Request:
    return Request(model, (Message("user", text),), **given)


def acme(url: str, **given: Any) -> Provider:
    return Provider("acme", url, "ACME_KEY", **given)


@pytest.fixture
async def closing() -> AsyncIterator[list[Gateway]]:
    opened: list[Gateway] = []
    yield opened
    for one in opened:
        await one.close()


# ── choosing ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.0-flash", ("google", "gemini-2.0-flash")),
        ("claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("gpt-5-mini", ("openai", "gpt-5-mini")),
        ("o3", ("openai", "o3")),
        ("chatgpt-4o-latest", ("openai", "chatgpt-4o-latest")),
        ("openai:ft:gpt-4o:mine", ("openai", "ft:gpt-4o:mine")),
        ("gemini:gemini-2.0-flash", ("google", "gemini-2.0-flash")),
        ("ollama/llama3:8b", ("ollama", "llama3:8b")),
        ("ollama:gpt-oss:20b", ("ollama", "gpt-oss:20b")),
        ("offline", ("offline", "offline")),
        ("offline/anything", ("offline", "anything")),
        ("mock/anything", ("offline", "anything")),
        ("callboard-offline-1", ("offline", "callboard-offline-1")),
    ],
)
def test_the_name_of_a_model_says_who_answers(model: str, expected: tuple[str, str]) -> None:
    choice = gateway().choose(model)
    assert (choice.name, choice.model) == expected


@pytest.mark.parametrize("model", ["", "llama3:8b", "onyx", "mistral-large", "gpx-1", "nobody:m"])
def test_a_model_that_nobody_has_is_an_error_that_says_what_to_do(model: str) -> None:
    with pytest.raises(Permanent, match="offline model"):
        gateway().check(model)


def test_the_providers_of_a_step_and_of_the_settings_are_known() -> None:
    one = gateway(providers=[acme("https://acme.example/v1")])
    assert one.choose("any-model", "acme").provider == acme("https://acme.example/v1")
    assert one.choose("acme/any-model").model == "any-model"
    assert one.choose("gpt-5", "ollama").name == "ollama"
    assert one.choose("gpt-5", "offline").name == "offline"
    with pytest.raises(Permanent, match=r"no provider is called 'acne'.*acme"):
        one.check("m", provider="acne")


def test_a_route_of_the_settings_stands_above_the_name() -> None:
    routes = {
        "gemini-*": Route("offline"),
        "gemini-2.5-pro": Route("openai", "gpt-5"),
        "small": Route("ollama", "qwen3"),
    }
    one = gateway(routes=routes)
    assert one.choose("gemini-2.0-flash").name == "offline"
    assert one.choose("gemini-2.5-pro")[:1] == ("gpt-5",)
    assert (one.choose("small").name, one.choose("small").model) == ("ollama", "qwen3")
    assert one.choose("gpt-5").name == "openai"


def test_a_key_does_not_follow_a_provider_to_another_address() -> None:
    routed = gateway(routes={"gpt-5": Route("openai", base_url="https://relay.example/v1")}).choose("gpt-5").provider
    assert routed is not None
    assert (routed.base_url, routed.key) == ("https://relay.example/v1", "")
    named = {"gpt-5": Route("openai", base_url="https://relay.example/v1", key="ACME_KEY")}
    assert gateway(routes=named).choose("gpt-5").provider == routed._replace(key="ACME_KEY")


def test_the_override_answers_for_every_model() -> None:
    one = gateway({}, override="offline", routes={"x": Route("openai")}, server=acme("https://acme.example/v1"))
    for model in ("gemini-2.0-flash", "x", "", "nobody-knows-it", "openai:gpt-5"):
        one.check(model)
        assert one.choose(model).name == "offline"
    assert gateway(override="openai:gpt-5-mini").choose("gemini-2.0-flash").model == "gpt-5-mini"


def test_the_users_own_server_answers_for_models_without_a_provider_in_their_name() -> None:
    server = Provider("server", "http://127.0.0.1:9/v1")
    one = gateway({}, server=server)
    for model in ("gpt-5", "gemini-2.0-flash", "llama3:8b", "openai/gpt-4o", "meta/llama"):
        assert one.choose(model) == (model, server)
        one.check(model)
    assert one.choose("offline").name == one.choose("mock/x").name == "offline"
    assert one.choose("ollama:llama3:8b").name == "ollama"


# ── before anything is created ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "variable"),
    [("gpt-5", "OPENAI_API_KEY"), ("gemini-2.0-flash", "GEMINI_API_KEY"), ("claude-sonnet-4-5", "ANTHROPIC_API_KEY")],
)
async def test_a_missing_key_is_an_error_that_names_the_variable(model: str, variable: str) -> None:
    for empty in ({}, {variable: "  "}):
        with pytest.raises(Permanent, match=variable):
            gateway(empty).check(model)
        with pytest.raises(Permanent, match=variable):
            await gateway(empty).complete(ask(model))
    gateway().check(model)
    gateway({}).check("ollama/llama3")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme",
        "ftp://acme.example/v1",
        "https://me:pw@acme.example/v1",
        "http://acme.example/v1",
        "https://[::1",
        "https://a/v1?k=1",
    ],
)
def test_an_address_that_cannot_be_used_is_found_before(url: str) -> None:
    with pytest.raises(Permanent) as caught:
        gateway(providers=[acme(url)]).check("acme:m")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://acme.example/v1", "http://localhost:1/v1", "http://10.0.0.7/v1", "http://nas/v1"]
)
def test_a_key_may_travel_in_the_clear_on_the_users_own_network_only(url: str) -> None:
    gateway(providers=[acme(url)]).check("acme:m")


@pytest.mark.parametrize("key", ["two\nlines", "two\r\nX-Evil: 1", "sch\u00fcssel"])
def test_a_key_that_would_break_its_header_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(Permanent, match="ACME_KEY") as caught:
        gateway({"ACME_KEY": key}, providers=[acme("https://acme.example/v1")]).check("acme:m")
    assert key.split()[0] not in str(caught.value)


def test_only_allowed_providers_are_asked() -> None:
    one = gateway(allowed=("offline", "openai"))
    one.check("gpt-5")
    one.check("offline")
    with pytest.raises(Permanent, match="google is not among the allowed providers: offline, openai"):
        one.check("gemini-2.0-flash")


def test_local_only_means_this_machine() -> None:
    one = gateway(local_only=True, server=None)
    one.check("offline")
    one.check("ollama/llama3")
    with pytest.raises(Permanent, match="only local models"):
        one.check("gpt-5")


async def test_a_schema_of_no_use_is_found_before_anything_is_paid(closing: list[Gateway]) -> None:
    async with provider([answer(completion("{}"))]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        for schema in ({"type": "thing"}, {"$ref": "https://elsewhere.example/schema"}, "object"):
            with pytest.raises(Permanent):
                await one.complete(ask(schema=schema))
    assert not there.asked


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_carries_what_it_used_and_cost(closing: list[Gateway]) -> None:
    async with provider([answer(completion())]) as there:
        closing.append(one := gateway(providers=[acme(there.url)], prices={"acme:m": (3, 5)}))
        got = await one.complete(ask())
    assert (got.text, got.provider, got.model) == ("Well said.", "acme", "m-0901")
    assert got.usage == Usage(11, 7)
    assert got.cost == 11 * 3 + 7 * 5
    assert one.price("acme:m") == (3, 5)
    assert one.price("acme:other") is None
    assert one.price("nobody") is None


async def test_a_model_without_a_price_has_no_cost(closing: list[Gateway]) -> None:
    async with provider([answer(completion())]) as there:
        closing.append(one := gateway(providers=[acme(there.url), Provider("home", there.url, free=True)]))
        assert (await one.complete(ask())).cost is None
        assert (await one.complete(ask("home:m"))).cost == 0


async def test_text_is_heard_as_it_comes(closing: list[Gateway]) -> None:
    heard: list[str] = []
    async with provider([stream(WHOLE, sse(USAGE), DONE)]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        got = await one.complete(ask(), on_text=heard.append)
    assert heard == ["Well ", "said."]
    assert got.usage == Usage(11, 7)
    assert there.asked[0].body["stream_options"] == {"include_usage": True}


async def test_a_request_says_all_it_has_to_say(closing: list[Gateway]) -> None:
    request = Request(
        "acme:m",
        (Message("system", "Be brief."), Message("user", "Look: {braces}.")),
        temperature=0.5,
        schema=SCHEMA,
        options={"seed": 7, "provider": "acme", "labels": ["a"]},
        attachments=(Attachment("a.png", "image/png", b"\x89PNG"), Attachment("b.txt", "text/plain", b"words")),
        key="k-9",
    )
    async with provider([answer(completion('{"n": 1}'))]) as there:
        closing.append(one := gateway(providers=[acme(there.url)], max_tokens=77))
        assert (await one.complete(request)).data == {"n": 1}
    body = there.asked[0].body
    assert there.asked[0].headers["idempotency-key"] == "k-9"
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look: {braces}."},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                    {"type": "text", "text": "b.txt:\nwords"},
                ],
            },
        ],
        "temperature": 0.5,
        "max_tokens": 77,
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
    }


async def test_a_provider_that_takes_no_schema_is_told_it_in_words(closing: list[Gateway]) -> None:
    async with provider([answer(completion('```json\n{"n": 2}\n```'))]) as there:
        closing.append(one := gateway(providers=[acme(there.url, takes_schema=False, tokens_field="most")]))
        assert (await one.complete(ask(schema=SCHEMA, max_tokens=5))).data == {"n": 2}
    body = there.asked[0].body
    assert json.dumps(SCHEMA) in body["messages"][0]["content"]
    assert body["most"] == 5
    assert "response_format" not in body


@pytest.mark.parametrize(
    "text", ["{}", '{"n": "1"}', '{"n": 1, "m": 2}', "[1]", "n = 1", '{"n": 1', '{"n": NaN}', "```\n{}\n```"]
)
async def test_an_answer_that_does_not_fit_its_schema_is_invalid_and_shown(text: str, closing: list[Gateway]) -> None:
    async with provider([answer(completion(text))]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        with pytest.raises(InvalidOutput) as caught:
            await one.complete(ask(schema=SCHEMA))
    assert isinstance(caught.value.evidence, dict)
    assert caught.value.evidence["body"] == text


@pytest.mark.parametrize("text", ['{"n": "KEY"}', '{"KEY": 1}', "no JSON but KEY", '{"n": "' + "x" * 280 + 'KEY"}'])
async def test_a_key_that_an_answer_echoes_is_not_in_the_evidence(text: str, closing: list[Gateway]) -> None:
    async with provider([answer(completion(text.replace("KEY", KEYS["ACME_KEY"])))]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        with pytest.raises(InvalidOutput) as caught:
            await one.complete(ask(schema=SCHEMA))
    assert "acme-key" not in f"{caught.value} {caught.value.evidence}"
    assert "«secret»" in str(caught.value.evidence)


@pytest.mark.parametrize("option", ["model", "messages", "stream", "tools", "n", "response_format", "max_tokens"])
async def test_options_cannot_take_over_the_request(option: str, closing: list[Gateway]) -> None:
    async with provider([answer(completion())]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        with pytest.raises(Permanent, match=option):
            await one.complete(ask(options={option: "x"}))
    assert not there.asked


async def test_an_attachment_that_the_provider_cannot_take_is_an_error_before_the_call(closing: list[Gateway]) -> None:
    async with provider([answer(completion())]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        for path, kind, data in (
            ("a.mp4", "video/mp4", b""),
            ("a.pdf", "application/pdf", b""),
            ("a", "text/plain", b"\xff"),
        ):
            with pytest.raises(Permanent, match=path):
                await one.complete(ask(attachments=(Attachment(path, kind, data),)))
    assert not there.asked


async def test_an_error_of_the_provider_comes_through_once(closing: list[Gateway]) -> None:
    async with provider([answer({}, status="429 Slow", retry_after="4")]) as there:
        closing.append(one := gateway(providers=[acme(there.url)]))
        with pytest.raises(RateLimited) as caught:
            await one.complete(ask())
    assert caught.value.retry_after == 4.0
    assert len(there.asked) == 1


# ── limits, on a clock that moves when told ─────────────────────────────────────────────────────────────


async def _turns(n: int = 20) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def test_no_more_calls_at_once_than_the_limit() -> None:
    clock, inside, most = FakeClock(), 0, 0
    limiter, door = Limiter(Limit(concurrency=3), clock), asyncio.Event()

    async def call() -> None:
        nonlocal inside, most
        async with limiter.enter(1):
            inside, most = inside + 1, max(most, inside + 1)
            await door.wait()
            inside -= 1

    calls = [asyncio.create_task(call()) for _ in range(10)]
    await _turns()
    assert inside == 3
    door.set()
    await asyncio.gather(*calls)
    assert most == 3


async def test_requests_beyond_the_minute_wait_in_the_order_they_came() -> None:
    clock, done = FakeClock(), list[int]()
    limiter = Limiter(Limit(requests=6), clock)

    async def call(n: int) -> None:
        async with limiter.enter(0):
            done.append(n)

    calls = [asyncio.create_task(call(n)) for n in range(9)]
    await _turns()
    assert done == [0, 1, 2, 3, 4, 5]
    for n in (6, 7, 8):
        clock.advance(9.5)
        await _turns()
        assert done[-1] == n - 1
        clock.advance(0.5)
        await _turns()
        assert done[-1] == n
    await asyncio.gather(*calls)


async def test_what_a_call_really_used_is_settled_afterwards() -> None:
    clock, done = FakeClock(), list[str]()
    limiter = Limiter(Limit(tokens=600), clock)
    async with limiter.enter(100) as held:
        held.used(1_200)  # the bucket is 600 below zero now

    async def call(name: str, tokens: int) -> None:
        async with limiter.enter(tokens):
            done.append(name)

    calls = [asyncio.create_task(call("large", 10_000)), asyncio.create_task(call("small", 1))]
    await _turns()
    clock.advance(119)
    await _turns()
    assert done == []
    clock.advance(1.1)  # full again: as much as the large one can ever have
    await _turns()
    assert done == ["large"]
    clock.advance(2_000)
    await asyncio.gather(*calls)
    assert done == ["large", "small"]


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    limiter = Limiter(Limit(concurrency=1, requests=1), FakeClock())

    async def call() -> None:
        async with limiter.enter(1):
            pass

    await call()
    waiting = asyncio.create_task(call())
    await _turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert limiter._places is not None
    assert limiter._places._value == 1
    assert not limiter._door.locked()


async def test_the_gateway_keeps_the_limit_of_each_model() -> None:
    clock = FakeClock()
    one = gateway(clock=clock, limits={"offline": Limit(requests=1), "*": Limit()})
    await one.complete(ask("offline", "A text. Another text."))
    await one.complete(ask("mock/other", "A text. Another text."))
    second = asyncio.create_task(one.complete(ask("offline", "A text. Another text.")))
    await _turns()
    assert not second.done()
    assert clock.sleeping
    clock.advance(60)
    await _turns()
    assert (await second).provider == "offline"


# ── money ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_release_has_the_price_of_its_model() -> None:
    assert price_of("gpt-4o-2024-08-06", {}) == LISTED["gpt-4o"]
    assert price_of("claude-sonnet-4-5-20250929", {}) == LISTED["claude-sonnet-4-5"]
    assert price_of("gemini-2.0-flash-001", {}) == LISTED["gemini-2.0-flash"]
    assert price_of("gpt-4o-mini-audio", {}) is None
    assert price_of("gpt-4o", {"gpt-4o": (1, 2)}) == (1, 2)


def test_a_user_may_say_what_things_cost(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"gpt-5": {"input": 1.5, "output": 10}, "acme:m": {"input": 0.0001, "output": 0}}')
    assert read(file) == {"gpt-5": (1_500, 10_000), "acme:m": (1, 0)}
    assert gateway(prices=read(file)).price("gpt-5") == (1_500, 10_000)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "not JSON"),
        ("[]", "object of models"),
        ('{"m": 3}', "'m' is not input and output"),
        ('{"m": {"input": 3}}', "'m' is not input and output"),
        ('{"m": {"input": "3", "output": 1}}', "no sum of dollars: '3'"),
        ('{"m": {"input": -1, "output": 1}}', "no sum of dollars"),
        ('{"m": {"input": true, "output": 1}}', "no sum of dollars"),
    ],
)
def test_prices_that_cannot_be_read_are_a_fault_of_their_file(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(InvalidFile, match=part) as caught:
        read(file)
    assert caught.value.file == str(file) and "input" in caught.value.fix
    with pytest.raises(NotFound, match="CALLBOARD_PRICES"):
        read(tmp_path / "gone.json")


def test_a_cost_is_an_exact_sum_of_whole_nano_dollars() -> None:
    assert cost((1_250, 10_000), Usage(1_000_000, 1_000)) == 1_260_000_000
    assert cost(None, Usage(1, 1)) is None
    assert cost((0, 0), Usage(5, 5)) == 0
    assert all(isinstance(part, int) and part >= 0 for price in LISTED.values() for part in price)
