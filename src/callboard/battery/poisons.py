"""T12's poisons: what a step can do to the process that carries it out, to its pipes and to whoever reads them.

`HARM` is a module of a project's `function` folder and a program of its own: what a function does in a child, a command
does in its own process. Each has an end that it must be brought to, and words by which a person knows it.
"""

from __future__ import annotations

from typing import NamedTuple

HARM = r'''
import asyncio, ctypes, itertools, os, resource, signal, sys, threading, time

MANY = int(os.environ.get("POISON_MANY", "0")) or 10**7


# ── it ends its process ──

def crashes(): ctypes.string_at(0)
def aborts(): os.write(2, b"the lamps went out\n"); os.abort()
def leaves(): os._exit(0)
def is_killed(): os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)
def rings(): signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(60)
def orphans_itself(): os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)

def leaves_by_thread():
    threading.Thread(target=os._exit, args=(0,)).start()
    time.sleep(60)

def has_daemons():
    """Leaves three behind, in sessions of their own and deaf."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0: time.sleep(600)
            os._exit(0)
    os._exit(9)

# ── it takes what there is ──

def is_joined():
    """Waits until its siblings have their threads: for one more there will be no memory."""
    most, since = 0, time.monotonic()
    while time.monotonic() - since < 0.5:
        if threading.active_count() > most:
            most, since = threading.active_count(), time.monotonic()
        time.sleep(0.01)

def limit():
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))

def hoards():
    """All the memory that it may have, for ever: what it gives back is enough for threads, and not for a sibling."""
    is_joined()
    limit()
    hoard = globals()["HOARD"] = []
    try:
        while True: hoard.append(bytes(1 << 20))
    finally: del hoard[-200:]

def counts(): limit(); return list(itertools.count())
def recurses(): recurses()

# ── it says too much, or what is none of its business ──

def floods():
    block = b"x" * (1 << 20)
    for _ in range(2_000): os.write(1, block)
    raise ValueError("said it all")

def complains():
    block = b"no!\n" * (1 << 18)
    for _ in range(2_000): os.write(2, block)
    sys.exit(4)

def prints():
    for n in range(MANY): print("line", n)
    raise ValueError("said it all")

def has_a_long_line():
    os.write(2, b"x" * (10 << 20) + b"\n")
    raise ValueError("said it all")

def pipes():
    """The descriptors of pipes that nobody gave it."""
    for fd in range(3, 256):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"): yield fd
        except OSError: pass

def everywhere(data, times=1):
    for fd in pipes():
        try:
            for _ in range(times): os.write(fd, data)
        except OSError: pass
    time.sleep(60)

def scribbles(): everywhere(b"not a word of ours\n")
def goes_deep(): everywhere(b"[" * 100_000 + b"\n")
def never_ends_a_line(): everywhere(b"x" * (1 << 16), 1 << 12)
def imitates(): everywhere(b'["log",1,"it was not me","info"]\n' * 1_000, 10_000)
def publishes(): everywhere(b'["publish",1,"seen",{"n":1}]\n' * 1_000, 10_000)
def answers_too(): os.write(1, b'["done",1,"mine"]\n' * 100); raise ValueError("said it all")

def closes():
    for fd in pipes(): os.close(fd)
    time.sleep(60)

def is_mute():
    sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2)
    raise ValueError("nobody hears this")

# ── it moves what is others' ──

def walks_away(): os.chdir("/"); os.umask(0); time.sleep(0.2); raise ValueError("am elsewhere")
def is_deaf(): signal.signal(signal.SIGTERM, signal.SIG_IGN)

def comes_back_twice():
    if os.fork() == 0: raise SystemExit
    raise ValueError("came back")

# ── what it gives is nothing that can be kept ──

def surrogate(): return {"name": "\ud800"}
def not_a_number(): return [1.0, float("nan")]
def digits(): return 10**5000
def large(): return "x" * (10 << 20)
def thing(): return object()
def generator(): return itertools.count()

def deep():
    value = []
    for _ in range(100_000): value = [value]
    return value

# ── what it raises is nothing that can be shown ──

class Nameless(BaseException):
    def __repr__(self): raise SystemExit(3)
    __str__ = __repr__

def nameless(): raise Nameless
def bare(): raise BaseException("bare")
def exits(): sys.exit("the exit")
def cancels(): raise asyncio.CancelledError
def nul(): raise ValueError("a\0b \ud800")
def boundless():
    from callboard.errors import Permanent
    raise Permanent("x" * (100 << 20), evidence=["x" * (100 << 20)])


def harmless(): return "well"

if __name__ == "__main__":
    sys.stdout.write(str(globals()[sys.argv[1]]()))
else:
    from callboard.executors.registry import register

    @register
    def harm(pipe_data, params): return globals()[params["how"]]()

    @register
    async def harm_on_loop(pipe_data, params): return globals()[params["how"]]()

    @register
    def sibling(pipe_data, params):
        """Wants its directory, some memory, and to be heard."""
        home = os.getcwd()
        time.sleep(params["seconds"])
        bytes(300 << 20)  # asked for, and not touched
        print("well", flush=True)
        if os.getcwd() != home: raise ValueError("somebody has moved me")
        return "well"
'''

#: A module that ends every process which imports it.
BARRED = """
import os
from callboard.executors.registry import register

os._exit(0)

@register
def is_barred(pipe_data, params): return "in"
"""

_LOST = "poison: 3 attempts in a row were lost, the last: "
_FATAL = "Fatal Python error"


class Poison(NamedTuple):
    """A step: what carries it out and what it does. `says` is how the reason must begin that `show` gives, `logs` what
    must stand in its log; `code` is the command's own, where it does not run `HARM`."""

    by: str
    how: str
    says: str
    logs: str = ""
    code: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.by}-{self.how}"


def _sh(how: str, says: str, code: str) -> Poison:
    return Poison("command", how, says, code=("sh", "-c", code))


POISONS = (
    # the first ones are tried on every change
    Poison("function", "crashes", f"{_LOST}its process was ended by SIGSEGV: it has crashed: {_FATAL}", "in crashes"),
    Poison("command", "floods", "python wrote more than it may"),
    Poison("function", "hoards", "MemoryError", "MemoryError"),
    Poison("function", "scribbles", f"{_LOST}the child talked nonsense"),
    Poison("function", "walks_away", "ValueError: am elsewhere"),
    Poison("function", "boundless", "xxxx"),
    Poison("function", "orphans_itself", f"{_LOST}its process was killed with its supervisor"),
    Poison("command", "complains", "timed out", "no!"),
    Poison("function", "nameless", "Nameless"),
    Poison("function", "imitates", f"{_LOST}the child talked nonsense: ValueError: "),
    # the others every night
    Poison("import", "is_barred", "no function is registered as 'is_barred'"),
    Poison(
        "function", "aborts", f"{_LOST}its process was ended by SIGABRT: it gave up: {_FATAL}", "the lamps went out"
    ),
    Poison("function", "leaves", f"{_LOST}its process left with exit code 0 and without an answer"),
    Poison("function", "is_killed", f"{_LOST}its process was ended by SIGKILL"),
    Poison("function", "rings", f"{_LOST}its process was ended by SIGALRM"),
    Poison("function", "leaves_by_thread", f"{_LOST}its process left with exit code 0"),
    Poison("function", "has_daemons", f"{_LOST}its process left with exit code 9"),
    Poison("function", "counts", "MemoryError"),
    Poison("function", "recurses", "RecursionError"),
    Poison("function", "floods", "timed out"),
    Poison("function", "prints", "timed out", "line 1"),
    Poison("function", "goes_deep", f"{_LOST}the child talked nonsense"),
    Poison("function", "never_ends_a_line", f"{_LOST}the child talked nonsense: a line of more than 8 MiB"),
    Poison("function", "publishes", f"{_LOST}the child talked nonsense"),
    Poison("function", "answers_too", "ValueError: said it all"),
    Poison("function", "closes", f"{_LOST}its process closed its line to us"),
    Poison("function", "is_mute", "ValueError: nobody hears this"),
    Poison("function", "comes_back_twice", "ValueError: came back"),
    Poison("function", "surrogate", "task 'function-surrogate': its value is not JSON: $.name holds a lone surrogate"),
    Poison("function", "not_a_number", "task 'function-not_a_number': its value is not JSON: $[1] is nan"),
    Poison("function", "digits", "task 'function-digits': its value is not JSON: Exceeds the limit"),
    Poison("function", "large", "its value has 10 MiB"),
    Poison("function", "thing", "task 'function-thing': its value is not JSON: $ is a object"),
    Poison("function", "generator", "task 'function-generator': its value is not JSON: $ is a count"),
    Poison("function", "deep", "task 'function-deep': its value is not JSON"),
    Poison("function", "is_deaf", "ValueError: signal only works in main thread"),
    Poison("function", "bare", "BaseException: bare"),
    Poison("function", "exits", "SystemExit: the exit"),
    Poison("function", "cancels", "CancelledError"),
    Poison("function", "nul", "ValueError: a\0b ?"),
    Poison("coroutine", "crashes", f"{_LOST}its process was ended by SIGSEGV"),
    Poison("coroutine", "walks_away", "ValueError: am elsewhere"),
    Poison("coroutine", "nameless", "Nameless"),
    Poison("command", "crashes", f"{_LOST}python was ended by SIGSEGV"),
    Poison("command", "aborts", f"{_LOST}python was ended by SIGABRT: it gave up: the lamps went out"),
    Poison("command", "orphans_itself", f"{_LOST}python was killed with its supervisor"),
    Poison("command", "hoards", "python ended with exit code 1: MemoryError"),
    Poison("command", "has_a_long_line", "python ended with exit code 1: ValueError: said it all", "xxxx"),
    Poison("command", "has_daemons", "python ended with exit code 9"),
    _sh("digits", "its output is not JSON", "head -c 1000000 /dev/zero | tr '\\0' 9"),
    _sh("deep", "its output is not JSON", "head -c 100000 /dev/zero | tr '\\0' '['"),
    _sh("infinity", "its output is not JSON", "echo '[Infinity]'"),
    _sh("surrogate", "its output is not JSON", r"""printf '"\\ud800"'"""),
    _sh("binary", "its output is not UTF-8 text", r"printf '\377\000\376'"),
)
