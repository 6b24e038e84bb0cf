"""Every executor passes the kit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from callboard.backends import supervisor
from callboard.backends.threads import Threads
from callboard.executors.command import Command
from callboard.executors.docx import ConvertToDocx
from callboard.executors.files import AiResult, AiSource, Content
from callboard.executors.function import Functions
from callboard.executors.human import Human
from callboard.executors.llm import Llm
from callboard.executors.registry import Registry
from callboard.testing.kits.executor import CASES, Bench
from callboard.testing.scripted import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from executors_desk import Desk


async def never() -> None:
    import asyncio

    await asyncio.get_running_loop().create_future()


def functions() -> Functions:
    registry = Registry()
    registry.register("upper", lambda data: data["pipein_text"].upper())
    registry.register("wrong", lambda data: 1 / 0)

    @registry.register("never")
    async def waits(data: Any) -> None:
        await never()

    return Functions(registry, off_loop=Threads())


BENCHES: dict[str, Callable[[Desk], Bench]] = {
    "function": lambda desk: Bench(
        functions(),
        {"function": "upper", "pipe": "text"},
        desk.context,
        {"function": "nobody"},
        {"function": "never"},
    ),
    "command": lambda desk: Bench(
        Command(supervisor, environ={"PATH": os.environ["PATH"]}, grace=0.2),
        {"command": ["cat"], "pipe": "text"},
        desk.context,
        {"command": ["false"]},
        {"command": ["sleep", "1000"]},
    ),
    "llm": lambda desk: Bench(Llm(), {"prompt": "p", "model": "m"}, desk.context, {"prompt": "", "model": "m"}, None),
    "human": lambda desk: Bench(Human(), {"question": "Good?", "pipe": "text"}, desk.context, {}),
    "aisource": lambda desk: Bench(AiSource(), {"file": "a.md"}, desk.context, {"file": "../a.md"}),
    "airesult": lambda desk: Bench(AiResult(), {"file": "b.md", "pipe": "t"}, desk.context, {"file": "/b.md"}),
    "content": lambda desk: Bench(
        Content(), {"pipe": "a b", "extract": "a (.)"}, desk.context, {"pipe": "a", "extract": "b"}
    ),
    "convert_to_docx": lambda desk: Bench(
        ConvertToDocx(), {"source": "a.md", "result": "a.docx"}, desk.context, {"source": "a.md"}
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("kind", BENCHES)
async def test_executor(desk: Desk, kind: str, case: Any) -> None:
    (desk.dir / "a.md").write_text("# Title\n\ntext")
    desk.model = ScriptedModel("an answer")
    bench = BENCHES[kind](desk)
    assert bench.executor.kind == kind
    await case(bench)
