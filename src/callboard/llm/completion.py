"""A chat completion of OpenAI's dialect, as it goes out and as it comes back: JSON in, values or an error out.

One rule above all: an answer is whole or it is no answer. It is whole when the provider says that it finished by
itself; a stream that merely stops, a finish for want of room, a call of a tool nobody offered are failures that
keep what had arrived as evidence. Doubled and disordered chunks are refused where the dialect lets them be seen:
by the ids of events, by the padding some providers put into each chunk, by anything that follows the finish. A
chunk that is simply repeated, without any mark, cannot be told from a model that repeats itself.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.errors import InvalidOutput, NotJson, Permanent, Transient
from callboard.llm.faults import of_error_object, shown
from callboard.text.strict import decode, encode

if TYPE_CHECKING:
    from callboard.llm.providers import Provider
    from callboard.llm.secret import Redaction
    from callboard.llm.sse import Event
    from callboard.ports import Attachment, Json, Request

#: Fields of the body that are ours; options may not set them.
_OURS = frozenset({
    "functions", "function_call", "max_completion_tokens", "max_tokens", "messages", "model", "n", "response_format",
    "stream", "stream_options", "temperature", "tool_choice", "tools",
})  # fmt: skip

#: Options that are for the gateway or for the offline model and go no further.
_LOCAL = frozenset({"labels", "provider", "task"})

_WHOLE = frozenset({"stop", "end_turn", "eos", "stop_sequence"})
_NO_ROOM = frozenset({"length", "max_tokens", "model_length"})


class Reply(NamedTuple):
    """What a provider answered, whole. `usage` is as it reported it, not yet judged."""

    text: str
    model: str
    usage: Json


class Source(NamedTuple):
    """Who is being read, for errors: the provider's name, what to keep out of sight, the wall clock at the call."""

    provider: str
    redaction: Redaction
    wall: float


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────


def body_of(request: Request, provider: Provider, *, stream: bool, max_tokens: int) -> bytes:
    """The JSON body of a request. Raises Permanent for options and attachments that the provider cannot take."""
    body: dict[str, Any] = {name: value for name, value in _options(request).items() if name not in _LOCAL}
    body |= {"model": request.model, "messages": _messages(request, provider)}
    body[provider.tokens_field] = max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.schema is not None and provider.takes_schema:
        shape = {"name": "answer", "schema": request.schema, "strict": _is_closed(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        return encode(body).encode()
    except NotJson as error:
        raise Permanent(f"the request is not strict JSON: {error}") from None


def _options(request: Request) -> dict[str, Any]:
    options = request.options if isinstance(request.options, dict) else {}
    taken = sorted(_OURS & options.keys())
    if taken:
        raise Permanent(f"options may not set {', '.join(taken)}; a step has fields of its own for what it may change")
    return options


def _messages(request: Request, provider: Provider) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": one.role, "content": one.text} for one in request.messages]
    if request.schema is not None and not provider.takes_schema:
        shape = json.dumps(request.schema, ensure_ascii=False)
        words = f"Answer with one JSON value that satisfies this JSON Schema, and nothing else:\n{shape}"
        messages.insert(0, {"role": "system", "content": words})
    if request.attachments:
        parts = [_part(one, provider) for one in request.attachments]
        last = next((one for one in reversed(messages) if one["role"] == "user"), None)
        if last is None:
            messages.append({"role": "user", "content": parts})
        else:
            last["content"] = [{"type": "text", "text": last["content"]}, *parts]
    return messages


def _part(one: Attachment, provider: Provider) -> dict[str, Any]:
    kind = one.media_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind == "application/json":
        try:
            return {"type": "text", "text": f"{one.path}:\n{one.data.decode('utf-8')}"}
        except UnicodeDecodeError:
            raise Permanent(f"{one.path} is said to be {kind} but is not UTF-8 text") from None
    if kind not in provider.media:
        takes = ", ".join(["text", *sorted(provider.media)])
        raise Permanent(f"{provider.name} takes no attachment of type {kind} ({one.path}); it takes {takes}")
    data = f"data:{kind};base64,{base64.b64encode(one.data).decode()}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": data}}
    return {"type": "file", "file": {"filename": one.path.rpartition("/")[2], "file_data": data}}


def _is_closed(schema: Json) -> bool:
    """Whether every object of a schema lists all it may hold: what providers want before they hold a model to it."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(names):
            return False
    return all(_is_closed(value) for value in schema.values())


# ── back ────────────────────────────────────────────────────────────────────────────────────────────────


def reply_of(text: str, source: Source) -> Reply:
    """Read the body of an answer that was not streamed. Raises StepError."""
    answer = _object(text, source)
    if answer.get("error"):
        raise of_error_object(answer["error"], provider=source.provider, wall=source.wall, redaction=source.redaction)
    choice = _first(answer.get("choices"))
    message = choice.get("message") if choice else None
    if not isinstance(message, dict):
        raise _nonsense("an answer without a message", text, source)
    said = _text(message.get("content"))
    _check_end(choice.get("finish_reason"), message, said, source)
    if not said:
        raise InvalidOutput(f"{source.provider} answered with no text", evidence=evidence(text, source))
    return Reply(said, _name(answer.get("model")), answer.get("usage"))


class Stream:
    """Puts a streamed answer together, and says whether it is whole."""

    __slots__ = ("_finish", "_has_ended", "_id", "_last", "_model", "_parts", "_seen", "_source", "_usage")

    def __init__(self, source: Source) -> None:
        self._source, self._parts = source, list[str]()
        self._id, self._model, self._usage, self._finish = "", "", None, ""
        self._has_ended, self._seen, self._last = False, set[str](), -1

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def take(self, event: Event) -> tuple[str, bool]:
        """The text this event adds, and whether the model moved on at all (thinking counts). Raises StepError."""
        if event.data == "[DONE]":
            self._has_ended = True
            return "", True
        self._check_once(event)
        chunk = _object(event.data, self._source)
        if chunk.get("error"):
            source = self._source
            raise of_error_object(
                chunk["error"], provider=source.provider, wall=source.wall, redaction=source.redaction
            )
        self._check_same(chunk)
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        choice = _first(chunk.get("choices"))
        return self._add(choice) if choice else ("", False)

    def reply(self) -> Reply:
        """The whole answer. Raises Transient when the stream stopped before the model did."""
        if not self._finish:
            raise self._broken("the stream stopped before the answer was finished")
        if not self.text:
            raise InvalidOutput(f"{self._source.provider} answered with no text", evidence=evidence("", self._source))
        return Reply(self.text, self._model, self._usage)

    def _add(self, choice: dict[str, Any]) -> tuple[str, bool]:
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        text, reason = _text(delta.get("content")), choice.get("finish_reason")
        if self._finish and (text or reason not in (None, self._finish) or delta.get("tool_calls")):
            raise self._broken("the stream goes on after its end")
        if text:
            self._parts.append(text)
        if delta.get("tool_calls") or delta.get("function_call") or reason:
            _check_end(reason or "tool_calls", delta, self.text, self._source)
            self._finish = str(reason)
        return text, bool(text or reason or delta)

    def _check_once(self, event: Event) -> None:
        mark = event.id or (event.data if '"obfuscation"' in event.data else "")
        if mark and mark in self._seen:
            raise self._broken("the stream holds the same event twice")
        if mark:
            self._seen.add(mark)
        if event.id.isascii() and event.id.isdigit() and len(event.id) < 19:
            if int(event.id) < self._last:
                raise self._broken("the events of the stream are out of order")
            self._last = int(event.id)

    def _check_same(self, chunk: dict[str, Any]) -> None:
        if self._has_ended:
            raise self._broken("the stream goes on after its end")
        id = _name(chunk.get("id"))
        if self._id and id and id != self._id:
            raise self._broken("the stream mixes two answers")
        self._id, self._model = self._id or id, self._model or _name(chunk.get("model"))

    def _broken(self, what: str) -> Transient:
        return Transient(f"{self._source.provider}: {what}", evidence=evidence(self.text, self._source))


def json_of(text: str, source: Source) -> Json:
    """The JSON value an answer holds, also inside one fenced block. Raises InvalidOutput."""
    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```") and "\n" in inner:
        inner = inner[3:-3].partition("\n")[2]
    try:
        return decode(inner)
    except NotJson as error:
        said = f"the answer of {source.provider} is not JSON ({error})"
        raise InvalidOutput(said, evidence=evidence(text, source)) from None


def _check_end(reason: Json, message: dict[str, Any], text: str, source: Source) -> None:
    """Raises unless the model finished by itself. Some servers give no reason with a whole body; that is accepted."""
    kept = evidence(text, source)
    if message.get("tool_calls") or message.get("function_call") or reason in ("tool_calls", "function_call"):
        kept["calls"] = shown(json.dumps(message.get("tool_calls") or message.get("function_call")), source.redaction)
        raise InvalidOutput(f"{source.provider} calls a tool, but none was offered", evidence=kept)
    if message.get("refusal"):
        kept["refusal"] = shown(str(message["refusal"]), source.redaction)
        raise InvalidOutput(f"the model of {source.provider} refused to answer", evidence=kept)
    reason = reason.lower() if isinstance(reason, str) else reason
    if reason in _NO_ROOM:
        said = f"the answer of {source.provider} was cut off for want of room; raise max_tokens"
        raise InvalidOutput(said, evidence=kept)
    if reason == "content_filter":
        raise InvalidOutput(f"{source.provider} withheld the answer (content filter)", evidence=kept)
    if reason is not None and reason not in _WHOLE:
        raise Transient(f"{source.provider} ended the answer with {str(reason)[:40]!r}", evidence=kept)


def _object(text: str, source: Source) -> dict[str, Any]:
    try:
        value = decode(text)
    except NotJson as error:
        raise _nonsense(f"what is not JSON ({str(error)[:100]})", text, source) from None
    if not isinstance(value, dict):
        raise _nonsense("JSON that is no object", text, source)
    return value


def _first(choices: Json) -> dict[str, Any]:
    """The choice with index 0; an empty object when there is none. We ask for one and read no other."""
    if isinstance(choices, list):
        for one in choices:
            if isinstance(one, dict) and one.get("index", 0) in (0, None):
                return one
    return {}


def _text(content: Json) -> str:
    """The text of a content: a text, or a list of parts of which only the texts are read."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(one["text"] for one in content if isinstance(one, dict) and isinstance(one.get("text"), str))
    return ""


def _name(value: Json) -> str:
    return value[:200] if isinstance(value, str) else ""


def _nonsense(what: str, text: str, source: Source) -> Transient:
    return Transient(f"{source.provider} answered with {what}", evidence=evidence(text, source))


def evidence(text: str, source: Source) -> dict[str, Any]:
    """What is kept of an answer that is none."""
    return {"provider": source.provider, "status": 200, "body": shown(text, source.redaction)}
