"""Who can answer: providers, where they are reached, which key they want, and whose models have which names.

Everything here is a table. A provider that speaks OpenAI's dialect needs a row and no code; the offline model is a
provider like the others, so that choosing it is no special path. Keys stand here by name only; their values come
from the caller, and a key belongs to the address in its own row: with another base URL goes another key, or none.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from callboard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.llm.secret import Secret

OFFLINE = "offline"

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})


class Provider(NamedTuple):
    """One provider of OpenAI's dialect. `key` names the secret; empty when none is wanted."""

    name: str
    base_url: str
    key: str = ""
    media: frozenset[str] = IMAGES  # attachments it takes besides text
    tokens_field: str = "max_tokens"  # how it calls the most tokens of an answer
    takes_schema: bool = True  # whether it can be held to a JSON Schema; else the schema is put into words
    free: bool = False  # runs on the user's own machine: no price


class Route(NamedTuple):
    """A line of the user's settings: which provider answers for a model, under which name there, at which address.

    Empty fields are as the provider has them. With a `base_url` of its own a route sends the key it names itself,
    never the provider's: a key is bound to its host.
    """

    provider: str
    model: str = ""
    base_url: str = ""
    key: str = ""


class Endpoint(NamedTuple):
    """Where a call goes, complete: what a client is made from."""

    provider: Provider
    secret: Secret


KNOWN: Mapping[str, Provider] = {
    one.name: one
    for one in (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            media=IMAGES | {"application/pdf"},
            tokens_field="max_completion_tokens",
        ),
        Provider("google", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
        Provider("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", takes_schema=False),
        Provider("ollama", "http://127.0.0.1:11434/v1", free=True),
    )
}

#: Other names of the same.
ALIASES = {"gemini": "google", "claude": "anthropic", "mock": OFFLINE, "callboard": OFFLINE}

#: Whose models begin like this; the first that fits.
PREFIXES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"callboard-offline|offline$|mock$"), OFFLINE),
    (re.compile(r"gemini|gemma-\d+.*-it$"), "google"),
    (re.compile(r"claude"), "anthropic"),
    (re.compile(r"(?:chat)?gpt|o\d"), "openai"),
)


def by_prefix(model: str) -> str:
    """The provider whose models begin like `model`; empty when nobody's do."""
    return next((name for pattern, name in PREFIXES if pattern.match(model)), "")


def split(model: str, known: Mapping[str, object]) -> tuple[str, str]:
    """(provider, model) of `provider:model` or `provider/model`; ("", model) when the beginning names no provider.

    Names of models hold colons and slashes of their own (`llama3:8b`), so only a provider that is known is split off.
    """
    for mark in ":/":
        head, found, rest = model.partition(mark)
        name = ALIASES.get(head, head)
        if found and rest and (name in known or name == OFFLINE):
            return name, rest
    return "", model


def check_address(provider: Provider, has_key: bool) -> None:
    """Raises UsageError for a base URL that cannot be used, or over which a key would travel in the clear."""
    try:
        url = urlsplit(provider.base_url)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise UsageError(f"the base URL of {provider.name} is not a URL; write https://host/v1") from None
    if url.scheme not in ("http", "https") or not host:
        raise UsageError(f"the base URL of {provider.name} is not a URL of http or https; write https://host/v1")
    if url.username or url.password or url.query or url.fragment:
        raise UsageError(f"the base URL of {provider.name} holds a login or a query; name the key in `key` instead")
    if url.scheme == "http" and has_key and not is_near(host):
        raise UsageError(f"the key of {provider.name} would travel to {host} in the clear; use https")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def is_near(host: str) -> bool:
    """Whether `host` is this machine or plainly one of the user's own network."""
    address = _address(host)
    if address is not None:
        return address.is_private or address.is_loopback
    return "." not in host or host.endswith((".local", ".lan", ".internal", ".home.arpa", ".localhost"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
