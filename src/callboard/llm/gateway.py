"""The gateway: who answers a request, how fast it may be asked, and whether the answer may be believed.

All that is common to every provider stands here and nowhere else: choosing by name, the key that is missing, the
limits, the check against a schema, the money. A client below only speaks its protocol. What is wrong with a model's
name or key is found by `check`, which needs no network, so that it can be asked before anything is created.

Choosing goes from the particular to the general: the override of the whole program, the user's routes, a provider
named by the step, a provider in front of the model's name, the user's own server, the model's prefix. The first
that speaks decides. Guessing further was left out: a model that nobody knows is an error, not somebody's guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

from callboard.errors import InvalidOutput, Permanent, UsageError
from callboard.llm.completion import Source, json_of
from callboard.llm.faults import shown
from callboard.llm.limits import Limit, Limiter
from callboard.llm.prices import cost, price_of
from callboard.llm.providers import (
    ALIASES,
    KNOWN,
    OFFLINE,
    Endpoint,
    Provider,
    Route,
    by_prefix,
    check_address,
    is_loopback,
    split,
)
from callboard.llm.secret import Redaction, Secret
from callboard.llm.usage import estimate_request
from callboard.text.schema import check, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from callboard.llm.prices import Price
    from callboard.ports import Answer, Clock, Model, Request


class Client(Protocol):
    """What speaks to one endpoint; see `llm.openai.Client`."""

    async def complete(
        self, request: Request, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Answer: ...

    async def close(self) -> None: ...


class Choice(NamedTuple):
    """Who answers a request: the model's name there, and the provider; None for the offline model."""

    model: str
    provider: Provider | None

    @property
    def name(self) -> str:
        return self.provider.name if self.provider else OFFLINE


class Gateway:
    """Implements `ports.Model`. One per process; use it on one event loop and `await close()` at the end.

    clock       what limits and latencies are measured with
    offline     the offline model (`llm.offline.OfflineModel`)
    connect     makes the client of an endpoint; called when the first call goes there (`llm.openai.connect`)
    secret      the value of a key by its name ("OPENAI_API_KEY"), None when there is none
    override    one model for every request ("offline", "openai:gpt-5-mini"); empty for none
    server      the user's own server: answers for models without a provider of their own in routes or name
    routes      model → Route; a name that ends in * stands for all that begin like it, the longest wins
    providers   further providers, or other versions of known ones, by name
    limits      model → Limit; "*" for the others
    prices      model → (input, output) in nano-USD per token; above the listed ones
    allowed     names of the only providers that may be asked ("offline" too must be named); None for all
    local_only  only the offline model and servers on this machine may be asked
    max_tokens  most tokens of an answer when the request does not say: a limit is always sent
    """

    def __init__(
        self,
        *,
        clock: Clock,
        offline: Model,
        connect: Callable[[Endpoint, Clock], Client],
        secret: Callable[[str], str | None],
        override: str = "",
        server: Provider | None = None,
        routes: Mapping[str, Route] | None = None,
        providers: Iterable[Provider] = (),
        limits: Mapping[str, Limit] | None = None,
        prices: Mapping[str, Price] | None = None,
        allowed: Collection[str] | None = None,
        local_only: bool = False,
        max_tokens: int = 8_192,
    ) -> None:
        self._clock, self._offline, self._connect, self._secret = clock, offline, connect, secret
        self._override, self._server, self._routes = override, server, routes or {}
        self._providers = {**KNOWN, **{one.name: one for one in providers}}
        self._limits, self._prices = limits or {}, prices or {}
        self._allowed, self._local_only, self._max_tokens = allowed, local_only, max_tokens
        self._clients: dict[tuple[str, str, str], Client] = {}
        self._limiters: dict[str, Limiter] = {}

    # ── ports.Model ─────────────────────────────────────────────────────────────────────────────────────

    async def complete(self, request: Request, *, on_text: Callable[[str], None] | None = None) -> Answer:
        """Ask whoever is chosen, once. The answer is whole, fits its schema, and carries what it cost, if known."""
        choice = self.choose(request.model, _named(request))
        self._admit(choice)
        _check_schema(request)
        async with self._limiter(choice).enter(estimate_request(request)) as held:
            answer = await self._ask(choice, request, on_text)
            held.used(answer.usage.input_tokens + answer.usage.output_tokens)
        answer = answer._replace(cost=cost(self._price(choice), answer.usage))
        return _checked(answer, request, self._redaction(choice))

    def price(self, model: str) -> tuple[int, int] | None:
        """(input, output) in nano-USD per token of whoever would answer for `model`; None when unknown."""
        try:
            return self._price(self.choose(model))
        except Permanent:
            return None

    # ── before anything is created ──────────────────────────────────────────────────────────────────────

    def check(self, model: str, *, provider: str = "") -> None:
        """Raises Permanent, saying what to do, when `model` could not be asked: unknown, no key, not allowed.

        Asks no network. `provider` is the step's `provider:`, if it has one.
        """
        self._admit(self.choose(model, provider))

    def choose(self, model: str, provider: str = "") -> Choice:
        """Who answers for `model`. Raises Permanent for a model without a provider and a provider nobody knows."""
        if self._override:
            return self._by_name(self._override, "")
        return self._by_route(model) or self._by_name(model, provider)

    async def close(self) -> None:
        """Close every connection. The gateway may be used again afterwards."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    # ── choosing ────────────────────────────────────────────────────────────────────────────────────────

    def _by_route(self, model: str) -> Choice | None:
        fitting = [name for name in self._routes if name == model or _covers(name, model)]
        if not fitting:
            return None
        route = self._routes[max(fitting, key=lambda name: (name == model, len(name)))]
        name = ALIASES.get(route.provider, route.provider)
        if name == OFFLINE:
            return Choice(route.model or OFFLINE, None)
        row = self._provider(name) if name in self._providers or not route.base_url else Provider(name, "")
        if route.base_url:
            row = row._replace(base_url=route.base_url, key=route.key, free=is_loopback(_host(route.base_url)))
        elif route.key:
            row = row._replace(key=route.key)
        return Choice(route.model or split(model, self._providers)[1], row)

    def _by_name(self, model: str, provider: str) -> Choice:
        named, rest = split(model, self._providers)
        if provider:
            named, rest = ALIASES.get(provider, provider), rest if named == ALIASES.get(provider, provider) else model
        elif self._server is not None and model and by_prefix(model) != OFFLINE and not _is_said(named, model):
            return Choice(model, self._server)
        named = named or by_prefix(model)
        if named == OFFLINE:
            return Choice(rest, None)
        if not named:
            raise Permanent(_unknown(model))
        return Choice(rest, self._provider(named))

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            known = ", ".join([OFFLINE, *sorted(self._providers)])
            raise Permanent(f"no provider is called {name[:60]!r}; there are {known}")
        return self._providers[name]

    def _admit(self, choice: Choice) -> None:
        """Raises Permanent when this choice may not, or cannot, be asked."""
        if self._allowed is not None and choice.name not in self._allowed:
            raise Permanent(f"{choice.name} is not among the allowed providers: {', '.join(sorted(self._allowed))}")
        if choice.provider is None:
            return
        if self._local_only and not is_loopback(_host(choice.provider.base_url)):
            raise Permanent(f"{choice.name} is not on this machine, and only local models are allowed")
        self._endpoint(choice.provider)

    def _endpoint(self, provider: Provider) -> Endpoint:
        value = (self._secret(provider.key) or "").strip() if provider.key else ""
        if provider.key and not value:
            raise Permanent(
                f"{provider.name} wants a key: set the environment variable {provider.key}, or name the base URL of "
                "another OpenAI-compatible server, or use the offline model"
            )
        if any(mark in value for mark in "\r\n\0") or not value.isascii():
            raise Permanent(f"{provider.key} holds characters that no key has (a line break, or what is not ASCII)")
        try:
            check_address(provider, bool(value))
        except UsageError as error:
            raise Permanent(str(error)) from None
        return Endpoint(provider, Secret(value))

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, choice: Choice, request: Request, on_text: Callable[[str], None] | None) -> Answer:
        if choice.provider is None:
            return await self._offline.complete(request, on_text=on_text)
        client = self._client(self._endpoint(choice.provider))
        most = request.max_tokens or self._max_tokens
        return await client.complete(request._replace(model=choice.model), max_tokens=most, on_text=on_text)

    def _redaction(self, choice: Choice) -> Redaction:
        """Hides the key of whoever answered: a relay may put it into an answer as well as into an error."""
        return Redaction(self._endpoint(choice.provider).secret) if choice.provider else Redaction()

    def _client(self, endpoint: Endpoint) -> Client:
        provider = endpoint.provider
        key = (provider.name, provider.base_url, endpoint.secret.reveal())
        if key not in self._clients:
            self._clients[key] = self._connect(endpoint, self._clock)
        return self._clients[key]

    def _limiter(self, choice: Choice) -> Limiter:
        name = f"{choice.name}:{choice.model}"
        if name not in self._limiters:
            limit = next((self._limits[one] for one in (name, choice.model, "*") if one in self._limits), Limit())
            self._limiters[name] = Limiter(limit, self._clock)
        return self._limiters[name]

    def _price(self, choice: Choice) -> Price | None:
        if choice.provider is None:
            return self._prices.get(choice.model) or self._offline.price(choice.model)
        own = self._prices.get(f"{choice.name}:{choice.model}") or self._prices.get(choice.model)
        return own or ((0, 0) if choice.provider.free else price_of(choice.model, self._prices))


def _checked(answer: Answer, request: Request, redaction: Redaction) -> Answer:
    """The answer with its parsed `data`, if a schema was asked for. Raises InvalidOutput with the answer shown."""
    evidence = {"provider": answer.provider, "model": answer.model, "body": shown(answer.text, redaction)}
    try:
        answer.text.encode()
    except UnicodeEncodeError:
        raise InvalidOutput("the answer holds half of a surrogate pair", evidence=evidence) from None
    if request.schema is None:
        return answer
    source, name = Source(answer.provider, redaction, 0.0), f"the answer of {answer.provider}"
    data = json_of(answer.text, source)
    try:
        validate(data, request.schema, name=name)
    except InvalidOutput:
        said, faults = f"{name} does not fit its JSON Schema", {}
    else:
        return answer._replace(data=data)
    # What is wrong is told with values of the answer in it, cut short: so it is looked for again where keys are hidden.
    try:
        validate(json_of(redaction.clean(answer.text), source), request.schema, name=name)
    except InvalidOutput as error:
        said, faults = str(error), error.evidence if isinstance(error.evidence, dict) else {}
    raise InvalidOutput(said, evidence=evidence | faults)


def _check_schema(request: Request) -> None:
    """Raises Permanent for a schema that no answer could be checked by, before anything is paid for one."""
    if request.schema is not None:
        try:
            check(request.schema)
        except UsageError as error:
            raise Permanent(str(error)) from None


def _named(request: Request) -> str:
    options = request.options if isinstance(request.options, dict) else {}
    named = options.get("provider", "")
    return named if isinstance(named, str) else ""


def _is_said(provider: str, model: str) -> bool:
    """Whether `model` names its provider beyond doubt: relays have models called `openai/…` of their own."""
    return bool(provider) and (provider == OFFLINE or ":" in model.partition("/")[0])


def _covers(name: str, model: str) -> bool:
    return name.endswith("*") and model.startswith(name[:-1])


def _host(url: str) -> str:
    """The host of an address, "" when it has none; `check_address` says what is wrong with it."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _unknown(model: str) -> str:
    if not model:
        return "no model is named: write `model:` in the step, or use the offline model"
    return (
        f"nobody is known to have the model {model[:80]!r}: write its provider in front (openai:{model[:80]}), "
        "name the base URL of a server that has it, or use the offline model"
    )
