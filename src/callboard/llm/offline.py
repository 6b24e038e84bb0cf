"""The offline model: no network, no key, the same answer every time, and honest about what it is.

It is not a language model. It reads a text, counts, and chooses (`reading`): sentences that stand in the text, terms,
labels, values for the fields of a schema. It exists so that a pipeline can be written, tested, shown and killed in the
middle before anybody pays for it; so it behaves like a provider in all that matters to the rest of the program. It
takes time if told to, counts tokens (by estimate, and says so), has a price (pretend money, small, so that budgets
and sums have something to do), streams word by word, and may keep a ledger as a provider keeps its books.

That ledger is what crash tests believe. A line is on the disk before the answer leaves, so a call that we have
forgotten cannot be hidden from it. `temperature` is taken and changes nothing: there is no chance here.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING

from callboard.crash import point
from callboard.errors import InvalidOutput, Permanent, Transient, UsageError
from callboard.llm.providers import OFFLINE
from callboard.llm.reading.asked import understand
from callboard.llm.reading.filling import Impossible, fill
from callboard.llm.reading.labels import choose, hear
from callboard.llm.reading.sentences import read
from callboard.llm.reading.writing import write
from callboard.llm.usage import estimate, estimate_request
from callboard.ports import Answer, Usage
from callboard.text.strict import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.llm.prices import Price
    from callboard.llm.reading.asked import Asked
    from callboard.ports import Clock, Json, Request

NAME = "callboard-offline-1"  # another number when answers change
PRICE: Price = (100, 400)  # nano-USD per token of input, of output: pretend money

_LARGE = 30_000  # characters of a prompt; reading more is done beside the event loop
_WORD = re.compile(r"\S+\s*|\s+")
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml")


class OfflineModel:
    """Implements `ports.Model`.

    clock    for the latency
    latency  seconds an answer takes
    ledger   file that gets one line of JSON per call, before its answer: key, model, prompt_hash, at, pid
    """

    def __init__(self, *, clock: Clock, latency: float = 0.0, ledger: Path | None = None) -> None:
        self._clock, self._latency, self._ledger = clock, max(0.0, latency), ledger

    async def complete(self, request: Request, *, on_text: Callable[[str], None] | None = None) -> Answer:
        """Answer from the texts of the request alone.

        `options` may hold `labels` (a list, or a mapping of labels to descriptions) to choose among. Raises Permanent
        for attachments that are no text, InvalidOutput when `max_tokens` or the schema leave no room for an answer.
        """
        began = self._clock.now()
        asked = _asked(request)
        if self._ledger is not None:
            try:
                await asyncio.to_thread(_note, self._ledger, request, began.wall)
            except OSError as error:  # a full disk: who is asked for money later books first
                raise Transient(f"the offline model's ledger cannot be written: {error}") from error
        if len(asked.document) > _LARGE:
            text = await asyncio.to_thread(_answer, request, asked)
        else:
            text = _answer(request, asked)
        await self._speak(text, began.elapsed, on_text)
        usage = Usage(estimate_request(request), estimate(text), estimated=True)
        return Answer(
            text,
            provider=OFFLINE,
            model=NAME,
            usage=usage,
            cost=usage.input_tokens * PRICE[0] + usage.output_tokens * PRICE[1],
            latency=max(0.0, self._clock.now().elapsed - began.elapsed),
        )

    def price(self, model: str) -> Price | None:
        return PRICE

    async def _speak(self, text: str, began: float, on_text: Callable[[str], None] | None) -> None:
        """Wait as long as an answer takes; to a listener the words come spread over that time."""
        words = _WORD.findall(text) if on_text else []
        portions = 10 if words and self._latency else 1
        for n in range(portions):
            if self._latency:
                await self._clock.sleep_until(began + self._latency * (n + 1) / portions)
            for word in words[len(words) * n // portions : len(words) * (n + 1) // portions]:
                assert on_text is not None
                on_text(word)


def _answer(request: Request, asked: Asked) -> str:
    most = request.max_tokens
    labels, notes = _labels(request)
    if request.schema is not None:
        text = encode(_filled(request.schema, asked.document))
    elif labels:
        text = choose(hear(read(asked.document)), labels, notes)
    elif asked.task == "json":
        text = encode(_filled(_schema_of(asked), asked.document))
        text = f"```json\n{text}\n```" if "```" in asked.instruction else text
    else:
        return _within(asked, most)
    if most is not None and estimate(text) > most:
        raise InvalidOutput(f"the answer has no room in max_tokens={most}; it needs {estimate(text)}")
    return text


def _filled(schema: Json, document: str) -> Json:
    try:
        return fill(schema, document)
    except Impossible as error:
        raise InvalidOutput(f"the offline model found no value for the schema: {str(error)[:500]}") from None
    except UsageError as error:
        raise Permanent(str(error)) from None


def _asked(request: Request) -> Asked:
    """What the messages ask for; texts that are attached follow the last message."""
    system = _whole("\n".join(one.text for one in request.messages if one.role == "system"))
    prompt = _whole("\n\n".join(one.text for one in request.messages if one.role == "user"))
    attached = "\n\n".join(_text_of(one.path, one.media_type, one.data) for one in request.attachments)
    if not attached:
        return understand(prompt, system)
    # An attachment is the text by itself, whatever it begins with: only the message is searched for an instruction.
    asked = understand(prompt, system)
    own = asked.document if asked.document != prompt else ""
    return asked._replace(document=f"{own}\n\n{attached}".strip())


def _whole(text: str) -> str:
    """A text without halves of surrogate pairs, which could not be written down again."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text_of(path: str, media_type: str, data: bytes) -> str:
    if not media_type.startswith(_TEXTS):
        raise Permanent(f"the offline model reads text only, not {media_type} ({path})")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Permanent(f"{path} is said to be {media_type} but is not UTF-8 text") from None


def _labels(request: Request) -> tuple[list[str], dict[str, str]]:
    """The labels given in the options, and what they mean if that is said. Raises Permanent for what is no label."""
    given = request.options.get("labels") if isinstance(request.options, dict) else None
    if given is None:
        return [], {}
    notes = {label: note for label, note in given.items() if isinstance(note, str)} if isinstance(given, dict) else {}
    labels = list(given) if isinstance(given, list | dict) else []
    if not labels or not all(isinstance(one, str) and one.strip() for one in labels):
        raise Permanent("options.labels must be a list of texts, or a mapping of labels to what they mean")
    return labels, notes


def _schema_of(asked: Asked) -> Json:
    """A schema for a prompt that asks for JSON without giving one: the fields it names, else the usual ones."""
    fields = asked.fields or ("title", "summary", "keywords")
    rules: dict[str, Json] = {
        name: {"type": "array", "items": {"type": "string"}} if _is_plural(name) else {} for name in fields
    }
    for name in fields:
        if asked.labels and name.lower() in ("label", "category", "class", "sentiment", "type", "kind", "topic"):
            rules[name] = {"enum": list(asked.labels)}
    return {"type": "object", "properties": rules, "required": list(fields)}


def _is_plural(name: str) -> bool:
    name = name.lower()
    return name.endswith("s") and not name.endswith(("ss", "us", "is", "sis")) and name not in ("synopsis", "notes")


def _within(asked: Asked, most: int | None) -> str:
    """The written answer, made smaller until it has room in so many tokens."""
    text = write(asked)
    if most is None:
        return text
    for share in (4.0, 2.5, 1.5, 1.0):
        if estimate(text) <= most:
            return text
        limit = int(most * share)
        characters = limit if asked.size.characters is None else min(limit, asked.size.characters)
        text = write(asked._replace(size=asked.size._replace(characters=max(1, characters))))
    if estimate(text) > most:
        raise InvalidOutput(f"the answer has no room in max_tokens={most}")
    return text


def _note(ledger: Path, request: Request, at: float) -> None:
    """Append a line to the ledger and have it on the disk. One write, so that processes may share the file."""
    line = json.dumps(
        {"key": request.key, "model": NAME, "prompt_hash": request.hash(), "at": at, "pid": os.getpid()},
        separators=(",", ":"),
    )
    point("provider.write")
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
        os.fsync(file)
        point("provider.written")
    finally:
        os.close(file)
