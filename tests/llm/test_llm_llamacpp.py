"""The client against a real server that we have not written: llama.cpp, with a tiny model of seeded random weights.

The model speaks noise; what counts is the protocol around it. Skipped unless `xllamacpp` and `gguf` are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import InvalidOutput, Permanent
from callboard.llm.openai import Client
from callboard.llm.providers import Endpoint, Provider
from callboard.llm.secret import Secret
from callboard.ports import Message, Request
from callboard.testing.clock import FakeClock
from callboard.text.schema import validate
from callboard.text.strict import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

xllamacpp: Any = pytest.importorskip("xllamacpp")
gguf: Any = pytest.importorskip("gguf")
np: Any = pytest.importorskip("numpy")

WIDTH, HIDDEN, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 1024
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "mood": {"enum": ["glad", "sorry"]}},
    "required": ["ok", "mood"],
    "additionalProperties": False,
}


def write_model(path: Path) -> None:
    """A model of the llama family: a token per byte, two layers, weights from a seeded generator."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    chance = np.random.default_rng(7)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")

    def tensor(name: str, *shape: int) -> None:
        values = chance.standard_normal(shape) * 0.5 if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(name, values.astype(np.float32))

    tensor("token_embd.weight", len(tokens), WIDTH)
    tensor("output_norm.weight", WIDTH)
    tensor("output.weight", len(tokens), WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        tensor(f"blk.{layer}.attn_norm.weight", WIDTH)
        tensor(f"blk.{layer}.ffn_norm.weight", WIDTH)
        tensor(f"blk.{layer}.ffn_gate.weight", HIDDEN, WIDTH)
        tensor(f"blk.{layer}.ffn_up.weight", HIDDEN, WIDTH)
        tensor(f"blk.{layer}.ffn_down.weight", WIDTH, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_model(path)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_predict, params.warmup = CONTEXT, 1, 64, False
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    one = Client(Endpoint(Provider("llama", url, free=True), Secret("")), FakeClock(), stall=30.0, answer=30.0)
    yield one
    await one.close()


def ask(**given: Any) -> Request:
    return Request("tiny", (Message("user", "Say something."),), temperature=0.0, options={"seed": 1}, **given)


async def test_a_real_server_holds_its_answer_to_the_schema_and_counts(client: Client) -> None:
    answer = await client.complete(ask(schema=SCHEMA), max_tokens=200)
    validate(decode(answer.text), SCHEMA)
    assert not answer.usage.estimated
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


async def test_a_real_stream_gives_the_same_answer_and_counts_too(client: Client) -> None:
    heard: list[str] = []
    streamed = await client.complete(ask(schema=SCHEMA), max_tokens=200, on_text=heard.append)
    whole = await client.complete(ask(schema=SCHEMA), max_tokens=200)
    assert streamed.text == whole.text == "".join(heard)
    assert len(heard) > 1
    assert not streamed.usage.estimated
    assert streamed.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_real_answer_that_runs_out_of_room_is_no_answer(client: Client, is_streamed: bool) -> None:
    with pytest.raises(InvalidOutput, match="max_tokens"):
        await client.complete(ask(schema=SCHEMA), max_tokens=3, on_text=print if is_streamed else None)


async def test_a_real_refusal_is_permanent_and_in_the_servers_own_words(client: Client) -> None:
    bad = Request("tiny", (Message("user", "x" * 5_000),))
    with pytest.raises(Permanent, match=r"context|exceed"):
        await client.complete(bad, max_tokens=5)
