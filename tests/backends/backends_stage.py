"""What the tests of backends work with: a project with user functions, a context that notes what it hears, works."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.backends.child import Settings
from callboard.backends.children import Children
from callboard.executors.chain import seen_by_function
from callboard.ports import Attempt, Page, Work
from callboard.testing.scripted import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCTIONS = '''
import asyncio, os, signal, subprocess, sys, threading, time
from callboard.errors import RateLimited
from callboard.executors.registry import register
from callboard.ports import Message, Request

@register
def upper(pipe_data, params):
    pipe_data["pipeout-text"] = pipe_data["pipein-text"].upper()
    return pipe_data

@register
async def later(pipe_data, params):
    await asyncio.sleep(0)
    return "later"

@register
def returns(data, params): return params["value"]

@register
def no_json(data, params): return {1, 2}

@register
def surrogate(data, params): return "\\ud800"

@register
def raises(data, params): raise ValueError("bad thing")

@register
def limited(data, params): raise RateLimited("slow down", evidence={"a": 1}, retry_after=7.5)

@register
def who(data, params):
    return [os.getpid(), os.getpgid(0), os.nice(0), sorted(os.environ), sys.path[0], os.getcwd()]

@register
def prints(data, params):
    print("one"); print("two", file=sys.stderr); print("three", end="")
    os.system("echo from below")

@register
def floods(data, params):
    for n in range(100_000): print(n)

@register
def hangs(data, params):
    open(params["file"], "w").write(str(os.getpid()))
    time.sleep(1000)

@register
def spins(data, params):
    open(params["file"], "w").write(str(os.getpid()))
    while True: pass

@register
async def waits(data, params):
    open(params["file"], "w").write(str(os.getpid()))
    await asyncio.sleep(1000)

@register
async def blocks(data, params):
    open(params["file"], "w").write(str(os.getpid()))
    time.sleep(1000)

@register
def meets(data, params):
    """Waits until its file is there, in small steps."""
    open(params["begun"], "a").write("x")
    while not os.path.exists(params["file"]): time.sleep(0.005)
    return "met"

@register
def exits(data, params): os._exit(0)

@register
def dies(data, params): os.kill(os.getpid(), signal.SIGSEGV); time.sleep(1000)

@register
def dies_when_met(data, params):
    open(params["begun"], "a").write("x")
    while not os.path.exists(params["file"]): time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL); time.sleep(1000)

@register
def kills_parent(data, params):
    os.kill(os.getppid(), signal.SIGKILL); time.sleep(1000)

@register
def forks(data, params):
    pid = os.fork()
    if pid == 0:
        os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(params["file"], "w").write(str(os.getpid()))
        time.sleep(1000)
    while not os.path.exists(params["file"]): time.sleep(0.005)
    return "forked"

def descriptors():
    """All descriptors of pipes beside the standard ones."""
    for fd in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"): yield fd
        except OSError: pass

@register
def junk(data, params):
    for fd in descriptors():
        try: os.write(fd, bytes(params["bytes"]) * params.get("times", 1))
        except OSError: pass
    time.sleep(1000)

@register
def closes(data, params):
    for fd in descriptors(): os.close(fd)
    time.sleep(1000)

@register
def shouts(data, params):
    for _ in range(300): os.write(1, b"x" * 1_000_000)
    os.write(1, bytes(range(256)) * 1000)
    return "hoarse"

@register
def large(data, params): return "x" * params["size"]

@register
def recurses(data, params): return recurses(data, params)

@register
def deep(data, params):
    value = []
    for _ in range(100_000): value = [value]
    return value

@register
def stops_itself(data, params): sys.exit(3)

@register
async def cancels_itself(data, params): raise asyncio.CancelledError()

def ports(draft, ctx):
    ctx.log("a line", "warning")
    ctx.publish("seen", {"n": 1})
    ctx.save("note", {"text": "x"})
    ctx.progress(1, 2, "half")
    ctx.cache.put("k", "v")
    files = [ctx.documents.read("a.txt").decode(), ctx.documents.write("b.txt", b"out")]
    return [draft, ctx.attempt.task, ctx.key, *files,
            ctx.cache.get("k"), ctx.cache.get("none"), list(ctx.model.price("m")), dict(ctx.secrets), dict(ctx.limits)]

async def asks(ctx):
    answer = await ctx.model.complete(Request("m", (Message("user", "a b"),), options={"x": 1}))
    return [answer.text, answer.usage.input_tokens, answer.cost]

def publishes(times, size, ctx):
    for n in range(times): ctx.publish("seen", "x" * size)

async def asks_many(times, ctx):
    request = Request("m", (Message("user", "a b"),))
    answers = await asyncio.gather(*(ctx.model.complete(request) for _ in range(times)))
    return len(answers)

def reads_nothing(ctx): return ctx.documents.read("gone").decode()

for plain in (ports, asks, publishes, asks_many, reads_nothing):
    register(plain.__name__, plain)
'''


class Ctx:
    """A context that notes what it is told."""

    def __init__(self, stage: Stage, attempt: Attempt) -> None:
        self.stage, self.attempt, self.key = stage, attempt, "the-key"
        self.model: Any = stage.model
        self.documents: Any = stage
        self.cache: Any = stage
        self.limits = {"run": 3}
        self.secrets = {"TOKEN": "t0k"}

    def log(self, text: str, level: str = "info") -> None:
        self.stage.lines += [(level, line) for line in text.split("\n")]

    def publish(self, key: str, value: Any = None) -> None:
        self.stage.told.append(("publish", key, value))

    def save(self, write: str, params: Any) -> None:
        self.stage.told.append(("save", write, dict(params)))

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        self.stage.told.append(("progress", done, of, note))


class Stage:
    """A project on disk; also the documents and the cache of its contexts."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path
        (tmp_path / "function").mkdir()
        (tmp_path / "function" / "mine.py").write_text(FUNCTIONS)
        self.model = ScriptedModel("answer", price=(2, 3))
        self.lines: list[tuple[str, str]] = []
        self.told: list[Any] = []
        self.output: list[str] = []
        self.kept: dict[str, str] = {}
        self.opened: list[Children] = []

    def children(self, *, count: int = 1, width: int = 16, grace: float = 0.3, root: bool = True) -> Children:
        settings = Settings(
            str(self.root) if root else None, {"PATH": os.environ["PATH"]}, grace=grace, output=self.output.append
        )
        children = Children(
            settings,
            wrap=lambda handler: handler,
            context=lambda work: Ctx(self, work.attempt),
            seen=seen_by_function,
            lister=self.lister,
            count=count,
            width=width,
        )
        self.opened.append(children)
        return children

    async def lister(self, work: Work, page: int) -> Page:
        return Page([(f"page {page}", None)])

    def work(self, function: str, node: int = 0, **params: Any) -> Work:
        inputs = {"function": function, "params": params} if params else {"function": function}
        return Work(
            run=1,
            node=node,
            number=1,
            attempt=Attempt("r1", f"task {node}", None, 1, 1, str(self.root)),
            attempt_number=1,
            key="the-key",
            executor="function",
            inputs=inputs,
            upstream={},
            item=None,
            params={"input": "hello"},
            timeout=60.0,
            effect="keyed",
            settings={},
        )

    # what contexts read and write

    def read(self, path: str) -> bytes:
        from callboard.errors import NotFound

        if path != "a.txt":
            raise NotFound(f"no file {path}")
        return b"of a file"

    def write(self, path: str, data: bytes) -> str:
        self.told.append(("write", path, data))
        return "hash"

    def get(self, key: str) -> str | None:
        return self.kept.get(key)

    def put(self, key: str, value: str) -> None:
        self.kept[key] = value


async def until(is_so: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for the thing itself, looking often."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, "it did not come about"
        await asyncio.to_thread(_moment)
    return found


def _moment() -> None:
    import threading

    threading.Event().wait(0.005)


def pid_in(file: Path) -> int:
    return int(file.read_text() or 0) if file.exists() else 0


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"
